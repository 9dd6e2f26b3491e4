"""Pictures as bytes: many of them in one PNG, the sprite, small enough for a page."""

from __future__ import annotations

import base64
import io
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

# What one figure may add to a page or a notebook.
MAX_BYTES = 400_000
# Pictures are halved, and halved again, only where even the fewest of them are too much.
_SHRINKS = (1, 2, 4)


def to_bytes(pictures: Tensor, shrink: int = 1) -> Tensor:
    """Return pictures (N, C, H, W) in [0, 1] as uint8, rounded; what lies outside becomes 0 or 255.

    Args:
        pictures: floats.
        shrink: the mean over so many pixels in each direction becomes one.
    """
    pictures = pictures.detach().clamp(0, 1)
    if shrink > 1:
        size = [max(1, pixels // shrink) for pixels in pictures.shape[2:]]
        pictures = functional.interpolate(pictures, size=size, mode="area")
    return (pictures * 255).round().to(torch.uint8)


def distinct(pictures: Tensor) -> tuple[Tensor, list[int]]:
    """Return each different picture of (N, C, H, W) once, and for each of the N its position among these."""
    found: dict[bytes, int] = {}
    index = [found.setdefault(picture.numpy().tobytes(), len(found)) for picture in pictures]
    return pictures[[index.index(i) for i in range(len(found))]], index


def sprite(pictures: Tensor) -> dict:
    """Return what figure.js needs to draw any of the pictures (N, C, H, W) of bytes: they stand row by row in a PNG."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    blank = pictures.new_zeros(rows * columns - len(pictures), *pictures.shape[1:])
    grid = torch.cat([pictures, blank]).unflatten(0, (rows, columns))  # (rows, columns, C, H, W)
    whole = grid.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    height, width = pictures.shape[2:]
    return {"sprite": data_uri(png(whole)), "columns": columns, "width": width, "height": height}


def png(picture: Tensor) -> bytes:
    """Return a picture (C, H, W) of bytes, grey or colour, as a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).squeeze(2).contiguous().numpy()).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(content: bytes) -> str:
    """Return a PNG file as an address that holds all of it."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def finest(page: Callable[[int, int], str], counts: Sequence[int], max_bytes: int) -> str:
    """Return the finest page that is small enough.

    Args:
        page: makes a page from one of `counts` and a factor to shrink its pictures by.
        counts: how many pictures the page may have, rising; the largest that fits is taken.
        max_bytes: what the page may have.

    Raises:
        ValueError: even the coarsest page is too large.
    """
    made = cache(page)
    for shrink in _SHRINKS:
        fitting = bisect_right(counts, max_bytes, key=lambda count: len(made(count, shrink).encode()))
        if fitting:
            return made(counts[fitting - 1], shrink)
    raise ValueError(
        f"max_bytes: the smallest figure of these images has {len(made(counts[0], shrink).encode()):,} bytes, "
        f"more than {max_bytes:,}. Give fewer or smaller images, or allow more bytes."
    )
