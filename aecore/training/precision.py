"""In which precision a training computes: a plan that allows bfloat16 gets it where it is faster, which is measured."""

from __future__ import annotations

import copy
import statistics
import time

import torch
from torch import nn

from .. import distributed, machine
from ..objectives import Batch, Objective
from .optimizer import Adam
from .plan import Plan
from .step import TrainStep, memory_format, train_step_for

STEPS, ROUNDS = 3, 5
WORTHWHILE = 0.95  # a smaller gain than this is not worth the lost digits
HOPELESS = 2.0  # so much slower in the first round that counts, and the others are not waited for


def chosen_precision(model: nn.Module, objective: Objective, batch: Batch, plan: Plan) -> tuple[str, str | None]:
    """Return the precision to train in, and why it is not the bfloat16 that the plan allows (None: it is, or need not).

    Of several processes the first one decides for all. The model and the random numbers stay as they are.
    """
    if plan.precision == "float32":
        return "float32", None
    if not distributed.broadcast(int(machine.has_bfloat16(batch.x.device))):
        return "float32", "this processor has no instructions for bfloat16"
    with torch.random.fork_rng():
        faster = faster_precision(model, objective, batch, plan)
    if distributed.broadcast(int(faster == "bfloat16")):
        return "bfloat16", None
    return "float32", "bfloat16 is no faster here for this model"


def faster_precision(model: nn.Module, objective: Objective, batch: Batch, plan: Plan) -> str:
    """Return "bfloat16" where training steps of a copy of `model` are faster with it, else "float32".

    On some processors and for some layers bfloat16 halves the time, on others it takes nine times as long.
    """
    device = batch.x.device
    steps = {name: _step(model, objective, plan.replace(precision=name), device) for name in ("float32", "bfloat16")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(ROUNDS + 1):  # in turns, so that a busy moment of the machine meets both
        for name, step in steps.items():
            seconds[name].append(_seconds(step, batch))
        # On a GPU this is the round in which steps are recorded, which says nothing of later ones.
        may_end = number == 1 and distributed.world_size() == 1 and device.type != "cuda"
        if may_end and seconds["bfloat16"][1] > HOPELESS * seconds["float32"][1]:
            return "float32"
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first warms up
    return "bfloat16" if medians["bfloat16"] < WORTHWHILE * medians["float32"] else "float32"


def _step(model: nn.Module, objective: Objective, plan: Plan, device: torch.device) -> TrainStep:
    twin = copy.deepcopy(model).to(memory_format=memory_format(model))
    return train_step_for(twin, objective, Adam(twin.parameters()), plan, device, tell=lambda _sentence: None)


def _seconds(step: TrainStep, batch: Batch) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        values = step(batch, 1e-6)
    values.sum().item()  # waits for the device
    return time.perf_counter() - started
