"""The still pictures: what a reader sees where no script runs, such as in a preview or in print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from .sprite import data_uri, png

_WIDTH = 640  # pixels of the whole picture
_DPI = 100
_GAP = 5
_LINE = 20  # height of a line of words


def rows(named: Mapping[str, Tensor], below: Sequence[str] = (), xlabel: str = "") -> str:
    """Return rows of pictures, each under its name, as an address.

    Args:
        named: for each name pictures (N, C, H, W) of bytes; N may differ between the rows.
        below: words under the pictures of the last row, or none.
        xlabel: what these words are.
    """
    count = max(map(len, named.values()))
    height, width = next(iter(named.values())).shape[2:]
    cell = min(2 * _WIDTH / 5, (_WIDTH - (count + 1) * _GAP) / count)
    tall = cell * height / width
    page = _Page(_WIDTH, len(named) * (_LINE + tall + _GAP) + (bool(below) + bool(xlabel)) * _LINE + _GAP)
    top = 0.0
    for name, pictures in named.items():
        page.words(_GAP, top + _LINE / 2, name, 9, ha="left")
        top += _LINE
        for i, picture in enumerate(pictures):
            page.picture(_GAP + i * (cell + _GAP), top, cell, tall, picture)
        top += tall + _GAP
    for i, words in enumerate(below):
        page.words(_GAP + i * (cell + _GAP) + cell / 2, top + _LINE / 2, words, 8)
    if xlabel:
        page.words(_WIDTH / 2, top + 1.5 * _LINE, xlabel, 9)
    return page.address()


def plane(pictures: Tensor, values: tuple[Sequence[str], Sequence[str]], names: tuple[str, str]) -> str:
    """Return pictures on a grid of two code values, as an address.

    Args:
        pictures: bytes of shape (rows · columns, C, H, W), the second value's smallest first.
        values: in words, of the columns and of the rows.
        names: of the two values.
    """
    columns, lines = len(values[0]), len(values[1])
    left, gap = 75, 2
    cell = 0.75 * _WIDTH / columns
    tall = cell * pictures.shape[2] / pictures.shape[3]
    page = _Page(left + columns * cell + _GAP, lines * tall + 2 * _LINE + _GAP)
    for i, picture in enumerate(pictures):
        x, y = left + i % columns * cell, _GAP + (lines - 1 - i // columns) * tall
        page.picture(x, y, cell - gap, tall - gap, picture)
    for i, words in enumerate(values[0]):
        page.words(left + (i + 0.5) * cell, _GAP + lines * tall + _LINE / 2, words, 8)
    for i, words in enumerate(values[1]):
        page.words(left - 6, _GAP + (lines - 0.5 - i) * tall, words, 8, ha="right")
    page.words(left + columns * cell / 2, _GAP + lines * tall + 1.5 * _LINE, names[0], 9)
    page.words(12, lines * tall / 2, names[1], 9, rotation=90)
    return page.address()


class _Page:
    """White paper of so many pixels; places count from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="none", facecolor="white")
        # One pair of axes for all pictures, with pixels as its unit: a pair for each would take ten times as long.
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set_axis_off()
        self.limits = {"xlim": (0, width), "ylim": (height, 0)}

    def picture(self, x: float, y: float, width: float, height: float, picture: Tensor) -> None:
        pixels = picture.permute(1, 2, 0).squeeze(2).numpy()
        self.axis.imshow(
            pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto",
            extent=(x, x + width, y + height, y),
        )  # fmt: skip

    def words(self, x: float, y: float, words: str, size: float, ha: str = "center", rotation: float = 0) -> None:
        self.axis.text(x, y, words, fontsize=size, ha=ha, va="center", rotation=rotation)

    def address(self) -> str:
        self.axis.set(**self.limits)  # last, since each picture moves them
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        paper = torch.from_numpy(np.array(canvas.buffer_rgba()))[..., :3].permute(2, 0, 1)
        is_grey = bool((paper == paper[:1]).all())
        return data_uri(png(paper[:1] if is_grey else paper))  # one channel takes half the bytes of three
