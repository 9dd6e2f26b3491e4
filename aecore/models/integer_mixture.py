"""A `MaskedPrior` in whole numbers: the rows of frequencies that encoder and decoder must have exactly alike.

Two machines, or two versions of a library, differ in the last digits of floats, and where a row of frequencies differs
by 1 all that follows in the file is lost (`integer_prior` has the same cure for large pictures). Here weights are
integers of 8 bits and values integers in units of 1/256; sums stay far below 2⁵³, up to which float64 holds every
integer, so matrix products are exact in whatever order they are added. Exponentials and the logistic function are
looked up in tables of whole numbers, which `decimal` computes alike everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..codec.tables import TOTAL
from .hyperprior import LARGEST, SCALES, SMALLEST
from .integer_prior import _shift
from .masked_prior import KINDS, PER_OUTPUT, MaskedPrior

UNIT = 256  # values are whole numbers of 1/256
LIMIT = 1 << 19  # what a value between layers is at most: 2048
UNIT_BITS = 12  # binary digits after the point of the factors by which values are multiplied
LAYERS = ("first", "second")
FARTHEST = 1 << 22  # what a mean is at most, in units of 1/256
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
        self.first, self.second = (IntegerLinear(arrays, name) for name in LAYERS)
        self.head, self.head_bias = arrays["head"].double(), arrays["head_bias"].double()
        self.head_divisor = torch.pow(2.0, arrays["head_shift"].double())
        self.inverse, self.unit = arrays["inverse"].double(), arrays["unit"].double()
        self.low, self.high = (arrays[name].numpy().astype(np.int64) for name in ("low", "high"))

    def begin(self, count: int) -> Passage:
        """Return what goes through the groups of so many codes, from the first on."""
        return Passage(self, count)

    def values_of(self, number: int) -> range:
        """Return which values a group has."""
        return range(number * self.group, (number + 1) * self.group)

    def begins(self, edges: np.ndarray, mixture: tuple[np.ndarray, ...], value: int) -> np.ndarray:
        """Return where the ranges of symbols begin.

        Args:
            edges: the symbols as values, of shape (N or 1, count); one above `high` stands for the end, `TOTAL`.
            mixture: shares, means and rungs, each (N, mixture).
            value: of the code.
        """
        share, mean, index = (part[:, :, None] for part in mixture)
        argument = (edges[:, None] * UNIT - UNIT // 2 - mean) * _inverse_scales()[index] >> 16
        limit = ARGUMENT * REACH
        below = _logistic()[np.clip(argument, -limit, limit, out=argument) + limit]
        mass = (share * below).sum(1) // share.sum(1)
        # The first and the last symbol have what lies beyond them.
        symbols, symbol = self.high[value] - self.low[value] + 1, edges - self.low[value]
        mass = np.where(symbol <= 0, 0, np.where(symbol >= symbols, 1 << VALUE_BITS, mass))
        return symbol + ((TOTAL - symbols) * mass >> VALUE_BITS)


class Passage:
    """The groups of some codes, one after the other; encoder and decoder go through the same steps.

    Args:
        prior: gives the distributions.
        count: how many codes.

    Attributes:
        codes: int64 of shape (count, size); 0 where they are not known yet.
    """

    def __init__(self, prior: IntegerMixture, count: int) -> None:
        self.prior, self.number = prior, 0
        self.codes = np.zeros((count, prior.size), dtype=np.int64)
        # Values in units of 1/256 of their usual size, and the first hidden layer, as far as they are known.
        self.known = torch.zeros(count, prior.size, dtype=torch.float64)
        self.hidden = torch.zeros(count, prior.groups * prior.hidden, dtype=torch.float64)

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each value of the next group with the rows of its symbols: (count, symbols + 1), the last `TOTAL`.

        Symbol 0 is the lowest value that a file can hold, `low`, and the last one `high`.
        """
        for value, mixture in self._mixtures():
            edges = np.arange(self.prior.low[value], self.prior.high[value] + 2)
            yield value, self.prior.begins(edges[None], mixture, value)

    def ranges(self, codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each value of the next group where its ranges (count) begin, and how long they are.

        Args:
            codes: int64 of shape (count, size), whose values are looked up.
        """
        for value, mixture in self._mixtures():
            edges = codes[:, value, None] + np.arange(2)
            begins = self.prior.begins(edges, mixture, value)
            yield begins[:, 0], begins[:, 1] - begins[:, 0]

    def fill(self, values: np.ndarray) -> None:
        """Take the values (count, group) of the next group as known, and go on to the one after it."""
        prior, own = self.prior, self.prior.values_of(self.number)
        self.codes[:, own.start : own.stop] = values
        scaled = torch.from_numpy(np.ascontiguousarray(values)).double() * prior.inverse[own.start : own.stop]
        self.known[:, own.start : own.stop] = (scaled / (1 << UNIT_BITS)).floor_().clamp_(-LIMIT, LIMIT)
        self.number += 1

    def _mixtures(self) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
        """Yield each value of the next group with its shares, which add up to anything, means and rungs, int64."""
        prior, own = self.prior, self.prior.values_of(self.number)
        units = slice(self.number * prior.hidden, (self.number + 1) * prior.hidden)
        self.hidden[:, units] = prior.first(self.known[:, : own.start], units)
        hidden = prior.second(self.hidden[:, : units.stop], units)
        outputs = (hidden @ prior.head[self.number]).div_(prior.head_divisor[self.number]).add_(0.5).floor_()
        outputs = outputs.reshape(-1, prior.group, KINDS, prior.mixture) + prior.head_bias[own.start : own.stop]
        share, mean, index = outputs.clamp_(-LIMIT, LIMIT).unbind(2)
        mean = (mean * prior.unit[own.start : own.stop, None] / (1 << UNIT_BITS)).floor_().clamp_(-FARTHEST, FARTHEST)
        index = (index * PER_OUTPUT / UNIT + 0.5).floor_().clamp_(0, SCALES - 1)
        mean, index = (part.numpy().astype(np.int64) for part in (mean, index))
        share = _shares(share)
        for place, value in enumerate(own):
            yield value, (share[:, place], mean[:, place], index[:, place])


class IntegerLinear:
    """A layer with ReLU, of whole numbers: sums are divided by a power of two, one for each output, and rounded.

    Args:
        arrays: hold weights (out, in), shifts (out) and biases (out), under `name`.weight and so on.
        name: of the layer.
    """

    def __init__(self, arrays: dict[str, Tensor], name: str) -> None:
        self.weight, self.bias = (arrays[f"{name}.{kind}"].double() for kind in ("weight", "bias"))
        self.divisor = torch.pow(2.0, arrays[f"{name}.shift"].double())

    def __call__(self, values: Tensor, units: slice) -> Tensor:
        """Return some units (N, units) from the first values (N, in), whole numbers in float64."""
        sums = torch.addmm(self.bias[units], values, self.weight[units, : values.shape[1]].T)
        return sums.div_(self.divisor[units]).add_(0.5).floor_().clamp_(0, LIMIT)


@torch.no_grad()
def integers_of(prior: MaskedPrior, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Return a prior's weights in whole numbers: int8 weights, int32 biases, shifts, factors, and ranges of values.

    Args:
        prior: the trained one.
        low, high: the lowest and the highest value that a file can hold, int of 15 bits, of shape (size,).
    """
    found = {}
    for name, mask in zip(LAYERS, (prior.sees_value, prior.sees_unit), strict=True):
        layer = getattr(prior, name)
        weight = (layer.weight * mask).double().cpu()
        shift = _shifts(weight.abs().amax(1))
        factor = torch.pow(2.0, shift.double())
        found[f"{name}.weight"] = (weight * factor[:, None]).round().to(torch.int8)
        found[f"{name}.shift"] = shift
        found[f"{name}.bias"] = _whole(layer.bias.double().cpu() * factor * UNIT)
    head, unit = prior.head.double().cpu(), prior.unit.double().cpu()
    head_shift = _shifts(head.abs().amax(1))
    return found | {
        "head": (head * torch.pow(2.0, head_shift.double())[:, None]).round().to(torch.int8),
        "head_shift": head_shift,
        "head_bias": _whole(prior.head_bias.double().cpu() * UNIT),
        "inverse": _whole((UNIT << UNIT_BITS) / unit),
        "unit": _whole(unit * (1 << UNIT_BITS)),
        "low": low.to(torch.int16),
        "high": high.to(torch.int16),
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
        factors = [(ARGUMENT << 16) / (UNIT * first * (step * rung).exp()) for rung in range(SCALES)]
        return np.array([int(factor.to_integral_value()) for factor in factors], dtype=np.int64)


@torch.no_grad()
def floats_of(arrays: dict[str, Tensor]) -> MaskedPrior:
    """Return the prior that an `IntegerMixture` of the same arrays computes, in floats, which have gradients."""
    size, _, mixture = arrays["head_bias"].shape
    groups, hidden, _ = arrays["head"].shape
    prior = MaskedPrior(size, size // groups, hidden, mixture)
    for name in LAYERS:
        divisor, layer = torch.pow(2.0, arrays[f"{name}.shift"].float()), getattr(prior, name)
        layer.weight.copy_(arrays[f"{name}.weight"] / divisor[:, None])
        layer.bias.copy_(arrays[f"{name}.bias"] / divisor / UNIT)
    prior.head.copy_(arrays["head"] / torch.pow(2.0, arrays["head_shift"].float())[:, None])
    prior.head_bias.copy_(arrays["head_bias"] / UNIT)
    prior.unit.copy_(arrays["unit"] / (1 << UNIT_BITS))
    return prior.eval().requires_grad_(False)
