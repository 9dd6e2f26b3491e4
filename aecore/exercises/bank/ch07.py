"""Chapter 7: what a pretrained encoder can still say, the distance of features, and a row that stands twice."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of


def _distance(a: Tensor, b: Tensor) -> float:
    """Mean over images of ‖a − b‖² / ‖a‖²."""
    return ((a - b).square().flatten(1).sum(1) / a.square().flatten(1).sum(1)).mean().item()


def _twice(rows: dict[str, tuple[float, ...]]) -> list[str]:
    counts = Counter(rows.values())
    return sorted(name for name, values in rows.items() if counts[values] > 1)


def _bits(symbols: Tensor, counts: Tensor) -> float:
    return -(counts[symbols] / counts.sum()).log2().sum().item()


# S0's tables: mean absolute error, mean squared error, accuracy.
S0 = {
    "MNIST, pixel shuffle": (0.011906, 0.001174),
    "MNIST, progressive resizing": (0.011891, 0.001168),
    "MNIST, ResNet pretrained": (0.018001, 0.003003),
    "MNIST, ResNet not pretrained": (0.018034, 0.003589),
    "MNIST, feature loss": (0.075097, 0.011058),
    "CIFAR-10, baseline": (0.046274, 0.004345),
    "CIFAR-10, pixel shuffle": (0.046642, 0.004385),
    "CIFAR-10, progressive resizing": (0.046132, 0.004310),
    "CIFAR-10, ResNet pretrained": (0.076558, 0.011385),
    "CIFAR-10, ResNet not pretrained": (0.075097, 0.011058),
    "CIFAR-10, feature loss": (0.046206, 0.004301),
}


def _places(side: int) -> Number:
    left = side // 32
    return Number(
        title=f"places left of a picture of {side} × {side} behind a ResNet's strides",
        answer=left**2,
        tolerance=0,
        mistakes=(
            Mistake(left, "that is the height; there are as many columns as rows"),
            Mistake((side // 8) ** 2, "stride 8 belongs to the mended stem; the original has 32"),
            Mistake(1, "that is what the mean over all places leaves; the question is what it is taken over"),
            Mistake(49, "that is for pictures of 224 × 224, for which the network was made"),
        ),
    )


EXERCISES = {
    "07-1": Number(
        title="how many of a code's 1,000 numbers can vary freely behind 512 features",
        answer=512,
        tolerance=0,
        worth=Worth(level=2, points=2, minutes=5),
        mistakes=(
            Mistake(1000, "each number is a weighted sum of the same 512 features; a sum adds no new ones"),
            Mistake(488, "that many are superfluous; the question asks for the rest"),
            Mistake(3072, "those are the values of the picture, from before the features"),
        ),
    ),
    "07-2": Function(
        title="the distance of features",
        right=_distance,
        examples=(
            (torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 4.0]])),
            (sample(0, 3, 5), sample(1, 3, 5)),
            (sample(2, 2, 3, 4, 4), sample(3, 2, 3, 4, 4)),
        ),
        mistakes=(
            Mistake(
                lambda a, b: ((a - b).square().sum() / a.square().sum()).item(),
                "that is one share for the whole batch; each picture has its own, and their mean is wanted",
            ),
            Mistake(
                lambda a, b: _distance(b, a),
                "divide by the features of the picture, not by those of its reconstruction: these are made in training",
            ),
            Mistake(
                lambda a, b: ((a - b).flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1)).mean().item(),
                "those are lengths; the loss has their squares, so square the share of each picture before the mean",
            ),
            Mistake(
                lambda a, b: (a - b).square().flatten(1).mean(1).mean().item(),
                "that is the mean squared difference; divide by the mean square of the picture's features",
            ),
        ),
    ),
    "07-3": Function(
        title="rows of a table that agree digit by digit",
        right=_twice,
        examples=((S0,), ({"a": (1.0, 2.0), "b": (1.0, 3.0), "c": (1.0, 2.0), "d": (1.0, 2.0)},), ({"a": (1.0, 2.0)},)),
        mistakes=(
            Mistake(
                lambda rows: sorted(
                    name
                    for name, values in rows.items()
                    if any(values[0] == other[0] for key, other in rows.items() if key != name)
                ),
                "one number may agree by chance; compare the whole row",
            ),
            Mistake(lambda rows: sorted(rows), "every row equals itself; count those that stand twice or more"),
            Mistake(
                lambda rows: _twice(rows)[1:],
                "the first of the equal rows belongs to them; nobody knows yet which of them is the copy",
            ),
        ),
    ),
    "07-4": Function(
        title="ideal length of a message of symbols",
        right=_bits,
        examples=(
            (torch.tensor([0, 1, 1]), torch.tensor([4.0, 4.0])),
            (torch.tensor([2, 0, 3, 3]), torch.tensor([1.0, 1.0, 2.0, 4.0])),
            (torch.tensor([1, 1, 1, 0]), torch.tensor([30.0, 10.0])),
        ),
        mistakes=(
            Mistake(
                lambda symbols, counts: -(counts[symbols] / counts.sum()).log().sum().item(),
                "those are nats; bits take the logarithm to base 2",
            ),
            Mistake(
                lambda symbols, counts: -(counts / counts.sum()).log2()[symbols].mean().item(),
                "that is the mean for a symbol; the message has all of them",
            ),
            Mistake(
                lambda symbols, counts: (
                    -len(symbols) * (counts / counts.sum() * (counts / counts.sum()).log2()).sum()
                ).item(),
                "that is the entropy of the table times the number of symbols, not the length of this message",
            ),
            Mistake(
                lambda symbols, counts: len(symbols) * torch.log2(torch.tensor(float(len(counts)))).item(),
                "that is what symbols of fixed length take; frequent ones should be shorter",
            ),
        ),
    ),
    "07-5": versions_of(_places, side=("96", "64", "128", "160", "192")),
}
