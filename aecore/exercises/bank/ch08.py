"""Chapter 8: the distance of features, a row that stands twice, ideal lengths, and codes at equal bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..checking import Function, Mistake, Worth, sample
from ..rubric import Criterion, Written

Points = Sequence[tuple[float, float]]


def _distance(a: Tensor, b: Tensor) -> float:
    """Mean over images of ‖a − b‖² / ‖a‖²."""
    return ((a - b).square().flatten(1).sum(1) / a.square().flatten(1).sum(1)).mean().item()


def _twice(rows: dict[str, tuple[float, ...]]) -> list[str]:
    counts = Counter(rows.values())
    return sorted(name for name, values in rows.items() if counts[values] > 1)


def _bits(symbols: Tensor, counts: Tensor) -> float:
    return -(counts[symbols] / counts.sum()).log2().sum().item()


def _at_bytes(points: Points, wanted: float) -> float:
    sizes, values = zip(*sorted(points), strict=True)
    return float(np.interp(wanted, sizes, values))


def _nearest(points: Points, wanted: float) -> float:
    return min(points, key=lambda point: abs(point[0] - wanted))[1]


def _unsorted(points: Points, wanted: float) -> float:
    sizes, values = zip(*points, strict=True)
    return float(np.interp(wanted, sizes, values))


def _from_ends(points: Points, wanted: float) -> float:
    (low, first), *_, (high, last) = sorted(points)
    return first + (last - first) * (wanted - low) / (high - low)


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

EXERCISES = {
    "08-1": Function(
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
    "08-2": Function(
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
    "08-3": Function(
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
    "08-4": Function(
        title="the accuracy at the bytes of another code",
        right=_at_bytes,
        examples=(
            ([(100, 0.4), (200, 0.6), (400, 0.7)], 250),
            ([(157, 0.64), (117, 0.48), (199, 0.72)], 146),
            ([(300, 0.9), (50, 0.1), (100, 0.2), (200, 0.6)], 150),
        ),
        mistakes=(
            Mistake(_nearest, "that is the value of the nearest point; between two points the line counts"),
            Mistake(_unsorted, "the points come in any order, and interpolation needs them by rising bytes"),
            Mistake(_from_ends, "that is the line from the first to the last point; take the two neighbours"),
        ),
    ),
    "08-5": Written(
        title="why the judge may not stand in the loss",
        kind="explain",
        worth=Worth(level=2, points=7, minutes=25),
        rubric=(
            Criterion(
                2, "the loss asks for one network's features, and there are ways to move them beside a true drawing"
            ),
            Criterion(
                2, "what the training may have done, such as a faint pattern that means something to this network alone"
            ),
            Criterion(
                1, "the chapter's own measurement: the network in the loss sees more than judges of another family"
            ),
            Criterion(
                2, "judges without a part in training, with their accuracy on originals, and a measure beside them"
            ),
        ),
        mistakes=(
            "the judge has overfitted; it was trained on originals and is no worse for what others do with it",
            "more judges of the same seed and architecture are taken for independent",
        ),
    ),
    "08-6": Written(
        title="what sharpening alone brings",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=40),
        rubric=(
            Criterion(1, "expectations are written down before the run"),
            Criterion(3, "five strengths with error, sharpness and verdict, the pictures clipped before all three"),
            Criterion(2, "a conclusion that follows from the report's own numbers, compared with the feature loss's"),
            Criterion(2, "a control that separates sharpness from features, and why it does"),
        ),
        mistakes=(
            "the border is filled with zeros, so that a frame is sharpened",
            "a comparison with feature-loss networks of another code size",
        ),
    ),
    "08-7": Written(
        title="a test for detail that is plausible and wrong",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "pictures chosen for facts that can be lost or invented, before reconstructions are seen"),
            Criterion(2, "a count of invented facts, apart from what merely cannot be seen any more"),
            Criterion(2, "people or a procedure that decide blindly, and rivals at equal bytes"),
            Criterion(2, "a threshold that is stated beforehand with its reason, and a use that is acceptable"),
        ),
        mistakes=(
            "the accuracy of a classifier serves as the measure, which is what such a loss raises",
            "the pictures are chosen after the reconstructions were looked at",
        ),
    ),
}
