"""Arithmetic coding in exact whole numbers: one short message as the shortest fraction that stands for it.

The coder of `coder` is made for long messages: its state alone takes 5 bytes. A message of some dozens of symbols can
be coded as the theory of arithmetic coding has it (Rissanen 1976): every symbol narrows an interval of [0, 1) to the
part that its range has, and any number of the last interval tells all symbols. Here the interval is never rounded.
After n symbols its ends are whole numbers of 2⁻¹⁶ⁿ, which Python's integers hold, and the file is the shortest fraction
v / 256ᵇ in it. No more bytes are needed than the bits of information fill. Time and memory grow with n².
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from .errors import CodecError
from .tables import PRECISION


def encode(begins: np.ndarray, frequencies: np.ndarray) -> bytes:
    """Return symbols as bytes. The decoder must know from elsewhere where they end.

    Args:
        begins, frequencies: of each symbol, in the order in which they will be read, where its range begins and how
            long it is, out of `TOTAL`.
    """
    return _shortest(*_narrowed(np.asarray(begins).tolist(), np.asarray(frequencies).tolist()))


class FractionDecoder:
    """Reads back what `encode` has written, in parts if wanted: the row of a symbol may depend on those before it.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.begins, self.frequencies = data, [], []
        # How far the number lies above the interval's lower end, in 2⁻¹⁶ⁿ / 256ᵇ, and the interval's length, in 2⁻¹⁶ⁿ.
        self.rest, self.width = int.from_bytes(data, "big"), 1

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the next symbols, int32, each counted from the first of its row.

        Args:
            rows: whole numbers of shape (symbols, ranges + 1): of each where all its ranges begin, and `TOTAL`.
        """
        return np.array([self._read(row) for row in np.asarray(rows).tolist()], dtype=np.int32)

    def _read(self, row: list[int]) -> int:
        self.rest <<= PRECISION
        unit = self.width << 8 * len(self.data)
        symbol = bisect_right(row, self.rest // unit) - 1
        begin, frequency = row[symbol], row[symbol + 1] - row[symbol]
        self.rest -= begin * unit
        self.width *= frequency
        self.begins.append(begin)
        self.frequencies.append(frequency)
        return symbol

    def finish(self) -> None:
        """Check that these are the bytes that `encode` writes for what was read.

        Raises:
            CodecError: they are others, which tell the same symbols but are longer, or lie elsewhere in the interval.
        """
        if encode(self.begins, self.frequencies) != self.data:
            raise CodecError("the coded values are not as an encoder writes them: the file is damaged")


def _narrowed(begins: list[int], frequencies: list[int]) -> tuple[int, int, int]:
    """Return the interval's lower end and its length, in 2^−bits, and these bits."""
    low, width = 0, 1
    for begin, frequency in zip(begins, frequencies, strict=True):
        low, width = (low << PRECISION) + begin * width, width * frequency
    return low, width, PRECISION * len(begins)


def _shortest(low: int, width: int, bits: int) -> bytes:
    """Return the shortest bytes whose fraction lies in the interval, and of these the lowest."""
    for count in range(bits // 8 + 1):
        number = -(-(low << 8 * count) >> bits)  # the first at or above the lower end
        if number << bits < (low + width) << 8 * count:
            return number.to_bytes(count, "big")
    raise AssertionError("an interval has at least one fraction of its own precision")
