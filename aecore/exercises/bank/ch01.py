"""Chapter 1: linear autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number


def _project(x: Tensor, mean: Tensor, components: Tensor) -> Tensor:
    return (x - mean) @ components.T @ components + mean


def _mse_of_each(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x - x_hat).square().flatten(1).mean(1)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _orthonormal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(_random(columns, rows, seed=2))[0].T.contiguous()


EXERCISES = {
    "01-1": Number(
        title="code values over image values",
        answer=100 / 784,
        mistakes=(
            Mistake(784 / 100, "that is the image over the code; turn it round: the code stands on top"),
            Mistake(100 * 100 / 784, "that is in per cent; the ratio itself is wanted, a number below 1"),
            Mistake(100 / 28, "an image has height × width values, not 28: mind the second side"),
        ),
    ),
    "01-2": Number(
        title="trained values of a linear autoencoder with code 32",
        answer=2 * 784 * 32 + 32 + 784,
        tolerance=0,
        mistakes=(
            Mistake(2 * 784 * 32, "those are the two matrices; each of the two maps also adds an offset to its output"),
            Mistake(784 * 32 + 32, "that is the encoder alone; the decoder has a matrix and an offset too"),
            Mistake(2 * (784 * 32 + 32), "an offset has as many values as its map's output: once 32, once 784"),
        ),
    ),
    "01-3": Function(
        title="the mean squared error of each image",
        right=_mse_of_each,
        examples=((_random(3, 1, 4, 4), _random(3, 1, 4, 4, seed=1)), (_random(2, 3, 5, 4), torch.zeros(2, 3, 5, 4))),
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
            (_random(4, 6), _random(6, seed=1), _orthonormal(2, 6)),
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
    ),
}
