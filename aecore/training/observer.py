"""Who watches a training: where its state is kept, and who is told of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .checkpoints import Checkpoints
from .state import History


def _nothing(*told) -> None:
    pass


@dataclass
class Observer:
    """What `train` calls while it works; the default keeps nothing and tells nobody.

    Args:
        checkpoints: where the training goes on from, and leaves its state.
        on_step: called after each step with the number of steps that are done; it must not make the device wait.
        on_epoch: called after each epoch.
        tell: called with a sentence where the training is slower than it could be: without the bfloat16 that its plan
            allows, or without recorded steps.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    on_step: Callable[[int], None] = _nothing
    on_epoch: Callable[[History], None] = _nothing
    tell: Callable[[str], None] = _nothing
