"""Pictures as bytes: many of them side by side in one PNG, small enough for a page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

# What one figure may add to a page or a notebook.
MAX_BYTES = 400_000
# Pictures are halved, and halved again, only where even the coarsest grid of them is too much.
_SHRINKS = (1, 2, 4)


def to_bytes(images: Tensor, shrink: int = 1) -> Tensor:
    """Return images (N, C, H, W) in [0, 1] as uint8, rounded; what lies outside becomes 0 or 255.

    Args:
        images: floats.
        shrink: the mean over so many pixels in each direction becomes one.
    """
    images = images.detach().clamp(0, 1)
    if shrink > 1:
        size = [max(1, edge // shrink) for edge in images.shape[2:]]
        images = functional.interpolate(images, size=size, mode="area")
    return (images * 255).round().to(torch.uint8)


def sheet(pictures: Tensor) -> tuple[Tensor, int]:
    """Return one picture (C, rows · H, columns · W) that holds all of them, row by row, and the number of columns."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    blank = pictures.new_zeros(rows * columns - len(pictures), *pictures.shape[1:])
    grid = torch.cat([pictures, blank]).unflatten(0, (rows, columns))
    return grid.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2), columns


def png(picture: Tensor) -> bytes:
    """Return a picture (C, H, W) of bytes, grey or colour, as a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).squeeze(2).contiguous().numpy()).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(content: bytes) -> str:
    """Return a PNG file as an address that holds all of it."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def fitted(build: Callable[[int, int], str], counts: Sequence[int], max_bytes: int) -> str:
    """Return the finest page that is small enough.

    Args:
        build: makes the page from a number of steps and a factor to shrink its pictures by.
        counts: numbers of steps, rising; the largest that fits is taken.
        max_bytes: what the page may have.

    Raises:
        ValueError: even the coarsest page is too large.
    """
    page = ""
    for shrink in _SHRINKS:
        low, high = 0, len(counts) - 1
        page = build(counts[high], shrink)
        if size(page) <= max_bytes:
            return page
        best = None
        while low < high:  # counts[high] is too large; look below it
            middle = (low + high) // 2
            page = build(counts[middle], shrink)
            if size(page) <= max_bytes:
                best, low = page, middle + 1
            else:
                high = middle
        if best is not None:
            return best
    raise ValueError(
        f"max_bytes: the smallest figure of these images has {size(page):,} bytes, more than {max_bytes:,}. "
        "Give fewer or smaller images, or allow more bytes."
    )


def size(page: str) -> int:
    """Return how many bytes a page has."""
    return len(page.encode())
