"""The transform of a codec for small pictures: from an image to a flat code, and back; it starts as PCA."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from .dense import dense_layers
from .principal import _Added
from .transform import Block

BLOCKS = 3  # residual blocks in each of the two networks, where there are any


class SmallSizes(NamedTuple):
    """What the networks of a transform are made from.

    Args:
        image_shape: (C, H, W).
        code_size: values of the code.
        hidden: widths of the dense layers, from the image to the code.
        stride: height and width of the blocks that convolutions see as one place; 1: there are no convolutions.
        width: channels of the convolutions.
    """

    image_shape: tuple[int, int, int]
    code_size: int
    hidden: tuple[int, ...]
    stride: int = 1
    width: int = 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """What the dense layers see: channels, height and width."""
        _, height, breadth = self.image_shape
        if self.stride == 1:
            return self.image_shape
        return self.width, height // self.stride, breadth // self.stride


def small_analysis(sizes: SmallSizes) -> nn.Sequential:
    """Return the layers from images (N, C, H, W) to codes (N, code_size)."""
    into = [nn.Conv2d(sizes.image_shape[0] * sizes.stride**2, sizes.width, 1)]
    local = [nn.PixelUnshuffle(sizes.stride), *into, *_blocks(sizes)] if sizes.stride > 1 else []
    widths = (math.prod(sizes.grid), *sizes.hidden, sizes.code_size)
    return nn.Sequential(nn.Sequential(*local), nn.Flatten(), _linear_and_dense(widths))


def small_synthesis(sizes: SmallSizes) -> nn.Sequential:
    """Return the layers from codes to images: the mirror of `small_analysis`."""
    out = [nn.Conv2d(sizes.width, sizes.image_shape[0] * sizes.stride**2, 1)]
    local = [*_blocks(sizes), *out, nn.PixelShuffle(sizes.stride)] if sizes.stride > 1 else []
    widths = (sizes.code_size, *sizes.hidden[::-1], math.prod(sizes.grid))
    return nn.Sequential(_linear_and_dense(widths), nn.Unflatten(1, sizes.grid), nn.Sequential(*local), Clamp())


class Clamp(nn.Module):
    """Values outside [0, 1] become 0 or 1, with a gradient of one everywhere.

    So a pixel that is to be black may come out as any negative number, and a pixel that is wrongly black can come back:
    the gradient of a squared error always points inwards.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x + (x.clamp(0, 1) - x).detach()


def _blocks(sizes: SmallSizes) -> list[nn.Module]:
    return [Block(sizes.width, sizes.width) for _ in range(BLOCKS)]


def _linear_and_dense(widths: tuple[int, ...]) -> _Added:
    return _Added(nn.Linear(widths[0], widths[-1]), nn.Sequential(*dense_layers(widths)))
