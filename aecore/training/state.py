"""What a training is made of between two steps. A checkpoint is this, on disk."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .average import Average
from .optimizer import Adam
from .plan import Plan

LOSS = "loss"  # the name of the value that training makes small


@dataclass
class History:
    """What happened in each epoch: the named losses while it trained and in validation after it, and the seconds.

    `train` and `valid` hold a list for each name that the objective gives, "loss" among them; `train_loss` and
    `valid_loss` are short for that one. Validation values are NaN where there are no validation images, and after
    epochs for which the plan asks for none. `best_epoch` is the epoch whose state was kept, where the plan has a
    patience. `precision` is the one in which the layers computed, of those that the plan allowed; runs from before it
    was noted have None, and computed as their plan says. `interrupted` is the signal that ended the training early, or
    None; a stored run never has one.
    """

    train: dict[str, list[float]] = field(default_factory=dict)
    valid: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    precision: str | None = None
    interrupted: signal.Signals | None = None

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def train_loss(self) -> list[float]:
        """The mean loss of each epoch while it trained."""
        return self.train.get(LOSS, [])

    @property
    def valid_loss(self) -> list[float]:
        """The validation loss after each epoch."""
        return self.valid.get(LOSS, [])

    def add(self, train: Mapping[str, float], valid: Mapping[str, float], seconds: float) -> None:
        """Take note of an epoch; what validation did not give is NaN."""
        for name, value in train.items():
            self.train.setdefault(name, []).append(value)
            self.valid.setdefault(name, []).append(valid.get(name, math.nan))
        self.seconds.append(seconds)

    def as_dict(self) -> dict:
        """Return the same as plain lists, for JSON, with None for NaN and infinity, which JSON does not have."""
        named = {"train": self.train, "valid": self.valid}
        kept = {part: {name: _or_none(values) for name, values in lists.items()} for part, lists in named.items()}
        return {**kept, "seconds": self.seconds, "best_epoch": self.best_epoch, "precision": self.precision}

    @classmethod
    def from_dict(cls, kept: Mapping) -> History:
        """Return the history of which `as_dict` made `kept`."""
        parts = {part: {name: _or_nan(kept[part][name]) for name in kept[part]} for part in ("train", "valid")}
        return cls(**parts, seconds=list(kept["seconds"]), best_epoch=kept["best_epoch"], precision=kept["precision"])


def _or_none(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _or_nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


class State:
    """Weights, optimiser, history and place of a training, complete after each step.

    Args:
        model: as it is at the start, on its device.
        plan: of the training.
        steps: batches in an epoch.
    """

    def __init__(self, model: nn.Module, plan: Plan, steps: int) -> None:
        self.model, self.plan, self.steps = model, plan, steps
        self.optimizer = Adam(model.parameters(), plan.weight_decay, plan.clip_norm)
        self.average = Average(model, plan.ema) if plan.ema else None
        self.history = History()
        self.step = 0  # of the epoch that is under way; the epoch's number is len(history)
        self.names: tuple[str, ...] = ()
        # One place for all values of an epoch. A list of small tensors, one kept after each step, can lie between the
        # large blocks of memory so that these go back to the system at every step: 85 page faults, and up to 1.9
        # times the time, for a step of the linear model.
        self.values = torch.zeros(0, steps)
        self.best: dict[str, Tensor] | None = None
        self.good = copy_of(model)
        self.started = time.perf_counter()

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 0."""
        return len(self.history)

    @property
    def steps_done(self) -> int:
        """Number of steps that are finished in the whole training."""
        return self.epoch * self.steps + self.step

    @property
    def lr(self) -> float:
        """Learning rate of the step that comes next."""
        return self.lr_of(self.step)

    @property
    def result(self) -> nn.Module:
        """What validation sees and the training returns: the averaged copy where the plan asks for one."""
        return self.average.model if self.average is not None else self.model

    @property
    def losses(self) -> Tensor:
        """The losses of the steps of this epoch that are done."""
        return self.values[self.names.index(LOSS), : self.step] if self.names else self.values[:0].flatten()

    def lr_of(self, step: int) -> float:
        """Learning rate of step number `step` of this epoch."""
        return self.plan.lr_at(self.epoch * self.steps + step, self.plan.epochs * self.steps)

    def note_step(self, names: Sequence[str], values: Tensor) -> None:
        """Take note of a finished step and of what its objective gave, one value for each name."""
        if not self.names:
            self.names = tuple(names)
            self.values = torch.zeros(len(names), self.steps, device=values.device)
        self.values[:, self.step] = values
        if self.average is not None:
            self.average.follow(self.model, is_first=self.steps_done == 0)
        self.step += 1

    def end_epoch(self, valid: Mapping[str, float]) -> None:
        """Take note of a finished epoch and its validation values; keep its weights where they are the best so far."""
        history = self.history
        is_best = self._counts(self.epoch) and valid.get(LOSS, math.nan) < self._lowest()
        means = dict(zip(self.names, self.values.mean(1).tolist(), strict=True))
        history.add(means, valid, time.perf_counter() - self.started)
        self.good = copy_of(self.model)
        if is_best:
            # Without an average the same copy serves both: neither is ever written to.
            self.best = self.good if self.average is None else copy_of(self.result)
            history.best_epoch = len(history) - 1
        self.step, self.started = 0, time.perf_counter()

    def is_over(self) -> bool:
        """Return whether all epochs are done, or none has been better for as long as the plan's patience."""
        done, best = len(self.history), self.history.best_epoch
        if done in (0, self.plan.epochs) or self.plan.patience is None or not self.plan.validates_after(done - 1):
            return done == self.plan.epochs
        first = self.plan.sizes[-1][0] if self.plan.sizes else 0  # epochs at smaller sizes do not count
        return done - 1 - max(best or 0, first) >= self.plan.patience

    def is_finite(self) -> bool:
        """Return whether every loss of this epoch and every weight is a number."""
        return bool(self.losses.isfinite().all()) and all(
            bool(weight.isfinite().all()) for weight in self.model.parameters()
        )

    def restore_best(self) -> None:
        """Give the model the state that is the result: the best where the plan has a patience, else the last."""
        if self.best is not None:
            put_back(self.model, self.best)
        elif self.average is not None and self.steps_done > 0:
            put_back(self.model, tensors_of(self.average.model))

    def as_tensors(self) -> dict[str, Tensor]:
        """Return all that is tensors, by name, copied to the CPU."""
        parts = {
            "model": tensors_of(self.model),
            "optimizer": self.optimizer.state(),
            "average": tensors_of(self.average.model) if self.average is not None else {},
            "best": self.best or {},
            "epoch": {"values": self.values[:, : self.step]},
        }
        return {
            f"{part}.{name}": value.detach().to("cpu", copy=True).contiguous()
            for part, values in parts.items()
            for name, value in values.items()
        }

    def as_facts(self) -> dict:
        """Return all the rest, ready for JSON."""
        seconds = time.perf_counter() - self.started
        return {"history": self.history.as_dict(), "step": self.step, "seconds": seconds, "names": list(self.names)}

    def restore(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Go back to the state of which `as_tensors` and `as_facts` were taken."""
        parts: dict[str, dict[str, Tensor]] = {"best": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        put_back(self.model, parts["model"])
        self.optimizer.restore(parts["optimizer"])
        if self.average is not None:
            put_back(self.average.model, parts["average"])
        self.best = parts["best"] or None
        self.history, self.step = History.from_dict(facts["history"]), facts["step"]
        self.names = tuple(facts["names"])
        self.values = torch.zeros(len(self.names), self.steps, device=self.optimizer.weights[0].device)
        self.values[:, : self.step] = parts["epoch"]["values"].to(self.values.device)
        self.started = time.perf_counter() - facts["seconds"]
        self.good = copy_of(self.model)

    def _counts(self, epoch: int) -> bool:
        plan = self.plan
        return plan.patience is not None and plan.size_at(epoch) == plan.size_at(plan.epochs - 1)

    def _lowest(self) -> float:
        best = self.history.best_epoch
        return math.inf if best is None else self.history.valid_loss[best]


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights and buffers by name, and those buffers that a state_dict leaves out as well."""
    return {**model.state_dict(), **_hidden_buffers(model)}


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's weights and buffers."""
    return {name: value.detach().clone() for name, value in tensors_of(model).items()}


@torch.no_grad()
def put_back(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Give a model the weights and buffers of which `tensors_of` or `copy_of` made `kept`."""
    hidden = _hidden_buffers(model)
    model.load_state_dict({name: value for name, value in kept.items() if name not in hidden})
    for name, buffer in hidden.items():
        buffer.copy_(kept[name])


def _hidden_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that are registered with persistent=False."""
    shown = model.state_dict().keys()
    return {name: value for name, value in model.named_buffers() if name not in shown}
