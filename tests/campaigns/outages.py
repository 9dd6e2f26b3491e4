"""Trainings whose disk is full, whose folder cannot be written, or which are told to end; each in a process of its own.

    python tests/campaigns/outages.py file-limit sigterm kills
    unshare -rm python tests/campaigns/outages.py small-disk read-only     # these mount a small file system

Prints as JSON what each of them did; "kills" is a short campaign of kills.py. tests/core/test_outages.py starts it and
says what is wanted. PyTorch is imported once: all else happens in forked processes.
"""

# ruff: noqa: E402  (what torch is told by the environment has to be said before it is imported)
from __future__ import annotations

import os

# One thread, so that this process can be forked safely; it never trains itself, its children do.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", AECORE_PROFILE="full", AECORE_PROGRESS="0")
for _name in ("AECORE_RETRAIN", "AECORE_JOURNAL"):
    os.environ.pop(_name, None)

import contextlib
import dataclasses
import hashlib
import json
import logging
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import kills
import tiny

from aecore import config, experiment
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.runs import store
from aecore.training import Plan

# 16×16 pixels and a code of 8: weights of 17 kB. A checkpoint holds them and Adam's two means: 51 kB.
PLAN = Plan(epochs=2, batch_size=10)  # of 24 images: three steps in an epoch


class Lines(logging.Handler):
    """Keeps what is said to the reader."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def trained(home: Path, on_step: Callable[[int], None], seconds: str) -> dict:
    """Train a run with a name; return what came of it, in words that JSON knows."""
    os.environ.update(AECORE_RUNS=str(home), AECORE_CHECKPOINT_SECONDS=seconds)
    said, steps = Lines(), []
    config.log.addHandler(said)
    config.log.setLevel(logging.INFO)
    config.log.propagate = False
    experiment._Progress.step = lambda self, done: steps.append(done) or on_step(done)
    model = LinearAutoencoder((1, 16, 16), 8)
    try:
        fit(model, tiny.splits(24, 16), PLAN, name="mine")
        error = None
    except OSError as found:
        error = str(found)
    values = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return {"error": error, "weights": hashlib.sha256(values).hexdigest(), "said": said.lines, "steps": steps}


def child(
    home: Path,
    before: Callable[[], None] = lambda: None,
    on_step: Callable[[int], None] = lambda step: None,
    seconds: str = "0",
) -> dict:
    """Train in a forked process; return what it did, how it ended, and the files that are there then.

    It reports through a pipe, which no limit and no full disk can stop.
    """
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        try:
            before()
            os.write(writing, json.dumps(trained(home, on_step, seconds)).encode())
            os._exit(0)
        except BaseException as error:  # whatever it is, the test will show it
            os.write(writing, json.dumps({"error": repr(error)}).encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    _, status = os.waitpid(number, 0)
    # The lock file of a process that was ended by a signal stays, and holds nobody up.
    found = [path for path in home.rglob("*") if path.is_file() and path.name != ".lock"]
    there = sorted(path.relative_to(home).as_posix().partition("/")[2] for path in found)
    return {"status": os.waitstatus_to_exitcode(status), "files": there, **(json.loads(answer) if answer else {})}


def no_file_longer_than(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Mount a file system of so many bytes; what is yielded makes it read-only."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", folder], check=True)

    def close() -> None:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)

    try:
        yield close
    finally:
        subprocess.run(["umount", folder], check=True)


def file_limit(folder: Path) -> dict:
    """A limit on the length of files acts like a disk that is full, and needs no rights: errno says EFBIG."""
    return {
        "nothing fits": child(folder / "none", no_file_longer_than(8000)),
        "then there is room": child(folder / "none"),
        "only weights fit": child(folder / "weights", no_file_longer_than(30_000)),
    }


def sigterm(folder: Path) -> dict:
    def told(step: int) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGTERM)

    return {"told to end": child(folder / "a", on_step=told, seconds="3600"), "again": child(folder / "a")}


def small_disk(folder: Path) -> dict:
    answers = {}
    with mounted(folder / "tiny", 12_000):
        answers["nothing fits"] = child(folder / "tiny")
    with mounted(folder / "small", 80_000):
        answers["one checkpoint fits"] = child(folder / "small")
    return answers


def without_lock() -> None:
    """Keep no file open: a disk that fails becomes read-only nevertheless, but the command that plays it refuses."""
    store.training_lock = lambda *args, **options: contextlib.nullcontext(True)


def read_only(folder: Path) -> dict:
    answers = {}
    with mounted(folder / "late", 10**7) as close:
        answers["from the fourth step on"] = child(
            folder / "late", without_lock, on_step=lambda step: close() if step == 4 else None
        )
        answers["from the beginning"] = child(folder / "late")
    return answers


def short_campaign(folder: Path) -> dict:
    tallies = kills.campaign(kills=5, each=0, every=40, seed=1, folder=folder)
    return {what: dataclasses.asdict(tally) for what, tally in tallies.items()}


SCENES = {
    "file-limit": file_limit, "sigterm": sigterm, "small-disk": small_disk, "read-only": read_only,
    "kills": short_campaign,
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        answers = {"undisturbed": child(Path(folder) / "undisturbed", seconds="3600")}
        for name in sys.argv[1:]:
            place = Path(folder) / name
            place.mkdir()
            answers[name] = SCENES[name](place)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
