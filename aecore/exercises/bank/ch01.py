"""Chapter 1: linear autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of
from ..rubric import Criterion, Written


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
    "01-5": Written(
        title="two models of one error, two codes",
        kind="explain",
        worth=Worth(level=2, points=6, minutes=20),
        rubric=(
            Criterion(
                2, "the code is determined up to an invertible map A and a shift, which the decoder can undo: AW, VA⁻¹"
            ),
            Criterion(1, "the loss sees reconstructions alone, so training has no reason to prefer one of these codes"),
            Criterion(1, "what both share is named: the subspace that the columns of V span, or the reconstructions"),
            Criterion(
                2, "a computation that compares what is shared and not the codes themselves, and its expected result"
            ),
        ),
        mistakes=(
            "the codes are said to differ by a permutation or by signs; any invertible map is possible",
            "the columns of the two decoders are compared one by one, which differ as the codes do",
            "equal errors alone are taken as the proof; two different subspaces can have equal errors",
            "the products VW are said to be equal; for pixels that are always black nothing determines W",
        ),
    ),
    "01-6": Written(
        title="more steps, or smaller ones at the end",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(1, "a prediction is written down before the runs, and is left as it was"),
            Criterion(2, "the four plans differ in the epochs and the schedule and in nothing else; two seeds of each"),
            Criterion(2, "a table with the distance from PCA in per cent, and the share kept of the last directions"),
            Criterion(
                2,
                "the two measurements are explained together: more steps learn weak directions, a rate that stays "
                "high keeps all directions noisy",
            ),
            Criterion(
                1, "the conclusion is limited to what was run, and the difference between the seeds is mentioned"
            ),
        ),
        mistakes=(
            "the learning rate was changed together with the schedule, so that two changes have one result",
            "a larger share kept is taken for a smaller error; the noise in the other directions counts too",
        ),
    ),
    "01-7": Written(
        title="a test for a claim of compression",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(
                2, "sizes are measured in bytes of all that the receiver needs, and the decoder is accounted for"
            ),
            Criterion(
                2,
                "rivals are named that a user would otherwise take, with one that loses nothing, at equal bytes or "
                "equal error",
            ),
            Criterion(1, "pictures that had no part in training, and others than those that the model was made for"),
            Criterion(1, "the quality is measured, and it is said why this measure suits the purpose"),
            Criterion(2, "the results that would confirm and that would refute the claim are fixed before the test"),
        ),
        mistakes=(
            "values are counted in place of bytes",
            "the test is one that no model could fail, since no threshold or no rival is named",
        ),
    ),
}
