"""An entropy coder: rANS, asymmetric numeral systems with ranges (Duda 2013), in plain whole numbers.

All that was coded is one large number x, the state. A symbol whose frequency is f out of 2¹⁶, and whose range begins at
c, makes x about 2¹⁶/f times as large, which is as many bits as the symbol is worth:

    x → (x // f) · 2¹⁶ + c + x % f

and x % 2¹⁶ then lies in the symbol's range, by which the decoder knows it and goes back. What comes out last goes in
first, so the encoder begins with the last symbol. To keep x small, its lowest 16 bits are written out whenever x would
become too large, and read in again where it would become too small: it stays between 2²⁴ and 2⁴⁰.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from .errors import CodecError
from .tables import PRECISION, TOTAL, Table

LOWEST = 1 << 24  # of the state, and its value before the first symbol
WORD = 16  # bits that are written at once
STATE_BYTES = 5  # the state is below 2⁴⁰
BLOCK = 1 << 16  # symbols that are made into Python's numbers at a time, which take much memory
ROWS = 1 << 12  # the same where every symbol has a row of numbers
LENGTH_BITS = 4  # in which an escape says how many bits follow
ENDS_EARLY = "the coded values end too early: the file is damaged, or of another model"
FARTHEST = (1 << ((1 << LENGTH_BITS) - 1)) - 1  # how far beyond its table a value may lie


class Tables:
    """Tables in the form in which a coder looks them up.

    Args:
        tables: numbered from 0.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tuple(tables)
        rows = [table.cumulative for table in self.tables]
        # For the decoder: the ranges, the first value, and which symbol is the escape.
        self.rows = [(row, table.first, len(row) - 2) for row, table in zip(rows, self.tables, strict=True)]
        # For the encoder: all ranges in a row, and where each table begins in it.
        self.flat = np.array(list(chain.from_iterable(rows)), dtype=np.int64)
        self.begins = np.cumsum([0, *map(len, rows)])[:-1]
        self.firsts = np.array([table.first for table in self.tables], dtype=np.int64)
        self.escapes = np.array([len(row) - 2 for row in rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.tables)

    def bits(self, values: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return what each value costs, in bits, as floats; of one beyond its table the escape alone.

        Args:
            values: whole numbers.
            which: of each the number of its table.
        """
        places, _ = self.places(values, which)
        return PRECISION - np.log2(self.flat[places + 1] - self.flat[places])

    def places(self, values: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the range of each value begins in `flat`, and how far it lies from its table's first value."""
        symbols = values - self.firsts[which]
        escapes = self.escapes[which]
        return self.begins[which] + np.where((symbols < 0) | (symbols >= escapes), escapes, symbols), symbols


def encode(values: np.ndarray, which: np.ndarray, tables: Tables) -> bytes:
    """Return values as bytes.

    Args:
        values: whole numbers, in the order in which they will be read.
        which: of each the number of its table.
        tables: what the decoder will have too.

    Raises:
        ValueError: the two have different lengths, a table is not there, or a value lies farther than `FARTHEST` from
            its table.
    """
    return encode_ranges(*_ranges(values, which, tables))


def encode_ranges(begins: np.ndarray, frequencies: np.ndarray) -> bytes:
    """Return symbols as bytes.

    Args:
        begins, frequencies: of each symbol, in the order in which they will be read, where its range begins and how
            long it is, out of `TOTAL`.
    """
    x, words = LOWEST, []
    for start in reversed(range(0, len(begins), BLOCK)):
        block = slice(start, start + BLOCK)
        x = _push(x, words, begins[block][::-1].tolist(), frequencies[block][::-1].tolist())
    return x.to_bytes(STATE_BYTES, "little") + np.array(words[::-1], dtype="<u2").tobytes() if len(begins) else b""


class Decoder:
    """Reads back what `encode` has written, in parts if wanted: the table of a value may depend on those before it.

    Args:
        data: the bytes.
        tables: as of the encoder; None where `read_rows` alone is used.

    Raises:
        CodecError: these are not so many bytes as `encode` writes.
    """

    def __init__(self, data: bytes, tables: Tables | None = None) -> None:
        if data and (len(data) < STATE_BYTES or (len(data) - STATE_BYTES) % 2):
            raise CodecError(f"the coded values have {len(data)} bytes, which is no possible number; they are damaged")
        self.tables = tables
        self.state = int.from_bytes(data[:STATE_BYTES], "little") if data else LOWEST
        if self.state < LOWEST:
            raise CodecError("the coded values begin with an impossible number; they are damaged")
        self.words = np.frombuffer(data[STATE_BYTES:], dtype="<u2")[::-1].tolist()

    def read(self, which: np.ndarray) -> np.ndarray:
        """Return the next values, int32; `which`: of each the number of its table.

        Raises:
            CodecError: there are not so many.
        """
        return _in_blocks(self._read, np.asarray(which), BLOCK)

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the next symbols, int32, each counted from the first of its row.

        Args:
            rows: whole numbers of shape (symbols, ranges + 1): of each where all its ranges begin, and `TOTAL`.

        Raises:
            CodecError: there are not so many.
        """
        return _in_blocks(self._read_rows, rows, ROWS)

    def _read_rows(self, rows: list[list[int]]) -> list[int]:
        x, words, found = self.state, self.words, []
        for row in rows:
            slot = x % TOTAL
            symbol = bisect_right(row, slot) - 1
            begin = row[symbol]
            x = (row[symbol + 1] - begin) * (x >> PRECISION) + slot - begin
            if x < LOWEST:
                x = x << WORD | words.pop()
            found.append(symbol)
        self.state = x
        return found

    def _read(self, which: list[int]) -> list[int]:
        x, words, rows, found = self.state, self.words, self.tables.rows, []
        for number in which:
            row, first, escape = rows[number]
            slot = x % TOTAL
            symbol = bisect_right(row, slot) - 1
            begin = row[symbol]
            x = (row[symbol + 1] - begin) * (x >> PRECISION) + slot - begin
            if x < LOWEST:
                x = x << WORD | words.pop()
            if symbol == escape:
                x, beyond = _read_beyond(x, words)
                found.append(first + escape + beyond if beyond >= 0 else first + beyond)
            else:
                found.append(first + symbol)
        self.state = x
        return found

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            CodecError: something is, so what was read is wrong.
        """
        if self.words or self.state != LOWEST:
            raise CodecError("the coded values do not end where they should: the file is damaged, or of another model")


def _in_blocks(read: Callable[[list], list[int]], given: np.ndarray, size: int) -> np.ndarray:
    """Return what `read` gives for tables or rows, so many at a time, or raise a CodecError where the words run out."""
    found = np.empty(len(given), dtype=np.int32)
    try:
        for start in range(0, len(given), size):
            found[start : start + size] = read(given[start : start + size].tolist())
    except IndexError:
        raise CodecError(ENDS_EARLY) from None
    return found


def _push(x: int, words: list[int], begins: list[int], frequencies: list[int]) -> int:
    """Return the state after symbols, told by their ranges from the last one on; add what is written to `words`."""
    for begin, frequency in zip(begins, frequencies, strict=True):
        if x >= frequency << (40 - PRECISION):
            words.append(x % (1 << WORD))
            x >>= WORD
        quotient, remainder = divmod(x, frequency)
        x = (quotient << PRECISION) + begin + remainder
    return x


def _ranges(values: np.ndarray, which: np.ndarray, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Return where the range of each symbol begins and its frequency; after an escape those of its bits."""
    values, which = (np.asarray(given, dtype=np.int64) for given in (values, which))
    if values.ndim != 1 or values.shape != which.shape:
        raise ValueError(f"values, which: wanted two rows of one length, got {values.shape} and {which.shape}")
    if len(which) and not 0 <= which.min() <= which.max() < len(tables):
        raise ValueError(f"which: there are tables 0 to {len(tables) - 1}, got {which.min()} to {which.max()}")
    places, symbols = tables.places(values, which)
    escapes = tables.escapes[which]
    outside = (symbols < 0) | (symbols >= escapes)
    begins = tables.flat[places]
    frequencies = tables.flat[places + 1] - begins
    far = np.flatnonzero(outside)
    if not len(far):
        return begins, frequencies
    beyond = np.where(symbols[far] < 0, symbols[far], symbols[far] - escapes[far])
    bits = np.array([part for distance in beyond.tolist() for part in _beyond(distance)])
    after = np.repeat(far + 1, len(bits) // len(far))
    return np.insert(begins, after, bits[:, 0]), np.insert(frequencies, after, bits[:, 1])


def _beyond(beyond: int) -> list[tuple[int, int]]:
    """Return the ranges of how far a value lies beyond its table: 0, 1, … above it, −1, −2, … below.

    Four bits say how many bits the distance has, one says on which side, and then come these bits without the first,
    which is 1 (an Elias code, with its length in four bits).
    """
    distance = beyond + 1 if beyond >= 0 else -beyond
    if distance > FARTHEST:
        raise ValueError(f"values: one lies {distance} beyond its table, wanted at most {FARTHEST}")
    length = distance.bit_length()
    rest = distance - (1 << (length - 1))
    return [_bits(length, LENGTH_BITS), _bits(beyond < 0, 1), _bits(rest, length - 1)]


def _bits(value: int, count: int) -> tuple[int, int]:
    """Return the range of a number that is written as so many bits, at most 16."""
    return int(value) << (PRECISION - count), 1 << (PRECISION - count)


def _read_beyond(x: int, words: list[int]) -> tuple[int, int]:
    """Return the state afterwards, and how far a value lies beyond its table, as `_beyond` takes it."""
    x, length = _read_bits(x, words, LENGTH_BITS)
    if not length:
        raise CodecError("the coded values hold an impossible escape: the file is damaged, or of another model")
    x, below = _read_bits(x, words, 1)
    x, rest = _read_bits(x, words, length - 1)
    distance = (1 << (length - 1)) + rest
    return x, -distance if below else distance - 1


def _read_bits(x: int, words: list[int], count: int) -> tuple[int, int]:
    value, low = divmod(x % TOTAL, 1 << (PRECISION - count))
    x = (x >> PRECISION << (PRECISION - count)) + low
    return (x << WORD | words.pop() if x < LOWEST else x), value
