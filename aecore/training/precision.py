"""In which precision a training computes: a plan that allows bfloat16 gets it where it is faster, which is measured."""

from __future__ import annotations

import copy
import platform
import statistics
import time

import torch
from torch import Tensor, nn

from .. import processes
from ..data.images import Images
from ..losses import Loss
from .adam import Adam
from .batches import to_floats
from .plan import Plan
from .update import Update, memory_format

STEPS, ROUNDS = 3, 5
WORTHWHILE = 0.95  # a smaller gain than this is not worth the lost digits
HOPELESS = 2.0  # so much slower in the first round that counts, and the others are not waited for


def chosen_precision(
    model: nn.Module, images: Images, plan: Plan, loss: Loss, device: torch.device
) -> tuple[str, str | None]:
    """Return the precision to train in, and why it is not the bfloat16 that the plan allows (None: it is, or need not).

    Of several processes the first one decides for all. The model and the random numbers stay as they are.
    """
    if plan.precision == "float32":
        return "float32", None
    if not processes.from_the_first(int(has_bfloat16(device))):
        return "float32", "this processor has no instructions for bfloat16"
    with torch.random.fork_rng():
        faster = faster_precision(model, images, plan, loss, device)
    if processes.from_the_first(int(faster == "bfloat16")):
        return "bfloat16", None
    return "float32", "bfloat16 is no faster here for this model"


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device may have instructions for bfloat16; where that cannot be told, a trial decides."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and platform.machine().lower() in ("x86_64", "amd64"):
        return torch.backends.cpu.get_cpu_capability().startswith("AVX512")  # those of AVX2 have none
    return True


def faster_precision(model: nn.Module, images: Images, plan: Plan, loss: Loss, device: torch.device) -> str:
    """Return "bfloat16" where training steps of a copy of `model` are faster with it on `device`, else "float32".

    On some processors and for some layers bfloat16 halves the time, on others it takes nine times as long.
    """
    x = to_floats(images.pixels[: plan.batch_size].to(device))
    updates = {name: _update(model, loss, plan.but(precision=name), device) for name in ("float32", "bfloat16")}
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    for number in range(ROUNDS + 1):  # in turns, so that a busy moment of the machine meets both
        for name, update in updates.items():
            seconds[name].append(_seconds(update, x))
        if processes.count() == 1 and number == 1 and seconds["bfloat16"][1] > HOPELESS * seconds["float32"][1]:
            return "float32"
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
