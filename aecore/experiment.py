"""The door: `fit` trains a model, or loads the run that was trained with exactly these settings before."""

from __future__ import annotations

import datetime
import math
import os
import re
import signal
from typing import Self

import torch
from torch import nn

from . import files, losses, processes, profile, runs
from .data.images import Splits
from .fingerprints import fingerprint
from .models import draw_weights
from .models.autoencoder import evaluating
from .runs import Run
from .training import Checkpoints, History, Plan, train

QUICK_EPOCHS = 1


def fit(
    model: nn.Module,
    data: Splits,
    plan: Plan | None = None,
    *,
    loss: str | losses.Loss = "mse",
    name: str | None = None,
    start: str = "seed",
    numbers_only: bool = False,
) -> Run:
    """Return the run of `model` on `data` under `plan`: loaded where it was trained before, else trained now.

    A run with a name leaves a checkpoint every minute (`AECORE_CHECKPOINT_SECONDS`), and when Ctrl-C or SIGTERM
    ends it; the same call then goes on from there and ends with the same weights, bit for bit on a CPU. After
    Ctrl-C the run comes back as far as it got, `run.history.interrupted` set, and is not stored.

    The weights are drawn anew from `plan.seed`, so that a run depends on nothing that happened earlier
    in the notebook. The validation images choose nothing here but the epoch to stop at, and that only where
    the plan has a patience; the test images are not touched.

    Args:
        model: an autoencoder of the data's image shape; it holds the trained weights afterwards.
        data: trained on `data.train`, watched on `data.valid`.
        plan: the settings; `Plan()` where none is given. The quick profile trains one epoch.
        loss: a name ("mse", "mae", "bce") or a function of a batch and its reconstructions.
        name: under which the run is stored and looked for, "02-conv"; None stores and looks up nothing.
        start: "seed" as above; "given" keeps the weights that the model comes with.
        numbers_only: take a published run that comes without its weights: its history is there, and what
            `run.measure` and `run.score` found. Its model is not, and says so when it is used.

    Raises:
        ValueError: shapes or names do not fit.
        OSError: the folder of runs cannot be written; found out before training begins. A disk that is
            full afterwards is reported, and the run returned: it is not stored, but nothing is lost.
        TrainingDiverged: the loss is no longer a finite number.
        ProcessLost: another of several processes has ended.
    """
    loss_function = losses.get(loss)
    _check(model, data, plan := _sized(plan or Plan()), start, name)
    wanted = fingerprint(model, data, plan, loss_function, start)
    processes.check_agreement("the training", wanted, "Start every process with the same command and the same data.")
    anew = os.environ.get("AECORE_RETRAIN", "0") not in ("", "0")
    if name and not anew and (found := _found(name, wanted, model, numbers_only)):
        profile.log.info(f"loaded {name}: {found.story()}")
        return _noted(found, numbers_only)
    checkpoints = _checkpoints(name, wanted, anew)
    if start == "seed":
        draw_weights(model, plan.seed)
    run = _trained(model, data, plan, loss_function, name, wanted, checkpoints)
    if run.history.interrupted:
        return _interrupted(run, checkpoints, start)
    if name:
        profile.log.info(f"trained {name}: {run.seconds:,.0f} s on {run.machine}")
        _store(run, checkpoints)
    return _noted(run, numbers_only)


def _found(name: str, wanted: str, model: nn.Module, numbers_only: bool) -> Run | None:
    found = runs.find(name, wanted, model, numbers_only)
    processes.check_agreement(
        "whether this run is stored", str(found is not None), "AECORE_RUNS must be a folder that all processes share."
    )
    if found and processes.rank() == 0:  # a process that was killed right after it had stored the run leaves more
        folder = runs.own_folder(name, wanted)
        Checkpoints(folder / "checkpoints").clear()
        files.remove_parts(folder)
    return found


def _checkpoints(name: str | None, wanted: str, anew: bool) -> Checkpoints:
    """Return the checkpoints of a run, after finding out that its folder can be written: now, not after an hour."""
    if name is None:
        return Checkpoints()
    folder, first = runs.own_folder(name, wanted), processes.rank() == 0
    if first:
        with files.written_whole(folder / ".writable"):
            pass
        (folder / ".writable").unlink()
    checkpoints = Checkpoints(
        folder / "checkpoints", wanted, _checkpoint_seconds(),
        tell=lambda sentence: profile.log.warning(f"{name}: {sentence}") if first else None,
    )  # fmt: skip
    if anew:
        checkpoints.clear()
    return checkpoints


def _checkpoint_seconds() -> float:
    given = os.environ.get("AECORE_CHECKPOINT_SECONDS", "60")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ValueError(f"AECORE_CHECKPOINT_SECONDS: wanted the seconds between two, such as 60, got {given!r}")
    return seconds


def _store(run: Run, checkpoints: Checkpoints) -> None:
    folder = runs.own_folder(run.name, run.fingerprint)
    if processes.rank() > 0:
        return
    try:
        runs.save(run, folder)
        checkpoints.clear()
    except OSError as error:  # an hour of training is worth more than its file
        reason = str(error).rstrip(".")
        profile.log.warning(f"{run.name} could not be stored in {folder}: {reason}. The trained model is in run.model.")


def _interrupted(run: Run, checkpoints: Checkpoints, start: str) -> Run:
    """Say where the training stands; hand the model over in its best state, or, after SIGTERM, end as asked."""
    kept = "its state is in a checkpoint: the same call goes on from there"
    if start == "given":  # they are part of the fingerprint, and the model holds others now
        kept += ", with the weights that it began with"
    if checkpoints.newest is None:
        kept = "its state is not stored" + (", since the run has no name" if run.name is None else "")
    by, done = run.history.interrupted, f"{len(run.history)} of {run.plan.epochs} epochs"
    profile.log.warning(f"{run.name or 'training'}: stopped by {by.name} after {done}; {kept}")
    if by == signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)
    return run


def _trained(
    model: nn.Module, data: Splits, plan: Plan, loss, name: str | None, wanted: str, checkpoints: Checkpoints
) -> Run:
    with _Progress(name, plan, data) as progress:
        history = train(
            model, data.train, data.valid, plan, loss, profile.device(),
            checkpoints=checkpoints, on_step=progress.step, on_epoch=progress.epoch,
            tell=lambda sentence: profile.log.info(f"{name or 'training'}: {sentence}"),
        )  # fmt: skip
    return Run(
        name=name,
        fingerprint=wanted,
        model=model,
        plan=plan,
        loss=loss.__name__,
        history=history,
        data={
            "name": data.train.name,
            "count": len(data.train),
            "source": data.provenance.source,
            "note": data.provenance.note,
            "fingerprint": data.train.fingerprint,
        },
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        seconds=round(sum(history.seconds), 1),
        machine=profile.machine(),
        versions=profile.versions(),
    )


def _sized(plan: Plan) -> Plan:
    """Return the plan in the size of the profile: quick trains one epoch, or one at each of the plan's sizes.

    It computes in float32 always, so that no trial takes time and every machine gives the same test.
    """
    if profile.current() != "quick":
        return plan
    sizes = tuple((epoch, edge) for epoch, (_, edge) in enumerate(plan.sizes))
    return plan.but(epochs=min(plan.epochs, max(QUICK_EPOCHS, len(sizes))), sizes=sizes, precision="float32")


def _check(model: nn.Module, data: Splits, plan: Plan, start: str, name: str | None) -> None:
    if name is not None and not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(f"name: wanted letters, digits, '-', '_', '+' and '.', as for a folder, got {name!r}")
    if start not in ("seed", "given"):
        raise ValueError(f"start: wanted 'seed' or 'given', got {start!r}")
    wanted = getattr(model, "image_shape", data.shape)
    if wanted != data.shape:
        raise ValueError(f"data: images of shape {data.shape} do not fit this model, which was made for {wanted}")
    if len(data.train) == 0:
        raise ValueError(f"data: {data.train.name} has no training images; this set is for measuring only")
    if plan.patience is not None and len(data.valid) == 0:
        raise ValueError("plan: a patience needs validation images, and there are none")
    _check_sizes(model, data, plan)
    normalising = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if processes.count() > 1 and normalising:
        raise ValueError(
            f"model: {type(normalising[0]).__name__} would see only its own process's part of each batch, so several "
            "processes would not train what one does. Use GroupNorm, or one process."
        )


def _check_sizes(model: nn.Module, data: Splits, plan: Plan) -> None:
    """Find out now whether the model takes images of each size of the plan, not after the epochs of the first."""
    if plan.sizes and not getattr(model, "any_size", True):
        raise ValueError(
            f"plan: sizes need a model for images of any size, but {type(model).__name__} is for {data.shape}"
        )
    place = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    for _, edge in plan.sizes:
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
                model(torch.zeros(1, data.shape[0], edge, edge, device=place))
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"plan: sizes: images of {edge}×{edge} do not fit this model: {error}") from error


def _noted(run: Run, numbers_only: bool) -> Run:
    if run.name:
        facts = {"name": run.name, "fingerprint": run.fingerprint, "date": run.date, "machine": run.machine}
        profile.record("run", **facts, numbers_only=numbers_only)
    return run


class _Progress:
    """A bar with the loss and the time left, on standard error; `AECORE_PROGRESS=0` turns it off."""

    def __init__(self, name: str | None, plan: Plan, data: Splits) -> None:
        from tqdm import tqdm

        steps = plan.epochs * -(-len(data.train) // plan.batch_size)
        off = os.environ.get("AECORE_PROGRESS") == "0" or processes.rank() > 0
        self.bar = tqdm(total=steps, desc=name or "training", unit="step", disable=off, mininterval=0.5, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def step(self, done: int) -> None:
        self.bar.update(done - self.bar.n)

    def epoch(self, history: History) -> None:
        measured = [value for value in history.valid_loss if not math.isnan(value)]
        validation = f", validation {measured[-1]:.4f}" if measured else ""
        self.bar.set_postfix_str(f"loss {history.train_loss[-1]:.4f}{validation}")
