"""Kill trainings without warning, as `kill -9` does, and see that each one ends as if nothing had happened.

    python tests/campaigns/kills.py                                   # make campaign: some minutes
    python tests/campaigns/kills.py --kills 0 --every 0 --each 20     # 20 kills for each objective, nothing else

Trainings of several kinds, and one for each objective, write a checkpoint after each step. Some of the kills come at
random moments, the others at each single call that writes, renames, flushes or removes a file: before it, after it, and
with half of the bytes written. After each kill every file that is there must be whole, and in the end weights, losses
and files must be those of a training that nobody disturbed, bit for bit. A short campaign is a scene of outages.py.
"""

# ruff: noqa: E402  (what torch is told by the environment has to be said before it is imported)
from __future__ import annotations

import os

# One thread, so that this process can be forked safely; it never trains itself, its children do.
os.environ.update(
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", AECORE_PROFILE="full", AECORE_PROGRESS="0"
)
for _name in ("AECORE_RETRAIN", "AECORE_JOURNAL"):
    os.environ.pop(_name, None)

import argparse
import hashlib
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import tiny
from torch import nn

from aecore import config
from aecore.experiment import fit
from aecore.models import Autoencoder, ConvAutoencoder, DenseAutoencoder, LinearAutoencoder
from aecore.objectives import Objective, Reconstruction
from aecore.runs import store
from aecore.training import Plan, loop

# A trial of what is faster may end otherwise each time, and then other numbers are right.
loop.chosen_precision = lambda model, objective, batch, plan: (plan.precision, None)


def with_dropout() -> Autoencoder:
    model = ConvAutoencoder((1, 8, 8), 8, width=4, any_size=True)
    model.encoder.append(nn.Dropout(0.2))
    return model


@dataclass(frozen=True)
class Kind:
    """A training of 24 images, in batches of 10, 10 and 4."""

    model: Callable[[], nn.Module]
    plan: Plan
    objective: Callable[[], Objective] = Reconstruction

    def train(self) -> None:
        fit(self.model(), tiny.splits(), self.plan, objective=self.objective(), name="killed")


ALL = Kind(
    with_dropout,
    Plan(
        9, 10, 1.0, schedule="cosine", patience=2, validate_every=2, sizes=((0, 4), (1, 8)), seed=3, flip=True,
        weight_decay=0.01, clip_norm=0.1, ema=0.5,
    ),
)  # fmt: skip
KINDS = {
    "all of a plan's settings": ALL,
    "constant rate": Kind(lambda: LinearAutoencoder((1, 8, 8), 4), Plan(6, 10)),
    "patience": Kind(lambda: DenseAutoencoder((1, 8, 8), 8, hidden=(12,)), Plan(12, 10, 0.03, patience=2)),
    "bfloat16": Kind(lambda: ConvAutoencoder((1, 8, 8), 8, width=4), Plan(6, 10, precision="bfloat16")),
}
OBJECTIVES = {name: Kind(case.model, Plan(4, 10), case.objective) for name, case in tiny.OBJECTIVES.items()}


def forked(home: Path, kind: Kind, before: Callable[[], None] = lambda: None, seconds: str = "0") -> int:
    """Train in a child process, under the runs' folder `home`; return the child's id."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ.update(AECORE_RUNS=str(home), AECORE_CHECKPOINT_SECONDS=seconds)
        config.log.addHandler(logging.NullHandler())
        config.log.propagate = False
        before()
        kind.train()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(child: int) -> bool:
    """Wait for a child; return whether it came to its end, False where it was killed.

    Raises:
        RuntimeError: it failed on its own.
    """
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status != 0:
        raise RuntimeError(f"a training failed by itself (status {status}); its own message stands above")
    return True


class Calls:
    """Counts the calls that touch files, and kills the process in one of them.

    Args:
        last: number of that call, from 1; None only counts.
        way: "before" it, "after" it, or with "half" of the bytes written where it writes.
    """

    PLACES = (
        (tempfile, "mkstemp"), (Path, "write_bytes"), (Path, "write_text"), (safetensors.torch, "save_file"),
        (os, "fsync"), (os, "replace"), (Path, "unlink"), (shutil, "rmtree"),
    )  # fmt: skip

    def __init__(self, last: int | None = None, way: str = "before", report: Path | None = None) -> None:
        self.last, self.way, self.report, self.count = last, way, report, 0

    def arm(self) -> None:
        for owner, name in self.PLACES:
            setattr(owner, name, self.watched(getattr(owner, name), name))

    def watched(self, call: Callable, name: str) -> Callable:
        def watching(*args, **options):
            self.count += 1
            if self.report:
                self.report.open("a").write(f"{name}\n")
            if self.count != self.last:
                return call(*args, **options)
            if self.way == "half" and name in ("write_bytes", "write_text", "save_file"):
                call(*args, **options)
                written = Path(args[1] if name == "save_file" else args[0])
                os.truncate(written, written.stat().st_size // 2)
            elif self.way == "after":
                call(*args, **options)
            return os.kill(os.getpid(), signal.SIGKILL)

        return watching


@dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    in_a_write: int = 0
    resumed: int = 0
    trainings: int = 0
    problems: list[str] = field(default_factory=list)

    def killed(self, home: Path, parts: set[str], where: str) -> None:
        """Count a kill; see that every file is whole."""
        self.kills += 1
        self.in_a_write += bool(parts_in(home) - parts)
        self.resumed += any(home.glob("*/checkpoints/[!.]*"))
        self.problems += [f"{where}: {words}" for words in damage_in(home)]

    def over(self, home: Path, wanted: dict, where: str) -> None:
        """Count a training that came to its end; see that it is the undisturbed one."""
        self.trainings += 1
        found = outcome(home)
        self.problems += [f"{where}: another {name} in the end" for name in wanted if found[name] != wanted[name]]
        if strays := set(found["list of files"]) ^ set(wanted["list of files"]):
            self.problems.append(f"{where}: too many or too few are {', '.join(sorted(strays))}")


def parts_in(home: Path) -> set[str]:
    return {path.name for path in home.rglob(".*.part")}


def damage_in(home: Path) -> list[str]:
    """Return what is wrong with the files that do not begin with a dot."""
    problems = []
    for path in sorted(home.rglob("[!.]*")):
        if path.is_dir():
            continue
        try:
            check(path)
        except Exception as error:  # whatever it is, it is written down
            problems.append(f"{path.relative_to(home)} cannot be used: {error}")
    return problems


def check(path: Path) -> None:
    if path.name == "run.json":
        store.read_facts(path.parent)
        return
    content = path.read_bytes()
    safetensors.torch.load(content)
    digest = hashlib.sha256(content).hexdigest()
    if path.parent.name == "checkpoints" and not path.stem.endswith(f"-{digest[:16]}"):
        raise ValueError("its name is not that of its content")
    facts = path.parent / "run.json"
    if path.name == "weights.safetensors" and facts.exists():
        assert store.read_facts(path.parent)["weights_sha256"] == digest, "run.json states another SHA-256"


def outcome(home: Path) -> dict:
    """Return what a finished training has left: names of files, weights, losses."""
    (folder,) = home.iterdir()
    facts = store.read_facts(folder)
    # A kill between the last file and the end of the lock leaves the lock's file, which holds nobody up.
    left = [path for path in folder.rglob("*") if path.name != ".lock"]
    return {
        "list of files": sorted(path.relative_to(folder).as_posix() for path in left),
        "weights": (folder / "weights.safetensors").read_bytes(),
        "history": {name: value for name, value in facts["history"].items() if name != "seconds"},
    }


def undisturbed(kind: Kind, folder: Path) -> tuple[dict, float]:
    """Train without checkpoints; return what is left, and the seconds that the same takes with checkpoints."""
    ended(forked(folder / "undisturbed", kind, seconds="3600"))
    started = time.perf_counter()
    ended(forked(folder / "timed", kind))
    return outcome(folder / "undisturbed"), time.perf_counter() - started


def at_random(kinds: dict[str, Kind], kills: int, chance: random.Random, folder: Path) -> Tally:
    """Kill trainings of all kinds in turn, each as often as it takes, until there were so many kills."""
    tally = Tally()
    wanted = {name: undisturbed(kind, folder / f"kind {number}") for number, (name, kind) in enumerate(kinds.items())}
    while tally.kills < kills:
        for name, (end, seconds) in wanted.items():
            if tally.kills >= kills:
                break
            home, over = folder / f"random {tally.trainings}", False
            while not over:
                parts = parts_in(home) if home.exists() else set()
                child = forked(home, kinds[name])
                time.sleep(chance.uniform(0, seconds / 2))
                os.kill(child, signal.SIGKILL)
                over = ended(child)
                if not over:
                    tally.killed(home, parts, name)
            tally.over(home, end, name)
    return tally


def in_each_call(every: int, folder: Path) -> Tally:
    """Kill one training after the other at each call (or each `every`-th) that touches a file."""
    tally, (end, _) = Tally(), undisturbed(ALL, folder / "kind")
    ended(forked(folder / "counted", ALL, Calls(report=folder / "calls").arm))
    names = (folder / "calls").read_text().split()
    number = 0
    for way in ("before", "half", "after"):
        for last, name in enumerate(names, start=1):
            writes = name in ("write_bytes", "write_text", "save_file")
            number += writes or way != "half"
            if (way == "half" and not writes) or number % every:
                continue
            home, where = folder / f"{way} {last}", f"killed {way} call {last}, {name}"
            if ended(forked(home, ALL, Calls(last, way).arm)):
                tally.problems.append(f"{where}: was not killed")
                continue
            tally.killed(home, set(), where)
            ended(forked(home, ALL))
            tally.over(home, end, where)
    return tally


def campaign(kills: int, each: int, every: int, seed: int, folder: Path) -> dict[str, Tally]:
    """Return what happened, by where the kills came.

    Args:
        kills: at random moments, of trainings of all kinds.
        each: the same for each objective.
        every: of the calls that touch a file, kill at every so many; 0 at none.
        seed: of the random moments.
        folder: to work in.
    """
    chance, tallies = random.Random(seed), {}
    if kills:
        tallies["at random moments"] = at_random(KINDS, kills, chance, folder / "random")
    for name, kind in OBJECTIVES.items() if each else ():
        tallies[f"of {name} at random moments"] = at_random({name: kind}, each, chance, folder / name)
    if every:
        tallies["at calls that touch a file"] = in_each_call(every, folder / "calls")
    return tallies


def why_not() -> str | None:
    """Return why trainings cannot be forked here, or None where they can."""
    if not hasattr(os, "fork"):
        return "this system cannot fork processes; the campaign needs Linux or macOS"
    tasks = Path("/proc/self/task")
    if tasks.exists() and len(list(tasks.iterdir())) > 1:
        return "this process has more than one thread, so forking it would not be safe"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="at random moments, at least")
    parser.add_argument("--each", type=int, default=20, help="at random moments of each objective, at least")
    parser.add_argument("--every", type=int, default=1, help="of the calls that touch a file, kill at every so many")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    if reason := why_not():
        print(reason)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        tallies = campaign(**vars(options), folder=Path(folder))
    for what, tally in tallies.items():
        print(f"{tally.kills} kills {what}, {tally.in_a_write} of them while a file was being written")
        print(f"  {tally.resumed} times training went on from a checkpoint, else it began anew or was stored already")
        print(f"  {tally.trainings} trainings came to their end; {len(tally.problems)} problems")
        for problem in tally.problems:
            print(f"  PROBLEM {problem}")
    failed = any(tally.problems for tally in tallies.values())
    print("FAILED" if failed else "every training ended bit-identical to an undisturbed one; no file was ever damaged")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
