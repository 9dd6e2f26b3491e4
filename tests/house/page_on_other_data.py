"""Run a chapter's cells as a reader would whose data are not the page's: full profile, the built-in sample as data.

Prints a line of JSON: the names of the runs that were taken, those that would have been trained, the measurements that
another function of that name than the chapter's has made, and the cells that stopped, each as error and source. Used by
test_published.py, in a process of its own, since a notebook's classes and functions belong to `__main__`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys

import jupytext
import matplotlib as mpl
from IPython.core.interactiveshell import InteractiveShell
from torch.nn.functional import interpolate

mpl.use("Agg")
os.environ.update(AECORE_PROFILE="full", AECORE_PROGRESS="0")

from aecore import config, data, experiment, journal
from aecore.data import sources


def load(name: str, **options):
    """Return the sample in place of a set; photographs in the size that is asked for, as a reader's are."""
    os.environ["AECORE_PROFILE"] = "quick"
    try:
        found, size = sources.load(name, **options), options.get("size")
        return found if size is None else data.Splits(*(in_size(part, size) for part in vars(found).values()))
    finally:
        os.environ["AECORE_PROFILE"] = "full"


def in_size(images, size: int):
    """Return images of size×size pixels, of which most are repeated."""
    return dataclasses.replace(images, pixels=interpolate(images.pixels, size=(size, size), mode="nearest"))


def train(training, checkpoints):
    """Train a run without a name; of one with a name only take note."""
    if training.name is None:
        return trained(training, checkpoints)
    missing.append(training.name)
    raise RuntimeError(f"{training.name} was not found")


class Strangers(logging.Handler):
    """Notes whose number is shown though the chapter's function has changed since."""

    def emit(self, record):
        if "is not the page's function" in record.getMessage():
            strangers.append(record.getMessage().partition(" is not ")[0])


missing: list[str] = []
strangers: list[str] = []
config.log.addHandler(Strangers())
trained, experiment._train = experiment._train, train
data.load = load

shell = InteractiveShell.instance()
stopped = []
for cell in jupytext.read(sys.argv[1]).cells:
    if cell.cell_type == "code":
        result = shell.run_cell(cell.source)
        if not result.success:
            error = result.error_before_exec or result.error_in_exec
            stopped.append((type(error).__name__, cell.source))
taken = sorted({fact["name"] for fact in journal.entries() if fact["kind"] == "run" and fact["other_data"]})
print("\n" + json.dumps({"taken": taken, "missing": missing, "strangers": strangers, "stopped": stopped}))
