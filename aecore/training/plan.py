"""The plan of a training: every setting that its result depends on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16")
WARMUP_STEPS = 100


@dataclass(frozen=True)
class Plan:
    """How to train.

    Args:
        epochs: passes over the training images.
        batch_size: images for each step of the optimiser, over all processes.
        lr: learning rate of Adam; the highest one where the schedule changes it.
        schedule: "constant", or "cosine": up over the first 100 steps, then down to zero along a half cosine.
        patience: stop after this many epochs without a lower validation loss, and go back to the best
            state; None trains all epochs and keeps the last state.
        precision: "float32", or "bfloat16", which is a permission: layers may compute in bfloat16 where PyTorch's
            autocast allows, while weights and loss stay float32. It is used where the processor has the
            instructions and a trial shows that this model trains faster with them; `History.precision` says
            which it was.
        seed: of the first weights and of the order of the batches.
        validate_every: take the validation loss after every so many epochs, and after the last one.
        sizes: progressive resizing, ((0, 14), (5, 28)): from epoch 0 on images of 14×14 pixels, from epoch 5 on
            of 28×28. Validation is at the size of the epoch, and patience counts from the last size on.

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
    validate_every: int = 1
    sizes: Sequence[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
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
        object.__setattr__(self, "sizes", _checked_sizes(self.sizes, self.epochs))

    def but(self, **changes) -> Plan:
        """Return the same plan with some settings changed: `plan.but(seed=1)`."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict:
        """Return the settings, for JSON.

        Settings that Plan gained later are left out where they have their default: runs that were stored
        before have the same description still, and are found.
        """
        settings = dataclasses.asdict(self)
        later = {"validate_every": 1, "sizes": ()}
        return {name: value for name, value in settings.items() if name not in later or value != later[name]}

    def lr_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step number `step`, from 0, out of `steps` in the whole training."""
        if self.schedule == "constant":
            return self.lr
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.lr * warmup * 0.5 * (1 + math.cos(math.pi * step / steps))

    def edge_at(self, epoch: int) -> int | None:
        """Return how many pixels high and wide the images of an epoch are; None: as they come."""
        return next((edge for first, edge in reversed(self.sizes) if epoch >= first), None)

    def validates_after(self, epoch: int) -> bool:
        """Return whether the validation loss is taken after epoch number `epoch`, from 0."""
        return (epoch + 1) % self.validate_every == 0 or epoch + 1 == self.epochs


def _checked_sizes(sizes: object, epochs: int) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple((first, edge) for first, edge in sizes)
    except (TypeError, ValueError):
        raise ValueError(f"sizes: wanted pairs (first epoch, pixels) as in ((0, 14), (5, 28)), got {sizes!r}") from None
    if not all(_is_whole(number) for pair in pairs for number in pair) or any(edge < 1 for _, edge in pairs):
        raise ValueError(f"sizes: wanted whole numbers, pixels of at least 1, got {sizes!r}")
    firsts = [first for first, _ in pairs]
    if pairs and (firsts[0] != 0 or firsts != sorted(set(firsts)) or firsts[-1] >= epochs):
        raise ValueError(f"sizes: wanted first epochs that begin with 0, rise, and stay below {epochs}, got {firsts}")
    return pairs


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
