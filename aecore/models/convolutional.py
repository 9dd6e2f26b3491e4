"""Convolutional autoencoders: a small network from an earlier course project, and one that beats PCA."""

from __future__ import annotations

import math

from torch import nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape


class ConvAutoencoder(Autoencoder):
    """Two convolutions with max pooling, two transposed convolutions without overlap.

    The network of the course project that chapter 2 takes up (source S2), layer for layer; with its
    settings the code of a 28×28 image has 8×7×7 = 392 values. Its ReLU on the code and its pooling cost
    it much; `StridedConvAutoencoder` does without both.

    Args:
        image_shape: (C, H, W) of one image; H and W divisible by 4.
        code_size: number of values in the code, a multiple of (H/4)·(W/4): its channels follow from it.
        width: channels between the two layers of each half.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 28, 28), code_size: int = 392, width: int = 64
    ) -> None:
        shape, channels = _code_channels(image_shape, code_size, reduction=4)
        encoder = nn.Sequential(
            nn.Conv2d(shape[0], width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        decoder = nn.Sequential(
            nn.ConvTranspose2d(channels, width, kernel_size=2, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(width, shape[0], kernel_size=2, stride=2),
            nn.Sigmoid(),
        )
        super().__init__(shape, encoder, decoder)


class StridedConvAutoencoder(Autoencoder):
    """Strided convolutions down to a small grid, overlapping transposed convolutions back up.

    The code is the plain output of a convolution: no ReLU, no pooling. The default makes a grid of 4×4
    from a 28×28 image (28 → 14 → 7 → 4).

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, a multiple of the grid's size (16 for 28×28).
        width: channels after the first layer; each further layer has twice as many.
    """

    def __init__(self, image_shape: tuple[int, int, int], code_size: int, width: int = 32) -> None:
        shape, channels = _code_channels(image_shape, code_size, reduction=8)
        half, quarter = ((math.ceil(shape[1] / n), math.ceil(shape[2] / n)) for n in (2, 4))
        encoder = nn.Sequential(
            nn.Conv2d(shape[0], width, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * width, channels, kernel_size=1),
        )
        decoder = nn.Sequential(
            nn.Conv2d(channels, 4 * width, kernel_size=1),
            nn.ReLU(),
            _upsample(4 * width, 2 * width, quarter),
            nn.ReLU(),
            _upsample(2 * width, width, half),
            nn.ReLU(),
            _upsample(width, shape[0], shape[1:]),
        )
        super().__init__(shape, encoder, decoder)


def _code_channels(
    image_shape: tuple[int, int, int], code_size: int, reduction: int
) -> tuple[tuple[int, int, int], int]:
    shape = check_image_shape(image_shape)
    check_code_size(code_size, shape)
    if reduction == 4 and (shape[1] % 4 or shape[2] % 4):
        raise ValueError(f"image_shape: height and width must be divisible by 4 here, got {shape[1]}×{shape[2]}")
    grid = math.ceil(shape[1] / reduction), math.ceil(shape[2] / reduction)
    channels, rest = divmod(code_size, grid[0] * grid[1])
    if rest or not channels:
        cells = grid[0] * grid[1]
        raise ValueError(
            f"code_size: wanted a multiple of {cells}, since the code is a grid of {grid[0]}×{grid[1]}, got {code_size}; "
            f"the nearest is {max(1, round(code_size / cells)) * cells}"
        )
    return shape, channels


def _upsample(into: int, out: int, size: tuple[int, int]) -> nn.ConvTranspose2d:
    """Double height and width to exactly `size`; a kernel of 4 overlaps evenly at a stride of 2.

    At an odd size (7 from 4) a kernel of 3 gives 2·4 − 1 and the overlap is uneven; that is the price
    of a 28×28 image's 28 → 14 → 7 → 4.
    """
    odd = size[0] % 2, size[1] % 2
    kernel = tuple(3 if o else 4 for o in odd)
    return nn.ConvTranspose2d(into, out, kernel_size=kernel, stride=2, padding=1)
