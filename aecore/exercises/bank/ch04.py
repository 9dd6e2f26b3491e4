"""Chapter 4: bottlenecks, and what can be read from a code."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth
from ..rubric import Criterion, Written

# (t, t²) for t from -2 to 2: mean (0, 2), variances 2 and 14/5, no covariance.
_LOST = 2 / 2


def _information(counts: Tensor) -> float:
    joint = counts.double() / counts.sum()
    alone = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    there = joint > 0
    return (joint[there] * (joint[there] / alone[there]).log2()).sum().item()


def _information_in_nats(counts: Tensor) -> float:
    return _information(counts) * torch.tensor(2.0).double().log().item()


def _joint_entropy(counts: Tensor) -> float:
    joint = counts.double() / counts.sum()
    return -(joint[joint > 0] * joint[joint > 0].log2()).sum().item()


def _information_unweighted(counts: Tensor) -> float:
    joint = counts.double() / counts.sum()
    alone = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    there = joint > 0
    return (joint[there] / alone[there]).log2().sum().item()


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def _rank_correlation(a: Tensor, b: Tensor) -> float:
    a, b = _ranks(a) - (len(a) - 1) / 2, _ranks(b) - (len(b) - 1) / 2
    return ((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).item()


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return ((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).item()


def _correlation_of_orders(a: Tensor, b: Tensor) -> float:
    return _correlation(a.argsort(), b.argsort())


def _rank_distance(a: Tensor, b: Tensor) -> float:
    return (_ranks(a) - _ranks(b)).square().sum().item()


def _tables() -> tuple[tuple[Tensor], ...]:
    return (
        (torch.tensor([[10, 0], [0, 10]]),),
        (torch.tensor([[6, 2], [1, 3]]),),
        (torch.tensor([[4, 0, 1], [0, 7, 2]]),),
    )


def _pairs() -> tuple[tuple[Tensor, Tensor], ...]:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 10, generator=generator)
    return ((a, b), (a, a.exp()), (torch.tensor([3.0, 1.0, 2.0, 9.0]), torch.tensor([1.0, 4.0, 2.0, 0.5])))


EXERCISES = {
    "04-1": Number(
        title="the number of parameters of the first layer of S4's network on a picture of 96×96 pixels in colour",
        answer=96 * 96 * 3 * 512 + 512,
        tolerance=0,
        mistakes=(
            Mistake(96 * 96 * 3 * 512, "each of the 512 neurons has a bias as well as its weights"),
            Mistake(96 * 96 * 512 + 512, "the picture is in colour: it has three values for each pixel"),
            Mistake(28 * 28 * 512 + 512, "that is the layer for MNIST; here there are 96 times 96 pixels in colour"),
            Mistake(
                96 * 96 * 3 * 512 + 96 * 96 * 3,
                "biases belong to what comes out of a layer, not to its inputs",
            ),
        ),
    ),
    "04-2": Number(
        title="the mean squared error per value that one principal component leaves of the points (t, t²), t = -2 … 2",
        answer=_LOST,
        worth=Worth(level=2, points=3, minutes=10),
        mistakes=(
            Mistake(14 / 5 / 2, "that is what keeping t would leave; which of the two variances is the larger one?"),
            Mistake(2.0, "that is the whole squared error of a point; there are two values in it, take their mean"),
            Mistake(14 / 5, "that is the variance of t², all of it; PCA keeps the larger variance and loses the other"),
            Mistake(0.0, "a curve through all points exists, but the principal component is a straight line"),
        ),
    ),
    "04-3": Function(
        title="the mutual information, in bits, in a table of counts",
        right=_information,
        examples=_tables(),
        worth=Worth(level=3, points=6, minutes=25),
        mistakes=(
            Mistake(_information_in_nats, "that is in nats, by the natural logarithm; bits use base two"),
            Mistake(_joint_entropy, "that is the entropy of both together; compare with the product of the margins"),
            Mistake(_information_unweighted, "each logarithm counts by the share of its cell; that is missing"),
        ),
    ),
    "04-4": Function(
        title="the rank correlation of two lists of numbers without ties",
        right=_rank_correlation,
        examples=_pairs(),
        mistakes=(
            Mistake(_correlation, "that is the correlation of the values; replace them by their ranks first"),
            Mistake(
                _correlation_of_orders,
                "argsort gives the order, not the ranks: apply it once more",
            ),
            Mistake(
                _rank_distance, "that is the sum of the squared rank differences; the correlation scales it to -1 … 1"
            ),
        ),
    ),
    "04-5": Written(
        title="what a one-number code says",
        kind="explain",
        worth=Worth(level=2, points=7, minutes=25),
        rubric=(
            Criterion(2, "a strictly monotonic map of the code, undone in the decoder, changes no reconstruction"),
            Criterion(2, "(a) and (c) are conventions, each with a map that makes the sentence false"),
            Criterion(1, "(b) is about order and survives, but for its direction"),
            Criterion(
                2,
                "a measure for (c) that no such map changes: mutual information, rank statistics, or how often the "
                "two digits are told apart",
            ),
        ),
        mistakes=(
            "only scaling and sign are considered, under which (a) would survive",
            "all three are rejected because “codes mean nothing”",
        ),
    ),
    "04-6": Written(
        title="learning rate and schedule, apart",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(1, "an order of the five plans is written down before the runs"),
            Criterion(2, "five trainings that differ in rate and schedule alone, with training and validation error"),
            Criterion(2, "a low rate has not arrived after 20 epochs; a high constant one stays noisy or far off"),
            Criterion(
                2,
                "the schedule is judged at each rate: it harms or does nothing at the low one, it is needed at the "
                "high one",
            ),
            Criterion(1, "a sentence of the chapter is named and limited to what was shown"),
        ),
        mistakes=(
            "the best constant rate is compared with the best falling one only, which hides that they differ",
            "a difference of about one per cent with one seed is taken for a result",
        ),
    ),
    "04-7": Written(
        title="a rule for the size of a code",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "the purpose is turned into a measurement that has a threshold"),
            Criterion(2, "held-out pictures, several seeds, and a reference without training at the same size"),
            Criterion(2, "a rule that leads from the measurements to one size without further judgement, and its cost"),
            Criterion(2, "a collection for which the rule fails, with the reason"),
        ),
        mistakes=(
            "“where the curve bends”: on logarithmic axes it bends elsewhere than on linear ones",
            "the error on the training pictures decides",
        ),
    ),
}
