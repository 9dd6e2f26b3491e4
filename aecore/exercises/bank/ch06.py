"""Chapter 6: progressive resizing, the gap between two losses, and batch normalisation at a change of size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of
from ..rubric import Criterion, Written


def _tiles(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    return x.reshape(n, channels, 2, height // 2, 2, width // 2).mean((2, 4))


def _faded(small: Tensor, large: Tensor, share: float) -> Tensor:
    return (1 - share) * F.interpolate(small, scale_factor=2) + share * large


def _moved(mean: Tensor, variance: Tensor, x: Tensor, momentum: float, correction: int = 1) -> Tensor:
    """Running mean and variance, one row each, after a batch."""
    seen = torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), correction=correction)])
    return torch.lerp(torch.stack([mean, variance]), seen, momentum)


def _statistics(seed: int, channels: int, *batch: int) -> tuple[Tensor, Tensor, Tensor, float]:
    n, height, width = batch
    x = sample(seed, n, channels, height, width)
    return sample(seed + 1, channels), sample(seed + 2, channels) + 0.5, x, 0.1


def _cost_of_a_plan(share: float, small: int, large: int) -> Number:
    return Number(
        title=f"a training of {small} epochs at 16 pixels and {large} at 32, in epochs at 32 pixels",
        answer=small * share + large,
        mistakes=(
            Mistake(small / 4 + large, f"a quarter of the multiply–adds is not a quarter of the time; take {share}"),
            Mistake(
                small / share + large, f"an epoch at 16 pixels is the cheaper one: multiply by {share}, do not divide"
            ),
            Mistake((small + large) * share, f"the {large} epochs at 32 pixels cost what they cost"),
            Mistake(small * share, f"the {large} epochs at 32 pixels are missing"),
        ),
    )


def _gap(first: float, last: float) -> Number:
    mean = (first + last) / 2
    return Number(
        title="training loss less validation loss, where there is no overfitting",
        answer=mean - last,
        mistakes=(
            Mistake(mean, f"that is the training loss of the epoch; the validation loss after it is {last:.3f}"),
            Mistake(first, "that is the error at the beginning of the epoch; the training loss is the mean over it"),
            Mistake(last - mean, "the training loss is the larger one here: it remembers the beginning of the epoch"),
            Mistake(0.0, "the two would agree if both were taken at the same moment; they are not"),
        ),
        worth=Worth(level=2, points=2, minutes=8),
    )


EXERCISES = {
    "06-1": versions_of(
        _cost_of_a_plan,
        share=("0.35", "0.30", "0.40", "0.45"),
        small=("24", "16", "20", "30"),
        large=("8", "5", "6", "9", "10"),
    ),
    "06-2": Function(
        title="pictures of half the height and width, each pixel the mean of four",
        right=lambda x: F.avg_pool2d(x, 2),
        examples=((sample(0, 1, 1, 2, 4),), (sample(1, 2, 3, 4, 6),), (sample(2, 3, 1, 8, 8),)),
        mistakes=(
            Mistake(
                lambda x: x[..., ::2, ::2],
                "that keeps one pixel of four and drops the others: fine patterns turn into coarse ones (aliasing)",
            ),
            Mistake(lambda x: 4 * F.avg_pool2d(x, 2), "those are the sums of the four pixels; white would become 4"),
            Mistake(lambda x: F.max_pool2d(x, 2), "that is the brightest of the four pixels, not their mean"),
            Mistake(_tiles, "you have laid the four quarters of the picture over each other; average neighbours"),
        ),
    ),
    "06-3": Function(
        title="a new layer, faded in",
        right=_faded,
        examples=(
            (sample(3, 1, 1, 2, 2), sample(4, 1, 1, 4, 4), 0.25),
            (sample(5, 2, 3, 3, 4), sample(6, 2, 3, 6, 8), 0.9),
        ),
        mistakes=(
            Mistake(
                lambda small, large, share: _faded(small, large, 1 - share),
                "the two shares have changed places: at the beginning, with a share of 0, the old picture is there",
            ),
            Mistake(
                lambda small, large, share: F.interpolate(small, scale_factor=2) + share * large,
                "the old picture must fade out while the new one fades in, or the sum is too bright",
            ),
            Mistake(
                lambda small, large, share: (1 - share) * small.repeat(1, 1, 2, 2) + share * large,
                "the small picture stands there four times; every pixel has to be repeated next to itself",
            ),
        ),
    ),
    "06-4": Function(
        title="running mean and variance of batch normalisation after one batch",
        right=_moved,
        worth=Worth(level=3, points=6, minutes=25),
        examples=(_statistics(7, 1, 1, 2, 2), _statistics(10, 3, 2, 2, 3), _statistics(13, 2, 4, 3, 3)),
        mistakes=(
            Mistake(
                lambda mean, variance, x, momentum: _moved(mean, variance, x, momentum, correction=0),
                "nearly: PyTorch's running variance takes the unbiased one, divided by the count less one",
            ),
            Mistake(
                lambda mean, variance, x, momentum: _moved(mean, variance, x, 1 - momentum),
                "momentum is in PyTorch the weight of the *new* value; other libraries have it the other way round",
            ),
            Mistake(
                lambda mean, variance, x, momentum: _moved(mean, variance, x, 1.0),
                "those are the statistics of this batch alone; a tenth of them is mixed into the old ones",
            ),
            Mistake(
                lambda mean, variance, x, momentum: torch.lerp(
                    torch.stack([mean, variance]), torch.stack([x.mean((0, 2, 3)), x.std((0, 2, 3))]), momentum
                ),
                "the second row holds variances, not their square roots",
            ),
        ),
    ),
    "06-5": versions_of(_gap, first=("0.030", "0.026", "0.032", "0.036"), last=("0.010", "0.008", "0.012", "0.014")),
    "06-6": Written(
        title="two losses that may not be subtracted",
        kind="explain",
        worth=Worth(level=2, points=7, minutes=25),
        rubric=(
            Criterion(2, "the moment: a mean over an epoch against a value at its end; large at first, then fading"),
            Criterion(2, "dropout: the training loss is that of a thinned network; this part stays"),
            Criterion(2, "the measurement: same weights, same moment, dropout off, seen and unseen pictures"),
            Criterion(1, "a control without dropout and several seeds, and the result that would support her"),
        ),
        mistakes=(
            "only one of the two reasons is seen",
            "“the validation set is easier” without a way to test it",
        ),
    ),
    "06-7": Written(
        title="at which size to begin",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(1, "a prediction for either set is written down first"),
            Criterion(2, "a table of all sizes with what shrinking loses, the error of plain training and that of PCA"),
            Criterion(
                2, "the rule is applied to each set with a number, and the difference between the sets explained"
            ),
            Criterion(2, "what a step at each size costs against what it can teach; no size has both"),
            Criterion(
                1, "what the rule leaves out: the time that is really saved, batch normalisation, borders, other codes"
            ),
        ),
        mistakes=(
            "the rule is read as a forecast of the gain; it says only what cannot be learned",
            "sizes at which the network's strides do not divide the picture are recommended without a word",
        ),
    ),
    "06-8": Written(
        title="another order of training",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "what changes and when, and a reason why it might help"),
            Criterion(2, "time is held equal, and each training is planned for its length"),
            Criterion(2, "controls that separate the idea from its side effects, and several seeds"),
            Criterion(2, "an outcome at which the idea is given up"),
        ),
        mistakes=(
            "epochs are held equal though they cost different amounts",
            "the second phase alone is missing as a control",
        ),
    ),
}
