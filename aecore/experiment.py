"""The door: `fit` trains a model, or loads the run that was trained with exactly these settings before."""

from __future__ import annotations

import datetime
import math
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from . import config, distributed, files, journal, losses, machine
from .data.images import Images, Splits
from .inference import device_of, eval_mode
from .models import init_weights
from .objectives import Objective, Reconstruction
from .runs import Run, store
from .runs.describe import hash_of_weights
from .runs.fingerprint import digests_of, fingerprint, parts_of
from .training import Checkpoints, History, Observer, Plan, train

QUICK_STEPS, QUICK_IMAGES = 2, 16
InitFrom = str | Run | Mapping[str, Run] | None


def fit(
    model: nn.Module,
    data: Splits,
    plan: Plan | None = None,
    *,
    loss: str | losses.Loss | None = None,
    objective: Objective | None = None,
    name: str | None = None,
    init_from: InitFrom = None,
    weights: bool = True,
) -> Run:
    """Return the run of `model` on `data` under `plan`: loaded where it was trained before, else trained now.

    A run with a name leaves a checkpoint every minute (`AECORE_CHECKPOINT_SECONDS`), and when Ctrl-C or SIGTERM
    ends it; the same call then goes on from there and ends with the same weights, bit for bit on a CPU. After
    Ctrl-C the run comes back as far as it got, `run.history.interrupted` set, and is not stored.

    The weights are drawn anew from `plan.seed`, so that a run depends on nothing that happened earlier
    in the notebook. The validation images choose nothing here but the epoch to stop at, and that only where
    the plan has a patience; the test images are not touched.

    A published run that differs in nothing but the data is taken as well, and a line says so: the page shows its
    numbers. `AECORE_RETRAIN=1` trains on your own data.

    Args:
        model: of the data's image shape; it holds the trained weights afterwards.
        data: trained on `data.train`, watched on `data.valid`.
        plan: the settings; `Plan()` where none is given. The quick profile trains a few steps.
        loss: short for `objective=Reconstruction(loss)`: "mse" (the default), "mae", "bce" or a function of a batch and
            its reconstructions.
        objective: what is made small, where it is not a reconstruction's loss.
        name: under which the run is stored and looked for, "02-conv"; None stores and looks up nothing, and neither
            does the quick profile.
        init_from: a run whose weights to start from, or one for each part of the model, {"encoder": run}; other parts
            are drawn from the seed. "model" keeps the weights that the model comes with.
        weights: False takes a published run that comes without its weights: its history is there, and what
            `run.measure` and `run.score` found. Its model is not, and says so when it is used.

    Raises:
        TypeError, ValueError: an argument is of another kind, or shapes or names do not fit.
        OSError: the folder of runs cannot be written; found out before training begins. A disk that is
            full afterwards is reported, and the run returned: it is not stored, but nothing is lost.
        TrainingDiverged: the loss is no longer a finite number.
        ProcessLost: another of several processes has ended.
    """
    plan = Plan() if plan is None else plan
    objective = _objective(loss, objective)
    _check(model, data, plan, name)
    plan, data = _sized(plan, data)
    _check_normalising(model, data, plan)
    training = _Training(model, data, plan, objective, name, _Start.of(init_from, model))
    hint = "Start every process with the same command and the same data."
    distributed.check_agreement("the training", training.fingerprint, hint)
    stores = name is not None and config.profile() == "full"  # a run of the quick profile is no result
    run = (_stored(training, weights) or _trained(training)) if stores else _train(training, Checkpoints())
    if name and not run.history.interrupted:
        facts = {"name": name, "fingerprint": run.fingerprint, "date": run.date, "machine": run.machine}
        journal.record("run", **facts, weights=weights, other_data=run.other_data)
    return run


@dataclass
class _Start:
    """What the weights are before the first step.

    Args:
        told: in the fingerprint.
        sources: runs by the part of the model that starts from them, "" for all of it.
        draws: whether the other weights are drawn from the seed.
    """

    told: str | dict[str, str]
    sources: Mapping[str, Run]
    draws: bool = True

    @classmethod
    def of(cls, init_from: InitFrom, model: nn.Module) -> _Start:
        if init_from is None:
            return cls("seed", {})
        if isinstance(init_from, str) and init_from == "model":
            return cls(hash_of_weights(model), {}, draws=False)
        sources = {"": init_from} if isinstance(init_from, Run) else init_from
        if not isinstance(sources, Mapping) or not all(isinstance(run, Run) for run in sources.values()):
            got = repr(init_from) if isinstance(init_from, str) else type(init_from).__name__
            raise TypeError(f"init_from: wanted a run, runs by part {{'encoder': run}}, or 'model', got {got}")
        for part, run in sources.items():
            _part(model, part)
            if run.history.interrupted:  # its fingerprint is that of the whole training, its weights are not
                raise ValueError(f"init_from: run {run.name!r} was interrupted; call its fit again to its end first")
        return cls({part: run.fingerprint for part, run in sources.items()}, sources, draws="" not in sources)

    def apply(self, model: nn.Module, seed: int) -> None:
        """Give the model its first weights."""
        weights = {part: _weights_of(run, part) for part, run in self.sources.items()}  # before `model` loses its own
        if self.draws:
            init_weights(model, seed)
        for part, found in weights.items():
            try:
                _part(model, part).load_state_dict(found)
            except RuntimeError as error:
                where = f"its part {part!r}" if part else "it"
                raise ValueError(
                    f"init_from: the weights of run {self.sources[part].name!r} do not fit {where}: {error}"
                ) from error


@dataclass
class _Training:
    """All that makes up one call of `fit`, and what tells it from others."""

    model: nn.Module
    data: Splits
    plan: Plan
    objective: Objective
    name: str | None
    start: _Start
    seen: object = None  # the state of the run's folder when it was looked for

    def __post_init__(self) -> None:
        parts = parts_of(self.model, self.data, self.plan, self.objective, self.start.told)
        self.fingerprint, self.digests = fingerprint(parts), digests_of(parts, self.model)
        self.images = parts["train"]  # hashing many takes a while, so it is done once

    @property
    def folder(self):
        """Where the run lies, or would lie."""
        return store.own_folder(self.name, self.fingerprint)


def _stored(training: _Training, weights: bool) -> Run | None:
    """Return the run where it was stored or published, maybe for other data; say so in a line."""
    if config.retrain():
        return None
    name, training.seen = training.name, store.stamp(training.folder)
    run = store.find(name, training.fingerprint, training.model, weights)
    hint = "AECORE_RUNS must be a folder that all processes share."
    distributed.check_agreement("whether this run is stored", str(run is not None), hint)
    if run is None and not config.is_publishing():
        run = store.find_for_other_data(name, training.digests, training.model, weights)
    if run is None:
        if why := store.mismatch(name, training.digests):
            config.log.info(why)
        return None
    _remove_leftovers(training)
    other = " (the page's own data, not yours; AECORE_RETRAIN=1 trains on yours)" if run.other_data else ""
    config.log.info(f"loaded {name}: {run.story()}{other}")
    run.parts = run.parts or training.digests
    return run


def _remove_leftovers(training: _Training) -> None:
    """Remove what a process that was killed right after it had stored the run has left, and no live one needs."""
    files.remove_parts(training.folder)
    checkpoints = Checkpoints(training.folder / "checkpoints")
    if distributed.rank() == 0 and checkpoints.folder.exists():
        with store.training_lock(training.folder, training.name, wait=False) as ours:
            if ours:
                checkpoints.clear()


def _trained(training: _Training) -> Run:
    """Train and store a run that has a name; one process at a time."""
    if distributed.rank() > 0:
        return _train(training, _checkpoints(training))
    store.is_writable(training.folder)
    with store.training_lock(training.folder, training.name):
        # Another process may have been faster. Looking again for nothing would report the same damage twice.
        faster = distributed.world_size() == 1 and store.stamp(training.folder) != training.seen
        if faster and (run := _stored(training, weights=True)):
            return run
        checkpoints = _checkpoints(training)
        run = _train(training, checkpoints)
        if not run.history.interrupted:
            config.log.info(f"trained {run.name}: {run.seconds:,.0f} s on {run.machine}")
            _store(run, training.folder, checkpoints)
    return run


def _checkpoints(training: _Training) -> Checkpoints:
    name, first = training.name, distributed.rank() == 0
    return Checkpoints(
        training.folder / "checkpoints", training.fingerprint, config.checkpoint_seconds(),
        tell=lambda sentence: config.log.warning(f"{name}: {sentence}") if first else None,
    )  # fmt: skip


def _store(run: Run, folder, checkpoints: Checkpoints) -> None:
    try:
        store.save(run, folder)
        checkpoints.clear()
    except OSError as error:  # an hour of training is worth more than its file
        reason = str(error).rstrip(".")
        config.log.warning(f"{run.name} could not be stored in {folder}: {reason}. The trained model is in run.model.")


def _train(training: _Training, checkpoints: Checkpoints) -> Run:
    name, plan = training.name, training.plan
    training.start.apply(training.model, plan.seed)
    with _Progress(training) as progress:
        observer = Observer(
            checkpoints, progress.step, progress.epoch,
            tell=lambda sentence: config.log.info(f"{name or 'training'}: {sentence}"),
        )  # fmt: skip
        history = train(training.model, training.data, plan, training.objective, machine.device(), observer)
    run = _run_of(training, history)
    if history.interrupted:
        _interrupted(run, checkpoints, training.start)
    return run


def _run_of(training: _Training, history: History) -> Run:
    images = training.data.train
    return Run(
        name=training.name,
        fingerprint=training.fingerprint,
        model=training.model,
        plan=training.plan,
        objective=training.objective.name,
        history=history,
        data={
            "name": images.name,
            "count": len(images),
            "source": images.provenance.source,
            "note": images.provenance.note,
            "fingerprint": training.images,
        },
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        seconds=round(sum(history.seconds), 1),
        machine=machine.description(),
        versions=machine.versions(),
        parts=training.digests,
    )


def _interrupted(run: Run, checkpoints: Checkpoints, start: _Start) -> None:
    """Say where the training stands; after SIGTERM, end as asked."""
    kept = "its state is in a checkpoint: the same call goes on from there"
    if not start.draws and not start.sources:  # they are part of the fingerprint, and the model holds others now
        kept += ", with the weights that it began with"
    if checkpoints.newest is None:
        kept = "its state is not stored" + (", since the run has no name" if run.name is None else "")
    by, done = run.history.interrupted, f"{len(run.history)} of {run.plan.epochs} epochs"
    config.log.warning(f"{run.name or 'training'}: stopped by {by.name} after {done}; {kept}")
    if by == signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)


def _objective(loss: str | losses.Loss | None, objective: Objective | None) -> Objective:
    if objective is None:
        return Reconstruction("mse" if loss is None else loss)
    if loss is not None:
        raise ValueError("loss: it is short for objective=Reconstruction(loss); give one of the two")
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective: wanted one of aecore.objectives, such as Classification(), got {type(objective).__name__}; a "
            "function of x and x_hat goes into loss="
        )
    if "_modules" not in vars(objective):  # PyTorch would complain of an attribute that nobody has written
        raise TypeError(f"objective: {type(objective).__name__}.__init__ must begin with super().__init__()")
    return objective


def _sized(plan: Plan, data: Splits) -> tuple[Plan, Splits]:
    """Return plan and data in the size of the profile: quick trains a few steps, at each of the plan's sizes.

    It computes in float32 always, so that no trial takes time and every machine gives the same test.
    """
    if config.profile() != "quick":
        return plan, data
    sizes = tuple((epoch, size) for epoch, (_, size) in enumerate(plan.sizes))
    batch_size = min(plan.batch_size, QUICK_IMAGES)
    plan = plan.replace(epochs=max(1, len(sizes)), batch_size=batch_size, sizes=sizes, precision="float32")
    return plan, Splits(data.train[: QUICK_STEPS * batch_size], data.valid[:QUICK_IMAGES], data.test)


def _part(model: nn.Module, part: str) -> nn.Module:
    try:
        return model.get_submodule(part)
    except AttributeError as error:
        parts = ", ".join(repr(name) for name, _ in model.named_children())
        raise ValueError(f"init_from: the model has no part {part!r}; its parts are {parts}") from error


def _weights_of(run: Run, part: str) -> dict[str, torch.Tensor]:
    """Return a copy of the weights of a part of a run's model; of the whole model where it has no such part.

    Raises:
        ValueError: the model holds other weights now.
        WeightsNotPublished: they are not there.
    """
    run.check_model("init_from")
    source = run.model
    if isinstance(source, nn.Module) and part in dict(source.named_modules()):
        source = source.get_submodule(part)
    return {name: value.detach().clone() for name, value in source.state_dict().items()}


def _check(model: nn.Module, data: Splits, plan: Plan, name: str | None) -> None:
    """Find out now what would end in an error of torch's, or in one after the first epoch."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(data, Splits):
        hint = "; fit wants all three parts, as load returns them" if hasattr(data, "pixels") else ""
        raise TypeError(f"data: wanted Splits, got {type(data).__name__}{hint}")
    for part, images in vars(data).items():
        if not isinstance(images, Images):
            raise TypeError(f"data: wanted Images as its {part}, got {type(images).__name__}; ae.from_array makes them")
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: wanted a Plan, such as ae.Plan(epochs=5), got {type(plan).__name__}")
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"\w[\w.+-]{,99}", name)):
        wanted = "letters, digits, '-', '_', '+' and '.', 100 at most, as for a folder"
        raise ValueError(f"name: wanted {wanted}, got {name!r}")
    if len(data.train) == 0:
        raise ValueError(f"data: {data.train.name} has no training images; this set is for measuring only")
    if plan.patience is not None and len(data.valid) == 0:
        raise ValueError("plan: a patience needs validation images, and there are none")
    _check_shapes(model, data, plan)
    _check_weights(model)


def _check_weights(model: nn.Module) -> None:
    for name, weight in model.named_parameters():
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise ValueError(f"model: {name!r} has no shape yet; send one batch through the model first")
        if weight.dtype != torch.float32:
            raise ValueError(f"model: wanted weights in float32, got {name!r} in {weight.dtype}; model.float() helps")


def _check_shapes(model: nn.Module, data: Splits, plan: Plan) -> None:
    shape = data.shape
    if len(data.valid) and data.valid.shape != shape:
        raise ValueError(f"data: validation images of shape {data.valid.shape} are not like those to train on, {shape}")
    if plan.crop is not None:
        if plan.crop > min(shape[1:]):
            raise ValueError(f"plan: crop={plan.crop} is larger than the images, {shape[1]}×{shape[2]}")
        shape = (shape[0], plan.crop, plan.crop)
    wanted = getattr(model, "image_shape", shape)
    if tuple(wanted) != shape and not getattr(model, "any_size", False):
        raise ValueError(f"data: images of shape {shape} do not fit this model, which was made for {wanted}")
    if plan.sizes and not getattr(model, "any_size", True):
        raise ValueError(f"plan: sizes need a model for images of any size, but {type(model).__name__} is for {shape}")
    for _, size in plan.sizes:  # whether the model takes each size: now, not after the epochs of the first
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad(), eval_mode(model):
                model(torch.zeros(1, shape[0], size, size, device=device_of(model)))
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"plan: sizes: images of {size}×{size} do not fit this model: {error}") from error


def _check_normalising(model: nn.Module, data: Splits, plan: Plan) -> None:
    """Refuse what batch normalisation cannot train: parts of batches, and of a vector a batch of one."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    layers = [layer for layer in layers if not _is_frozen(layer)]
    if layers and distributed.world_size() > 1:
        raise ValueError(
            f"model: {type(layers[0]).__name__} would see only its own process's part of each batch, so several "
            "processes would not train what one does. Use GroupNorm, or one process."
        )
    # Of images it takes the mean over places as well, so that one will do.
    vectors = any(isinstance(layer, nn.BatchNorm1d) for layer in layers)
    if vectors and (len(data.train) % plan.batch_size or plan.batch_size) == 1:
        raise ValueError(
            f"plan: with batch_size={plan.batch_size} the last batch of {len(data.train):,} images holds 1 image, "
            "which BatchNorm1d cannot normalise. Choose another batch_size, or leave out an image."
        )


def _is_frozen(layer: nn.Module) -> bool:
    params = list(layer.parameters())
    return bool(params) and not any(weight.requires_grad for weight in params)


class _Progress:
    """A bar with the named losses and the time left, on standard error; `AECORE_PROGRESS=0` turns it off."""

    def __init__(self, training: _Training) -> None:
        from tqdm import tqdm

        steps = training.plan.epochs * -(-len(training.data.train) // training.plan.batch_size)
        self.bar = tqdm(
            total=steps, desc=training.name or "training", unit="step", disable=not config.shows_progress(),
            mininterval=0.5, leave=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def step(self, done: int) -> None:
        self.bar.update(done - self.bar.n)

    def epoch(self, history: History) -> None:
        told = [f"{name} {values[-1]:.4f}" for name, values in history.train.items()]
        measured = [value for value in history.valid_loss if not math.isnan(value)]
        if measured:
            told.append(f"validation {measured[-1]:.4f}")
        self.bar.set_postfix_str(", ".join(told))
