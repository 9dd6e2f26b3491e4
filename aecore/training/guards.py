"""What stands around the loop: a training that is asked to stop, and one whose loss is no longer a number."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .state import LOSS, State, put_back


class TrainingDiverged(RuntimeError):
    """The loss, or a weight at the end of an epoch, became NaN or infinite.

    The model holds its last good state: that of the end of the epoch before, or of the checkpoint from
    which the training went on.

    Args:
        epoch, step: where it happened; both count from 0, `step` within the whole training.
        lr: the learning rate of that step.
        value: the loss that was seen.
    """

    def __init__(self, epoch: int, step: int, lr: float, value: float) -> None:
        self.epoch, self.step, self.lr, self.value = epoch, step, lr, value
        super().__init__(
            f"the loss became {value} in step {step} (epoch {epoch}) at learning rate {lr:.3g}; the model has its "
            f"last good state, from before that step. Try a learning rate of {lr / 10:.0e}, look for values outside "
            "[0, 1] in the images, and for a division or a logarithm of zero in the loss."
        )


class Stop:
    """Whether the training was asked to stop: by Ctrl-C, or by SIGTERM as schedulers send it."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; a second one is obeyed at once."""
        if self.by is not None:
            raise KeyboardInterrupt
        self.by = signal.Signals(number)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Catch Ctrl-C and SIGTERM, so that the loop can end between two steps instead of inside one.

    Only the main thread gets signals; in another one nothing is caught. A signal that is ignored stays so,
    as SIGINT is in a job that a shell runs in the background.
    """
    stop, before = Stop(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


class HiddenState:
    """Finds out, after the first step, whether something was changed that no checkpoint and no stored run holds.

    The model's weights and buffers are kept, and PyTorch's random numbers depend on the step alone. What a model or an
    objective counts in a plain attribute, or draws from `random` or `numpy.random`, would be lost when the training
    goes on or the run is loaded.

    Args:
        modules: to look at, by what they are called in the message; none: nothing is stored, so nothing can be lost.
    """

    HINTS: ClassVar = {
        "model": "Keep it in a buffer (self.register_buffer), draw random numbers with torch",
        "objective": "Make it from batch.progress, or keep it in a buffer of the model",
    }

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self.before = _kept_nowhere(modules)

    def check_once(self) -> None:
        """Compare with the state before the first step; later calls do nothing.

        Raises:
            ValueError: something has changed; the message names it and says what to do.
        """
        if self.modules and (found := self.changed()):
            owner, name = found
            raise ValueError(
                f"{owner}: {name} changed in a training step, but a checkpoint holds the model's weights and "
                f"buffers only: after an interruption the training would not go on as it was. {self.HINTS[owner]}, "
                "or train with name=None."
            )
        self.modules, self.before = {}, {}

    def changed(self) -> tuple[str, str] | None:
        """Return the owner and the name of something that is not as it was at the start, or None."""
        now = _kept_nowhere(self.modules)
        known = ((place, value) for place, value in self.before.items() if value is not None)
        return next((place for place, value in known if now.get(place, value) != value), None)


def _kept_nowhere(modules: Mapping[str, nn.Module]) -> dict[tuple[str, str], object]:
    """Return what checkpoints leave out, by its owner and its name."""
    state = {
        (owner, name): value
        for owner, module in modules.items()
        for name, value in (*_plain_attributes(module), *(_versions(module) if owner == "objective" else ()))
    }
    if modules:
        state["model", "the state of random"] = _frozen_copy(random)
        state["model", "the state of numpy.random"] = _frozen_copy(np.random)
    return state


def _plain_attributes(module: nn.Module) -> Iterator[tuple[str, object]]:
    ordinary = vars(nn.Module()).keys()
    for name, layer in module.named_modules():
        for key, value in vars(layer).items():
            if key not in ordinary:
                yield f"its attribute {name + '.' if name else ''}{key}", _frozen_copy(value)


def _versions(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Yield what changes when a tensor of `module` is replaced or written into."""
    for name, value in itertools.chain(module.named_parameters(), module.named_buffers()):
        yield f"its tensor {name}", (id(value), None if value.is_inference() else value._version)


def _frozen_copy(value: object) -> object:
    """Return what can be compared later: numbers, words and contents of containers, None for what cannot be told."""
    if isinstance(value, bool | int | float | str):
        return repr(value)  # a NaN is not equal to itself
    if isinstance(value, Tensor):
        return tuple(value.shape), value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return tuple(map(_frozen_copy, value))
    if isinstance(value, dict):
        return tuple((repr(key), _frozen_copy(one)) for key, one in value.items())
    if isinstance(value, set | frozenset | np.random.Generator | itertools.count):
        return repr(value.bit_generator.state if isinstance(value, np.random.Generator) else value)
    if value is random or isinstance(value, random.Random):
        return hash(value.getstate())
    if value is np.random or isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state()
        return kind, keys.tobytes(), *rest
    return value.get_state().numpy().tobytes() if isinstance(value, torch.Generator) else None


Arrival = Callable[[], bool]


class Watch:
    """Sees a loss that is no longer finite soon after its step, and never makes the device wait for that.

    On a CPU the value is there. A GPU's is sent to the CPU while the GPU goes on, and looked at when it has
    arrived, some steps later. What comes too late for that is found at the end of the epoch.

    Args:
        state: of the training that is watched.
        send: takes a loss; returns it as a tensor on the CPU and a function that says whether it has arrived.
    """

    def __init__(self, state: State, send: Callable[[Tensor], tuple[Tensor, Arrival]] | None = None) -> None:
        self.state = state
        self.send = send or _send
        self.under_way: deque[tuple[Tensor, Arrival]] = deque()

    def look(self, values: Tensor) -> None:
        """Take what the step that has just ended gave, and look at all losses that have arrived.

        Raises:
            TrainingDiverged: one of them is not finite.
        """
        loss = values if len(self.state.names) == 1 else values[self.state.names.index(LOSS)]
        self.under_way.append(self.send(loss))
        while self.under_way and self.under_way[0][1]():
            copy, _ = self.under_way.popleft()
            if not math.isfinite(copy.item()):
                raise _diverged(self.state)

    def end(self) -> None:
        """Look at all losses of the epoch so far, and at the weights, which the last step may have spoiled.

        Raises:
            TrainingDiverged: something is not finite.
        """
        self.under_way.clear()
        if not self.state.is_finite():
            raise _diverged(self.state)


def _send(value: Tensor) -> tuple[Tensor, Arrival]:
    if value.device.type == "cpu":
        return value, _is_there
    if value.device.type == "cuda":
        copy, event = value.to("cpu", non_blocking=True), torch.cuda.Event()
        event.record()
        return copy, event.query
    return value, _comes_too_late  # elsewhere, reading it would wait for the device


def _is_there() -> bool:
    return True


def _comes_too_late() -> bool:
    return False


def _diverged(state: State) -> TrainingDiverged:
    """Give the model its last good state back, and return the error that says where it went wrong."""
    losses = state.losses
    bad = (~losses.isfinite()).nonzero().flatten()
    step = int(bad[0]) if len(bad) else state.step - 1
    value = losses[step].item() if len(bad) else math.nan
    put_back(state.model, state.good)
    return TrainingDiverged(state.epoch, state.epoch * state.steps + step, state.lr_of(step), value)
