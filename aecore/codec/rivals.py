"""The codecs to compare with, at their best settings: files of a picture by JPEG, WebP, AVIF and JPEG 2000 (Pillow)."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

# Slow and thorough: JPEG with Huffman tables made for the picture, WebP with the longest search, AVIF at speed 2 of 0
# to 10 (0 takes three times as long for 1 % fewer bytes), JPEG 2000 with wavelets that are not lossless, and with its
# colour transform, which Pillow leaves out unless it is told.
_SETTINGS: dict[str, tuple[str, Callable[[float], dict]]] = {
    "jpeg": ("JPEG", lambda quality: {"quality": round(quality), "optimize": True, "subsampling": "4:2:0"}),
    "jpeg 4:4:4": ("JPEG", lambda quality: {"quality": round(quality), "optimize": True, "subsampling": "4:4:4"}),
    "webp": ("WEBP", lambda quality: {"quality": quality, "method": 6}),
    "avif": ("AVIF", lambda quality: {"quality": round(quality), "speed": 2, "subsampling": "4:2:0"}),
    "jpeg 2000": (
        "JPEG2000",
        lambda ratio: {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1},
    ),
}
NAMES = tuple(_SETTINGS)


def encode(name: str, pixels: np.ndarray, quality: float) -> bytes:
    """Return the file of a picture.

    Args:
        name: in `NAMES`.
        pixels: uint8 of shape (H, W, 3), or (H, W) for a grey picture.
        quality: 0 to 100, as the codec counts; of "jpeg 2000" how many times smaller than the pixels the file is.

    Raises:
        ValueError: no codec has that name, Pillow here has not got it, or these are no pixels.
    """
    from PIL import Image, features

    if name not in _SETTINGS:
        raise ValueError(f"name: unknown codec {name!r}. Known: {', '.join(NAMES)}.")
    kind, options = _SETTINGS[name]
    feature = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind)
    if feature and not features.check(feature):
        raise ValueError(f"name: Pillow was built without {kind} here")
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"pixels: wanted uint8 of shape (H, W, 3) or (H, W), got {pixels.dtype} of {pixels.shape}")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options(quality))
    return out.getvalue()


def of_size(name: str, pixels: np.ndarray, size: int) -> bytes:
    """Return the largest file of a picture that has at most `size` bytes, or the smallest where none is so small.

    Args:
        name: "jpeg", "jpeg 4:4:4", "webp" or "avif", whose files grow with the quality.
        pixels: as for `encode`.
        size: in bytes.

    Raises:
        ValueError: as for `encode`, or the codec is "jpeg 2000".
    """
    if name == "jpeg 2000":
        raise ValueError("name: wanted a codec with qualities from 0 to 100; that of jpeg 2000 is a ratio")
    best, low, high = encode(name, pixels, 1), 2, 100
    while low <= high:
        middle = (low + high) // 2
        file = encode(name, pixels, middle)
        if len(file) <= size:
            best, low = file, middle + 1
        else:
            high = middle - 1
    return best


def decode(file: bytes, grey: bool = False) -> np.ndarray:
    """Return the pixels of such a file: uint8 of shape (H, W, 3), or (H, W) where `grey` says so."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as picture:
        return np.array(picture.convert("L" if grey else "RGB"))
