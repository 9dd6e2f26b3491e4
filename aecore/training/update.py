"""One step of training, and what it needs to be fast: the pieces that stand beside the loop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import processes
from ..losses import Loss
from .adam import Adam
from .plan import Plan


class Update:
    """Forward, loss, gradients, Adam: called with a batch, it changes the weights and returns the loss.

    Args:
        model, loss: what is trained, and for what.
        adam: over the model's weights.
        plan: says in which precision the layers compute.
    """

    def __init__(self, model: nn.Module, loss: Loss, adam: Adam, plan: Plan) -> None:
        self.model, self.loss, self.adam, self.plan = model, loss, adam, plan
        self.shared = processes.count() > 1

    def __call__(self, x: Tensor, lr: float | Tensor, count: int) -> Tensor:
        """Do one step on `x`, this process's part of a batch of `count` images; return the whole batch's loss.

        The loss comes back on the device and without its graph. Nothing here reads it.
        """
        value, gradients = self._gradients(x, count)
        if self.shared:
            value, gradients = _added_up(value, gradients)
        self.adam.step(gradients, lr)
        return value

    def _gradients(self, x: Tensor, count: int) -> tuple[Tensor, Sequence[Tensor]]:
        if len(x) == 0:  # more processes than images in the last batch
            return torch.zeros((), device=x.device), [torch.zeros_like(weight) for weight in self.adam.weights]
        with precision(self.plan, x.device):
            x_hat = self.model(x)
        value = self.loss(x, x_hat.float())
        if len(x) < count:  # the mean over a part counts by its size
            value = value * (len(x) / count)
        # Asked for directly, gradients need not be cleared before the next step.
        return value.detach(), torch.autograd.grad(value, self.adam.weights, materialize_grads=True)


class GraphedUpdate(Update):
    """The same on an NVIDIA GPU, with a step's kernels recorded once and then started by a single call.

    A small model's kernels take less time than Python needs to start them one by one. Steps that differ from
    the recorded one, as the smaller last batch of an epoch, are done as `Update` does them.
    """

    WARM_UP = 3  # steps that PyTorch wants to see before it records one

    def __init__(self, model: nn.Module, loss: Loss, adam: Adam, plan: Plan) -> None:
        super().__init__(model, loss, adam, plan)
        self.seen = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: Tensor, lr: float, count: int) -> Tensor:
        """Do one step; what comes back is written over by the next one."""
        if self.graph is not None and x.shape == self.x.shape:
            self.x.copy_(x)
            self.lr.fill_(lr)
            self.graph.replay()
            return self.value
        self.seen += 1
        if self.graph is None and self.seen > self.WARM_UP and len(x) == self.plan.batch_size:
            self._record(x, lr, count)
            return self(x, lr, count)
        return self._on_a_side_stream(x, lr, count) if self.graph is None else super().__call__(x, lr, count)

    def _record(self, x: Tensor, lr: float, count: int) -> None:
        # A recorded step reads and writes fixed places, so batch and learning rate are put there before each replay.
        self.x, self.lr = x.clone(), torch.tensor(lr, device=x.device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.value = super().__call__(self.x, self.lr, count)

    def _on_a_side_stream(self, x: Tensor, lr: float, count: int) -> Tensor:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            value = super().__call__(x, lr, count)
        torch.cuda.current_stream().wait_stream(stream)
        return value


def update_for(model: nn.Module, loss: Loss, adam: Adam, plan: Plan, device: torch.device) -> Update:
    """Return the update that suits the device.

    Recorded steps are used on one NVIDIA GPU where `AECORE_CUDA_GRAPHS=1` asks for them: they have not
    been measured yet, so they are off.
    """
    wanted = os.environ.get("AECORE_CUDA_GRAPHS", "0") not in ("", "0")
    graphed = wanted and device.type == "cuda" and processes.count() == 1
    return (GraphedUpdate if graphed else Update)(model, loss, adam, plan)


def precision(plan: Plan, device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which a model's layers compute under `plan`."""
    if plan.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def memory_format(model: nn.Module) -> torch.memory_format:
    """Channels last for convolutional models: bfloat16 convolutions ran 1.9 times as fast with it on a CPU."""
    has_convolution = any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules())
    return torch.channels_last if has_convolution else torch.preserve_format


def _added_up(value: Tensor, gradients: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the sums over all processes, sent as one message: many small ones would wait for each other."""
    flat = processes.add_up(torch.cat([value.reshape(1), *(gradient.flatten() for gradient in gradients)]))
    parts = flat[1:].split([gradient.numel() for gradient in gradients])
    return flat[0], [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
