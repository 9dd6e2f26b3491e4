"""The training loop. It knows no profile and no store of runs: a model, images and a plan go in."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..losses import Loss
from ..models.autoencoder import evaluating
from .batches import Batches
from .plan import Plan

VALIDATION_BATCH = 1000


@dataclass
class History:
    """What happened in each epoch: mean training loss while it ran, validation loss after it, seconds."""

    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    def __len__(self) -> int:
        return len(self.train_loss)

    def as_dict(self) -> dict:
        """Return the same as plain lists, for JSON."""
        return asdict(self)


class TrainingDiverged(RuntimeError):
    """The loss, or a weight at the end of an epoch, became NaN or infinite.

    The model holds the state from before that epoch.

    Args:
        epoch, step: where it happened; both count from 0, `step` within the whole training.
        lr: the learning rate of that step.
        value: the loss that was seen.
    """

    def __init__(self, epoch: int, step: int, lr: float, value: float) -> None:
        self.epoch, self.step, self.lr, self.value = epoch, step, lr, value
        super().__init__(
            f"the loss became {value} in step {step} (epoch {epoch}) at learning rate {lr:.3g}; the model has its "
            f"state from before that epoch. Try a learning rate of {lr / 10:.0e}, look for values outside [0, 1] in "
            "the images, and for a division or a logarithm of zero in the loss."
        )


def train(
    model: nn.Module,
    images: Images,
    valid: Images,
    plan: Plan,
    loss: Loss,
    device: torch.device,
    *,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[History], None] = lambda history: None,
) -> History:
    """Train `model` in place and return the history.

    Args:
        model: an autoencoder; it is moved to `device` and keeps the weights it comes with at the start.
        images: what to train on.
        valid: what the validation loss is taken on; it may be empty, but not where `plan.patience` is set.
        plan: the settings.
        loss: takes a batch and its reconstructions, returns a scalar.
        device: where to compute.
        on_step, on_epoch: called after each; neither makes the device wait inside an epoch.

    Raises:
        TrainingDiverged: the loss is no longer a finite number.
    """
    model.to(device, memory_format=_memory_format(model)).train()
    batches = Batches(images, plan.batch_size, device, plan.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr, fused=device.type in ("cpu", "cuda"))
    history, best = History(), Best(plan.patience)

    for epoch in range(plan.epochs):
        started, before = time.perf_counter(), _copy_of(model)
        losses = []
        for step, x in enumerate(batches.shuffled(epoch), start=epoch * len(batches)):
            optimizer.param_groups[0]["lr"] = plan.lr_at(step, plan.epochs * len(batches))
            with _precision(plan, device):
                x_hat = model(x)
            value = loss(x, x_hat.float())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.detach())  # stays on the device: reading it here would make the loop wait
            on_step()
        history.train_loss.append(_mean_or_stop(losses, before, model, plan, epoch, len(batches)))
        history.valid_loss.append(validation_loss(model, valid, loss, plan, device))
        history.seconds.append(time.perf_counter() - started)
        on_epoch(history)
        if best.is_over(model, history):
            break

    best.restore(model, history)
    model.eval()
    return history


@torch.no_grad()
def validation_loss(model: nn.Module, valid: Images, loss: Loss, plan: Plan, device: torch.device) -> float:
    """Return the mean loss over `valid`, or NaN where it is empty."""
    if len(valid) == 0:
        return math.nan
    total = torch.zeros((), dtype=torch.float64, device="cpu")
    with evaluating(model):
        for x in Batches(valid, VALIDATION_BATCH, device).in_order():
            with _precision(plan, device):
                x_hat = model(x)
            total += loss(x, x_hat.float()).cpu() * len(x)
    return (total / len(valid)).item()


class Best:
    """Keeps the state with the lowest validation loss, where the plan has a patience."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.loss = math.inf
        self.state: dict[str, Tensor] | None = None

    def is_over(self, model: nn.Module, history: History) -> bool:
        """Take note of the epoch that has just ended; return True when training should stop."""
        if self.patience is None:
            return False
        if history.valid_loss[-1] < self.loss:
            self.loss, self.state = history.valid_loss[-1], _copy_of(model)
            history.best_epoch = len(history) - 1
        return len(history) - 1 - (history.best_epoch or 0) >= self.patience

    def restore(self, model: nn.Module, history: History) -> None:
        """Give the model its best state back."""
        if self.state is not None:
            model.load_state_dict(self.state)


def _mean_or_stop(losses: list[Tensor], before: dict, model: nn.Module, plan: Plan, epoch: int, steps: int) -> float:
    """Return the mean of an epoch's losses; after a NaN give the model its last good state back and say where."""
    values = torch.stack(losses)
    # The last step can spoil the weights without a loss to show it: the next one would only come too late.
    whole = all(value.isfinite().all() for value in model.parameters())
    if whole and values.isfinite().all():
        return values.mean().item()
    model.load_state_dict(before)
    bad = (~values.isfinite()).nonzero()
    first, value = (int(bad[0]), values[bad[0]].item()) if len(bad) else (steps - 1, math.nan)
    step = epoch * steps + first
    raise TrainingDiverged(epoch, step, plan.lr_at(step, plan.epochs * steps), value)


def _copy_of(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def _precision(plan: Plan, device: torch.device):
    return torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16")


def _memory_format(model: nn.Module) -> torch.memory_format:
    """Channels last for convolutional models: bfloat16 convolutions ran 1.9 times as fast with it on a CPU."""
    has_convolution = any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules())
    return torch.channels_last if has_convolution else torch.preserve_format
