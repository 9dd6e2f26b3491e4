"""The door: `fit` trains a model, or loads the run that was trained with exactly these settings before."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import time
from collections.abc import Iterator
from typing import Self

import torch
from torch import nn

from . import losses, profile, runs
from .data.images import Splits
from .models import draw_weights
from .runs import Run
from .training import History, Plan, train

QUICK_EPOCHS = 1


def fit(
    model: nn.Module,
    data: Splits,
    plan: Plan | None = None,
    *,
    loss: str | losses.Loss = "mse",
    name: str | None = None,
    start: str = "seed",
) -> Run:
    """Return the run of `model` on `data` under `plan`: loaded where it was trained before, else trained now.

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

    Raises:
        ValueError: shapes or names do not fit.
        OSError: the folder of runs cannot be written; found out before training begins. A disk that is
            full afterwards is reported, and the run returned: it is not stored, but nothing is lost.
        TrainingDiverged: the loss is no longer a finite number.
    """
    plan, loss_function = _sized(plan or Plan()), losses.get(loss)
    _check(model, data, plan, start, name)
    wanted = runs.fingerprint(model, data, plan, loss_function, start)
    if name and os.environ.get("AECORE_RETRAIN", "0") in ("", "0") and (found := runs.find(name, wanted, model)):
        profile.log.info(f"loaded {name}: {found.story()}")
        return _noted(found)
    if name:
        _check_writable(name, wanted)
    if start == "seed":
        draw_weights(model, plan.seed)
    run = _trained(model, data, plan, loss_function, name, wanted)
    if name:
        profile.log.info(f"trained {name}: {run.seconds:,.0f} s on {run.machine}")
        _store(run)
    return _noted(run)


def _store(run: Run) -> None:
    folder = runs.own_folder(run.name, run.fingerprint)
    try:
        runs.save(run, folder)
    except OSError as error:  # an hour of training is worth more than its file
        profile.log.warning(f"{run.name} could not be stored in {folder}: {error}. The trained model is in run.model.")


def _trained(model: nn.Module, data: Splits, plan: Plan, loss, name: str | None, wanted: str) -> Run:
    started = time.perf_counter()
    with _Progress(name, plan, data) as progress, _own_chance(plan.seed):
        history = train(
            model, data.train, data.valid, plan, loss, profile.device(),
            on_step=progress.step, on_epoch=progress.epoch,
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
        seconds=round(time.perf_counter() - started, 1),
        machine=profile.machine(),
        versions=profile.versions(),
    )


@contextlib.contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    """Let dropout, sampled codes and the like depend on the seed alone; what a notebook draws itself is untouched."""
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def _sized(plan: Plan) -> Plan:
    return plan.but(epochs=min(plan.epochs, QUICK_EPOCHS)) if profile.current() == "quick" else plan


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


def _check_writable(name: str, wanted: str) -> None:
    """Find out now, not after an hour of training, that a run cannot be stored."""
    from . import files

    probe = runs.own_folder(name, wanted) / ".writable"
    with files.written_whole(probe):
        pass
    probe.unlink()


def _noted(run: Run) -> Run:
    if run.name:
        profile.record("run", name=run.name, fingerprint=run.fingerprint, date=run.date, machine=run.machine)
    return run


class _Progress:
    """A bar with the loss and the time left, on standard error; `AECORE_PROGRESS=0` turns it off."""

    def __init__(self, name: str | None, plan: Plan, data: Splits) -> None:
        from tqdm import tqdm

        steps = plan.epochs * -(-len(data.train) // plan.batch_size)
        off = os.environ.get("AECORE_PROGRESS") == "0"
        self.bar = tqdm(total=steps, desc=name or "training", unit="step", disable=off, mininterval=0.5, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def step(self) -> None:
        self.bar.update()

    def epoch(self, history: History) -> None:
        self.bar.set_postfix_str(f"loss {history.train_loss[-1]:.4f}, validation {history.valid_loss[-1]:.4f}")
