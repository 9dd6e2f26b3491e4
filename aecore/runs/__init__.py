"""Runs: what was trained and measured, when two of them are the same, and where they lie."""

from .describe import code_of, describe
from .measured import Entry, Measured
from .run import NoWeights, Run, WeightsNotPublished
from .store import DamagedRun, data_of_page, find, load, own_folder, publish, published, save

__all__ = [
    "DamagedRun",
    "Entry",
    "Measured",
    "NoWeights",
    "Run",
    "WeightsNotPublished",
    "code_of",
    "data_of_page",
    "describe",
    "find",
    "load",
    "own_folder",
    "publish",
    "published",
    "save",
]
