"""What a training is made of between two steps. A checkpoint is this, on disk."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .adam import Adam
from .plan import Plan


@dataclass
class History:
    """What happened in each epoch: mean training loss while it ran, validation loss after it, seconds.

    The validation loss is NaN where there are no validation images, and after epochs for which the plan
    asks for none. `best_epoch` is the epoch whose state was kept, where the plan has a patience.
    `precision` is the one in which the layers computed, of the two that the plan allowed; runs from before it was
    noted have None, and computed as their plan says. `interrupted` is the signal that ended the training early, or
    None; a stored run never has one.
    """

    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    precision: str | None = None
    interrupted: signal.Signals | None = None

    def __len__(self) -> int:
        return len(self.train_loss)

    def as_dict(self) -> dict:
        """Return the same as plain lists, for JSON, with None for NaN and infinity, which JSON does not have."""
        kept = dataclasses.asdict(self)
        del kept["interrupted"]
        for name in ("train_loss", "valid_loss"):
            kept[name] = [value if math.isfinite(value) else None for value in kept[name]]
        return kept

    @classmethod
    def from_dict(cls, kept: dict) -> History:
        """Return the history of which `as_dict` made `kept`."""
        kept = dict(kept)
        for name in ("train_loss", "valid_loss"):
            kept[name] = [math.nan if value is None else value for value in kept[name]]
        return cls(**kept)


class State:
    """Weights, optimiser, history and place of a training, complete after each step.

    Args:
        model, adam: as they are at the start.
        plan: of the training.
        steps: batches in an epoch.
        device: where the losses of the epoch's steps are kept.
    """

    def __init__(self, model: nn.Module, adam: Adam, plan: Plan, steps: int, device: torch.device) -> None:
        self.model, self.adam, self.plan, self.steps = model, adam, plan, steps
        self.history = History()
        self.step = 0  # of the epoch that is under way; the epoch's number is len(history)
        # One place for all losses of an epoch. A list of small tensors, one kept after each step, can lie between the
        # large blocks of memory so that these go back to the system at every step: 85 page faults, and up to 1.9
        # times the time, for a step of the linear model.
        self.losses = torch.zeros(steps, device=device)
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

    def lr_of(self, step: int) -> float:
        """Learning rate of step number `step` of this epoch."""
        return self.plan.lr_at(self.epoch * self.steps + step, self.plan.epochs * self.steps)

    def note_step(self, value: Tensor) -> None:
        """Take note of a finished step and its loss."""
        self.losses[self.step] = value
        self.step += 1

    def end_epoch(self, valid_loss: float) -> None:
        """Take note of a finished epoch; keep its weights where they are the best so far."""
        history = self.history
        is_best = self._counts(self.epoch) and valid_loss < self._lowest()
        history.train_loss.append(self.losses.mean().item())
        history.valid_loss.append(valid_loss)
        history.seconds.append(time.perf_counter() - self.started)
        self.good = copy_of(self.model)
        if is_best:  # the same copy serves both: neither is ever written to
            history.best_epoch, self.best = len(history) - 1, self.good
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
        return bool(self.losses[: self.step].isfinite().all()) and all(
            bool(weight.isfinite().all()) for weight in self.model.parameters()
        )

    def restore_best(self) -> None:
        """Give the model its best state back, where the plan has a patience."""
        if self.best is not None:
            self.model.load_state_dict(self.best)

    def as_tensors(self) -> dict[str, Tensor]:
        """Return all that is tensors, by name, copied to the CPU."""
        parts = {
            "model": self.model.state_dict(),
            "adam": self.adam.state(),
            "best": self.best or {},
            "epoch": {"losses": self.losses[: self.step]},
        }
        return {
            f"{part}.{name}": value.detach().to("cpu", copy=True).contiguous()
            for part, values in parts.items()
            for name, value in values.items()
        }

    def as_facts(self) -> dict:
        """Return all the rest, ready for JSON."""
        seconds = time.perf_counter() - self.started
        return {"history": self.history.as_dict(), "step": self.step, "seconds": seconds}

    def restore(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Go back to the state of which `as_tensors` and `as_facts` were taken."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "adam": {}, "best": {}, "epoch": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.model.load_state_dict(parts["model"])
        self.adam.restore(parts["adam"])
        self.best = parts["best"] or None
        self.history, self.step = History.from_dict(facts["history"]), facts["step"]
        self.losses[: self.step] = parts["epoch"]["losses"].to(self.losses.device)
        self.started = time.perf_counter() - facts["seconds"]
        self.good = copy_of(self.model)

    def _counts(self, epoch: int) -> bool:
        plan = self.plan
        return plan.patience is not None and plan.edge_at(epoch) == plan.edge_at(plan.epochs - 1)

    def _lowest(self) -> float:
        best = self.history.best_epoch
        return math.inf if best is None else self.history.valid_loss[best]


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
