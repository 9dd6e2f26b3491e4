"""Convolutional autoencoders: a small network from an earlier course project, and one that beats PCA."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_size, check_sizes
from .dense import dense_layers


class ConvAutoencoder(Autoencoder):
    """Two convolutions with max pooling, two transposed convolutions without overlap.

    The network of the course project that chapter 2 takes up (source S2), layer for layer; with its
    settings the code of a 28×28 image has 8×7×7 = 392 values. Its ReLU on the code and its pooling cost
    it much; `StridedConvAutoencoder` does without both.

    Args:
        image_shape: (C, H, W) of one image; H and W divisible by 4.
        code_size: number of values in the code, a multiple of (H/4)·(W/4): its channels follow from it.
        width: channels between the two layers of each half.
        any_size: take images of other heights and widths too, as training at rising sizes needs.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        code_size: int = 392,
        width: int = 64,
        any_size: bool = False,
    ) -> None:
        shape, grid = grid_of(image_shape, 4)
        check_size("width", width)
        channels = channels_for(code_size, shape, grid)
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
        self.any_size = any_size


class StridedConvAutoencoder(Autoencoder):
    """Strided convolutions, one linear layer to the code; a linear layer and overlapping upsampling back.

    Every value of the code sees the whole image, and the code is the plain output of its layer: no ReLU,
    no pooling. Each transposed convolution has kernel 4 and stride 2, so that its windows overlap evenly.

    Args:
        image_shape: (C, H, W) of one image; H and W divisible by 4.
        code_size: number of values in the code, at most C * H * W.
        width: channels after the first convolution; the second has twice as many.
        hidden: widths of dense layers between the convolutions and the code, on both sides of it.
        batch_norm: normalise every layer but the last of each half over the batch (Ioffe and Szegedy 2015).
        sigmoid: let the image come out of a sigmoid, so that its values lie between 0 and 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        width: int = 16,
        hidden: tuple[int, ...] = (),
        batch_norm: bool = False,
        sigmoid: bool = False,
    ) -> None:
        shape, (height, breadth) = grid_of(image_shape, 4)
        check_code_size(code_size, shape)
        check_size("width", width)
        channels, grid = shape[0], (2 * width, height, breadth)
        widths = (math.prod(grid), *check_sizes("hidden", hidden), code_size)

        def active(layer: nn.Module, norm: Callable[[int], nn.Module], size: int) -> list[nn.Module]:
            return [layer, *([norm(size)] if batch_norm else []), nn.ReLU()]

        encoder = nn.Sequential(
            *active(nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1), nn.BatchNorm2d, width),
            *active(nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1), nn.BatchNorm2d, 2 * width),
            nn.Flatten(),
            *dense_layers(widths, batch_norm),
        )
        *to_grid, last = dense_layers(widths[::-1], batch_norm)
        decoder = nn.Sequential(
            *to_grid,
            *active(last, nn.BatchNorm1d, widths[0]),
            nn.Unflatten(1, grid),
            *active(nn.ConvTranspose2d(2 * width, width, kernel_size=4, stride=2, padding=1), nn.BatchNorm2d, width),
            nn.ConvTranspose2d(width, channels, kernel_size=4, stride=2, padding=1),
            *([nn.Sigmoid()] if sigmoid else []),
        )
        super().__init__(shape, encoder, decoder)


def grid_of(image_shape: tuple[int, int, int], stride: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Return the checked image shape and the grid of places that are `stride` pixels apart."""
    shape = check_image_shape(image_shape)
    if shape[1] % stride or shape[2] % stride:
        raise ValueError(f"image_shape: height and width must be divisible by {stride} here, got {shape[1]}×{shape[2]}")
    return shape, (shape[1] // stride, shape[2] // stride)


def channels_for(code_size: int, shape: tuple[int, int, int], grid: tuple[int, int]) -> int:
    """Return how many channels a code has on a grid, or raise a ValueError where its values do not fill it."""
    check_code_size(code_size, shape)
    cells = grid[0] * grid[1]
    if code_size % cells:
        nearest = max(1, round(code_size / cells)) * cells
        raise ValueError(
            f"code_size: wanted a multiple of {cells}, since the code is a grid of {grid[0]}×{grid[1]}, "
            f"got {code_size}; the nearest is {nearest}"
        )
    return code_size // cells
