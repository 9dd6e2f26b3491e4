"""The process of one contestant in one case: `python -m benchmarks.worker SPEC`, started by measure.py.

It trains the check tasks and stores their weights, warms up, says that it is ready, and waits. For each line
"go" on standard input it trains once and answers with a line of JSON. While it waits it does nothing at all.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from aecore import machine

from .cases import CASES, SEED, Task, check_tasks, random_images
from .contestants import CONTESTANTS, Contestant
from .environment import peak_memory_mb

WARM_UP_STEPS = 8


@dataclass(frozen=True)
class Spec:
    """What a worker is told.

    Args:
        case, contestant: names.
        images, epochs, batch_size: of each repetition.
        weights: a folder for the weights of the check tasks.
    """

    case: str
    contestant: str
    images: int
    epochs: int
    batch_size: int
    weights: str

    def as_text(self) -> str:
        """Return the same as one argument of a command line."""
        return json.dumps(asdict(self))


def main(text: str) -> None:
    """Do what the module says."""
    spec, answer = Spec(**json.loads(text)), own_answers()
    case, contestant, device = CASES[spec.case], CONTESTANTS[spec.contestant], machine.device()
    torch.manual_seed(SEED)
    with full_float32():
        for number, task in enumerate(check_tasks(case, device)):
            store_weights(contestant.prepare(task)(), Path(spec.weights) / f"{number}.safetensors")
    pixels = random_images(case, spec.images)
    repetition(contestant, Task(case, pixels[: WARM_UP_STEPS * spec.batch_size], 1, spec.batch_size, device))
    answer({"ready": True})
    for line in sys.stdin:
        if line.strip() == "go":
            answer(repetition(contestant, Task(case, pixels, spec.epochs, spec.batch_size, device)))


def repetition(contestant: Contestant, task: Task) -> dict:
    """Train once from the first weights and return the seconds, the images, and the peaks of memory in MB."""
    gc.collect()
    if on_gpu := task.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    train = contestant.prepare(task)
    wait_for(task.device)
    started = time.perf_counter()
    train()
    wait_for(task.device)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "images": task.epochs * len(task.pixels),
        "memory_mb": peak_memory_mb(),
        "gpu_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
    }


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was told: a GPU computes while Python runs ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def store_weights(model: torch.nn.Module, path: Path) -> None:
    """Store the weights of a model, in the ordinary layout, for the comparison with the other contestants'."""
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, path)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep convolutions on a GPU from rounding to TensorFloat-32, which would hide small differences in work."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def own_answers() -> Callable[[dict], None]:
    """Return a function that answers on standard output, and turn away whatever else is printed there."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(facts: dict) -> None:
        stream.write(json.dumps(facts) + "\n")
        stream.flush()

    return answer


if __name__ == "__main__":
    main(sys.argv[1])
