"""Starts a worker for each contestant, makes sure that they do the same work, times them in turn."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import aecore as ae
from aecore import machine
from aecore.models import init_weights

from . import environment
from .cases import BATCH_SIZE, CASES, LR, SEED, Case, check_tasks
from .contestants import CONTESTANTS, FLOOR, Contestant
from .worker import Spec

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "benchmarks.worker")
REPETITIONS = 11
QUICK_REPETITIONS = 2
# How far apart two trainings may end, as a share of the way from the first weights. Not weight by weight: Adam makes a
# whole step of a gradient that is nothing but rounding, and on a busy machine a library may add in another order.
SAME_WAY = 0.01
# bfloat16 keeps 8 bits of a number. After three steps it stood within 0.13 of the way from where float32 did, and one
# step fewer is a third of the way; after more steps the two lose sight of each other.
SAME_WAY_ROUNDED = 0.25


class OtherWork(RuntimeError):
    """A contestant does not do the work of the others, so its time would mean nothing."""


class WorkerFailed(RuntimeError):
    """The process of a contestant ended without an answer; the message holds what it last said."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Args:
        cases, contestants: names; all of them where it counts.
        repetitions: rounds, in each of which each contestant trains once, a slow one in some (`Contestant.every`).
        quick: a smoke test: so few images that its numbers mean nothing.
    """

    cases: tuple[str, ...] = tuple(CASES)
    contestants: tuple[str, ...] = tuple(CONTESTANTS)
    repetitions: int = REPETITIONS
    quick: bool = False

    def __post_init__(self) -> None:
        for name, known in (("cases", CASES), ("contestants", CONTESTANTS)):
            if unknown := [one for one in getattr(self, name) if one not in known]:
                raise ValueError(f"{name}: wanted some of {', '.join(map(repr, known))}, got {unknown[0]!r}")
        if FLOOR not in self.contestants:
            raise ValueError(f"contestants: wanted {FLOOR!r} among them, got {list(self.contestants)}")
        if self.repetitions < 1:
            raise ValueError(f"repetitions: wanted at least 1, got {self.repetitions}")

    @property
    def is_whole(self) -> bool:
        """Whether the results may be published: every case, every contestant, full size."""
        return not self.quick and set(self.cases) == set(CASES) and set(self.contestants) == set(CONTESTANTS)


class Worker:
    """The process of one contestant; in a `with` statement, so that it ends with it."""

    def __init__(self, spec: Spec) -> None:
        self.name = spec.contestant
        with contextlib.ExitStack() as stack:
            # A file, because a pipe that nobody reads would fill up and stop the worker.
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                [*COMMAND, spec.as_text()], cwd=ROOT, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._errors, text=True, encoding="utf-8",
            )  # fmt: skip
            self._open = stack.pop_all()

    def __enter__(self) -> Worker:
        try:
            self._answer()
        except BaseException:
            self._end(at_once=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error) -> None:
        self._end(at_once=kind is not None)

    def train(self) -> dict:
        """Let it train once and return its answer."""
        with contextlib.suppress(BrokenPipeError):  # where it has ended, reading says why
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip()[-2000:]
            raise WorkerFailed(f"{self.name}: its process ended with status {status}; it last said:\n{said}")
        return json.loads(line)

    def _end(self, at_once: bool) -> None:
        if at_once:
            self._process.terminate()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # which ends its waiting
        self._process.wait()
        self._process.stdout.close()
        self._open.close()


def measure(settings: Settings, tell: Callable[[str], None] = print) -> dict:
    """Return the results of all cases with the machine, the versions and the settings, ready for JSON.

    Raises:
        OtherWork: a contestant does not end its check trainings with the weights of the bare step.
        WorkerFailed: a contestant's process broke down.
    """
    facts = environment.facts()
    tell(f"on {facts['name']}")
    return {
        "quick": settings.quick,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": facts,
        "versions": environment.versions(),
        "settings": {"batch_size": BATCH_SIZE, "lr": LR, "seed": SEED, "repetitions": settings.repetitions},
        "cases": {name: measure_case(CASES[name], settings, tell) for name in settings.cases},
    }


def measure_case(case: Case, settings: Settings, tell: Callable[[str], None] = print) -> dict:
    """Return one case: its size, every repetition of every contestant, and why others could not take part."""
    chosen = [CONTESTANTS[name] for name in settings.contestants if CONTESTANTS[name].suits(case)]
    left_out = {one.name: why for one in chosen if (why := one.hindrance(machine.device()))}
    for name, why in left_out.items():
        tell(f"{case.name}: {name} is left out, {why}")
    whole = (case.images_on(machine.device()), case.epochs)
    images, epochs = (case.quick_images, 1) if settings.quick else whole
    present = [one for one in chosen if one.name not in left_out]
    answers = _rounds(case, present, images, epochs, settings.repetitions, tell)
    summary = ae.summary(case.build())
    return {
        "title": case.title,
        "macs": summary.macs,
        "weights": summary.params,
        "images": images,
        "epochs": epochs,
        "contestants": {name: _gathered(given) for name, given in answers.items()},
        "left_out": left_out,
    }


def _rounds(
    case: Case, contestants: list[Contestant], images: int, epochs: int, repetitions: int, tell: Callable[[str], None]
) -> dict[str, list[dict | None]]:
    """Return the answers of each contestant, one for each round; None where it did not take part."""
    answers: dict[str, list[dict | None]] = {one.name: [] for one in contestants}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = []
        for number, one in enumerate(contestants):
            weights = folder / str(number)
            weights.mkdir()
            spec = Spec(case.name, one.name, images, epochs, BATCH_SIZE, str(weights))
            tell(f"{case.name}: {one.name} gets ready")
            workers.append(stack.enter_context(Worker(spec)))
        check_same_work(case, {one: folder / str(number) for number, one in enumerate(contestants)})
        for round_ in range(repetitions):
            for worker in in_turn(workers, round_):
                takes_part = round_ % CONTESTANTS[worker.name].every == 0
                answers[worker.name].append(worker.train() if takes_part else None)
            tell(f"{case.name}: round {round_ + 1} of {repetitions}")
    return answers


def in_turn(workers: list, round_: int) -> list:
    """Return the workers in the order of a round.

    Each round begins with another one, so that a machine that grows slower does so for all. And the order zigzags
    (first, last, second, last but one, …) before it is shifted, so that neighbours change: plain rotation would let the
    same contestant always run after the one that leaves the machine busiest (Williams, 1949).
    """
    count = len(workers)
    zigzag = [place // 2 if place % 2 == 0 else count - 1 - place // 2 for place in range(count)]
    return [workers[(place + round_) % count] for place in zigzag]


def check_same_work(case: Case, folders: dict[Contestant, Path]) -> None:
    """Refuse contestants whose check trainings do not end with the weights of the bare step.

    Args:
        case: the model that was trained.
        folders: where each contestant's worker stored its weights.

    Raises:
        OtherWork: the message names the contestant and how far off it is.
    """
    device = machine.device()
    floor = next(folder for one, folder in folders.items() if one.name == FLOOR)
    model = case.build()
    init_weights(model, SEED)
    start = flat(model.state_dict())
    for number, task in enumerate(check_tasks(case, device)):
        file = f"{number}.safetensors"
        wanted = flat(load_file(floor / file))
        for one, folder in folders.items():
            if number > 0 and not one.exact:
                continue
            found = flat(load_file(folder / file))
            limit = SAME_WAY if one.exact else SAME_WAY_ROUNDED
            off = share_of_way(found, wanted, start)
            if not off <= limit:
                raise OtherWork(
                    f"{one.name}: after {task.steps} steps of {case.name} it is {off:.2g} of the way from where the "
                    f"bare step ends, wanted at most {limit:g}. It does other work, so nothing was timed."
                )


def share_of_way(found: Tensor, wanted: Tensor, start: Tensor) -> float:
    """Return how far apart two models ended, over the way that the second has come from its first weights."""
    return ((found - wanted).norm() / (wanted - start).norm()).item()


def flat(weights: dict[str, Tensor]) -> Tensor:
    """Return all weights in one row, in the order of their names."""
    return torch.cat([weights[name].detach().cpu().flatten() for name in sorted(weights)])


def _gathered(answers: list[dict | None]) -> dict:
    """Return the seconds of each repetition, None where it did not take part, and the peaks of memory over all."""
    there = [one for one in answers if one is not None]
    return {
        "seconds": [None if one is None else round(one["seconds"], 6) for one in answers],
        "memory_mb": _highest([one["memory_mb"] for one in there]),
        "gpu_memory_mb": _highest([one["gpu_memory_mb"] for one in there]),
    }


def _highest(values: list[float | None]) -> float | None:
    return None if None in values else round(max(values), 1)


def _environment() -> dict[str, str]:
    """Return the environment of a worker: the full profile, no bars, and none of a reader's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AECORE_")}
    return {**kept, "AECORE_PROFILE": "full", "AECORE_PROGRESS": "0"}
