"""The transform of a codec: from an image to a grid of values, and back, in two halves; it may start as PCA."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import relu

from .fully_convolutional import blocks_of
from .principal import PrincipalComponents, principal_components
from .progress import Tell, silent

BLOCKS = 2  # residual blocks in each of the two halves of either network
MARGIN = 3  # places of the code, on each side, that one of them depends on beside itself


def analysis(colours: int, channels: int, width: int, strides: tuple[int, int]) -> nn.Sequential:
    """Return the layers from images (N, colours, H, W) to codes (N, channels, H/stride, W/stride)."""
    first, second = strides
    return nn.Sequential(
        nn.PixelUnshuffle(first),
        nn.Conv2d(colours * first**2, width, 1),
        *(Block(width, width) for _ in range(BLOCKS)),
        nn.PixelUnshuffle(second),
        nn.Conv2d(width * second**2, channels, 1),
        *(Block(channels, width) for _ in range(BLOCKS)),
        nn.Conv2d(channels, channels, 1),
    )


def synthesis(colours: int, channels: int, width: int, strides: tuple[int, int]) -> nn.Sequential:
    """Return the layers from codes to images: the mirror of `analysis`."""
    first, second = strides
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1),
        *(Block(channels, width) for _ in range(BLOCKS)),
        nn.Conv2d(channels, width * second**2, 1),
        nn.PixelShuffle(second),
        *(Block(width, width) for _ in range(BLOCKS)),
        nn.Conv2d(width, colours * first**2, 1),
        nn.PixelShuffle(first),
    )


class Block(nn.Module):
    """x plus a 3×3 convolution of it, a ReLU and a 1×1 convolution, which begins near zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, channels, 1)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.second.weight.normal_(std=0.02 / math.sqrt(self.second.in_channels))
        self.second.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(relu(self.first(x)))


class NestedComponents(NamedTuple):
    """The components of blocks of pixels, and those of blocks of such components."""

    inner: PrincipalComponents
    outer: PrincipalComponents

    def encode(self, x: Tensor) -> Tensor:
        """Return what images have along the outer components: (N, channels, H/stride, W/stride).

        Args:
            x: floats or bytes of shape (N, C, H, W), divisible by the product of the strides.
        """
        for part in self:
            x = _along(part, x, math.isqrt(len(part.mean) // x.shape[1]))
        return x

    def decode(self, z: Tensor, colours: int = 3) -> Tensor:
        """Return the images that such values stand for, floats (N, colours, H, W) that may lie outside [0, 1]."""
        for part, channels in ((self.outer, len(self.inner.components)), (self.inner, colours)):
            blocks = (z.movedim(1, -1) @ part.components + part.mean).movedim(-1, 1)
            z = F.pixel_shuffle(blocks, math.isqrt(len(part.mean) // channels))
        return z


def nested_components(
    images: Tensor, channels: int = 192, width: int = 96, strides: tuple[int, int] = (8, 2)
) -> NestedComponents:
    """Return the components with which a `CompressiveAutoencoder` of the same sizes starts.

    Args:
        images: floats or bytes of shape (N, C, H, W), divisible by the product of the strides.
        channels, width, strides: of the model.

    Raises:
        ValueError: there are too few blocks, or they cannot be cut.
    """
    inner = principal_components(blocks_of(images, strides[0]), width)
    grid = _along(inner, images, strides[0])
    return NestedComponents(inner, principal_components(blocks_of(grid, strides[1]), channels))


def _along(part: PrincipalComponents, images: Tensor, stride: int) -> Tensor:
    """Return what the blocks of images have along components: (N, components, H/stride, W/stride)."""
    rows = blocks_of(images, stride).flatten(1)
    rows = rows if images.is_floating_point() else rows.float() / 255
    height, breadth = (length // stride for length in images.shape[2:])
    values = (rows - part.mean) @ part.components.T
    return values.reshape(len(images), height, breadth, len(part.components)).permute(0, 3, 1, 2)


@torch.no_grad()
def start_as_pca(encoder: nn.Sequential, decoder: nn.Sequential, principal: NestedComponents) -> None:
    """Let the 1×1 convolutions give and draw the components; the residual blocks between them begin near nothing.

    Values between the layers, and the code, are divided by the square root of their component's deviation: as they are,
    the first ones would be a hundred times as large as the last ones, and with variance 1 all errors would look alike.
    """
    inner, outer = principal
    half = inner.deviations.sqrt()
    blocks = half.repeat_interleave(outer.components.shape[1] // len(half))  # channel by channel, as the unshuffle
    scale = outer.deviations.sqrt()
    one = torch.eye(len(scale))
    into, again, last = (layer for layer in encoder if isinstance(layer, nn.Conv2d))
    _set(into, inner.components / half[:, None], -(inner.components @ inner.mean) / half)
    _set(again, outer.components * blocks / scale[:, None], -(outer.components @ outer.mean) / scale)
    _set(last, one, torch.zeros(len(scale)))
    first, back, out = (layer for layer in decoder if isinstance(layer, nn.Conv2d))
    _set(first, one, torch.zeros(len(scale)))
    _set(back, outer.components.T * scale / blocks[:, None], outer.mean / blocks)
    _set(out, inner.components.T * half, inner.mean)


def in_bands(
    network: nn.Module, x: Tensor, stride: tuple[int, int], band: int = 32, tell: Tell = silent
) -> Tensor:
    """Return `network(x)`, computed from some rows at a time, with as much around them as they depend on.

    So a photograph of 12 megapixels takes no more memory than its rows. The values differ from those of the whole by
    rounding alone.

    Args:
        network: `analysis` or `synthesis`.
        x: one image, or one code, as a batch of one.
        stride: how many rows of `x`, and how many of what comes out, come to one row of the code.
        band: rows of the code at a time.
        tell: is told the share that is done.
    """
    before, after = stride
    rows, found = x.shape[2] // before, []
    for top in range(0, rows, band):
        bottom = min(top + band, rows)
        low, high = max(top - MARGIN, 0), min(bottom + MARGIN, rows)
        part = network(x[:, :, low * before : high * before])
        found.append(part[:, :, (top - low) * after : (bottom - low) * after])
        tell(bottom / rows)
    return torch.cat(found, 2)


def _set(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight[:, :, None, None])
    layer.bias.copy_(bias)
