"""Chapter 9: a map hidden in an autoencoder, the best rotation, how many pairs a map needs, a sum for a mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, sample
from ..rubric import Criterion, Written


def _rotation(a: Tensor, b: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(a.T @ b)
    return left @ right


def _scaled_rotation(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.svd(a.T @ b).S.sum() / a.square().sum() * _rotation(a, b)


def _mixed(seed: int, size: int) -> Tensor:
    """A matrix that is neither symmetric nor orthogonal, and far from having no inverse."""
    return sample(seed, size, size) + 2 * torch.eye(size)


EXERCISES = {
    "09-1": Number(
        title="pairs of flat codes of 256 numbers that fix an affine map",
        answer=257,
        tolerance=0,
        mistakes=(
            Mistake(256, "that would do for the matrix alone; the offset has to be found as well"),
            Mistake(256 * 257, "so many numbers are unknown; but each pair gives an equation for each of 256 of them"),
            Mistake(5, "for a grid of 64 places each pair has 64 samples; a flat code is a single one"),
            Mistake(1, "one pair of flat codes is one sample, and fixes no more than the offset"),
        ),
    ),
    "09-2": Function(
        title="the decoder's first weight for codes that were mixed",
        right=lambda weight, mix: weight @ torch.linalg.inv(mix),
        examples=(
            (sample(0, 2, 2), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])),
            (sample(1, 3, 3), _mixed(2, 3)),
            (sample(3, 5, 5), _mixed(4, 5)),
        ),
        mistakes=(
            Mistake(
                lambda weight, mix: weight @ mix,
                "that mixes the codes once more; the first layer of the decoder has to undo it",
            ),
            Mistake(
                lambda weight, mix: torch.linalg.inv(mix) @ weight,
                "the code is mixed first and meets the weight after that, so the inverse stands to the right of it",
            ),
            Mistake(
                lambda weight, mix: weight @ mix.T,
                "the transposed matrix is the inverse of a rotation only; this one is any invertible matrix",
            ),
            Mistake(
                lambda weight, mix: weight @ torch.linalg.inv(mix).T,
                "nothing has to be transposed here: weight @ inverse @ mix @ z is to be weight @ z for every z",
            ),
        ),
    ),
    "09-3": Function(
        title="the orthogonal matrix that brings one set of codes nearest to another",
        right=_rotation,
        examples=((sample(5, 6, 2), sample(6, 6, 2)), (sample(7, 9, 3), sample(8, 9, 3))),
        mistakes=(
            Mistake(
                lambda a, b: _rotation(a, b).T,
                "that is the way back, from b to a; a @ result is to be near b",
            ),
            Mistake(
                lambda a, b: torch.linalg.svd(a.T @ b).U @ torch.linalg.svd(a.T @ b).Vh.T,
                "torch.linalg.svd returns V transposed already, as its third result",
            ),
            Mistake(
                lambda a, b: torch.linalg.lstsq(a, b).solution,
                "that is the best matrix of all, and may stretch and shear; wanted is the best one that only turns",
            ),
            Mistake(
                _scaled_rotation,
                "that has the scale in it; an orthogonal matrix leaves the length of every code as it is",
            ),
        ),
        tolerance=1e-4,  # of singular vectors in float32
    ),
    "09-4": Number(
        title="the β of ELBO that a summed divergence beside a mean error amounts to",
        answer=3 * 32 * 32,
        tolerance=0,
        mistakes=(
            Mistake(1, "the two terms count alike only where both are sums or both are means over the same values"),
            Mistake(32 * 32, "the mean of the error runs over the colours too"),
            Mistake(256, "the divergence is divided by the values of the picture here, not by those of the code"),
            Mistake(1 / 3072, "the other way round: beside the mean error the divergence is too large by that factor"),
        ),
    ),
    "09-5": Written(
        title="which maps weights can change",
        kind="explain",
        worth=Worth(level=3, points=8, minutes=35),
        rubric=(
            Criterion(3, "the weighted error falls apart into one problem for each row, and a factor moves no minimum"),
            Criterion(1, "in words: no channel gives way for another"),
            Criterion(
                2, "weights matter where rows are tied together: signed permutation and rotation, not the convolution"
            ),
            Criterion(2, "an example of two numbers with both best rotations, rightly computed"),
        ),
        mistakes=(
            "weights of samples are meant instead of channels; those do change the affine map",
            "the common factor of Procrustes is forgotten, or is counted as a reason",
        ),
    ),
    "09-6": Written(
        title="the chance in the choice of pairs",
        kind="experiment",
        worth=Worth(level=2, points=8, minutes=40),
        rubric=(
            Criterion(1, "an expectation is written down before the run"),
            Criterion(3, "six numbers of pairs with ten draws each: mean, lowest and highest, on test pictures"),
            Criterion(2, "from which number on the choice is no matter, read from the spread and not from the mean"),
            Criterion(2, "how a measurement with five pairs is reported: several draws, or the draw named as one"),
        ),
        mistakes=(
            "the draws are nested, so that they are not independent",
            "the best of ten draws is reported",
        ),
    ),
    "09-7": Written(
        title="how one file would serve two screens",
        kind="open",
        worth=Worth(level=3, points=8, minutes=40),
        rubric=(
            Criterion(2, "kept and sent bytes are told apart, and the shares of the calls are used"),
            Criterion(2, "the chapter's numbers are used rightly, with what is still to be measured"),
            Criterion(2, "a decision that follows, with a measure of quality that fits previews"),
            Criterion(2, "the number that would turn the decision, and why"),
        ),
        mistakes=(
            "the bytes of the decoder are counted for each picture, or never",
            "a saving of storage is set against nothing",
        ),
    ),
}
