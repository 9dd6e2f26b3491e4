"""Chapter 1: linear autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of


def _project(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    return (x - mean) @ components.T @ components + mean


def _mse_of_each(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).square().flatten(1).mean(1)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(_random(columns, rows, seed=2))[0].T.contiguous()


def _ratio(code: int) -> Number:
    return Number(
        title="code values over image values",
        answer=code / 784,
        mistakes=(
            Mistake(784 / code, "that is the image over the code; turn it round: the code stands on top"),
            Mistake(100 * code / 784, "that is in per cent; the ratio itself is wanted, a number below 1"),
            Mistake(code / 28, "an image has height × width values, not 28: mind the second side"),
        ),
        worth=Worth(level=1, points=1, minutes=3),
    )


def _trained_values(code: int) -> Number:
    return Number(
        title=f"parameters of a linear autoencoder with code {code}",
        answer=2 * 784 * code + code + 784,
        tolerance=0,
        mistakes=(
            Mistake(2 * 784 * code, "those are the two matrices; each of the two maps adds a bias to its output too"),
            Mistake(784 * code + code, "that is the encoder alone; the decoder has a matrix and a bias too"),
            Mistake(2 * (784 * code + code), f"a bias has as many values as its map's output: once {code}, once 784"),
        ),
    )


EXERCISES = {
    "01-1": versions_of(_ratio, code=("100", "50", "64", "90", "120", "140", "200")),
    "01-2": versions_of(_trained_values, code=("32", "16", "24", "40", "48", "64", "96")),
    "01-3": Function(
        title="the mean squared error of each image",
        right=_mse_of_each,
        examples=(
            (_random(3, 1, 4, 4), _random(3, 1, 4, 4, seed=1)),
            (_random(2, 3, 5, 4), torch.zeros(2, 3, 5, 4)),
            (sample(4, 1, 2, 3, 3), sample(5, 1, 2, 3, 3)),
        ),
        mistakes=(
            Mistake(
                lambda x, x_hat: (x - x_hat).square().mean(),
                "that is one number for the whole batch; wanted is one for each image, shape (N,): "
                "average over all dimensions but the first",
            ),
            Mistake(
                lambda x, x_hat: (x - x_hat).square().flatten(1).sum(1),
                "that is the sum of the squares; divide by the number of values of an image, C·H·W",
            ),
            Mistake(
                lambda x, x_hat: (x - x_hat).square().flatten(1).mean(1).sqrt(),
                "that is the root of the mean squared error; leave the root out",
            ),
            Mistake(
                lambda x, x_hat: (x - x_hat).abs().flatten(1).mean(1),
                "that is the mean absolute error; square the differences instead of dropping their sign",
            ),
        ),
    ),
    "01-4": Function(
        title="reconstruction by PCA",
        right=_project,
        examples=(
            (sample(0, 4, 6), sample(1, 6), _orthonormal(2, 6)),
            (_random(3, 5, seed=3), torch.zeros(5), _orthonormal(4, 5)),
        ),
        mistakes=(
            Mistake(
                lambda x, mean, components: (x - mean) @ components.T,
                "those are the codes, shape (N, k); go on from there: back to pixels, then add the mean",
            ),
            Mistake(
                lambda x, mean, components: (x - mean) @ components.T @ components,
                "these pixels are still centred: the mean that was taken away has to be added again",
            ),
            Mistake(
                lambda x, mean, components: x @ components.T @ components,
                "the components belong to centred images: subtract the mean first, and add it at the end",
            ),
            Mistake(
                lambda x, mean, components: x @ components.T @ components + mean,
                "the mean is added at the end but was not subtracted at the start",
            ),
        ),
        worth=Worth(level=2, points=4, minutes=20),
    ),
}
