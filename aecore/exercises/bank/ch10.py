"""Chapter 10: entropy, a step of a numeral system, the loss of a codec, what a header weighs, and equal quality."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample
from ..rubric import Criterion, Written


def _entropy(counts: Tensor) -> float:
    p = counts[counts > 0] / counts.sum()
    return -(p * p.log2()).sum().item()


def _read(x: int, starts: Sequence[int]) -> list[int]:
    """The symbol that was written last, and the state before it; `starts` ends with the sum of the frequencies."""
    rest = x % starts[-1]
    symbol = max(s for s, start in enumerate(starts[:-1]) if start <= rest)
    return [symbol, (starts[symbol + 1] - starts[symbol]) * (x // starts[-1]) + rest - starts[symbol]]


def _without_offset(x: int, starts: Sequence[int]) -> list[int]:
    symbol, before = _read(x, starts)
    return [symbol, before + starts[symbol]]


def _by_total(x: int, starts: Sequence[int]) -> list[int]:
    return [_read(x, starts)[0], x // starts[-1]]


def _strictly_below(x: int, starts: Sequence[int]) -> list[int]:
    rest = x % starts[-1]
    symbol = max((s for s, start in enumerate(starts[:-1]) if start < rest), default=0)
    return [symbol, (starts[symbol + 1] - starts[symbol]) * (x // starts[-1]) + rest - starts[symbol]]


def _loss(x: Tensor, x_hat: Tensor, p: Tensor, lmbda: float, *, scale: float = 255**2) -> float:
    return (lmbda * scale * (x - x_hat).square().mean() + _bpp(x, p)).item()


def _bpp(x: Tensor, p: Tensor) -> Tensor:
    return -p.log2().sum() / (x.shape[0] * x.shape[2] * x.shape[3])


def _in_nats(x: Tensor, x_hat: Tensor, p: Tensor, lmbda: float) -> float:
    return (lmbda * 255**2 * (x - x_hat).square().mean() + _bpp(x, p) * math.log(2)).item()


def _of_one(x: Tensor, x_hat: Tensor, p: Tensor, lmbda: float) -> float:
    return (lmbda * 255**2 * (x - x_hat).square().mean() + _bpp(x, p) * x.shape[0]).item()


def _by_values(x: Tensor, x_hat: Tensor, p: Tensor, lmbda: float) -> float:
    return (lmbda * 255**2 * (x - x_hat).square().mean() + _bpp(x, p) / x.shape[1]).item()


def _mean_of_bits(x: Tensor, x_hat: Tensor, p: Tensor, lmbda: float) -> float:
    return (lmbda * 255**2 * (x - x_hat).square().mean() - p.log2().mean()).item()


def _rate_at(points: Sequence[tuple[float, float]], db: float) -> float:
    rates, qualities = zip(*sorted(points), strict=True)
    return math.exp(np.interp(db, qualities, np.log(rates)))


def _on_a_line(points: Sequence[tuple[float, float]], db: float) -> float:
    rates, qualities = zip(*sorted(points), strict=True)
    return float(np.interp(db, qualities, rates))


def _saved(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]], db: float) -> float:
    return 100 * (_rate_at(second, db) / _rate_at(first, db) - 1)


def _pictures(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images of 3×4×5, copies of them, and the probabilities of six symbols of each."""
    x, x_hat = (sample(seed + n, count, 3, 4, 5).sigmoid() for n in (0, 1))
    return x, x_hat, sample(seed + 2, count, 6).sigmoid()


EXERCISES = {
    "10-1": Function(
        title="the entropy of a symbol, in bits",
        right=_entropy,
        examples=(
            (torch.tensor([8.0, 4.0, 2.0, 1.0, 1.0]),),
            (torch.tensor([97.0, 0.0, 3.0]),),
            (torch.tensor([1.0, 5.0, 2.0, 0.0, 0.0, 3.0]),),
        ),
        mistakes=(
            Mistake(lambda counts: _entropy(counts) * math.log(2), "that is in nats; bits are logarithms to base 2"),
            Mistake(lambda counts: -_entropy(counts), "the sign: a probability has a negative logarithm"),
            Mistake(
                lambda counts: _entropy(counts) * counts.sum().item(),
                "that is the size of all symbols together; wanted is the mean of one",
            ),
            Mistake(
                lambda counts: math.log2(int((counts > 0).sum())),
                "so many bits would be needed if all values were equally frequent",
            ),
        ),
        tolerance=1e-5,  # of logarithms in float32
    ),
    "10-2": Function(
        title="a step back in a numeral system",
        right=_read,
        examples=((54, [0, 5, 7, 8]), (1234, [0, 1, 4, 10]), (77, [0, 3, 8, 16]), (80, [0, 3, 8, 16]), (3, [0, 6, 10])),
        mistakes=(
            Mistake(_without_offset, "the rest counts from the beginning of the symbol's range, so subtract that"),
            Mistake(_by_total, "the quotient is multiplied by the frequency, and the place in the range added"),
            Mistake(_strictly_below, "a rest that is the beginning of a range belongs to that range"),
        ),
    ),
    "10-3": Function(
        title="the loss of a codec, from probabilities",
        right=_loss,
        examples=((*_pictures(0, 2), 0.01), (*_pictures(5, 3), 0.002)),
        mistakes=(
            Mistake(_in_nats, "torch.log is the natural logarithm; a rate in bits needs log2"),
            Mistake(_of_one, "bits per pixel: all the bits of the batch, divided by all its pixels"),
            Mistake(_by_values, "a pixel has three values, but it is one pixel"),
            Mistake(_mean_of_bits, "that is bits per symbol; the bits of all symbols are to be divided by the pixels"),
            Mistake(
                lambda x, x_hat, p, lmbda: _loss(x, x_hat, p, lmbda, scale=1.0),
                "the error is on the scale from 0 to 255 here: 255² times as large as that of values from 0 to 1",
            ),
            Mistake(
                lambda x, x_hat, p, lmbda: _loss(x, x_hat, p, 1.0) * lmbda,
                "λ is the price of the error alone; the rate has the price 1",
            ),
        ),
        tolerance=1e-4,  # of sums in float32
    ),
    "10-4": Number(
        title="what header, checksum and state add to the file of a thumbnail, in per cent",
        answer=100 * (20 + 4 + 5) / (64 * 64 * 0.3 / 8),
        mistakes=(
            Mistake(100 * 24 / (64 * 64 * 0.3 / 8), "the state of the coder belongs to it, 5 bytes"),
            Mistake(100 * 29 / (64 * 64 * 0.3), "0.3 bits per pixel; the 29 are bytes"),
            Mistake(100 * 29 / (64 * 64 * 0.3 / 8 + 29), "in per cent of the symbols, not of the file"),
        ),
    ),
    "10-5": Function(
        title="how many per cent of its rate a codec saves at a PSNR",
        right=_saved,
        examples=(
            ([(0.2, 26.0), (0.4, 29.0), (0.8, 32.0)], [(0.1, 26.0), (0.2, 29.0), (0.4, 32.0)], 30.0),
            ([(0.3, 25.0), (0.5, 28.0), (1.0, 33.0)], [(0.25, 27.0), (0.6, 31.0), (0.9, 34.0)], 28.0),
            ([(1.0, 33.0), (0.3, 25.0)], [(0.9, 34.0), (0.25, 24.0)], 27.5),
        ),
        mistakes=(
            Mistake(
                lambda a, b, db: 100 * (_on_a_line(b, db) / _on_a_line(a, db) - 1),
                "between two points the logarithm of the rate is nearly a line, not the rate: interpolate that",
            ),
            Mistake(lambda a, b, db: _saved(b, a, db), "the first codec is what the second is compared with"),
            Mistake(lambda a, b, db: -_saved(a, b, db), "fewer bits are a negative number, as in a BD-rate"),
            Mistake(lambda a, b, db: _saved(a, b, db) / 100, "that is the share; wanted are per cent of the rate"),
        ),
        tolerance=1e-6,
    ),
    "10-6": Written(
        title="why sorting a code saves nothing",
        kind="explain",
        worth=Worth(level=2, points=8, minutes=25),
        rubric=(
            Criterion(
                3, "unsorted, sorted and note: 15.41 = 10.83 + 4.58 bits, or 16 with the reason for the difference"
            ),
            Criterion(2, "why it must be so: the file has to tell the order, and all orders are equally probable"),
            Criterion(1, "in practice it costs more, since a note is not ideal"),
            Criterion(
                2, "a context model predicts from known neighbours at their places, and nothing has to be undone"
            ),
        ),
        mistakes=(
            "the note is forgotten, or counted as one bit a symbol",
            "sorted symbols are counted as if they were still independent",
        ),
    ),
    "10-7": Written(
        title="the habits of a trained codec",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=35),
        rubric=(
            Criterion(1, "an order is written down before the run"),
            Criterion(3, "all eight changes with bytes and PSNR of both codecs, against the changed picture"),
            Criterion(2, "what costs nothing and what that says of the prior"),
            Criterion(
                2, "noise and blur: bytes and quality read together, and the limit of one picture and one quality"
            ),
        ),
        mistakes=(
            "the PSNR is taken against the original instead of the changed picture",
            "fewer bytes are called better although the quality fell",
        ),
    ),
    "10-8": Written(
        title="a learned codec in an archive",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "weights and an exact description are kept, and a decoder that was written from it alone"),
            Criterion(2, "exactness where tables are chosen, and a test that is repeated on new machines"),
            Criterion(2, "costs for each picture, decoder included, against a lossless file"),
            Criterion(2, "advice that follows, what is kept in any case, and evidence that would change it"),
        ),
        mistakes=(
            "a container or the package itself is taken for a description",
            "a checksum is taken for a proof that the picture is drawn as it was",
        ),
    ),
}
