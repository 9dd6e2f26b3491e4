"""Chapter 5: pixel shuffle, the judge, and where a code of 1,000 numbers goes."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of
from ..rubric import Criterion, Written


def _grids(x: Tensor, r: int) -> Tensor:
    """(N, C, H, W) as (N, C, H/r, row in the block, W/r, column in the block)."""
    n, channels, height, width = x.shape
    return x.reshape(n, channels, height // r, r, width // r, r)


def _flat(grids: Tensor, channels: int) -> Tensor:
    return grids.reshape(len(grids), channels, *grids.shape[-2:])


def _tiles(x: Tensor, r: int) -> Tensor:
    n, channels, height, width = x.shape
    tiles = x.reshape(n, channels, r, height // r, r, width // r).permute(0, 1, 2, 4, 3, 5)
    return _flat(tiles, channels * r * r)


def _by_place(error: Tensor) -> Tensor:
    return _grids(error.double(), 2).square().mean((0, 1, 2, 4))


def _standard_error(count: int) -> Number:
    return Number(
        title=f"the standard error of an accuracy of 0.46 on {count:,} images",
        answer=math.sqrt(0.46 * 0.54 / count),
        mistakes=(
            Mistake(0.46 * 0.54 / count, "that is the variance of the accuracy; its standard error is the root of it"),
            Mistake(math.sqrt(0.46 * 0.54), "that is the spread of a single answer, or the result in per cent"),
            Mistake(math.sqrt(0.46 / count), "the variance of a yes or no is p (1 − p); the second factor is missing"),
        ),
    )


def _sub_pixel(inputs: int) -> Number:
    return Number(
        title=f"parameters of a sub-pixel convolution, {inputs} to 3 channels, kernel 3, three times as large",
        answer=inputs * 27 * 9 + 27,
        tolerance=0,
        mistakes=(
            Mistake(inputs * 27 * 9, "those are the weights of the kernels; each output channel also has a bias"),
            Mistake(
                inputs * 9 * 9 + 9, "three times as large in *both* directions: nine channels for each that is wanted"
            ),
            Mistake(inputs * 3 * 9 + 3, "that is the convolution behind an upsampling; here it computes whole blocks"),
            Mistake(inputs * 27 * 3 + 27, "a kernel of 3 has three rows of three weights, nine and not three"),
        ),
        worth=Worth(level=2, points=2, minutes=8),
    )


EXERCISES = {
    "05-1": versions_of(_standard_error, count=("10,000", "1,000", "2,500", "5,000", "20,000")),
    "05-2": Function(
        title="the inverse of pixel shuffle",
        right=F.pixel_unshuffle,
        examples=((sample(0, 1, 1, 4, 4), 2), (sample(1, 2, 3, 4, 8), 2), (sample(2, 2, 2, 6, 9), 3)),
        mistakes=(
            Mistake(
                lambda x, r: _flat(_grids(x, r).permute(0, 1, 5, 3, 2, 4), x.shape[1] * r * r),
                "rows and columns of the block have changed places: the second channel lies to the right, not below",
            ),
            Mistake(
                lambda x, r: _flat(_grids(x, r).permute(0, 3, 5, 1, 2, 4), x.shape[1] * r * r),
                "the r² channels that belong to one channel must follow each other; yours lie C apart",
            ),
            Mistake(_tiles, "you have cut the picture into r × r tiles; a channel takes every r-th row and column"),
            Mistake(
                lambda x, r: F.avg_pool2d(x, r),
                "that averages over the blocks; every value of the picture must still be there",
            ),
        ),
        worth=Worth(level=3, points=5, minutes=20),
    ),
    "05-3": Function(
        title="kernels for an ICNR start",
        right=lambda kernels, r: kernels.repeat_interleave(r * r, dim=0),
        examples=((sample(3, 1, 2, 3, 3), 2), (sample(4, 4, 3, 3, 3), 2), (sample(5, 9, 1, 3, 3), 3)),
        mistakes=(
            Mistake(
                lambda kernels, r: kernels.repeat(r * r, 1, 1, 1),
                "the whole set is repeated; a block is made of channels that follow each other, so repeat each one",
            ),
            Mistake(
                lambda kernels, r: kernels.repeat_interleave(r, dim=0),
                "a block has r rows and r columns, so r² channels have to be equal and not r",
            ),
            Mistake(
                lambda kernels, r: kernels.repeat_interleave(r * r, dim=1),
                "that multiplies the channels that go in; those that come out are the first axis of a kernel",
            ),
            Mistake(
                lambda kernels, r: kernels.repeat_interleave(r * r, dim=0) / r**2,
                "divided by r²: each of the channels becomes a pixel of its own, so nothing is added up",
            ),
        ),
    ),
    "05-4": versions_of(_sub_pixel, inputs=("32", "16", "20", "48", "64")),
    "05-5": Function(
        title="the mean squared error at each position of the 2 × 2 blocks",
        right=_by_place,
        examples=((sample(6, 1, 1, 4, 4),), (sample(7, 3, 1, 6, 8),), (sample(8, 2, 3, 4, 4),)),
        mistakes=(
            Mistake(
                lambda error: _by_place(error).T.contiguous(),
                "rows and columns have changed places: the second row of the result is for odd *rows* of pixels",
            ),
            Mistake(
                lambda error: _tiles(error.double(), 2).square().mean((0, 2, 3)).view(-1, 2, 2).mean(0),
                "those are the four quarters of the picture; take every second row and every second column",
            ),
            Mistake(
                lambda error: _grids(error.double(), 2).mean((0, 1, 2, 4)),
                "that is the mean error at each position; square it first, or errors of both signs cancel",
            ),
            Mistake(
                lambda error: _grids(error.double(), 2).square().sum((0, 1, 2, 4)),
                "those are sums, which grow with the number of images; the mean squared error is a mean",
            ),
        ),
    ),
    "05-6": Written(
        title="what the best linear decoder shows",
        kind="explain",
        worth=Worth(level=2, points=7, minutes=25),
        rubric=(
            Criterion(2, "the measurement bounds what these codes hold, and says nothing of why they hold no more"),
            Criterion(
                2,
                "the encoder was trained for its decoder and writes what that can use; the chapter's exchange as proof",
            ),
            Criterion(2, "a second measurement: train the same half anew with another partner"),
            Criterion(
                1, "a conclusion for each outcome, the one that accuses the training among them or named as left open"
            ),
        ),
        mistakes=(
            "the linear decoder is taken for the best possible one, so that equality proves the code empty",
            "the decoder is retrained on the frozen codes, which repeats the first measurement",
        ),
    ),
    "05-7": Written(
        title="the life of a checkerboard",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(1, "a guess is written down before the runs"),
            Criterion(
                2, "trainings that differ in rate and number of steps alone, from one start; both measures in a table"
            ),
            Criterion(2, "the number of steps at each rate, and its dependence on the rate in words or as a ratio"),
            Criterion(
                2,
                "the table is set against what Adam lets one expect, steps as long as the rate, and does not fit it",
            ),
            Criterion(1, "checkerboard and error are told apart: a grey picture has neither pattern nor likeness"),
        ),
        mistakes=(
            "the number of steps is read off as exact, though only six lengths were tried",
            "a small measure is taken for a good picture",
        ),
    ),
    "05-8": Written(
        title="a judge for another purpose",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "the decision fits the purpose, and its accuracy on originals is demanded"),
            Criterion(2, "training and test pictures are independent, and the judge has no part in a codec"),
            Criterion(2, "several judges, and a standard error that is computed for 2,000 pictures"),
            Criterion(2, "a case in which the judge is satisfied and the codec useless"),
        ),
        mistakes=(
            "the judge is trained on compressed pictures of one of the codecs",
            "the spread over seeds of one judge is taken for that over judges",
        ),
    ),
}
