"""Chapter 7: what a pretrained encoder can still say, what learns behind it, and channels that have died."""

from __future__ import annotations

from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample, versions_of
from ..rubric import Criterion, Written


def _share_alive(a: Tensor) -> float:
    """Share of the channels of (N, C, H, W) that are above zero anywhere."""
    return (a > 0).any(dim=3).any(dim=2).any(dim=0).float().mean().item()


# Parameters of a linear layer to the code, of one from it, and of S0's decoder behind that.
TO_CODE = 512 * 1000 + 1000
FROM_CODE = 1000 * 1024 + 1024
CONVOLUTIONS = (64 * 9 + 1) * 32 + (32 * 9 + 1) * 16 + (16 * 9 + 1) * 3
NORMALISATIONS = 2 * 32 + 2 * 16
BODY = 11_176_512


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
    "07-2": versions_of(_places, side=("96", "64", "128", "160", "192")),
    "07-3": Number(
        title="parameters that are trained behind a frozen body",
        answer=TO_CODE + FROM_CODE + CONVOLUTIONS + NORMALISATIONS,
        tolerance=0,
        worth=Worth(level=2, points=3, minutes=10),
        mistakes=(
            Mistake(
                FROM_CODE + CONVOLUTIONS + NORMALISATIONS,
                "that is the decoder; the last layer of the encoder, to the code, is new and learns along",
            ),
            Mistake(
                TO_CODE + FROM_CODE + CONVOLUTIONS,
                "the two batch normalisations of the decoder have parameters too: a factor and a shift each",
            ),
            Mistake(
                BODY + TO_CODE + FROM_CODE + CONVOLUTIONS + NORMALISATIONS,
                "that is all of them; the body's are frozen",
            ),
            Mistake(BODY, "those are the frozen ones; the others are wanted"),
        ),
    ),
    "07-4": Function(
        title="the share of channels that are alive",
        right=_share_alive,
        examples=(
            (sample(0, 2, 4, 3, 3).relu() * Tensor([1, 0, 1, 0]).view(1, 4, 1, 1),),
            # Alive in one picture and at one place only.
            (Tensor([[[[0.0, 0.0], [0.0, 0.0]]] * 2, [[[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]),),
            (Tensor([[[[0.0, 0.0], [0.0, 0.0]]] * 2, [[[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]).flip(0),),
            (sample(1, 3, 5, 2, 2).relu(),),
        ),
        mistakes=(
            Mistake(
                lambda a: (a > 0).float().mean().item(),
                "that is the share of the values above zero; a channel is alive as soon as one of its values is",
            ),
            Mistake(
                lambda a: (a[0] > 0).flatten(1).any(dim=1).float().mean().item(),
                "a channel that is zero in the first picture may be alive in another",
            ),
            Mistake(
                lambda a: (a > 0).flatten(2).any(dim=2).float().mean().item(),
                "that counts each picture for itself; ask over all pictures first",
            ),
            Mistake(
                lambda a: 1 - _share_alive(a),
                "that is the share of the dead ones",
            ),
        ),
    ),
    "07-5": Written(
        title="what can be drawn and what can be read",
        kind="explain",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(2, "reconstruction weighs differences by their squared size, a probe asks for the class alone"),
            Criterion(2, "an example with two pixels, a class and two maps that are written out"),
            Criterion(
                3, "for each map the error of the best linear reconstruction and the share of classes, rightly computed"
            ),
            Criterion(1, "linear reading is not the same as what is there"),
        ),
        mistakes=(
            "the class depends on the pixel of larger variance, so that one map is best at both",
            "the mean is forgotten in the reconstruction of the pixel that was lost",
        ),
    ),
    "07-6": Written(
        title="what PCA's code knows, number by number",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=30),
        rubric=(
            Criterion(1, "both curves are sketched before the run"),
            Criterion(2, "six sizes with accuracy and error, from codes of training and test pictures of their own"),
            Criterion(2, "where the accuracy stops to rise and the error does not, with numbers"),
            Criterion(
                2, "the conclusion: what the late components hold matters to the picture and hardly to a linear probe"
            ),
            Criterion(1, "a limit: linear, one set, ten classes, standardised numbers and one penalty"),
        ),
        mistakes=(
            "the axes or their mean are taken from the test pictures",
            "“the class is not in the late components”; a probe that is not linear was not tried",
        ),
    ),
    "07-7": Written(
        title="borrow or begin anew",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "the choice follows from what the task needs of a picture"),
            Criterion(2, "what the other ways would do wrong, each with its reason"),
            Criterion(
                2, "a comparison that could refute the choice, fair in size and time, with controls and patients apart"
            ),
            Criterion(2, "a measure that fits the use, beyond the mean squared error"),
        ),
        mistakes=(
            "pictures of one patient stand in training and test",
            "PCA of whole pictures from 3,000 samples, which learns the samples",
        ),
    ),
}
