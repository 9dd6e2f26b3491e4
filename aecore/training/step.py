"""One step of training, and what it needs to be fast: the pieces that stand beside the loop."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .. import distributed
from ..inference import check_unchanged
from ..objectives import Batch, Objective
from .guards import HiddenState
from .optimizer import Adam
from .plan import Plan
from .state import LOSS


class TrainStep:
    """Forward, loss, gradients, Adam: called with a batch, it changes the weights and returns what the objective gave.

    Args:
        model, objective: what is trained, and what for.
        optimizer: over the model's weights.
        plan: says in which precision the layers compute.

    Attributes:
        names: what the objective's values are called, in the order in which they come back.
    """

    def __init__(self, model: nn.Module, objective: Objective, optimizer: Adam, plan: Plan) -> None:
        self.model, self.objective, self.optimizer, self.plan = model, objective, optimizer, plan
        self.names: tuple[str, ...] = ()
        self.shared = distributed.world_size() > 1

    def __call__(self, batch: Batch, lr: float | Tensor) -> Tensor:
        """Do one step on this process's part of a batch; return the values of the whole batch, shape (names,).

        They come back on the device and without their graph. Nothing here reads them.
        """
        values, gradients = self._gradients(batch)
        if self.shared:
            values, gradients = _summed(values, gradients)
        self.optimizer.step(gradients, lr)
        return values

    def _gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor]]:
        weights, count = self.optimizer.weights, batch.x.shape[0]  # len() of a tensor takes ten times as long
        if count == 0:  # more processes than images in this batch
            self.names = self.names or self._names_for(batch)
            return torch.zeros(len(self.names), device=batch.x.device), [torch.zeros_like(weight) for weight in weights]
        with precision(self.plan, batch.x.device):
            named = evaluated(self.objective, self.model, batch)
        self._check(named)
        loss = named[LOSS]
        values = loss.detach().reshape(1) if len(named) == 1 else torch.stack([v.detach() for v in named.values()])
        if count < batch.count:  # the mean over a part counts by its size
            share = count / batch.count
            loss, values = loss * share, values * share
        # Asked for directly, gradients need not be cleared before the next step.
        return values, torch.autograd.grad(loss, weights, materialize_grads=True)

    def _check(self, named: dict[str, Tensor]) -> None:
        """Raise a ValueError where a loss cannot be followed, or where values have other names than before."""
        self.names = self.names or tuple(named)
        kind = type(self.objective).__name__
        if self.names != tuple(named):
            raise ValueError(f"objective: wanted {kind} to give {self.names} at every step, got {tuple(named)}")
        if not named[LOSS].requires_grad:
            raise ValueError(
                f"objective: the loss of {kind} depends on no weight that is trained, so there is nothing to follow "
                "downhill. Look for .detach(), .item(), torch.no_grad() or rounding on the way from the model to it."
            )

    def _names_for(self, batch: Batch) -> tuple[str, ...]:
        """Return the names of the objective's values, for a process that gets nothing of the first batch it sees."""
        labels = None if batch.labels is None else batch.labels.new_zeros(1)
        blank = Batch(batch.x.new_zeros(1, *batch.x.shape[1:]), labels, 1, batch.progress)
        with torch.no_grad(), precision(self.plan, batch.x.device):
            return tuple(evaluated(self.objective, self.model, blank))


class GraphedTrainStep(TrainStep):
    """The same on an NVIDIA GPU, with a step's kernels recorded once and then started by a single call (a CUDA graph).

    A small model's kernels take less time than Python needs to start them one by one. Steps that differ from
    the recorded one, as the smaller last batch of an epoch, are done as `TrainStep` does them. So are all steps of a
    model or an objective that Python must accompany: one that reads a value back from the GPU to decide by it, or that
    counts in a plain attribute, since a replay would neither decide nor count again.

    Args:
        model, objective, optimizer, plan: as of `TrainStep`.
        tell: called with a sentence where steps cannot be recorded.
    """

    WARM_UP = 3  # steps that PyTorch wants to see before it records one; the last of them is watched

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Adam,
        plan: Plan,
        tell: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        super().__init__(model, objective, optimizer, plan)
        self.tell = tell
        self.seen = 0
        self.recordable = True
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch, lr: float) -> Tensor:
        """Do one step; what comes back is written over by the next one."""
        if self.graph is not None and batch.x.shape == self.batch.x.shape:
            self._fill(batch, lr)
            self.graph.replay()
            return self.values
        if self.graph is not None or not self.recordable:
            return super().__call__(batch, lr)
        self.seen += 1
        if self.seen > self.WARM_UP and len(batch.x) == self.plan.batch_size:
            self._record(batch, lr)
            return self(batch, lr)
        return self._watched(batch, lr) if self.seen == self.WARM_UP else self._on_a_side_stream(batch, lr)

    def _watched(self, batch: Batch, lr: float) -> Tensor:
        """Do a step and find out whether the next ones can be recorded."""
        hidden = HiddenState({"model": self.model, "objective": self.objective})
        with waits_for_the_gpu() as waits:
            values = self._on_a_side_stream(batch, lr)
        changed = hidden.changed()
        if waits or changed:
            why = f"{changed[0]}: {changed[1]} changes in them" if changed else "they wait for a value from the GPU"
            self.recordable = False
            self.tell(f"steps are not recorded, which would be several times as fast: {why}")
        return values

    def _fill(self, batch: Batch, lr: float) -> None:
        # A recorded step reads and writes fixed places, so all that changes is put there before each replay.
        self.batch.x.copy_(batch.x)
        self.batch.progress.copy_(batch.progress)
        if batch.labels is not None:
            self.batch.labels.copy_(batch.labels)
        self.lr.fill_(lr)

    def _record(self, batch: Batch, lr: float) -> None:
        labels = None if batch.labels is None else batch.labels.clone()
        self.batch = Batch(batch.x.clone(), labels, batch.count, batch.progress.clone())
        self.lr = torch.tensor(lr, device=batch.x.device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.values = super().__call__(self.batch, self.lr)
        except RuntimeError as error:
            raise RuntimeError(
                f"the steps of {type(self.model).__name__} and {type(self.objective).__name__} cannot be recorded on "
                "this GPU. Set the environment variable AECORE_CUDA_GRAPHS=0 before Python starts and train again."
            ) from error
        self.graph = graph

    def _on_a_side_stream(self, batch: Batch, lr: float) -> Tensor:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            values = super().__call__(batch, lr)
        torch.cuda.current_stream().wait_stream(stream)
        return values


def train_step_for(
    model: nn.Module,
    objective: Objective,
    optimizer: Adam,
    plan: Plan,
    device: torch.device,
    tell: Callable[[str], None],
) -> TrainStep:
    """Return the step that suits the device; `tell` is called with a sentence where it turns out to be a slower one.

    On one NVIDIA GPU steps are recorded, which makes those of small models three to five times as fast
    (book/speed.md). `AECORE_CUDA_GRAPHS=0` switches it off.
    """
    wanted = os.environ.get("AECORE_CUDA_GRAPHS", "1") not in ("", "0")
    if wanted and device.type == "cuda" and distributed.world_size() == 1:
        return GraphedTrainStep(model, objective, optimizer, plan, tell)
    return TrainStep(model, objective, optimizer, plan)


@contextlib.contextmanager
def waits_for_the_gpu() -> Iterator[list[str]]:
    """Collect a warning for each time that Python waits for the GPU."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
            found += [str(warning.message) for warning in seen if "called a synchronizing" in str(warning.message)]


def evaluated(objective: Objective, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return what an objective gives for a batch.

    Raises:
        ValueError: it is no dict of scalar tensors with one called "loss", or the model has written into the images.
    """
    version = batch.x._version
    named = objective(model, batch)
    check_unchanged(batch.x, version, f"model: {type(model).__name__}")
    if not isinstance(named, dict) or LOSS not in named or not all(map(_is_scalar, named.values())):
        raise ValueError(
            f"objective: wanted {type(objective).__name__} to return scalar tensors in a dict, one called {LOSS!r}, "
            f"got {_in_words(named)}"
        )
    return named


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _in_words(named: object) -> str:
    if not isinstance(named, dict):
        return type(named).__name__
    shapes = (f"of shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__ for v in named.values())
    return ", ".join(f"{name!r} {shape}" for name, shape in zip(named, shapes, strict=True)) or "an empty dict"


def precision(plan: Plan, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which a model's layers compute under `plan`."""
    if plan.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def memory_format(model: nn.Module) -> torch.memory_format:
    """Channels last for convolutional models: bfloat16 convolutions ran 1.9 times as fast with it on a CPU.

    Not where a 1×1 convolution has a stride and few channels: in that order oneDNN writes past its memory (its issue
    6035), which ends the process or, unnoticed, gives wrong gradients.
    """
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    if not convolutions or any(max(m.kernel_size) == 1 < max(m.stride) and m.in_channels < 16 for m in convolutions):
        return torch.preserve_format
    return torch.channels_last


def _summed(values: Tensor, gradients: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the sums over all processes, sent as one message: many small ones would wait for each other."""
    flat = distributed.all_reduce_sum(torch.cat([values, *(gradient.flatten() for gradient in gradients)]))
    parts = flat[len(values) :].split([gradient.numel() for gradient in gradients])
    return flat[: len(values)], [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
