"""The training loop. It knows no profile and no store of runs: a model, images and a plan go in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

from .. import processes
from ..data.images import Images
from ..losses import Loss
from ..models.autoencoder import evaluating
from .adam import Adam
from .batches import Batches
from .checkpoints import Checkpoints
from .guards import Stop, Watch, asked_to_stop
from .memory import keep_memory, release_memory
from .plan import Plan
from .precision import chosen_precision
from .state import History, State
from .update import memory_format, precision, update_for

VALIDATION_BATCH = 1000
LONG = 10.0  # seconds of training, after which giving memory back is worth fetching it again for the next one


def train(
    model: nn.Module,
    images: Images,
    valid: Images,
    plan: Plan,
    loss: Loss,
    device: torch.device,
    *,
    checkpoints: Checkpoints | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    on_epoch: Callable[[History], None] = lambda history: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> History:
    """Train `model` in place and return the history.

    Ctrl-C and SIGTERM end it after the step under way, with a checkpoint, and the model in its best state;
    `history.interrupted` then names the signal.

    Args:
        model: an autoencoder; it is moved to `device` and keeps the weights it comes with at the start.
        images: what to train on.
        valid: what the validation loss is taken on; it may be empty, but not where `plan.patience` is set.
        plan: the settings.
        loss: takes a batch and its reconstructions, returns a scalar, a mean over the images. It must not keep
            the batch, which the next one overwrites.
        device: where to compute.
        checkpoints: where the training goes on from, and leaves its state; None keeps none.
        on_step: called after each step with the number of steps that are done; it must not make the device wait.
        on_epoch: called after each epoch.
        tell: called with a sentence where the training cannot use the bfloat16 that its plan allows.

    Raises:
        TrainingDiverged: the loss is no longer a finite number.
        ProcessLost: another process of this training has ended. The state is in a checkpoint.
    """
    keep_memory()
    model.to(device, memory_format=memory_format(model)).train()
    batches = Batches(images, plan.batch_size, device, plan.seed)
    state = State(model, Adam(model.parameters()), plan, len(batches), device)
    checkpoints = checkpoints or Checkpoints()
    checkpoints.resume(state)
    plan = _settled(state, images, loss, device, tell)
    update, watch = update_for(model, loss, state.adam, plan, device), Watch(state)

    with asked_to_stop() as stop, _own_chance(device) as chance, _rescue(state, checkpoints):
        while not state.is_over():
            for x in batches.shuffled(state.epoch, state.step, plan.edge_at(state.epoch)):
                chance.of_step(plan.seed, state.steps_done)
                value = update(x, state.lr, batches.count(state.step))
                state.note_step(value)
                watch.look(value)
                on_step(state.steps_done)
                if _stops(stop, watch, checkpoints, state):
                    return _ended(state, interrupted=stop.by)
            watch.end()
            chance.of_step(plan.seed, state.steps_done)
            state.end_epoch(_validation(model, valid, loss, plan, state.epoch, device))
            on_epoch(state.history)
            if _stops(stop, watch, checkpoints, state):  # asked during validation, maybe the last one
                return _ended(state, interrupted=stop.by)
    return _ended(state)


@torch.no_grad()
def validation_loss(
    model: nn.Module, valid: Images, loss: Loss, plan: Plan, device: torch.device, edge: int | None = None
) -> float:
    """Return the mean loss over `valid`, or NaN where it is empty.

    Several processes share the batches. Each puts its sums in their places among zeros, so that adding up
    the places gives the very numbers of one process.
    """
    if len(valid) == 0:
        return math.nan
    batches = Batches(valid, VALIDATION_BATCH, device)
    sums = torch.zeros(len(batches), dtype=torch.float64)
    with evaluating(model):
        for place, x in zip(processes.share_of(len(batches)), batches.in_order(edge), strict=True):
            with precision(plan, device):
                x_hat = model(x)
            sums[place] = loss(x, x_hat.float()).cpu() * len(x)
    return (processes.add_up_on_cpu(sums).sum() / len(valid)).item()


def _settled(state: State, images: Images, loss: Loss, device: torch.device, tell: Callable[[str], None]) -> Plan:
    """Return the plan with the precision of this training: that of its checkpoint, else the faster one here."""
    if state.history.precision is None:
        state.history.precision, reason = chosen_precision(state.model, images, state.plan, loss, device)
        if reason:
            tell(f"computing in float32: {reason}")
    return state.plan.but(precision=state.history.precision)


def _validation(model: nn.Module, valid: Images, loss: Loss, plan: Plan, epoch: int, device: torch.device) -> float:
    if not plan.validates_after(epoch):
        return math.nan
    return validation_loss(model, valid, loss, plan, device, plan.edge_at(epoch))


def _stops(stop: Stop, watch: Watch, checkpoints: Checkpoints, state: State) -> bool:
    """Save the state where it is time to, or where training is to stop; return whether it is."""
    asked = stop.by is not None  # read once: a signal comes at any moment, and the state must be saved then
    if asked:
        watch.end()
    if asked or checkpoints.is_due():
        checkpoints.save(state)
    return asked


def _ended(state: State, interrupted=None) -> History:
    state.restore_best()
    state.model.eval()
    if sum(state.history.seconds) > LONG:
        release_memory()
    state.history.interrupted = interrupted
    return state.history


@contextlib.contextmanager
def _rescue(state: State, checkpoints: Checkpoints) -> Iterator[None]:
    """Save the state of the last finished step when another process of the training is lost."""
    try:
        yield
    except processes.ProcessLost:
        checkpoints.save(state)
        raise


class _Chance:
    """Makes dropout, sampled codes and the like a function of (seed, step): nothing of it needs to be saved."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.count = processes.rank(), processes.count()
        self.generators = [torch.default_generator]
        if device.type == "cuda":
            self.generators.append(torch.cuda.default_generators[torch.cuda.current_device()])

    def of_step(self, seed: int, step: int) -> None:
        number = (seed * 1_000_003 + step) * self.count + self.rank
        for generator in self.generators:
            generator.manual_seed(number % 2**63)


@contextlib.contextmanager
def _own_chance(device: torch.device) -> Iterator[_Chance]:
    """Give the training its own random numbers; what a notebook draws itself is untouched."""
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        yield _Chance(device)
