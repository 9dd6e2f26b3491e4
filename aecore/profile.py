"""The two profiles, the device, and the journal of what a chapter used.

A profile changes the data (`aecore.data`) and the size of a plan (`aecore.experiment`) and nothing else:
`quick` is the built-in sample and a training of moments, `full` (the default) is the real data and the
settings that the text names. The environment variable `AECORE_PROFILE` chooses.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import random
import sys
from pathlib import Path

from . import processes

PROFILES = ("quick", "full")

# Every line that aecore says to a reader goes through this logger; `setup` gives it a voice.
log = logging.getLogger("aecore")

_journal: list[dict] = []


def current() -> str:
    """Return the profile in force, "quick" or "full".

    Raises:
        ValueError: `AECORE_PROFILE` holds another word.
    """
    name = os.environ.get("AECORE_PROFILE", "full").strip().lower() or "full"
    if name not in PROFILES:
        raise ValueError(f"AECORE_PROFILE: wanted 'quick' (built-in sample) or 'full' (real data), got {name!r}")
    return name


def setup(chapter: str) -> None:
    """Begin a chapter: seed the random generators, set the plot style, say in one line what runs where.

    Args:
        chapter: its number as in the file name, "01".
    """
    import matplotlib.pyplot as plt
    import torch

    random.seed(0)
    torch.manual_seed(0)
    _journal.clear()
    plt.rcParams.update(PLOT_STYLE)
    speak()
    log.info(f"chapter {chapter} · {current()} profile · {machine()} · {versions_line()}")


def speak() -> None:
    """Let aecore's one-line messages appear on standard output, once, without a prefix, and from rank 0 only."""
    log.setLevel(logging.INFO if processes.rank() == 0 else logging.CRITICAL)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    # Made anew each time: a notebook replaces sys.stdout, and an old handler would write past it.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)


def device():
    """Return the fastest torch device at hand: CUDA, then Apple's MPS, then the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def machine() -> str:
    """Return what computes here, in words: a GPU's name, or the processor and the number of threads."""
    import torch

    if torch.cuda.is_available():
        return f"GPU {torch.cuda.get_device_name()}"
    if device().type == "mps":
        return "Apple GPU (MPS)"
    threads = torch.get_num_threads()
    return f"CPU {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}


def versions_line() -> str:
    """Return `versions()` as words: "Python 3.11.7 · torch 2.14.1"."""
    found = versions()
    return f"Python {found['python']} · torch {found['torch']}"


def record(kind: str, **facts) -> None:
    """Note a fact about this session ("data" loaded, "run" used), for the provenance of a page.

    With `AECORE_JOURNAL` set to a path the fact is appended to that file too, as a line of JSON:
    that is how `aecore publish` learns which runs a notebook used.
    """
    fact = {"kind": kind, **facts}
    if fact in _journal:
        return
    _journal.append(fact)
    if (path := os.environ.get("AECORE_JOURNAL")) and processes.rank() == 0:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fact, sort_keys=True) + "\n")


def journal() -> list[dict]:
    """Return the facts recorded since `setup`, oldest first."""
    return list(_journal)


def claim(what: str, value: float, low: float, high: float, *, timed: bool = False) -> float:
    """Check a number that the prose names: it must lie in [low, high] under the full profile.

    Under the quick profile, where a sample stands in for the data, the number only has to be finite. So does one
    that is `timed`, on every machine but the one that publishes the page: another may be faster or slower.

    Returns:
        The value, so that a cell can print it.

    Raises:
        AssertionError: the prose no longer matches the measurement.
    """
    value = float(value)
    binding = current() == "full" and ("AECORE_JOURNAL" in os.environ or not timed)
    inside = low <= value <= high if binding else math.isfinite(value)
    if not inside:
        raise AssertionError(f"{what} is {value:.6g}; the text says between {low:g} and {high:g}")
    return value


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
