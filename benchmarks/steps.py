"""`python -m benchmarks.steps`: what recorded steps (CUDA graphs) save on an NVIDIA GPU.

It takes a minute and is no part of `make bench`. All loops take turns in one process, so this is a quick look beside
what `python -m benchmarks` measures.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

from aecore import files, machine

from . import environment, report
from .cases import BATCH_SIZE, CASES, Case, Task, random_images
from .contestants import CONTESTANTS, FLOOR

RESULTS = report.RESULTS / "steps"
TABLE = RESULTS / "table.md"
ROUNDS, EPOCHS, BATCHES = 3, 2, 160
GRAPHS = "AECORE_CUDA_GRAPHS"
# What stands in the table, the loop's name, and whether its steps are recorded.
LOOPS = {
    "bare step": (FLOOR, False),
    "`fit`, steps started one by one": ("fit", False),
    "`fit`, recorded steps": ("fit", True),
    "`fit` in bfloat16, recorded steps": ("fit, bfloat16", True),
}


def measure() -> dict:
    """Return the microseconds of a step in each case and loop, a value for each round, with machine and versions."""
    steps: dict[str, dict[str, list[float]]] = {}
    for case in CASES.values():
        pixels = random_images(case, BATCHES * BATCH_SIZE)
        found = steps[case.title] = {name: [] for name, (loop, _) in LOOPS.items() if CONTESTANTS[loop].suits(case)}
        for _ in range(ROUNDS):
            for name, values in found.items():
                values.append(round(_microseconds(case, *LOOPS[name], pixels)))
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": environment.facts(),
        "versions": environment.versions(),
        "steps": steps,
    }


def _microseconds(case: Case, loop: str, recorded: bool, pixels: torch.Tensor) -> float:
    os.environ[GRAPHS] = str(int(recorded))
    train = CONTESTANTS[loop].prepare(Task(case, pixels, EPOCHS, BATCH_SIZE, machine.device()))
    torch.cuda.synchronize()
    started = time.perf_counter()
    train()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / (EPOCHS * BATCHES) * 1e6


def gains(result: dict) -> dict[str, float]:
    """Return for each case how many times as fast `fit` is with recorded steps as without, by the medians."""
    _, ordinary, recorded, *_ = LOOPS
    median = statistics.median
    return {case: median(found[ordinary]) / median(found[recorded]) for case, found in result["steps"].items()}


def markdown(results: dict[str, dict]) -> str:
    """Return the tables of the page: one for each machine."""
    parts = ["<!-- Written by `python -m benchmarks.steps` from the JSON files beside this one. -->\n"]
    for result in results.values():
        versions = f"PyTorch {result['versions']['torch']}"
        parts.append(f"Measured on {result['date']}: {result['machine']['name']}, {versions}.\n")
        parts.append("| Model | " + " | ".join(LOOPS) + " |\n| :-- |" + " --: |" * len(LOOPS))
        for case, found in result["steps"].items():
            cells = (f"{statistics.median(found[name]):,.0f}" if name in found else "–" for name in LOOPS)
            parts.append(f"| {case} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def load(folder: Path = RESULTS) -> dict[str, dict]:
    """Return the results by their slugs."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def main() -> None:
    """Measure, keep the results, write the table."""
    if machine.device().type != "cuda":
        sys.exit("benchmarks.steps: wanted an NVIDIA GPU, since only there are steps recorded; there is none here")
    result = measure()
    report.keep(result, RESULTS)
    files.write_text(TABLE, markdown(load()))
    print(markdown({"": result}))


if __name__ == "__main__":
    main()
