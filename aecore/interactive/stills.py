"""The still picture: what a reader sees where no script runs, such as in a preview or in print."""

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
    """Return rows of pictures, each under its name, as a data URI.

    Args:
        named: for each name pictures (N, C, H, W) of bytes; N may differ between the rows.
        below: words under the pictures of the last row, or none.
        xlabel: what these words are.
    """
    count = max(map(len, named.values()))
    height, width = next(iter(named.values())).shape[2:]
    cell = min(0.4 * _WIDTH, (_WIDTH - (count + 1) * _GAP) / count)
    tall = cell * height / width
    page = _Page(len(named) * (_LINE + tall + _GAP) + (bool(below) + bool(xlabel)) * _LINE + _GAP)
    top = 0.0
    for name, pictures in named.items():
        page.text(_GAP, top + _LINE / 2, name, fontsize=9)
        top += _LINE
        for i, picture in enumerate(pictures):
            left = _GAP + i * (cell + _GAP)
            page.picture(picture, (left, left + cell, top + tall, top))
        top += tall + _GAP
    for i, words in enumerate(below):
        page.text(_GAP + i * (cell + _GAP) + cell / 2, top + _LINE / 2, words, fontsize=8, ha="center")
    page.text(_WIDTH / 2, top + 1.5 * _LINE, xlabel, fontsize=9, ha="center")
    return data_uri(png(page.pixels()))


class _Page:
    """White paper, `height` pixels high; places are in pixels from its upper left corner."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, layout="none", facecolor="white")
        # One pair of axes for all pictures, with pixels as its unit: a pair for each would take ten times as long.
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set_axis_off()
        self.limits = {"xlim": (0, _WIDTH), "ylim": (height, 0)}

    def text(self, x: float, y: float, words: str, fontsize: int, ha: str = "left") -> None:
        self.axis.text(x, y, words, fontsize=fontsize, ha=ha, va="center", clip_on=True)

    def picture(self, picture: Tensor, extent: tuple[float, float, float, float]) -> None:
        look = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest", "aspect": "auto"}
        self.axis.imshow(picture.permute(1, 2, 0).squeeze(2).numpy(), extent=extent, **look)

    def pixels(self) -> Tensor:
        """Return the page as bytes (C, H, W), grey where it has no colour: that takes half as many bytes."""
        self.axis.set(**self.limits)  # last, since each picture moves them
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        pixels = torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
        return pixels[:1] if bool((pixels == pixels[:1]).all()) else pixels
