"""Chapter 3: decoders, and the measures by which they are judged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, versions_of
from ..rubric import Criterion, Written


def _coverage(n: int, kernel: int, stride: int) -> list[int]:
    counts = [0] * (stride * (n - 1) + kernel)
    for i in range(n):
        for j in range(kernel):
            counts[stride * i + j] += 1
    return counts


def _ssim(x: Tensor, y: Tensor) -> float:
    x, y = x.double(), y.double()
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    means = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
    return (means * (2 * covariance + 9e-4) / (x.var(correction=0) + y.var(correction=0) + 9e-4)).item()


def _structure_alone(x: Tensor, y: Tensor) -> float:
    x, y = x.double(), y.double()
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return ((2 * covariance + 9e-4) / (x.var(correction=0) + y.var(correction=0) + 9e-4)).item()


def _ssim_of_deviations(x: Tensor, y: Tensor) -> float:
    x, y = x.double(), y.double()
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    means = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
    return (means * (2 * covariance + 9e-4) / (x.std(correction=0) + y.std(correction=0) + 9e-4)).item()


def _pictures(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 4, generator=generator)
    return x, (0.7 * x + 0.3 * torch.rand(4, 4, generator=generator) + 0.1 * seed).clamp(0, 1)


def _psnr_of_mean(low: float, middle: float, high: float) -> Number:
    mean = (low + middle + high) / 3
    return Number(
        title=f"the PSNR in dB of the mean MSE of {low:.4f}, {middle:.4f} and {high:.4f}",
        answer=-10 * math.log10(mean),
        mistakes=(
            Mistake(
                -10 * (math.log10(low) + math.log10(middle) + math.log10(high)) / 3,
                "that is the mean of the three PSNRs; take the mean of the errors first, then the logarithm",
            ),
            Mistake(10 * math.log10(mean), "a decibel for each tenth of a factor *below* white: the sign is missing"),
            Mistake(-20 * math.log10(mean), "20 belongs to amplitudes; the MSE is a square already, so 10"),
            Mistake(-10 * math.log(mean), "that is the natural logarithm; decibels use the one to base ten"),
        ),
    )


def _channels_at_the_same_price(width: int) -> Number:
    return Number(
        title=f"channels for kernels of width {width} at the cost of the others",
        answer=576 // width**2,
        tolerance=0,
        mistakes=(
            Mistake(576 // width, f"a kernel of width {width} has {width**2} weights, not {width}"),
            Mistake(
                144 // width,
                f"{144 // width} channels of {4 * width} weights would cost the same, but a kernel of width {width} "
                f"has {width**2}",
            ),
            Mistake(576, f"that is channels times kernel area; divide by the area of a kernel of {width} × {width}"),
            Mistake(
                144 // width**2, "a transposed convolution uses its kernel at 7 × 7 places, not at four times as many"
            ),
        ),
    )


def _blurred(x: Tensor) -> Tensor:
    return (x + x.roll(1, 0) + x.roll(1, 1)) / 3


EXERCISES = {
    "03-1": versions_of(
        _psnr_of_mean,
        low=("0.0004", "0.0002", "0.0003", "0.0005"),
        middle=("0.0016", "0.0014", "0.0018", "0.0022"),
        high=("0.0100", "0.0080", "0.0090", "0.0120"),
    ),
    "03-2": Function(
        title="how many kernels cover each pixel",
        right=_coverage,
        examples=((6, 3, 2), (6, 4, 2), (5, 2, 2), (4, 5, 2), (3, 3, 3), (4, 3, 1), (1, 3, 2)),
        mistakes=(
            Mistake(
                lambda n, kernel, stride: _coverage(n, kernel, stride)[: stride * n],
                "the last kernel sticks out: n kernels reach to stride · (n − 1) + kernel pixels",
            ),
            Mistake(
                lambda n, kernel, stride: _coverage(n, kernel, 1),
                "the kernels stand `stride` pixels apart, not side by side",
            ),
            Mistake(
                lambda n, kernel, stride: [min(1, c) for c in _coverage(n, kernel, stride)],
                "a pixel that lies under two kernels is covered twice, so count both",
            ),
        ),
    ),
    "03-3": versions_of(_channels_at_the_same_price, width=("6", "12")),
    "03-4": Function(
        title="SSIM of two pictures in one window",
        right=_ssim,
        examples=(
            *(_pictures(seed) for seed in range(4)),
            # Opposites: the covariance, and with it the SSIM, is negative.
            (_pictures(4)[0], 1 - _pictures(4)[0]),
            # Dark and almost even, so that both constants count; not square.
            (0.05 * torch.eye(4)[:, :3], 0.1 * _pictures(5)[0][:, :3] + 0.02),
            (_pictures(6)[0], _blurred(_pictures(6)[0])),
        ),
        worth=Worth(level=3, points=6, minutes=25),
        mistakes=(
            Mistake(_structure_alone, "the first fraction is missing, which compares the means"),
            Mistake(_ssim_of_deviations, "the second fraction is divided by variances σ², not by deviations σ"),
            Mistake(
                lambda x, y: (x.double() - y.double()).square().mean().item(),
                "that is the mean squared error; SSIM is 1 where two pictures agree, not 0",
            ),
        ),
    ),
    "03-5": Written(
        title="two averages that name two winners",
        kind="explain",
        worth=Worth(level=2, points=7, minutes=25),
        rubric=(
            Criterion(2, "the four numbers: 27.0 and 17.0 dB for A, 20 dB twice for B"),
            Criterion(2, "a logarithm weighs factors, a mean of squares differences: best against worst picture"),
            Criterion(1, "the convexity of −log (Jensen), or a proof for two numbers"),
            Criterion(2, "a choice that follows from the purpose, and a number to ask for that fits it"),
        ),
        mistakes=(
            "the mean MSE is turned into dB for each picture first, so that both ways are the same",
            "one of the averages is called wrong; each answers a question of its own",
        ),
    ),
    "03-6": Written(
        title="the winner with fewer channels",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=40),
        rubric=(
            Criterion(1, "a prediction for each width is written down before the runs"),
            Criterion(
                2, "only the width was changed; cost, validation loss and test error in one table with the chapter's"
            ),
            Criterion(
                2, "16 channels beside nearest-neighbour upsampling: what the free weights bring at equal channels"
            ),
            Criterion(2, "what further channels bring for their cost, and where the curve bends"),
            Criterion(1, "one seed: which of the differences are larger than the spread in the chapter's table"),
        ),
        mistakes=(
            "equal channels are taken for equal cost, or the other way round",
            "“channels do not matter” or “only channels matter”; the table shows both effects",
        ),
    ),
    "03-7": Written(
        title="a check that can fail",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "a claim that matters to someone and can be false"),
            Criterion(2, "a procedure that another person could follow, with a measure and its unit"),
            Criterion(2, "a threshold that was fixed beforehand, with a reason"),
            Criterion(2, "faults made on purpose, which the test has to find before it is believed"),
        ),
        mistakes=(
            "the test compares a computation with itself, as S3's did",
            "a threshold of zero, which rounding alone exceeds",
        ),
    ),
}
