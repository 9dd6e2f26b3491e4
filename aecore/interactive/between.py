"""`walk`: on a straight line in code space from one image to another, beside the mixture of their pixels."""

from __future__ import annotations

import functools
from itertools import combinations

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..runs import Run
from . import live, stills
from .coder import Coder, finite, names_of, one_of_each
from .page import Figure, write
from .sheet import MAX_BYTES, data_uri, fitted, png, sheet, to_bytes

_STEPS = (5, 7, 9, 11, 13)


def walk(
    model: nn.Module | Run,
    images: Images,
    *,
    count: int = 10,
    start: int = 0,
    end: int = 1,
    alt: str | None = None,
    caption: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Figure:
    """Return a figure in which the reader walks from one image to another.

    At the share t of the way from the code a to the code b it shows the picture decoded from (1 − t) a + t b, and below
    it, for comparison, (1 − t) times the pixels of the first image plus t times those of the second.

    Args:
        model: an autoencoder, or its run.
        images: of shape (N, C, H, W); the reader chooses among up to `count` of them, one of each class where there
            are more. Large images need a small count, since each two of them have pictures of their own.
        count: how many images to choose from, at least 2.
        start, end: positions among these, for the first walk.
        alt: what the figure shows, for those who do not see it; made from the first walk where none is given.
        caption: what stands below the figure.
        max_bytes: what the figure's HTML may have. The walks get as many steps as fit, and where even five do not, the
            pictures are halved.

    Raises:
        TypeError: `model` is no autoencoder, or `images` are no `Images`.
        ValueError: the shapes do not fit, there are fewer than two images, a position is none of theirs, or max_bytes
            is too small.
    """
    coder = Coder(model, images)
    if not isinstance(count, int) or count < 2:
        raise ValueError(f"count: wanted at least 2 images to walk between, got {count!r}")
    ends = one_of_each(images, count)
    _check_ends(ends, start, end)
    codes = finite(coder.encode(ends))
    names = names_of(ends)
    alt = alt or (
        f"Two rows of images from {names[start]} to {names[end]}: above decoded from codes on a straight line "
        "between theirs, below with their pixels mixed."
    )

    still = functools.cache(lambda shrink: _still(coder, codes, ends, (start, end), shrink))

    def build(steps: int, shrink: int) -> str:
        decoded = to_bytes(coder.decode(torch.cat([codes, _between(codes, steps)])), shrink)
        original = to_bytes(ends.floats(), shrink)
        data = _data(names, decoded, original, steps, (start, end))
        return write(data, still(shrink), alt, caption)

    return Figure(fitted(build, _STEPS, max_bytes), alt, lambda: live.panel(coder, images))


def _check_ends(ends: Images, start: int, end: int) -> None:
    if len(ends) < 2:
        raise ValueError(f"images: wanted at least two to walk between, got {len(ends)}; one of each class is taken")
    for name, place in (("start", start), ("end", end)):
        if place not in range(len(ends)):
            raise ValueError(f"{name}: wanted a position from 0 to {len(ends) - 1}, got {place!r}")


def _between(codes: Tensor, steps: int) -> Tensor:
    """Return the codes strictly between each two codes, pairs in the order (0, 1), (0, 2), …, (1, 2), …"""
    shares = torch.linspace(0, 1, steps)[1:-1, None]
    return torch.cat([torch.lerp(codes[a], codes[b], shares) for a, b in combinations(range(len(codes)), 2)])


def _data(names: list[str], decoded: Tensor, original: Tensor, steps: int, first: tuple[int, int]) -> dict:
    """Return what figure.js needs: on the sheet stand the decoded ends, the ends themselves, what lies between."""
    count = len(names)
    whole, columns = sheet(torch.cat([decoded[:count], original, decoded[count:]]))
    return {
        "kind": "walk",
        "title": "Walk from one image to another",
        "hint": "Choose two images and move the slider. Left and in the upper row the two codes are mixed and decoded; "
        "right and in the lower row, for comparison, the pixels are mixed.",
        "sheet": data_uri(png(whole)),
        "columns": columns,
        "width": original.shape[3],
        "height": original.shape[2],
        "names": names,
        "steps": steps,
        "start": first[0],
        "end": first[1],
    }


def _still(coder: Coder, codes: Tensor, ends: Images, first: tuple[int, int], shrink: int) -> str:
    """Return the still picture: eleven steps of the first walk, codes mixed above, pixels below."""
    shares = torch.linspace(0, 1, 11)
    a, b = first
    mixed = coder.decode(torch.lerp(codes[a], codes[b], shares[:, None]))
    x = ends.floats()
    faded = torch.lerp(x[a], x[b], shares[:, None, None, None])
    pictures = {
        "codes mixed, then decoded": to_bytes(mixed, shrink),
        "pixels mixed": to_bytes(faded, shrink),
    }
    return stills.rows(pictures, [f"{share:.0%}" for share in shares.tolist()], "share of the second image")
