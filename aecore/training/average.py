"""An averaged copy of the weights: where training jumps about, the middle of its last steps is better than the last."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """A copy of a model whose weights are the exponential moving average of the model's.

    `torch.optim.swa_utils.AveragedModel` has the same arithmetic, but makes a GPU wait at every step, averages whole
    numbers as well (a table of integers then loses one here and there), and its state leaves buffers out that are
    registered with persistent=False.

    Args:
        model: to copy.
        decay: share of the average that each step keeps.

    Attributes:
        model: the copy.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self._lerp = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def follow(self, model: nn.Module, is_first: bool) -> None:
        """Take in what a step has left; the first one is taken as it is.

        Buffers of real numbers, as BatchNorm's running means, are averaged like weights; counts and tables are copied.
        """
        averaged: list[tuple[Tensor, Tensor]] = []
        for own, new in zip(_tensors(self.model), _tensors(model), strict=True):
            if own.is_floating_point() and not is_first:
                averaged.append((own, new))
            else:
                own.copy_(new)
        if averaged:
            self._lerp([own for own, _ in averaged], [new for _, new in averaged], None)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(model.parameters(), model.buffers())
