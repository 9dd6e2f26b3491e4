"""Chapter 3: decoders, and the measures by which they are judged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number


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


EXERCISES = {
    "03-1": Number(
        title="the PSNR in dB of the mean MSE of 0.0004, 0.0016 and 0.0100",
        answer=-10 * math.log10(0.004),
        mistakes=(
            Mistake(
                -10 * (math.log10(0.0004) + math.log10(0.0016) + math.log10(0.01)) / 3,
                "that is the mean of the three PSNRs; take the mean of the errors first, then the logarithm",
            ),
            Mistake(10 * math.log10(0.004), "a decibel for each tenth of a factor *below* white: the sign is missing"),
            Mistake(-20 * math.log10(0.004), "20 belongs to amplitudes; the MSE is a square already, so 10"),
            Mistake(-10 * math.log(0.004), "that is the natural logarithm; decibels use the one to base ten"),
        ),
    ),
    "03-2": Function(
        title="how many stamps cover each pixel",
        right=_coverage,
        examples=((6, 3, 2), (6, 4, 2), (5, 2, 2), (4, 5, 2), (3, 3, 3), (4, 3, 1), (1, 3, 2)),
        mistakes=(
            Mistake(
                lambda n, kernel, stride: _coverage(n, kernel, stride)[: stride * n],
                "the last stamp sticks out: n stamps reach to stride · (n − 1) + kernel pixels",
            ),
            Mistake(
                lambda n, kernel, stride: _coverage(n, kernel, 1),
                "the stamps stand `stride` pixels apart, not side by side",
            ),
            Mistake(
                lambda n, kernel, stride: [min(1, c) for c in _coverage(n, kernel, stride)],
                "a pixel that lies under two stamps is covered twice, so count both",
            ),
        ),
    ),
    "03-3": Number(
        title="channels for stamps of width 6 at the price of the others",
        answer=16,
        tolerance=0,
        mistakes=(
            Mistake(96, "a stamp of width 6 has 36 weights, not 6"),
            Mistake(24, "24 channels of 24 weights would cost the same, but a stamp of width 6 has 36"),
            Mistake(576, "that is channels times window area; divide by the area of a window of 6 × 6"),
            Mistake(4, "a stamp is pressed at 7 × 7 places like the others, not at four times as many"),
        ),
    ),
    "03-4": Function(
        title="SSIM of two pictures in one window",
        right=_ssim,
        examples=tuple(_pictures(seed) for seed in range(4)),
        mistakes=(
            Mistake(_structure_alone, "the first fraction is missing, which compares the means"),
            Mistake(_ssim_of_deviations, "the second fraction is divided by variances σ², not by deviations σ"),
            Mistake(
                lambda x, y: (x.double() - y.double()).square().mean().item(),
                "that is the mean squared error; SSIM is 1 where two pictures agree, not 0",
            ),
        ),
    ),
}
