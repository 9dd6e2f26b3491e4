"""What the environment says: the profile, the folders, and the log through which aecore speaks.

A profile changes the data (`aecore.data`) and the size of a plan (`aecore.experiment`) and nothing else:
`quick` is the built-in sample and a training of moments, `full` (the default) is the real data and the
settings that the text names. The environment variable `AECORE_PROFILE` chooses.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path

from . import distributed

PROFILES = ("quick", "full")

# Every line that aecore says to a reader goes through this logger; `speak` gives it a voice.
log = logging.getLogger("aecore")


def profile() -> str:
    """Return the profile in force, "quick" or "full".

    Raises:
        ValueError: `AECORE_PROFILE` holds another word.
    """
    name = os.environ.get("AECORE_PROFILE", "full").strip().lower() or "full"
    if name not in PROFILES:
        raise ValueError(f"AECORE_PROFILE: wanted 'quick' (built-in sample) or 'full' (real data), got {name!r}")
    return name


def data_root() -> Path:
    """Return the folder of all data: `$AECORE_DATA`, or `~/.cache/aecore`."""
    return _folder("AECORE_DATA", "~/.cache/aecore")


def runs_root() -> Path:
    """Return the folder of one's own runs: `$AECORE_RUNS`, or `~/.cache/aecore/runs`."""
    return _folder("AECORE_RUNS", "~/.cache/aecore/runs")


def retrain() -> bool:
    """Whether `AECORE_RETRAIN` asks for every training to be done here and now."""
    return os.environ.get("AECORE_RETRAIN", "0") not in ("", "0")


def shows_progress() -> bool:
    """Whether trainings show a progress bar: not with `AECORE_PROGRESS=0`, and of several processes only rank 0's."""
    return os.environ.get("AECORE_PROGRESS") != "0" and distributed.rank() == 0


def is_publishing() -> bool:
    """Whether a notebook runs for `aecore publish`, which then reads the journal that the page leaves."""
    return "AECORE_JOURNAL" in os.environ


def checkpoint_seconds() -> float:
    """Return the seconds between two checkpoints, from `AECORE_CHECKPOINT_SECONDS`.

    Raises:
        ValueError: it holds no number of at least 0.
    """
    given = os.environ.get("AECORE_CHECKPOINT_SECONDS", "60")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ValueError(f"AECORE_CHECKPOINT_SECONDS: wanted the seconds between two, such as 60, got {given!r}")
    return seconds


def speak() -> None:
    """Let aecore's one-line messages appear on standard output, once, without a prefix, and from rank 0 only."""
    log.setLevel(logging.INFO if distributed.rank() == 0 else logging.CRITICAL)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    # Made anew each time: a notebook replaces sys.stdout, and an old handler would write past it.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default).expanduser()
