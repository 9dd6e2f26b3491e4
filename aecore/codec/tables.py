"""Tables of frequencies: what an entropy coder knows of its symbols, in whole numbers.

Encoder and decoder must have the same table to the last digit, or all that follows in the file is lost. So a table is
made of probabilities once, stored as integers with the weights of its model, and never computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

PRECISION = 16
TOTAL = 1 << PRECISION  # what the frequencies of a table add up to
WIDEST = 4096  # symbols in a table, at most
_RESOLUTION = 1 << 40  # probabilities are rounded to this before the exact arithmetic begins


class Table(NamedTuple):
    """The frequencies of the values `first`, `first` + 1, …, and of the escape, which stands for all others.

    Args:
        first: the lowest value that has a frequency of its own.
        frequencies: whole numbers from 1, the last that of the escape; they add up to `TOTAL`.
    """

    first: int
    frequencies: tuple[int, ...]

    @property
    def last(self) -> int:
        """The highest value that has a frequency of its own."""
        return self.first + len(self.frequencies) - 2

    @property
    def cumulative(self) -> list[int]:
        """Where the range of each symbol begins, from 0, and at the end `TOTAL`."""
        return [0, *np.cumsum(self.frequencies).tolist()]

    def bits(self, value: int) -> float:
        """Return how many bits a value costs, before anything is rounded to bytes; of an escape, only itself."""
        inside = self.first <= value <= self.last
        return PRECISION - math.log2(self.frequencies[value - self.first if inside else -1])


def frequencies(probabilities: Sequence[float]) -> tuple[int, ...]:
    """Return frequencies in proportion to probabilities, each at least 1, that add up to `TOTAL`.

    Every symbol gets 1, the rest is shared out in proportion, and what rounding down leaves goes to the largest
    remainders, on a tie to the first. The arithmetic is exact: the same probabilities give the same frequencies on
    every machine.

    Raises:
        ValueError: they are no numbers from 0 with a positive sum, or too many.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 1 or not 1 <= len(given) <= WIDEST or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"probabilities: wanted 1 to {WIDEST} finite numbers from 0, got {_shown(given)}")
    if given.sum() <= 0:
        raise ValueError("probabilities: they are all 0")
    weights = [int(p) for p in np.rint(given / given.max() * _RESOLUTION)]
    spare, whole = TOTAL - len(weights), sum(weights)
    shares = [divmod(spare * weight, whole) for weight in weights]
    found = [1 + share for share, _ in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))
    for i in by_remainder[: TOTAL - sum(found)]:
        found[i] += 1
    return tuple(found)


def logistic_table(scale: float, reach: float = 11.0) -> Table:
    """Return the table of a logistic distribution around 0, rounded to whole numbers.

    Args:
        scale: of the distribution; its deviation is π/√3 of that.
        reach: how many scales the table goes to each side; beyond that lies e^−reach of the probability.

    Raises:
        ValueError: one of them is no positive number.
    """
    if not (0 < scale < math.inf and 0 < reach < math.inf):
        raise ValueError(f"scale, reach: wanted positive numbers, got {scale!r}, {reach!r}")
    most = min(max(math.ceil(reach * scale), 1), (WIDEST - 2) // 2)
    edges = np.arange(-most, most + 2) - 0.5
    return table_of(np.diff(_logistic(edges / scale)), -most)


def table_of(probabilities: Sequence[float], first: int) -> Table:
    """Return the table of the values `first`, `first` + 1, …; what is missing to 1 belongs to the escape."""
    given = np.asarray(probabilities, dtype=np.float64)
    return Table(int(first), frequencies([*given, max(1 - given.sum(), 0)]))


def pack(tables: Iterable[Table]) -> np.ndarray:
    """Return tables as one row of int32: of each its first value, its number of frequencies, and these."""
    return np.array([n for t in tables for n in (t.first, len(t.frequencies), *t.frequencies)], dtype=np.int32)


def unpack(packed: np.ndarray) -> list[Table]:
    """Return the tables of a row that `pack` has made.

    Raises:
        ValueError: it is no such row.
    """
    numbers, found = np.asarray(packed).tolist(), []
    while numbers:
        first, length = (*numbers[:2], 0)[:2]
        row, numbers = tuple(numbers[2 : 2 + length]), numbers[2 + max(length, 0) :]
        if not 1 <= length <= WIDEST or len(row) != length or min(row) < 1 or sum(row) != TOTAL:
            raise ValueError(f"packed: table number {len(found)} is damaged: its frequencies do not add up to {TOTAL}")
        found.append(Table(first, row))
    return found


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))  # beyond that exp overflows


def _shown(values: np.ndarray) -> str:
    return f"{values.size} of them" if values.size > 8 else str(values.tolist())
