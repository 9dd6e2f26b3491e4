"""A `MaskedPrior` in whole numbers: the rows of frequencies that encoder and decoder must have exactly alike.

Two machines, or two versions of a library, differ in the last digits of floats, and where a row of frequencies differs
by 1 all that follows in the file is lost (`integer_prior` has the same cure for large pictures). Here weights are
integers of 8 bits and values integers in units of 1/256; sums stay far below 2⁵³, up to which float64 holds every
integer, so matrix products are exact in whatever order they are added. Exponentials and the logistic function are looked
up in tables of whole numbers, which `decimal` computes alike everywhere.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..codec.tables import PRECISION, TOTAL
from .hyperprior import LARGEST, SCALES, SMALLEST
from .integer_prior import _shift
from .masked_prior import KINDS, PER_OUTPUT, MaskedPrior

UNIT = 256  # values are whole numbers of 1/256
LIMIT = 1 << 19  # what a value between layers is at most: 2048
UNIT_BITS = 12  # binary digits after the point of the factors by which values are multiplied
MOST_SYMBOLS = 1 << 11  # in a row
# The logistic function: its argument goes in steps of 1/128 as far as 12 to both sides; its value in 2⁻²⁰.
ARGUMENT, REACH, VALUE_BITS = 128, 12, 20
SHARE_BITS, SHARE_REACH = 12, 8  # of shares, relative to the largest: in 2⁻¹², from e⁰ to e⁻⁸


class IntegerMixture:
    """The frequencies of each value of a flat code, from the values before it, in whole numbers.

    Args:
        arrays: what `integers_of` gives, or what was stored of it.
    """

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        self.size, _, self.mixture = arrays["head_bias"].shape
        self.groups, self.hidden, outputs = arrays["head"].shape
        self.group = outputs // (KINDS * self.mixture)
        self.weight, self.head = arrays["weight"].double(), arrays["head"].double()
        self.bias, self.head_bias = arrays["bias"].double(), arrays["head_bias"].double()
        self.shift, self.head_shift = (torch.pow(2.0, arrays[name].double()) for name in ("shift", "head_shift"))
        self.inverse, self.unit = arrays["inverse"].double(), arrays["unit"].double()
        self.low, self.high = (arrays[name].numpy().astype(np.int64) for name in ("low", "high"))

    def values_of(self, number: int) -> slice:
        """Return which values a group has."""
        return slice(number * self.group, (number + 1) * self.group)

    def parameters(self, number: int, seen: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return shares, means and rungs of the values of a group.

        Args:
            number: of the group, from 0.
            seen: the values of the groups before it, whole numbers of shape (N, values) in float64.

        Returns:
            int64 arrays of shape (N, group, mixture): shares, which add up to anything; means in units of 1/256 step;
            places on the ladder of scales, from 0.
        """
        rows, values = slice(number * self.hidden, (number + 1) * self.hidden), self.values_of(number)
        known = (seen * self.inverse[: values.start] / (1 << UNIT_BITS)).floor_().clamp_(-LIMIT, LIMIT)
        sums = torch.addmm(self.bias[rows], known, self.weight[rows, : values.start].T)
        hidden = (sums / self.shift[rows]).add_(0.5).floor_().clamp_(0, LIMIT)
        outputs = (hidden @ self.head[number]).div_(self.head_shift[number]).add_(0.5).floor_()
        outputs = outputs.reshape(-1, self.group, KINDS, self.mixture) + self.head_bias[values]
        share, mean, index = outputs.clamp_(-LIMIT, LIMIT).unbind(2)
        mean = (mean * self.unit[values, None] / (1 << UNIT_BITS)).floor_().clamp_(-(1 << 24), 1 << 24)
        index = (index * PER_OUTPUT / UNIT + 0.5).floor_().clamp_(0, SCALES - 1)
        return _shares(share), mean.numpy().astype(np.int64), index.numpy().astype(np.int64)

    def rows(self, number: int, seen: Tensor) -> list[np.ndarray]:
        """Return for each value of a group the rows of its symbols: (N, symbols + 1), where ranges begin, and `TOTAL`.

        Symbol 0 is the lowest value that a file can hold, `low`, and the last one `high`.
        """
        parameters, found = self.parameters(number, seen), []
        for place, value in enumerate(range(*self.values_of(number).indices(self.size))):
            edges = np.arange(self.low[value], self.high[value] + 2)
            own = [part[:, place, :, None] for part in parameters]
            found.append(self._begins(edges[None, None], *own, value))
        return found

    def ranges(self, number: int, seen: Tensor, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the ranges of the values (N, group) of a group begin, and how long they are, as `rows` has it."""
        parameters, begins, ends = self.parameters(number, seen), [], []
        for place, value in enumerate(range(*self.values_of(number).indices(self.size))):
            own = [part[:, place, :, None] for part in parameters]
            edges = values[:, place, None, None] + np.arange(2)
            both = self._begins(edges, *own, value)
            begins.append(both[:, 0])
            ends.append(both[:, 1])
        begins, ends = np.stack(begins, 1), np.stack(ends, 1)
        return begins, ends - begins

    def _begins(
        self, edges: np.ndarray, share: np.ndarray, mean: np.ndarray, index: np.ndarray, value: int
    ) -> np.ndarray:
        """Return where the ranges of values begin; `edges`: these values, (N or 1, 1, count)."""
        symbols = self.high[value] - self.low[value] + 1
        distance = edges * UNIT - UNIT // 2 - mean
        argument = (distance * _inverse_scales()[index]) >> 16
        limit = ARGUMENT * REACH
        below = _logistic()[np.clip(argument, -limit, limit, out=argument) + limit]
        mass = (share * below).sum(1) // share.sum(1)
        # The first and the last symbol have what lies beyond them.
        symbol = edges[:, 0] - self.low[value]
        mass = np.where(symbol <= 0, 0, np.where(symbol >= symbols, 1 << VALUE_BITS, mass))
        return symbol + ((TOTAL - symbols) * mass >> VALUE_BITS)


@torch.no_grad()
def integers_of(prior: MaskedPrior, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Return a prior's weights in whole numbers: int8 weights, int32 biases, shifts, factors, and ranges of values.

    Args:
        prior: the trained one.
        low, high: the lowest and the highest value that a file can hold, int, of shape (size,).
    """
    weight, head = (prior.weight * prior.mask).double().cpu(), prior.head.double().cpu()
    shift, head_shift = _shifts(weight.abs().amax(1)), _shifts(head.abs().amax(1))
    unit = prior.unit.double().cpu()
    factor = torch.pow(2.0, shift.double())
    return {
        "weight": (weight * factor[:, None]).round().to(torch.int8),
        "shift": shift,
        "bias": _whole(prior.bias.double().cpu() * factor * UNIT),
        "head": (head * torch.pow(2.0, head_shift.double())[:, None]).round().to(torch.int8),
        "head_shift": head_shift,
        "head_bias": _whole(prior.head_bias.double().cpu() * UNIT),
        "inverse": _whole((UNIT << UNIT_BITS) / unit),
        "unit": _whole(unit * (1 << UNIT_BITS)),
        "low": low.to(torch.int16),
        "high": torch.minimum(high, low + MOST_SYMBOLS - 1).to(torch.int16),
    }


def _shifts(largest: Tensor) -> Tensor:
    return torch.tensor([_shift(value) for value in largest.flatten().tolist()]).reshape(largest.shape).to(torch.int8)


def _whole(values: Tensor) -> Tensor:
    return values.round().clamp(-(1 << 31), (1 << 31) - 1).to(torch.int32)


def _shares(logits: Tensor) -> np.ndarray:
    """Return e to the power of logits, in units of 1/256, relative to the largest of each mixture; at least 1."""
    below = (logits.amax(-1, keepdim=True) - logits).numpy().astype(np.int64)
    return _exponentials()[np.minimum(below, SHARE_REACH * UNIT)]


@cache
def _exponentials() -> np.ndarray:
    """Return 2¹² · e^(−t/256) for t = 0, 1, …"""
    with localcontext(prec=30):
        powers = [(Decimal(-t) / UNIT).exp() * (1 << SHARE_BITS) for t in range(SHARE_REACH * UNIT + 1)]
        return np.array([int(power.to_integral_value()) for power in powers], dtype=np.int64)


@cache
def _logistic() -> np.ndarray:
    """Return 2²⁰ / (1 + e^(−t/128)) for t from −12 · 128 to 12 · 128."""
    steps = ARGUMENT * REACH
    with localcontext(prec=30):
        values = [(1 << VALUE_BITS) / (1 + (Decimal(-t) / ARGUMENT).exp()) for t in range(-steps, steps + 1)]
        return np.array([int(value.to_integral_value()) for value in values], dtype=np.int64)


@cache
def _inverse_scales() -> np.ndarray:
    """Return for each rung of the ladder 2¹⁶ · 128 / (256 · scale): from a distance to an argument of the logistic."""
    with localcontext(prec=30):
        first, last = Decimal(repr(SMALLEST)), Decimal(repr(LARGEST))
        step = (last / first).ln() / (SCALES - 1)
        scales = [first * (step * rung).exp() for rung in range(SCALES)]
        return np.array([int((ARGUMENT << 16) / (UNIT * scale)) for scale in scales], dtype=np.int64)
