"""The plan of a training: every setting that its result depends on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

SCHEDULES = ("constant", "cosine", "onecycle")
PRECISIONS = ("float32", "bfloat16")
WARMUP_STEPS = 100
# The one-cycle policy as torch.optim.lr_scheduler.OneCycleLR has it: up along a half cosine from a 25th of the peak
# during 30 % of the steps, then down to a 10,000th of where it began.
RISE, FIRST, LAST = 0.3, 1 / 25, 1 / 25 / 1e4


@dataclass(frozen=True)
class Plan:
    """How to train.

    Args:
        epochs: passes over the training images.
        batch_size: images for each step of the optimiser, over all processes.
        lr: learning rate of Adam; the highest one where the schedule changes it.
        schedule: "constant"; "cosine": up over the first 100 steps, then down to zero along a half cosine; or
            "onecycle": up for three tenths of the steps, then down (Smith 2018, without his cycling of momentum).
        patience: stop after this many epochs without a lower validation loss, and go back to the best
            state; None trains all epochs and keeps the last state.
        precision: "float32", or "bfloat16", which is a permission: layers may compute in bfloat16 where PyTorch's
            autocast allows, while weights and loss stay float32. It is used where the processor has the
            instructions and a trial shows that this model trains faster with them; `History.precision` says
            which it was.
        seed: of the first weights and of the order of the batches; 64 bits.
        validate_every: take the validation loss after every so many epochs, and after the last one.
        sizes: progressive resizing, ((0, 14), (5, 28)): from epoch 0 on images of 14×14 pixels, from epoch 5 on
            of 28×28. Validation is at the size of the epoch, and patience counts from the last size on.
        crop: train on windows of so many pixels, height and width, at random places; validation sees the centre.
        flip: mirror every other training image, left and right, at random.
        weight_decay: shrink the weights by lr · weight_decay at each step, apart from the gradient (AdamW, Loshchilov
            and Hutter 2019).
        clip_norm: scale the gradient down where its norm over all weights is larger than this; None: never.
        ema: keep an exponential moving average of the weights with this decay, 0.999, and take it for validation and as
            the result; None: the weights themselves.

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
    crop: int | None = None
    flip: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            _check(name, self, _is_whole(getattr(self, name)) and getattr(self, name) >= 1, "a whole number from 1")
        for name in ("patience", "crop"):
            value = getattr(self, name)
            _check(name, self, value is None or (_is_whole(value) and value >= 1), "a whole number from 1, or None")
        _check("lr", self, _is_number(self.lr) and 0 < self.lr < math.inf, "a positive number such as 1e-3")
        _check("seed", self, _is_whole(self.seed) and -(2**63) <= self.seed < 2**63, "a whole number of 64 bits")
        _check("schedule", self, self.schedule in SCHEDULES, _one_of(SCHEDULES))
        _check("precision", self, self.precision in PRECISIONS, _one_of(PRECISIONS))
        _check("flip", self, isinstance(self.flip, bool), "True or False")
        decay, norm, ema = self.weight_decay, self.clip_norm, self.ema
        _check("weight_decay", self, _is_number(decay) and 0 <= decay < math.inf, "a number from 0, such as 0.01")
        in_range = norm is None or (_is_number(norm) and 0 < norm < math.inf)
        _check("clip_norm", self, in_range, "a positive number, or None")
        _check("ema", self, ema is None or (_is_number(ema) and 0 < ema < 1), "a number between 0 and 1, or None")
        object.__setattr__(self, "sizes", _checked_sizes(self.sizes, self.epochs))

    def replace(self, **changes) -> Plan:
        """Return the same plan with some settings changed: `plan.replace(seed=1)`."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict:
        """Return the settings, for JSON.

        Settings that Plan gained later are left out where they have their default: runs that were stored
        before have the same description still, and are found.
        """
        later = {"validate_every", "sizes", "crop", "flip", "weight_decay", "clip_norm", "ema"}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        settings = dataclasses.asdict(self)
        return {name: value for name, value in settings.items() if name not in later or value != defaults[name]}

    def lr_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step number `step`, from 0, out of `steps` in the whole training."""
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "cosine":
            warmup = min(1.0, (step + 1) / WARMUP_STEPS)
            return self.lr * warmup * 0.5 * (1 + math.cos(math.pi * step / steps))
        peak = RISE * steps - 1  # the number of the step with the highest rate, as PyTorch counts
        if step <= peak:
            return _half_cosine(self.lr * FIRST, self.lr, step / peak)
        return _half_cosine(self.lr, self.lr * LAST, (step - peak) / max(steps - 1 - peak, 1))

    def size_at(self, epoch: int) -> int | None:
        """Return how many pixels high and wide the images of an epoch are; None: as they come."""
        return next((size for first, size in reversed(self.sizes) if epoch >= first), None)

    def validates_after(self, epoch: int) -> bool:
        """Return whether the validation loss is taken after epoch number `epoch`, from 0."""
        return (epoch + 1) % self.validate_every == 0 or epoch + 1 == self.epochs


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _check(name: str, plan: Plan, right: bool, wanted: str) -> None:
    if not right:
        raise ValueError(f"{name}: wanted {wanted}, got {getattr(plan, name)!r}")


def _one_of(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def _checked_sizes(sizes: object, epochs: int) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple((first, size) for first, size in sizes)
    except (TypeError, ValueError):
        raise ValueError(f"sizes: wanted pairs (first epoch, pixels) as in ((0, 14), (5, 28)), got {sizes!r}") from None
    if not all(_is_whole(number) for pair in pairs for number in pair) or any(size < 1 for _, size in pairs):
        raise ValueError(f"sizes: wanted whole numbers, pixels of at least 1, got {sizes!r}")
    firsts = [first for first, _ in pairs]
    if pairs and (firsts[0] != 0 or firsts != sorted(set(firsts)) or firsts[-1] >= epochs):
        raise ValueError(f"sizes: wanted first epochs that begin with 0, rise, and stay below {epochs}, got {firsts}")
    return pairs


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
