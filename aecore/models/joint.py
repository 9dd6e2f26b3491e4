"""One code, several sizes: an encoder with one decoder for each."""

from __future__ import annotations

from torch import Tensor, nn

from .autoencoder import check_sizes
from .fully_convolutional import GridAutoencoder, checked_shape, decoder_layers, encoder_layers
from .principal import PrincipalComponents


class JointAutoencoder(GridAutoencoder):
    """A `FullyConvAutoencoder` with further decoders, which draw the same code at smaller sizes.

    The encoder sees the large image. Of the strides 8 and 4, a code of 43×43 places is decoded to 344×344 or to
    172×172 pixels. It fits `objectives.JointResolutions`. Started as PCA, the smaller decoders draw what the large one
    would after its pixels are averaged: training begins at "decode large and shrink".

    Args:
        image_shape: (C, H, W) of one image at the largest size, H and W divisible by the largest stride.
        channels: of the code, at most C times the largest stride squared.
        strides: pixels of an image's edge for one place of the code, each decoder's; the largest is the encoder's too.
        width: channels between the two 1×1 convolutions of each half; or one for each decoder, in the order of the
            strides: half of the width is about a quarter of the work. The encoder has that of the largest stride.
        blocks: residual blocks in the encoder and in each decoder.
        principal: the `principal_components` of `blocks_of` the training images, cut by the largest stride.

    Raises:
        ValueError: sizes that do not fit, components of blocks of another size, or fewer of them than `channels`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: int,
        strides: tuple[int, ...] = (8, 4),
        width: int | tuple[int, ...] = 64,
        blocks: int = 2,
        principal: PrincipalComponents | None = None,
    ) -> None:
        strides = check_sizes("strides", strides)
        if not strides or len(set(strides)) < len(strides):
            raise ValueError(f"strides: wanted one for each decoder, none twice, such as (8, 4), got {strides!r}")
        each = isinstance(width, tuple | list)
        widths = check_sizes("width", width) if each else (width,) * len(strides)
        if len(widths) != len(strides):
            raise ValueError(f"width: wanted one for each of the strides {strides}, or one number, got {width!r}")
        of_decoder = dict(sorted(zip(strides, widths, strict=True), reverse=True))
        shapes = [checked_shape(image_shape, channels, max(strides), one, blocks, principal) for one in widths]
        shape, first = shapes[0], of_decoder[max(strides)]
        encoder = encoder_layers(shape[0], max(strides), first, blocks, channels)
        decoders = {
            str(stride): nn.Sequential(*decoder_layers(channels, one, blocks, stride, shape[0]))
            for stride, one in of_decoder.items()
        }
        super().__init__(shape, principal, nn.Sequential(*encoder), _Decoders(decoders))

    def decode(self, z: Tensor, size: int | None = None) -> Tensor:
        """Return the images that belong to codes, at one of the sizes that this model draws.

        Args:
            z: codes of shape (N, channels, h, w).
            size: height of the images in pixels, h times one of the strides; None takes the largest.

        Raises:
            TypeError: they are no floats in a tensor.
            ValueError: codes of another shape, or a size that no decoder gives.
        """
        if size is None:
            return super().decode(z)
        self._check_codes(z)
        sizes = {z.shape[2] * int(stride): decoder for stride, decoder in self.decoder.items()}
        if not isinstance(size, int) or size not in sizes:
            heights, places = " or ".join(map(str, sizes)), f"{z.shape[2]}×{z.shape[3]}"
            raise ValueError(f"size: from codes of {places} come images {heights} pixels high, got {size!r}")
        return sizes[size](z)

    def _decoders(self) -> list[nn.Sequential]:
        return list(self.decoder.values())


class _Decoders(nn.ModuleDict):
    """Decoders by their stride, the largest first, which is the one that is used where none is asked for."""

    def forward(self, z: Tensor) -> Tensor:
        return next(iter(self.values()))(z)
