"""The training loop. It knows no profile and no store of runs: a model, images, a plan and an objective go in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .. import distributed
from ..data.images import Images, Splits
from ..inference import eval_mode
from ..models.frozen import train_mode
from ..objectives import Objective
from .batches import Batches, labels_of, validation_batch_count, validation_batches
from .checkpoints import Checkpoints
from .guards import HiddenState, Stop, Watch, asked_to_stop
from .memory import keep_memory, release_memory
from .observer import Observer
from .plan import Plan
from .precision import chosen_precision
from .randomness import own_randomness
from .state import History, State
from .step import evaluated, memory_format, precision, train_step_for

LONG = 10.0  # seconds of training, after which giving memory back is worth fetching it again for the next one


def train(
    model: nn.Module,
    data: Splits,
    plan: Plan,
    objective: Objective,
    device: torch.device,
    observer: Observer | None = None,
) -> History:
    """Train `model` in place and return the history.

    Ctrl-C and SIGTERM end it after the step under way, with a checkpoint, and the model in its best state;
    `history.interrupted` then names the signal.

    Args:
        model: it is moved to `device` and keeps the weights it comes with at the start.
        data: `train` is trained on, `valid` watched; that may be empty, but not where `plan.patience` is set.
        plan: the settings.
        objective: gives the loss and other named values for a batch.
        device: where to compute.
        observer: where the state is kept and who is told; None: nowhere and nobody.

    Raises:
        TrainingDiverged: the loss is no longer a finite number.
        ProcessLost: another process of this training has ended. The state is in a checkpoint.
        ValueError: the objective or the model cannot be trained so; the message says why.
    """
    observer = observer or Observer()
    _check_labels(data, objective)
    keep_memory()
    train_mode(model.to(device, memory_format=memory_format(model)))
    objective.to(device).eval()
    batches = Batches(data.train, plan, device, objective.needs_labels)
    state = State(model, plan, len(batches))
    observer.checkpoints.resume(state)
    plan = _with_precision(state, objective, batches, observer)
    step = train_step_for(model, objective, state.optimizer, plan, device, observer.tell)
    watch = Watch(state)
    hidden = HiddenState({"model": model, "objective": objective} if observer.checkpoints.folder else {})

    with asked_to_stop() as stop, own_randomness(device, plan.seed) as chance, _rescue(state, observer.checkpoints):
        while not state.is_over():
            for batch in batches.shuffled(state.epoch, state.step, plan.size_at(state.epoch)):
                chance.of_step(state.steps_done)
                values = step(batch, state.lr)
                state.note_step(step.names, values)
                watch.look(values)
                hidden.check_once()
                observer.on_step(state.steps_done)
                if _stops(stop, watch, observer.checkpoints, state):
                    return _ended(state, interrupted=stop.by)
            watch.end()
            chance.of_step(state.steps_done)
            state.end_epoch(_validation(state, data.valid, objective, plan, device))
            observer.on_epoch(state.history)
            if _stops(stop, watch, observer.checkpoints, state):  # asked during validation, maybe the last one
                return _ended(state, interrupted=stop.by)
    return _ended(state)


@torch.no_grad()
def validate(
    model: nn.Module, valid: Images, objective: Objective, plan: Plan, device: torch.device, size: int | None = None
) -> dict[str, float]:
    """Return the means over `valid` of what the objective gives; nothing where it is empty.

    Several processes share the batches. Each puts its sums in their places among zeros, so that adding up
    the places gives the very numbers of one process.
    """
    if len(valid) == 0:
        return {}
    sums: dict[str, Tensor] = {}
    with eval_mode(model), precision(plan, device):
        for number, batch in validation_batches(valid, plan, device, objective.needs_labels, size):
            for name, value in evaluated(objective, model, batch).items():
                places = sums.setdefault(name, torch.zeros(validation_batch_count(valid), dtype=torch.float64))
                if number is not None:
                    places[number] = value.cpu() * len(batch.x)
    totals = {name: distributed.all_reduce_sum_on_cpu(places).sum() for name, places in sums.items()}
    return {name: (total / len(valid)).item() for name, total in totals.items()}


def _check_labels(data: Splits, objective: Objective) -> None:
    """See now that there are labels where they are needed, and not when the first epoch is over."""
    for images in filter(len, (data.train, data.valid)):
        if objective.needs_labels:
            labels_of(images)


def _validation(state: State, valid: Images, objective: Objective, plan: Plan, device: torch.device) -> dict:
    if not plan.validates_after(state.epoch):
        return {}
    return validate(state.result, valid, objective, plan, device, plan.size_at(state.epoch))


def _with_precision(state: State, objective: Objective, batches: Batches, observer: Observer) -> Plan:
    """Return the plan with the precision of this training: that of its checkpoint, else the faster one here."""
    if state.history.precision is None:
        first = next(batches.shuffled(epoch=0, size=state.plan.size_at(0)))
        state.history.precision, reason = chosen_precision(state.model, objective, first, state.plan)
        if reason:
            observer.tell(f"computing in float32: {reason}")
    return state.plan.replace(precision=state.history.precision)


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
    # A run that is loaded has its weights in the ordinary order, and results must not depend on which it was.
    state.model.eval().to(memory_format=torch.contiguous_format)
    if sum(state.history.seconds) > LONG:
        release_memory()
    state.history.interrupted = interrupted
    return state.history


@contextlib.contextmanager
def _rescue(state: State, checkpoints: Checkpoints) -> Iterator[None]:
    """Save the state of the last finished step when another process of the training is lost."""
    try:
        yield
    except distributed.ProcessLost:
        checkpoints.save(state)
        raise
