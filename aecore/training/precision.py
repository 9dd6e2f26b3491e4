"""Which precision is faster: not known beforehand, so measured."""

from __future__ import annotations

import copy
import statistics
import time

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..losses import Loss
from .adam import Adam
from .batches import to_floats
from .plan import Plan
from .update import Update, memory_format

STEPS, ROUNDS = 3, 5
WORTHWHILE = 0.95  # a smaller gain than this is not worth the lost digits


def faster_precision(model: nn.Module, images: Images, plan: Plan, loss: Loss, device: torch.device) -> str:
    """Return "bfloat16" where training steps of a copy of `model` are faster with it on `device`, else "float32".

    On some processors and for some layers bfloat16 halves the time, on others it takes three times as long.
    """
    x = to_floats(images.pixels[: plan.batch_size].to(device))
    updates = {name: _update(model, loss, plan.but(precision=name), device) for name in ("float32", "bfloat16")}
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    for _ in range(ROUNDS + 1):  # in turns, so that a busy moment of the machine meets both
        for name, update in updates.items():
            seconds[name].append(_seconds(update, x))
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first warms up
    return "bfloat16" if medians["bfloat16"] < WORTHWHILE * medians["float32"] else "float32"


def _update(model: nn.Module, loss: Loss, plan: Plan, device: torch.device) -> Update:
    twin = copy.deepcopy(model).to(device, memory_format=memory_format(model)).train()
    return Update(twin, loss, Adam(twin.parameters()), plan)


def _seconds(update: Update, x: Tensor) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        value = update(x, 1e-6, len(x))
    value.item()  # waits for the device
    return time.perf_counter() - started
