"""The file format `.aec`: what stands around the coded values of a picture.

    bytes  what
    4      magic: \\x89AEC
    1      version of the format: 1
    4      fingerprint of the model
    1      channels of the picture: 1 or 3
    2      quality, in 1/64
    2 + 2  height and width, in pixels
    4      length of the payload, in bytes
    …      payload
    4      CRC-32 of all bytes before it

Numbers are little-endian. Nothing of a file is trusted: lengths are compared with what is there, and sizes with limits,
before anything is made of them.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from .errors import CodecError

MAGIC = b"\x89AEC"  # no text begins with the first byte, and a transfer that strips the eighth bit is found out
VERSION = 1
ALBUM_VERSION = 2  # of the other kind of file that begins so, see `album`
QUALITY_STEPS = 64  # a quality is stored in as many steps for 1
FINGERPRINT_BYTES = 4
MAX_SIDE = 16_384
MAX_PIXELS = 40_000_000
MAX_BYTES = 1 << 28
_HEADER = struct.Struct(f"<4sB{FINGERPRINT_BYTES}sBHHHI")
_CRC = struct.Struct("<I")
OVERHEAD = _HEADER.size + _CRC.size  # bytes of a file that are not payload


class Container(NamedTuple):
    """What an `.aec` file holds.

    Args:
        fingerprint: of the model that made it, 4 bytes.
        channels: 1 for a grey picture, 3 for one in colour.
        quality: of the model, from 1; stored in steps of 1/64.
        height, width: of the picture, in pixels.
        payload: the coded values.
    """

    fingerprint: bytes
    channels: int
    quality: float
    height: int
    width: int
    payload: bytes


def pack(content: Container) -> bytes:
    """Return the bytes of a file.

    Raises:
        ValueError: a picture of that size, or with so many channels, cannot be stored.
    """
    check_size(content.height, content.width)
    if content.channels not in (1, 3):
        raise ValueError(f"channels: wanted 1 or 3, got {content.channels}")
    if len(content.fingerprint) != FINGERPRINT_BYTES:
        raise ValueError(f"fingerprint: wanted {FINGERPRINT_BYTES} bytes, got {len(content.fingerprint)}")
    steps = round(content.quality * QUALITY_STEPS)
    body = _HEADER.pack(
        MAGIC,
        VERSION,
        content.fingerprint,
        content.channels,
        steps,
        content.height,
        content.width,
        len(content.payload),
    )
    body += content.payload
    return body + _CRC.pack(zlib.crc32(body))


def unpack(data: bytes) -> Container:
    """Return what a file holds.

    Raises:
        CodecError: it is no `.aec` file, one of another version, or damaged; the message says which.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError("it is no .aec file: it does not begin as one")
    if len(data) > MAX_BYTES:
        raise CodecError(f"it has {len(data):,} bytes, wanted at most {MAX_BYTES:,}")
    if len(data) > len(MAGIC) and data[len(MAGIC)] == ALBUM_VERSION:
        raise CodecError("it is an album of small pictures, which the codec of their model reads (AlbumCodec)")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise CodecError(f"it is of version {data[len(MAGIC)]} of the format; this aecore reads version {VERSION}")
    if len(data) < OVERHEAD:
        raise CodecError(f"it ends too early: {len(data)} bytes, where the header alone has {_HEADER.size}")
    _, _, fingerprint, channels, steps, height, width, length = _HEADER.unpack_from(data)
    present = len(data) - OVERHEAD
    if length != present:
        raise CodecError(f"its payload should have {length:,} bytes and has {present:,}: it is cut off, or damaged")
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CodecError("its checksum is wrong: the file is damaged")
    if channels not in (1, 3):
        raise CodecError(f"it says that its picture has {channels} channels, wanted 1 or 3")
    try:
        check_size(height, width)
    except ValueError as error:
        raise CodecError(f"it says of its picture: {error}") from None
    return Container(fingerprint, channels, steps / QUALITY_STEPS, height, width, data[_HEADER.size : -_CRC.size])


def check_size(height: int, width: int) -> None:
    """Raise a ValueError where a picture has no pixels or too many."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE) or height * width > MAX_PIXELS:
        raise ValueError(
            f"height and width: wanted 1 to {MAX_SIDE:,} pixels each, and {MAX_PIXELS:,} together, got "
            f"{height:,}×{width:,}"
        )
