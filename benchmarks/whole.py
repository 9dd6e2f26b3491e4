"""`python -m benchmarks.whole`: how long whole trainings on real data take, and imports. `make bench` calls this."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aecore import files

from . import environment, report

RESULTS = report.RESULTS / "whole"
TABLE = RESULTS / "table.md"
IMPORTS = {
    "torch and torchvision": "import torch, torchvision",
    "aecore, and what a chapter uses of it": "import aecore as ae; ae.load, ae.fit, ae.Plan, ae.models, ae.evaluate",
}
IMPORT_ROUNDS = 7
QUICK_IMAGES = 1280


@dataclass(frozen=True)
class Whole:
    """One training as a chapter would do it.

    Args:
        title: for the table.
        data: name of the set.
        build: makes the model for images of a shape.
        epochs: of the training.
        limits: seconds that it may take, by kind of device.
    """

    title: str
    data: str
    build: Callable
    epochs: int
    limits: dict[str, int]


def _wholes() -> list[Whole]:
    from aecore.models import ConvAutoencoder, StridedConvAutoencoder

    return [
        Whole(
            "MNIST, chapter 2's first network", "mnist", lambda shape: ConvAutoencoder(shape),
            epochs=30, limits={"cpu": 360, "cuda": 15},
        ),
        Whole(
            "CIFAR-10, 10 million multiply–adds", "cifar10", lambda shape: StridedConvAutoencoder(shape, 128, width=48),
            epochs=20, limits={"cpu": 900, "cuda": 60},
        ),
    ]  # fmt: skip


def measure(quick: bool) -> dict:
    """Return the seconds of each training and of each import, with machine, versions and date."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "quick": quick,
        "machine": environment.facts(),
        "versions": environment.versions(),
        "imports": _time_imports(1 if quick else IMPORT_ROUNDS),
        "trainings": [_train(whole, quick) for whole in _wholes()],
    }


def _time_imports(rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each import in new processes, in turns; Python's own start is part of both."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _train(whole: Whole, quick: bool) -> dict:
    import aecore as ae

    splits = ae.load(whole.data)
    if quick:
        splits = replace(splits, train=splits.train[:QUICK_IMAGES], valid=splits.valid[:QUICK_IMAGES])
    plan = ae.Plan(epochs=1 if quick else whole.epochs, batch_size=128, lr=1e-3, precision="bfloat16")
    started = time.perf_counter()
    run = ae.fit(whole.build(splits.shape), splits, plan)
    seconds = time.perf_counter() - started
    return {
        "title": whole.title,
        "source": splits.provenance.source,
        "images": len(splits.train),
        "epochs": len(run.history),
        "precision": run.history.precision,
        "seconds": round(seconds, 1),
        "limits": whole.limits,
        "valid_loss": run.history.valid_loss[-1],
    }


def import_ratio(result: dict) -> float:
    """Return how many times as long as that of torch and torchvision the import of aecore takes, by the medians."""
    torch, ours = (statistics.median(result["imports"][name]) for name in IMPORTS)
    return ours / torch


def markdown(results: dict[str, dict]) -> str:
    """Return the tables of the page: one for each machine."""
    parts = ["<!-- Written by `make bench` from the JSON files beside this one. Changes by hand are lost. -->\n"]
    for result in results.values():
        parts.append(f"Measured on {result['date']}: {result['machine']['name']}.\n")
        parts.append("| Training | Images | Epochs | Precision chosen | Seconds | Aim |")
        parts.append("| :-- | --: | --: | :-- | --: | --: |")
        for one in result["trainings"]:
            aim = one["limits"].get(result["machine"]["device"])
            cells = [one["title"], f"{one['images']:,}", one["epochs"], one["precision"], f"{one['seconds']:,.0f}"]
            parts.append("| " + " | ".join(map(str, [*cells, f"under {aim:,}" if aim else "–"])) + " |")
        parts.append("\n| Import | Seconds |\n| :-- | --: |")
        for name, seconds in result["imports"].items():
            parts.append(f"| {name} | {statistics.median(seconds):.2f} |")
        parts.append("")
    return "\n".join(parts)


def load(folder: Path = RESULTS) -> dict[str, dict]:
    """Return the results by their slugs."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def main(given: list[str] | None = None) -> None:
    """Measure, keep the results, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole", description=__doc__)
    what = "a smoke test: an epoch of a few images; its results are not kept"
    parser.add_argument("--quick", action="store_true", help=what)
    asked = parser.parse_args(given)
    result = measure(asked.quick)
    if not asked.quick:
        report.keep(result, RESULTS)
        files.write_text(TABLE, markdown(load()))
    print(markdown({"": result}))


if __name__ == "__main__":
    main()
