"""Autoencoders of convolutions alone: for images of any size, with a grid as code and, if wanted, a start from PCA."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autoencoder import check_image_shape, check_size

# `_Residual` keeps its name: the fingerprints of published runs tell it.
from .principal import PCAStart, PrincipalComponents, _Residual, _zero


class GridAutoencoder(PCAStart):
    """What fully convolutional autoencoders have in common: a grid as code, one place for each block of the image.

    A class derived from it makes its encoder of `encoder_layers` and each decoder with `decoder_layers`, and checks its
    arguments with `checked_shape`.

    With the `principal_components` of the image's blocks (`blocks_of`) it starts as PCA of each block for itself: the
    residual blocks begin as the identity, and the 1×1 convolutions around them give and draw the components. A
    channel of the code then begins with variance 1. Without them all layers begin as PyTorch draws them.
    """

    any_size = True

    def extra_repr(self) -> str:
        """Say which components these are, where it starts from some."""
        return "" if self._principal is None else super().extra_repr()

    def from_data(self) -> str:
        """Say what this model takes from its data: the standard deviations of its first and its last component."""
        if self._principal is None:
            return ""
        first, last = self._principal.deviations[0], self._principal.deviations[self.code_shape[0] - 1]
        return f"standard deviations from {first:.3g} to {last:.3g}"

    def reset_parameters(self) -> None:
        """Draw all layers anew and, where there are components, begin as PCA of each block."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        if self._principal is None:
            return
        for layer in self.modules():
            if isinstance(layer, _Residual):
                _zero(layer.second)
        self._start_encoder()
        for decoder in self._decoders():
            self._start_decoder(decoder)

    def _decoders(self) -> list[nn.Sequential]:
        return [self.decoder]

    @torch.no_grad()
    def _start_encoder(self) -> None:
        """Let the first channels be the components, with variance 1, and the code be these channels."""
        mean, components, deviations = self._principal
        channels = self.code_shape[0]
        first, *_, last = (layer for layer in self.encoder if isinstance(layer, nn.Conv2d))
        first.weight[:channels, :, 0, 0] = components[:channels] / deviations[:channels, None]
        first.bias[:channels] = -(components[:channels] @ mean) / deviations[:channels]
        _zero(last)
        last.weight[:channels, :channels, 0, 0] = torch.eye(channels)

    @torch.no_grad()
    def _start_decoder(self, decoder: nn.Sequential) -> None:
        """Let the first channels be the code, and draw the components with them, for smaller blocks shrunk ones."""
        mean, components, deviations = self._principal
        channels, block = self.code_shape[0], decoder[-1].upscale_factor
        first, *_, last = (layer for layer in decoder if isinstance(layer, nn.Conv2d))
        first.weight[:channels, :, 0, 0] = torch.eye(channels)
        first.bias[:channels] = 0
        _zero(last)
        drawn = self._shrunk(components[:channels] * deviations[:channels, None], block)
        last.weight[:, :channels, 0, 0] = drawn.T
        last.bias.copy_(self._shrunk(mean[None], block)[0])

    def _shrunk(self, blocks: Tensor, block: int) -> Tensor:
        """Return blocks of the image, as rows, by the means of their pixels with `block` of them on an edge."""
        pictures = blocks.unflatten(1, (-1, self._stride(), self._stride()))
        return F.interpolate(pictures, size=(block, block), mode="area").flatten(1)


class FullyConvAutoencoder(GridAutoencoder):
    """One place of the code for each block of pixels, and residual blocks through which it sees its neighbours.

    Encoder: the image is cut into blocks of `stride`×`stride` pixels (pixel unshuffle); a 1×1 convolution, residual
    blocks of two 3×3 convolutions, and a 1×1 convolution to the code. The decoder is its mirror and ends in a pixel
    shuffle. Code and image come out of their layers as they are: no ReLU, no sigmoid.

    It takes images of any height and width that `stride` divides; the code has H/stride × W/stride places.

    Args:
        image_shape: (C, H, W) of one image, H and W divisible by `stride`; training may use other sizes.
        channels: of the code, at most C·stride².
        stride: height and width of a block, in pixels.
        width: channels between the two 1×1 convolutions of each half.
        blocks: residual blocks in each half.
        principal: the `principal_components` of `blocks_of` the training images, as many as `channels` or more: it then
            starts as PCA of the blocks. It needs a `width` of at least `channels`.

    Raises:
        ValueError: sizes that do not fit, components of blocks of another size, or fewer of them than `channels`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: int,
        stride: int = 4,
        width: int = 64,
        blocks: int = 2,
        principal: PrincipalComponents | None = None,
    ) -> None:
        shape = checked_shape(image_shape, channels, stride, width, blocks, principal)
        encoder = encoder_layers(shape[0], stride, width, blocks, channels)
        decoder = decoder_layers(channels, width, blocks, stride, shape[0])
        super().__init__(shape, principal, nn.Sequential(*encoder), nn.Sequential(*decoder))


def encoder_layers(colours: int, stride: int, width: int, blocks: int, out: int) -> list[nn.Module]:
    """Return the layers from an image to `out` values for each block of `stride`×`stride` pixels."""
    first, last = nn.Conv2d(colours * stride**2, width, kernel_size=1), nn.Conv2d(width, out, kernel_size=1)
    return [nn.PixelUnshuffle(stride), first, *(_Residual(width) for _ in range(blocks)), last]


def decoder_layers(channels: int, width: int, blocks: int, stride: int, colours: int) -> list[nn.Module]:
    """Return the layers from a code to `stride`×`stride` pixels for each of its places."""
    first, last = nn.Conv2d(channels, width, kernel_size=1), nn.Conv2d(width, colours * stride**2, kernel_size=1)
    return [first, *(_Residual(width) for _ in range(blocks)), last, nn.PixelShuffle(stride)]


def checked_shape(
    image_shape: object, channels: int, stride: int, width: int, blocks: int, principal: object
) -> tuple[int, int, int]:
    """Return the image shape, or raise a ValueError where one of the arguments does not fit the others."""
    shape = check_image_shape(image_shape)
    for name, size in (("channels", channels), ("stride", stride), ("width", width)):
        check_size(name, size)
    check_size("blocks", blocks, least=0)
    if shape[1] % stride or shape[2] % stride:
        raise ValueError(
            f"image_shape: height and width must be divisible by stride={stride} here, got {shape[1]}×{shape[2]}"
        )
    values = shape[0] * stride**2
    if channels > values:
        raise ValueError(
            f"channels: {channels} are more than the {values} values of a block of {stride}×{stride} pixels; such a "
            f"code compresses nothing. Choose at most {values}."
        )
    if principal is not None:
        _check_principal(principal, channels, values, width)
    return shape


def _check_principal(principal: object, channels: int, values: int, width: int) -> None:
    if not isinstance(principal, PrincipalComponents):
        raise ValueError(
            "principal: wanted what principal_components(blocks_of(images, stride), channels) returns, got "
            f"{type(principal).__name__}"
        )
    found, size = principal.components.shape
    if size != values:
        raise ValueError(
            f"principal: wanted components of {values} values, like a block of the image, got {size}; "
            "blocks_of(images, stride) cuts images into such blocks"
        )
    if found < channels:
        raise ValueError(f"principal: wanted channels = {channels} components or more, got {found}")
    if width < channels:
        raise ValueError(f"width: a start as PCA wants at least channels = {channels}, got {width}")


def blocks_of(images: Tensor, size: int) -> Tensor:
    """Return the blocks of images, cut without overlap, as small images of their own.

    Args:
        images: (N, C, H, W), of any type; H and W divisible by `size`.
        size: height and width of a block, in pixels.

    Returns:
        A tensor (N·H/size·W/size, C, size, size), image by image and row by row.

    Raises:
        ValueError: they are no images (N, C, H, W), or cannot be cut so.
    """
    check_size("size", size)
    if not isinstance(images, Tensor) or images.ndim != 4:
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images: wanted a tensor of shape (N, C, H, W), as photos.train.pixels, got {found}")
    if images.shape[2] % size or images.shape[3] % size:
        raise ValueError(
            f"images: wanted a height and width divisible by {size}, got {images.shape[2]}×{images.shape[3]}"
        )
    rows = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (N, C, H/size, size, W/size, size)
    return rows.permute(0, 2, 4, 1, 3, 5).reshape(-1, images.shape[1], size, size)
