"""Chapter 2: convolutional autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of
from ..rubric import Criterion, Written


def _out_size(n: int, kernel: int, stride: int, padding: int) -> int:
    return (n + 2 * padding - kernel) // stride + 1


def _live_channels(z: Tensor) -> int:
    return int((z != 0).any(dim=(0, 2, 3)).sum())


def _codes(dead: int, channels: int, count: int = 3) -> Tensor:
    """Values of both signs; the first channels are zero everywhere, and the last one for one image only."""
    z = sample(dead, count, channels, 4, 4)
    z[0, -1] = 0
    z[:, :dead] = 0
    return z


def _codes_that_speak_once() -> Tensor:
    """Five channels of three images: a single value in the first, the middle and the last image, values that cancel,
    and none at all."""
    z = torch.zeros(3, 5, 3, 4)
    z[0, 0, 0, 0] = 0.5
    z[1, 1, 1, 2] = -0.25
    z[2, 2, 2, 3] = 2.0
    z[0, 3, 0, 1], z[2, 3, 2, 0] = 1.0, -1.0
    return z


def _convolution(inputs: int, outputs: int) -> Number:
    return Number(
        title=f"parameters of Conv2d({inputs} → {outputs}, kernel 3)",
        answer=inputs * outputs * 9 + outputs,
        tolerance=0,
        mistakes=(
            Mistake(
                inputs * outputs * 9,
                f"those are the weights; each of the {outputs} output channels also has a bias",
            ),
            Mistake(inputs * outputs * 3 + outputs, "a kernel of 3 is a window of 3×3, nine weights and not three"),
            Mistake(
                outputs * 9 + outputs,
                f"each output channel looks at all {inputs} input channels, with a window for each",
            ),
        ),
    )


EXERCISES = {
    "02-1": versions_of(
        _convolution, inputs=("64", "32", "48", "96", "128"), outputs=("8", "4", "10", "12", "16", "20")
    ),
    "02-2": Function(
        title="the size of a convolution's output",
        right=_out_size,
        examples=((28, 3, 1, 1), (28, 3, 1, 0), (28, 4, 2, 1), (7, 3, 2, 1), (28, 3, 2, 1), (11, 4, 3, 0)),
        mistakes=(
            Mistake(
                lambda n, kernel, stride, padding: (n + padding - kernel) // stride + 1,
                "the padding stands on both sides of the image: it counts twice",
            ),
            Mistake(
                lambda n, kernel, stride, padding: (n - kernel) // stride + 1,
                "the padding is missing; this is the slip that turned 392 into 200",
            ),
            Mistake(
                lambda n, kernel, stride, padding: (n + 2 * padding - kernel) // stride,
                "one too few: the window's first position counts before any step is taken",
            ),
            Mistake(
                lambda n, kernel, stride, padding: (n + 2 * padding - kernel) / stride + 1,
                "a size is a whole number: a step that does not fit any more is not taken, so divide with //",
            ),
        ),
    ),
    "02-3": Number(
        title="multiply–adds of Conv2d(1 → 64, kernel 3, padding 1) for one digit",
        answer=64 * 28 * 28 * 9,
        tolerance=0,
        worth=Worth(level=2, points=2, minutes=8),
        mistakes=(
            Mistake(64 * 9, "that is the work at one place of the image; the window stops at each of 28×28 places"),
            Mistake(64 * 14 * 14 * 9, "the pooling comes after this layer: it still works on 28×28 places"),
            Mistake(64 * 26 * 26 * 9, "with padding 1 the window stops at all 28×28 places, not at 26×26"),
            Mistake(64 * 28 * 28 * 3, "a kernel of 3 is a window of 3×3, nine products and not three"),
        ),
    ),
    "02-4": Function(
        title="the number of channels that are alive",
        right=_live_channels,
        examples=(
            *((_codes(dead, channels),) for dead, channels in ((0, 8), (3, 8), (5, 6), (4, 4))),
            (_codes_that_speak_once().flip(0),),
            (-_codes_that_speak_once()[:1],),
        ),
        mistakes=(
            Mistake(
                lambda z: z.shape[1] - _live_channels(z),
                "those are the dead ones; the living are wanted",
            ),
            Mistake(
                lambda z: int((z != 0).any(0).sum()),
                "those are values; a channel is alive when any of its places is, so ask over height and width as well",
            ),
            Mistake(
                lambda z: (z != 0).any(dim=(0, 2, 3)),
                "that says which channels live, shape (C,); wanted is how many, one whole number",
            ),
            Mistake(
                lambda z: int((z != 0).all(dim=0).any(dim=(1, 2)).sum()),
                "a channel that is silent for one image can speak for another: ask for any image, not for all",
            ),
        ),
    ),
    "02-5": Written(
        title="saturation under two losses",
        kind="explain",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(2, "both derivatives by y: 2(x̂ − x)x̂(1 − x̂) for the squared error, x̂ − x for the cross-entropy"),
            Criterion(2, "the four values at y = −10: −9.1e-5 and −1.00 for white, 4e-9 and 4.5e-5 for black"),
            Criterion(
                2, "under the cross-entropy a wrong pixel pulls however saturated the sigmoid is; so no plateau there"
            ),
            Criterion(
                2,
                "one limit is named: the overshoot itself, dead units further back, or that the losses weigh errors "
                "differently, so that the final squared error may be larger",
            ),
        ),
        mistakes=(
            "the derivative by the output x̂ in place of y; there the cross-entropy looks infinite",
            "“the cross-entropy has no vanishing gradients”, without saying in which layer",
        ),
    ),
    "02-6": Written(
        title="a prediction about the other loss, tested",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=40),
        rubric=(
            Criterion(1, "an expectation for each seed is written down before the runs"),
            Criterion(2, "only the loss was changed: same network, plan, learning rate and seeds"),
            Criterion(2, "validation MSE of all three losses or plans in one table, and the values before the sigmoid"),
            Criterion(
                2, "the result is set against the prediction, seed by seed, and not by a mean over dead and living runs"
            ),
            Criterion(
                1, "what the test cannot tell: three seeds, five epochs, one learning rate; another cause may help too"
            ),
        ),
        mistakes=(
            "the cross-entropy of one run is compared with the squared error of the other",
            "a single seed is reported; of those in the chapter, two of three survived the squared error",
        ),
    ),
    "02-7": Written(
        title="a second fair comparison",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "what is held equal, what may differ, and why this is fair to both networks"),
            Criterion(
                2,
                "networks that can be built, with code size, layers, seeds, and learning rates chosen for each on the "
                "validation set",
            ),
            Criterion(
                3, "outcomes that speak for and against the explanation, and one that decides nothing, named beforehand"
            ),
            Criterion(1, "the cost in training time"),
        ),
        mistakes=(
            "no outcome could refute the explanation",
            "one learning rate for both, so that the comparison is one of learning rates",
        ),
    ),
}
