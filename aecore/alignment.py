"""Maps between the codes of two autoencoders, fitted in closed form, and what two sets of codes have in common.

    z_a, z_b = large.encode(x), small.encode(x_small)              # the same images, by two encoders
    to_small = affine(z_a, z_b)
    x_hat = small.decode(to_small(large.encode(others)))

Codes are flat, (N, D), or grids, (N, C, H, W). A flat code is one sample of D values. Of a grid each place is a sample
of C values, so that one pair of codes of 43×43 places is 1,849 samples; a map then does the same at every place.

Each function gives the map of its kind that leaves the smallest squared distance to `z_b` on the codes that it is
given. From the narrowest kind to the widest: `signed_permutation`, `procrustes`, `affine`, `convolution`. All subtract
each channel's mean first, so that a constant added to the codes changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 4_000_000  # values at a time, 32 MB of float64: the patches of many grids would not fit into memory


class Fit(NamedTuple):
    """What a map was fitted on.

    Args:
        samples: how many samples: codes, or places of all grids together.
        pairs: how many pairs of codes these come from.
        grid: whether they were grids.
        determined: whether they leave one best map only.
    """

    samples: int
    pairs: int
    grid: bool
    determined: bool


class CodeMap(nn.Module):
    """A linear map from the codes of one encoder to those of another: `weight` times (z − `mean`), plus `offset`.

    Called with codes of the layout that it was fitted on, it returns mapped ones on the same device and of the same
    type; grids may have another height and width. It computes in float64, on the CPU where a GPU has none (Apple's;
    leave the map on the CPU there). It has nothing to train; gradients flow through it to the codes.

    Args:
        kind: the name of the function that made it.
        mean: (C), subtracted first; the codes that it was fitted on have it.
        weight: (C_out, C), or (C_out, C, k, k) of a convolution: outside the grid stands the mean code.
        offset: (C_out), added last.
        fit: what it was fitted on.

    Attributes:
        samples, pairs: how many samples it was fitted on, and how many pairs of codes these come from.
        determined: False where the samples leave several maps equally good; which of them it is, the function says.
    """

    def __init__(self, kind: str, mean: Tensor, weight: Tensor, offset: Tensor, fit: Fit) -> None:
        super().__init__()
        self.kind = kind
        self.samples, self.pairs, self.grid, self.determined = fit
        self.register_buffer("mean", mean)
        self.register_buffer("weight", weight)
        self.register_buffer("offset", offset)

    def forward(self, z: Tensor) -> Tensor:
        """Return the mapped codes, (N, D_out) or (N, C_out, H, W).

        Raises:
            TypeError: `z` is no tensor of floats.
            ValueError: codes of another layout, or with another number of channels.
        """
        self._check(z)
        exact = _exact(z)
        mean, weight, offset = (value.to(exact) for value in (self.mean, self.weight, self.offset))
        differences = exact.movedim(1, -1) - mean
        if weight.ndim == 4:
            mapped = F.conv2d(differences.movedim(-1, 1), weight, offset, padding=weight.shape[-1] // 2)
        else:
            mapped = (differences @ weight.T + offset).movedim(-1, 1)
        return mapped.to(z.dtype).to(z.device)

    def extra_repr(self) -> str:
        """Say what is mapped to what, and what it was fitted on."""
        outside, inside, *window = self.weight.shape
        what = "channels" if self.grid else "values"
        what += f" by windows of {window[0]}×{window[1]}" if window else ""
        fitted = f"fitted on {_count(self.samples, 'sample')} from {_count(self.pairs, 'pair')} of codes"
        return f"{self.kind}, {inside} → {outside} {what}, {fitted}, determined={self.determined}"

    def _check(self, z: Tensor) -> None:
        _check_floats("z", z)
        channels, axes = self.weight.shape[1], 4 if self.grid else 2
        if z.ndim != axes or z.shape[1] != channels:
            wanted = f"(N, {channels}, H, W)" if self.grid else f"(N, {channels})"
            raise ValueError(f"z: wanted codes of shape {wanted}, as this map was fitted on, got {tuple(z.shape)}")


@torch.no_grad()
def signed_permutation(z_a: Tensor, z_b: Tensor) -> CodeMap:
    """Return the map from `z_a` to `z_b` that reorders channels and turns the sign of some.

    Of all such maps it has the smallest squared error: the channels are paired so that the sum of their absolute
    covariances is largest, by the Hungarian method (Kuhn 1955). Li et al. (2016) compare networks so, but
    pair by correlation, which takes no account of how much a channel varies.

    A channel that is constant in the samples says nothing: it gets a partner that no other wants, with its sign as it
    is, and the map is not `determined`.

    Args:
        z_a, z_b: codes of the same images, (N, D) or (N, C, H, W).

    Raises:
        TypeError, ValueError: they are no codes, or do not fit each other; they have different numbers of channels.
    """
    from scipy.optimize import linear_sum_assignment  # comes with scikit-learn; its import takes a while

    pairs = _Pairs(z_a, z_b)
    pairs.check_channels("signed_permutation")
    covariance = pairs.covariance()
    inside, outside = map(torch.from_numpy, linear_sum_assignment(covariance.abs().numpy(), maximize=True))
    weight = torch.zeros_like(covariance)
    weight[outside, inside] = torch.where(covariance[inside, outside] < 0, -1.0, 1.0).double()
    alive = bool((pairs.a != 0).any(0).all() and (pairs.b != 0).any(0).all())
    return pairs.map("signed_permutation", weight, determined=alive)


@torch.no_grad()
def procrustes(z_a: Tensor, z_b: Tensor, scale: bool = True) -> CodeMap:
    """Return the map from `z_a` to `z_b` that rotates or reflects, and with `scale` scales by one factor.

    With the centred samples as rows of A and B and the singular values A'B = U S V', the best orthogonal matrix is
    U V' (Schönemann 1966), and the best factor sum(S) / ‖A‖².

    Where samples are fewer than channels, or channels constant, some directions remain open; the map is then not
    `determined`. It is orthogonal all the same, and of those that are equally good the one that changes codes least.

    Args:
        z_a, z_b: codes of the same images, (N, D) or (N, C, H, W).
        scale: whether to fit the factor too; else it is 1.

    Raises:
        TypeError, ValueError: they are no codes, or do not fit each other; they have different numbers of channels.
    """
    pairs = _Pairs(z_a, z_b)
    pairs.check_channels("procrustes")
    left, spread, right = torch.linalg.svd(pairs.covariance())
    known = pairs.are_known(spread)
    rotation = left[:, known] @ right[known]
    if not known.all():  # the directions that A'B does not reach: turn them into each other on the shortest way
        from_open, to_open = left[:, ~known], right[~known]
        turn, _, back = torch.linalg.svd(from_open.T @ to_open.T)
        rotation += from_open @ turn @ back @ to_open
    size = pairs.a.square().sum()
    factor = spread[known].sum() / size if scale and size > 0 else 1.0
    return pairs.map("procrustes", factor * rotation.T, determined=bool(known.all()))


@torch.no_grad()
def affine(z_a: Tensor, z_b: Tensor, ridge: float = 0.0) -> CodeMap:
    """Return the map from `z_a` to `z_b` by a matrix and an offset, by least squares.

    Where several matrices are equally good, since samples are fewer than channels or channels are constant, it is the
    one with the smallest sum of squares (the pseudoinverse's), and the map is not `determined`. Directions in which
    `z_a` varies by no more than its rounding count as constant.

    Args:
        z_a, z_b: codes of the same images, (N, D) or (N, C, H, W); their numbers of channels may differ.
        ridge: price of the matrix's sum of squares, beside the sum of squared errors over all samples (Hoerl and
            Kennard 1970), as `alpha` in scikit-learn's Ridge. The offset is free.

    Raises:
        TypeError, ValueError: they are no codes, or do not fit each other; `ridge` is no number from 0.
    """
    pairs = _Pairs(z_a, z_b)
    found = _least_squares(pairs, 1, _check_ridge(ridge))
    return pairs.map("affine", found.weight[:, :, 0, 0], found.determined, found.offset)


@torch.no_grad()
def convolution(z_a: Tensor, z_b: Tensor, kernel_size: int = 3, ridge: float = 0.0) -> CodeMap:
    """Return the map from `z_a` to `z_b` by one convolution with an offset, by least squares.

    Each place of `z_b` is predicted from the window of `z_a` around it; outside the grid stands the mean code. With
    `kernel_size` 1 that is `affine`. Where several kernels are equally good it is the one with the smallest sum of
    squares, and the map is not `determined`.

    Args:
        z_a, z_b: codes of the same images, grids (N, C, H, W); their numbers of channels may differ.
        kernel_size: height and width of the window, odd.
        ridge: as for `affine`.

    Raises:
        TypeError, ValueError: they are no grids, or do not fit each other; `kernel_size` is even or below 1; `ridge`
            is no number from 0.
    """
    if not isinstance(kernel_size, int) or isinstance(kernel_size, bool) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: wanted an odd whole number from 1, such as 3, got {kernel_size!r}")
    pairs = _Pairs(z_a, z_b)
    if not pairs.grid:
        raise ValueError(f"z_a: wanted grids of shape (N, C, H, W), got {tuple(z_a.shape)}; affine takes flat codes")
    found = _least_squares(pairs, kernel_size, _check_ridge(ridge))
    return pairs.map("convolution", found.weight, found.determined, found.offset)


@torch.no_grad()
def linear_cka(z_a: Tensor, z_b: Tensor) -> float:
    """Return how alike two sets of codes are, from 0 to 1: linear centred kernel alignment.

    ‖A'B‖² / (‖A'A‖ ‖B'B‖) with the centred samples as rows of A and B and Frobenius norms (Kornblith et al. 2019).
    It is 1 where one is a rotated, reflected, scaled, shifted copy of the other. Codes without any
    relation come near 0 only where samples are many more than channels.

    Args:
        z_a, z_b: codes of the same images, (N, D) or (N, C, H, W); their numbers of channels may differ.

    Raises:
        TypeError, ValueError: they are no codes, or do not fit each other; one is constant.
    """
    pairs = _Pairs(z_a, z_b)
    for name, rows in (("z_a", pairs.a), ("z_b", pairs.b)):
        if not rows.any():
            raise ValueError(f"{name}: all {len(rows):,} samples are equal, so there is nothing to compare")
    norm, a, b = torch.linalg.matrix_norm, pairs.a, pairs.b
    return (norm(a.T @ b).square() / (norm(a.T @ a) * norm(b.T @ b))).item()


@torch.no_grad()
def relative_representation(z: Tensor, anchors: Tensor) -> Tensor:
    """Return the cosine of each code with each anchor, (N, K) values from −1 to 1.

    z·a / (‖z‖ ‖a‖), with the codes of K images as anchors a (Moschella et al. 2023). Two encoders whose
    codes differ by a rotation, a reflection and a factor give the same values, if the anchors are the same images.
    Nothing is subtracted, so a shift does change them. A code that is zero has the cosine 0. A grid counts as one
    vector of C·H·W values.

    Args:
        z: codes, (N, D) or (N, C, H, W).
        anchors: codes of K images by the same encoder, (K, D) or (K, C, H, W).

    Raises:
        TypeError, ValueError: they are no codes, or those of an image have different shapes.
    """
    _check_codes("z", z)
    _check_codes("anchors", anchors)
    if z.shape[1:] != anchors.shape[1:]:
        raise ValueError(
            f"anchors: wanted codes of the same encoder, each of shape {tuple(z.shape[1:])} like those of z, got "
            f"{tuple(anchors.shape[1:])}"
        )
    directions, axes = (F.normalize(_exact(codes.to(z.device)).flatten(1), dim=1) for codes in (z, anchors))
    return (directions @ axes.T).to(z.dtype).to(z.device)


class _Pairs:
    """Codes of the same images by two encoders, checked, in float64 on the CPU, each channel less its mean.

    Attributes:
        grids: of `z_a`, (N, C, H, W); a flat code is a grid of one place.
        a, b: the samples as rows, (N·H·W, C) each.
    """

    def __init__(self, z_a: Tensor, z_b: Tensor) -> None:
        _check_codes("z_a", z_a)
        _check_codes("z_b", z_b)
        _check_pair(z_a, z_b)
        self.grid, self.count = z_a.ndim == 4, len(z_a)
        self.rounding = torch.finfo(z_a.dtype).eps
        self.grids, self.mean_a = _centred(z_a)
        grids, self.mean_b = _centred(z_b)
        self.a, self.b = _rows(self.grids), _rows(grids)

    def check_channels(self, function: str) -> None:
        channels = self.a.shape[1], self.b.shape[1]
        if channels[0] != channels[1]:
            raise ValueError(
                f"z_a and z_b: {function} wants as many channels in both, got {channels[0]} and {channels[1]}; affine "
                "maps between different numbers of channels"
            )

    def covariance(self) -> Tensor:
        """Return A'B: the covariance of each channel of `z_a` with each of `z_b`, times the number of samples."""
        return self.a.T @ self.b

    def are_known(self, spread: Tensor) -> Tensor:
        """Return which singular values are more than the rounding of the codes."""
        return spread > self.rounding * len(spread) * spread.max()

    def map(self, kind: str, weight: Tensor, determined: bool, offset: Tensor | None = None) -> CodeMap:
        """Return the map by `weight`, from mean to mean or to mean plus `offset`."""
        fit = Fit(len(self.a), self.count, self.grid, determined)
        return CodeMap(kind, self.mean_a, weight, self.mean_b if offset is None else self.mean_b + offset, fit)


class _Solution(NamedTuple):
    weight: Tensor  # (C_out, C, k, k)
    offset: Tensor  # (C_out)
    determined: bool


def _least_squares(pairs: _Pairs, kernel_size: int, ridge: float) -> _Solution:
    """Return the convolution, from centred codes to centred codes, with the smallest sum of squared errors.

    Rows of 1, a window and what it should give are folded into one triangle by QR, batch by batch: it has the same
    least-squares solution as all rows together. (The windows of 800 grids of 43×43 would fill 2 GB.) Its first row
    belongs to the ones and holds the means; without it the triangle is that of the centred windows.
    """
    channels, outside = pairs.a.shape[1], pairs.b.shape[1]
    inside = channels * kernel_size**2
    triangle = torch.zeros(0, 1 + inside + outside, dtype=torch.float64)
    for windows, wanted in _batches(pairs, kernel_size):
        rows = torch.cat([torch.ones(len(windows), 1, dtype=torch.float64), windows, wanted], 1)
        triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
    means = triangle[0, 1:] / triangle[0, 0]
    windows, wanted = triangle[1 : 1 + inside, 1 : 1 + inside], triangle[1 : 1 + inside, 1 + inside :]
    weight, determined = _solved(windows, wanted, ridge, pairs)
    offset = means[inside:] - weight @ means[:inside]
    return _Solution(weight.reshape(outside, channels, kernel_size, kernel_size), offset, determined)


def _solved(windows: Tensor, wanted: Tensor, ridge: float, pairs: _Pairs) -> tuple[Tensor, bool]:
    """Return the smallest of the matrices (out, in) with the least squared error, and whether there is one only."""
    inside = windows.shape[1]
    if len(windows) == 0:  # one sample: it fixes the offset, and no direction
        return torch.zeros(wanted.shape[1], inside, dtype=torch.float64), ridge > 0
    left, spread, right = torch.linalg.svd(windows, full_matrices=False)
    known = pairs.are_known(spread)
    gains = spread[known] / (spread[known].square() + ridge)
    weight = (left[:, known].T @ wanted).T @ (gains[:, None] * right[known])
    return weight, ridge > 0 or len(gains) == inside


def _batches(pairs: _Pairs, kernel_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield windows of `z_a` as rows (C·k·k values each), and the samples of `z_b` in their middles."""
    places = pairs.grids.shape[2] * pairs.grids.shape[3]
    values = pairs.a.shape[1] * kernel_size**2 + pairs.b.shape[1]  # of a row
    # The triangle, which goes through QR with each batch, has as many rows as values: more of our own are worth it.
    images = max(1, max(BATCH // values, 4 * values) // places)
    for grids, wanted in zip(pairs.grids.split(images), pairs.b.split(images * places), strict=True):
        windows = F.unfold(grids, kernel_size, padding=kernel_size // 2)
        yield windows.movedim(1, -1).flatten(0, 1), wanted


def _centred(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes as grids in float64, each channel less its mean, and the means."""
    grids = z.detach().cpu().double()
    grids = grids if z.ndim == 4 else grids[:, :, None, None]
    low, high = grids.amin((0, 2, 3)), grids.amax((0, 2, 3))
    # The mean of a constant is rounded too, and what is left of it would look like a channel that varies.
    mean = torch.where(low == high, low, grids.mean((0, 2, 3)))
    return grids - mean[:, None, None], mean


def _exact(z: Tensor) -> Tensor:
    """Return codes in float64 where they lie; those on an Apple GPU, which knows no float64, on the CPU."""
    return (z.cpu() if z.device.type == "mps" else z).double()


def _rows(grids: Tensor) -> Tensor:
    return grids.movedim(1, -1).flatten(0, 2)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _check_floats(argument: str, z: object) -> None:
    if not isinstance(z, Tensor) or not z.is_floating_point():
        found = f"a tensor of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
        raise TypeError(f"{argument}: wanted codes as floats in a tensor, as model.encode gives them, got {found}")


def _check_codes(argument: str, z: object) -> None:
    _check_floats(argument, z)
    if z.ndim not in (2, 4) or z.numel() == 0:
        raise ValueError(
            f"{argument}: wanted one code or more of shape (N, D) or (N, C, H, W), got a tensor of {tuple(z.shape)}"
        )
    bad = int((~z.isfinite()).sum())
    if bad:
        raise ValueError(
            f"{argument}: wanted finite numbers, got NaN or infinity in {bad:,} of {z.numel():,} values; look whether "
            "the training of its encoder broke down"
        )


def _check_pair(z_a: Tensor, z_b: Tensor) -> None:
    if z_a.ndim != z_b.ndim:
        raise ValueError(
            f"z_a and z_b: wanted both flat, (N, D), or both grids, (N, C, H, W), got {tuple(z_a.shape)} and "
            f"{tuple(z_b.shape)}; z.flatten(1) makes flat codes of grids"
        )
    if len(z_a) != len(z_b):
        raise ValueError(
            f"z_a and z_b: wanted codes of the same images in the same order, got {len(z_a):,} and {len(z_b):,} codes"
        )
    if z_a.shape[2:] != z_b.shape[2:]:
        sizes = [f"{z.shape[2]}×{z.shape[3]}" for z in (z_a, z_b)]
        raise ValueError(
            f"z_a and z_b: wanted grids of one height and width, place for place, got {sizes[0]} and {sizes[1]}; "
            "choose the strides of the encoders so that both have as many places, or resize one of the two"
        )


def _check_ridge(ridge: float) -> float:
    number = isinstance(ridge, int | float) and not isinstance(ridge, bool)
    if not number or not 0 <= ridge < math.inf:
        raise ValueError(f"ridge: wanted a number from 0, such as 0.001, got {ridge!r}")
    return float(ridge)
