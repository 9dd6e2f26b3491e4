"""The plan of a training: every setting that its result depends on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
WARMUP_STEPS = 100


@dataclass(frozen=True)
class Plan:
    """How to train.

    Args:
        epochs: passes over the training images.
        batch_size: images for each step of the optimiser.
        lr: learning rate of Adam; the highest one where the schedule changes it.
        schedule: "constant", or "cosine": up over the first 100 steps, then down to zero along a half cosine.
        patience: stop after this many epochs without a lower validation loss, and go back to the best
            state; None trains all epochs and keeps the last state.
        precision: "float32", or "bfloat16": layers compute in bfloat16 where PyTorch's autocast allows,
            weights and loss stay float32. Faster for some models on processors that know it; measure.
        seed: of the first weights and of the order of the batches.

    Raises:
        ValueError: a setting is outside its range; the message names it.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3
    schedule: str = "constant"
    patience: int | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(f"{name}: wanted a whole number of at least 1, got {value!r}")
        if not isinstance(self.lr, int | float) or not 0 < self.lr < math.inf:
            raise ValueError(f"lr: wanted a positive number such as 1e-3, got {self.lr!r}")
        if self.patience is not None and (not _is_whole(self.patience) or self.patience < 1):
            raise ValueError(f"patience: wanted at least 1 epoch, or None, got {self.patience!r}")
        if not _is_whole(self.seed):
            raise ValueError(f"seed: wanted a whole number, got {self.seed!r}")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: wanted {' or '.join(map(repr, known))}, got {getattr(self, name)!r}")

    def but(self, **changes) -> Plan:
        """Return the same plan with some settings changed: `plan.but(seed=1)`."""
        return dataclasses.replace(self, **changes)

    def lr_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step number `step`, from 0, out of `steps` in the whole training."""
        if self.schedule == "constant":
            return self.lr
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.lr * warmup * 0.5 * (1 + math.cos(math.pi * step / steps))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
