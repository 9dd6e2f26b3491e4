"""What a code is worth: how much of the class a linear classifier reads from it, and how few bytes could hold it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .data.images import Images
from .inference import apply
from .models.transform import NestedComponents

LEVELS = 256  # as many as a byte tells apart
COUNTED = 20_000  # training images of which the levels are counted
OF_SAMPLE = 150  # training images of the built-in sample that are looked at: its numbers mean nothing, so few will do


def outputs(function: Callable[[Tensor], Tensor], images: Images, batch_size: int = 500) -> Tensor:
    """Return what a function, such as `model.encode`, gives for each of many images, as rows of shape (N, numbers).

    The images become floats a batch at a time, so that they never lie in memory all at once.
    """
    starts = range(0, len(images), batch_size)
    return torch.cat([apply(function, images[i : i + batch_size].floats()).flatten(1) for i in starts])


def linear_probe(z_train: Tensor, labels_train: Tensor, z_test: Tensor, labels_test: Tensor) -> float:
    """Return the test accuracy of a linear classifier that sees nothing but codes (Alain and Bengio 2016).

    Ridge regression (penalty 100) from the standardised numbers of a code to a value for each class; the largest wins.

    Args:
        z_train, z_test: codes of shape (N, …).
        labels_train, labels_test: whole numbers of shape (N,).

    Raises:
        ValueError: codes and labels differ in number, or a code of the test has another shape.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for part, codes, labels in (("train", z_train, labels_train), ("test", z_test, labels_test)):
        if len(codes) != len(labels):
            raise ValueError(f"labels_{part}: wanted one for each of {len(codes)} codes, got {len(labels)}")
    if z_train.shape[1:] != z_test.shape[1:]:
        raise ValueError(f"z_test: wanted codes of shape {tuple(z_train.shape[1:])}, got {tuple(z_test.shape[1:])}")
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=100))
    classifier.fit(z_train.flatten(1).numpy(), labels_train.numpy())
    return float(classifier.score(z_test.flatten(1).numpy(), labels_test.numpy()))


def ideal_bytes(train: Tensor, test: Tensor) -> Tensor:
    """Return how many bytes each code would ideally take, of shape (N,), as float.

    Each number costs -log2 p bits (Shannon 1948), where p is how often its value occurred at that place of the code in
    training, with a tenth of an occurrence added for every value between the smallest and the largest, so that none is
    impossible. No file is written; neither header nor the table of frequencies is counted.

    Args:
        train, test: whole numbers of shape (N, numbers). What lies outside the range of `train` counts as its end.
    """
    low, high = train.min(), train.max()
    counts = torch.full((train.shape[1], int(high - low) + 1), 0.1)
    counts.scatter_add_(1, (train - low).T, torch.ones(train.T.shape))
    bits = -(counts / counts.sum(1, keepdim=True)).log2()
    return bits.gather(1, (test.clamp(low, high) - low).T).sum(0) / 8


def rounded_components(
    principal: NestedComponents, train: Tensor, x: Tensor, step: float
) -> tuple[Tensor, Tensor]:
    """Return the ideal bits per pixel of images, shape (N,), and the images, after their components were rounded.

    A codec without training: PCA of blocks, one step of rounding for all components, and for each of them one table of
    frequencies, as `ideal_bytes` counts it over all blocks of the training images.

    Args:
        principal: `nested_components` of the training images.
        train, x: images (N, C, H, W), floats or bytes, divisible by the product of the strides.
        step: on the scale where white is 1; `models.compressive.step_of` gives the one that suits a price λ.

    Raises:
        ValueError: the images cannot be cut into blocks, or the step is no positive number.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step: wanted a positive number such as 0.1, got {step!r}")
    counted, symbols = ((principal.encode(images) / step).round() for images in (train, x))
    rows = [values.movedim(1, -1).flatten(0, -2).long() for values in (counted, symbols)]  # a row for each block
    bits = 8 * ideal_bytes(*rows).reshape(len(x), -1).sum(1)
    return bits / (x.shape[2] * x.shape[3]), principal.decode(symbols * step, x.shape[1]).clamp(0, 1)


def probe_and_bytes(model, train: Images, test: Images) -> dict[str, float]:
    """Return what a linear classifier reads from a model's codes, and what they cost in 256 levels.

    Each number is rounded to one of 256 levels between its smallest and its largest value on training images, and the
    levels are counted there.

    Args:
        model: with `encode` to codes of shape (N, numbers), and `decode`.
        train, test: labelled images. Of the built-in sample the first 150 training images will do.

    Returns:
        "probe", the test accuracy; "bytes", the mean over the test images; "mse, rounded", the error of the images that
        are decoded from the rounded codes.
    """
    train = train[:OF_SAMPLE] if train.provenance.sample else train
    z_train, z = outputs(model.encode, train), outputs(model.encode, test)
    low, high = z_train.aminmax(dim=0)
    step = ((high - low) / (LEVELS - 1)).clamp(min=1e-9)
    counted, levels = (((part - low) / step).round().clamp(0, LEVELS - 1).long() for part in (z_train[:COUNTED], z))
    x_hat = apply(model.decode, low + step * levels).clamp(0, 1)
    return {
        "probe": linear_probe(z_train, train.labels, z, test.labels),
        "bytes": ideal_bytes(counted, levels).mean().item(),
        "mse, rounded": (x_hat - test.floats()).square().mean().item(),
    }
