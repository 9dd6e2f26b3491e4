"""`setup`: the first line of every chapter."""

from __future__ import annotations

import random

import matplotlib.pyplot as plt
import torch

from . import config, journal, machine, runs

PLOT_STYLE = {
    "figure.dpi": 110,
    "figure.figsize": (7.0, 3.2),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "legend.frameon": False,
    # Okabe and Ito's colours: told apart by people with any common colour vision.
    "axes.prop_cycle": "cycler('color', ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000'])",
}


def setup(chapter: str) -> None:
    """Begin a chapter: seed the random generators, set the plot style, say in one line what runs where.

    Args:
        chapter: its number as in the file name, "01".

    Raises:
        TypeError: it is no text.
    """
    if not isinstance(chapter, str):
        raise TypeError(f"chapter: wanted its number as in the file name, such as '02', got {chapter!r}")
    random.seed(0)
    torch.manual_seed(0)
    journal.begin(runs.data_of_page(chapter))
    plt.rcParams.update(PLOT_STYLE)
    config.speak()
    where = f"{machine.description()} · {machine.versions_line()}"
    config.log.info(f"chapter {chapter} · {config.profile()} profile · {where}")
