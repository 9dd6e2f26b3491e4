"""The format of files of small pictures, which all have the one shape that their model knows.

Many of them share one file, an album, so that they share what stands around the coded values:

    bytes  what
    4      magic: \\x89AEC
    1      version of the format: 2 (a picture of any size has version 1, see `container`)
    4      fingerprint of the model
    4      number of pictures
    4      length of the payload, in bytes
    …      payload
    4      CRC-32 of all bytes before it

A picture alone has a file of its own kind, since a header of 21 bytes would be longer than what it holds:

    1      kind: \\x8a
    3      the lower bytes of the CRC-32 of the model's fingerprint, the kind and the payload
    …      payload, up to the end of the file

Numbers are little-endian. The check of a picture alone stands for its model as well: of files that are damaged, or of
another model, one in 2²⁴ passes it by chance.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from .container import ALBUM_VERSION, FINGERPRINT_BYTES, MAGIC, MAX_BYTES
from .errors import CodecError

KIND = b"\x8a"
CHECK_BYTES = 3
MAX_PICTURES = 1 << 16
MAX_ALONE = 1 << 14  # bytes of the file of a picture alone
_HEADER = struct.Struct(f"<4sB{FINGERPRINT_BYTES}sII")
_CRC = struct.Struct("<I")
OVERHEAD = _HEADER.size + _CRC.size  # bytes of an album that are not payload
OVERHEAD_ALONE = len(KIND) + CHECK_BYTES


class Album(NamedTuple):
    """What an album holds.

    Args:
        fingerprint: of the model that made it, 4 bytes.
        count: how many pictures there are.
        payload: their coded values.
    """

    fingerprint: bytes
    count: int
    payload: bytes


def pack(content: Album) -> bytes:
    """Return the bytes of an album.

    Raises:
        ValueError: it would hold too many pictures.
    """
    if not 0 <= content.count <= MAX_PICTURES:
        raise ValueError(f"count: wanted at most {MAX_PICTURES:,} pictures in an album, got {content.count:,}")
    body = _HEADER.pack(MAGIC, ALBUM_VERSION, content.fingerprint, content.count, len(content.payload))
    body += content.payload
    return body + _CRC.pack(zlib.crc32(body))


def unpack(data: bytes) -> Album:
    """Return what an album holds.

    Raises:
        CodecError: it is no album, or damaged; the message says which.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError("it is no album: it does not begin as one")
    if len(data) > MAX_BYTES:
        raise CodecError(f"it has {len(data):,} bytes, wanted at most {MAX_BYTES:,}")
    if len(data) < OVERHEAD:
        raise CodecError(f"it ends too early: {len(data)} bytes, where header and checksum alone have {OVERHEAD}")
    _, version, fingerprint, count, length = _HEADER.unpack_from(data)
    if version != ALBUM_VERSION:
        raise CodecError(f"it is of version {version} of the format; albums of small pictures have {ALBUM_VERSION}")
    present = len(data) - OVERHEAD
    if length != present:
        raise CodecError(f"its payload should have {length:,} bytes and has {present:,}: it is cut off, or damaged")
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CodecError("its checksum is wrong: the file is damaged")
    if count > MAX_PICTURES:
        raise CodecError(f"it says that it holds {count:,} pictures, wanted at most {MAX_PICTURES:,}")
    return Album(fingerprint, count, data[_HEADER.size : -_CRC.size])


def pack_alone(fingerprint: bytes, payload: bytes) -> bytes:
    """Return the bytes of the file of one picture."""
    return KIND + _check(fingerprint, payload) + payload


def unpack_alone(data: bytes, fingerprint: bytes) -> bytes:
    """Return the payload of the file of one picture, made with the model of that fingerprint.

    Raises:
        CodecError: it is no such file, or it is damaged or of another model.
    """
    if data[:1] != KIND:
        raise CodecError("it is no file of a small picture: it does not begin as one")
    if not OVERHEAD_ALONE <= len(data) <= MAX_ALONE:
        raise CodecError(f"it has {len(data):,} bytes, wanted {OVERHEAD_ALONE} to {MAX_ALONE:,}")
    payload = data[OVERHEAD_ALONE:]
    if _check(fingerprint, payload) != data[1:OVERHEAD_ALONE]:
        raise CodecError("its check is wrong: the file is damaged, or was made with another model")
    return payload


def _check(fingerprint: bytes, payload: bytes) -> bytes:
    return zlib.crc32(fingerprint + KIND + payload).to_bytes(4, "little")[:CHECK_BYTES]
