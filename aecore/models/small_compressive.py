"""An autoencoder for small pictures of one shape, whose flat code is rounded and written in few bytes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .album_codec import AlbumCodec
from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_sizes
from .compressive import step_of
from .masked_prior import MIXTURE, MaskedPrior
from .principal import PrincipalComponents, _zero
from .small_transform import SmallSizes, small_analysis, small_synthesis
from .transform import Block, NestedComponents

LEAST = 0.3  # deviation, in steps of rounding, with which a value of the code begins at least, lest all of it be 0


class PriorSizes(NamedTuple):
    """The sizes of a `MaskedPrior`.

    Args:
        group: values of a group.
        hidden: units of each group in either hidden layer.
        mixture: logistic distributions for each value.
    """

    group: int = 1
    hidden: int = 16
    mixture: int = MIXTURE


USUAL = PriorSizes()


class SmallCompressiveAutoencoder(Autoencoder):
    """An autoencoder with a flat code and a masked network as its entropy model, for small pictures of one shape.

    Encoder and decoder each add a linear layer, which starts as PCA, and a dense network, which starts as nothing.
    Where the components are nested, convolutions on a grid of blocks stand between the picture and these layers. A gain
    for each value multiplies the code before it is rounded; `entropy_model` multiplies, rounds and divides.

        principal = principal_components(mnist.train.pixels, 64)
        model = SmallCompressiveAutoencoder((1, 28, 28), 64, principal, lmbda=0.0007)
        run = ae.fit(model, mnist, plan, objective=RateDistortion(0.0007))
        codec = run.model.codec(mnist.train.pixels)
        album = codec.compress(mnist.test.floats())
        x_hat = codec.decompress(album)

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, at most C * H * W.
        principal: the `principal_components` of the training images, or their `nested_components` with strides that
            cover a whole image, as (8, 4) for one of 32×32.
        lmbda: λ of `RateDistortion`, for which the first gains are best.
        hidden: widths of the encoder's dense network, from the image to the code; the decoder has them in the opposite
            order.
        prior: sizes of the entropy model.

    Raises:
        ValueError: components of images of another shape, fewer of them than `code_size`, or sizes that do not fit.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        principal: PrincipalComponents | NestedComponents,
        lmbda: float,
        hidden: tuple[int, ...] = (512, 256),
        prior: PriorSizes = USUAL,
    ) -> None:
        sizes = _checked(image_shape, code_size, principal, hidden)
        if not isinstance(lmbda, int | float) or not 0 < lmbda < math.inf:
            raise ValueError(f"lmbda: wanted a positive number such as 0.0007, got {lmbda!r}")
        super().__init__(sizes.image_shape, small_analysis(sizes), small_synthesis(sizes))
        # A plain attribute: a buffer would be stored with the weights.
        self.lmbda, self.sizes, self._principal = float(lmbda), sizes, principal
        self.log_gain = nn.Parameter(torch.zeros(code_size))
        self.log_back = nn.Parameter(torch.zeros(code_size))
        self.prior = MaskedPrior(code_size, *prior)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Say for which λ and from which components this model starts, which tells runs apart."""
        return f"lmbda={self.lmbda}, starts as PCA, {self.from_data()}"

    def from_data(self) -> str:
        """Say what this model takes from its data, rounded, since machines differ in the last digits."""
        deviations = self._deviations()
        return f"standard deviations from {deviations[0]:.3g} to {deviations[-1]:.3g}"

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (N, code_size) of images, as of every `Autoencoder`."""
        # The objective switches bfloat16 off for the entropy model, whose hidden layers can do with it.
        self.prior.reduced = self.training and torch.is_autocast_enabled(x.device.type)
        return super().encode(x)

    def entropy_model(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes as the decoder will have them, and the probability of each of their values.

        In training, values are rounded for the decoder, with a gradient of one (straight-through), and get noise from
        −½ to ½ for their probability (Ballé et al. 2017); in evaluation both are rounded.

        Args:
            y: codes of shape (N, code_size).

        Returns:
            Codes like `y`, and probabilities of the same shape.
        """
        scaled, probabilities = self.prior(y * self.log_gain.exp())
        return scaled / self.log_back.exp(), probabilities

    def codec(self, images: Tensor | None = None, bits: int = 8) -> AlbumCodec:
        """Return what makes files with this model's weights as they are now, rounded as they would be shipped.

        Args:
            images: of training, floats or bytes (N, C, H, W): their codes tell how far the tables must reach. Without
                them tables are wide enough for nearly all pictures, which costs some bits.
            bits: of a weight of the networks, from 4 to 8.
        """
        return AlbumCodec.of(self, images, bits)

    def reset_parameters(self) -> None:
        """Draw all layers anew, except those that begin as zero, and begin the linear ones as PCA."""
        for layer in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
        for layer in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(layer, Block):  # a block changes what its layers have drawn
                layer.reset_parameters()
        inside, outside = self.encoder[-1], self.decoder[0]
        for branch in (inside.network, outside.network):
            _zero(branch[-1])
        self._start_as_pca(inside.linear, outside.linear)
        unit = (self._deviations() / step_of(self.lmbda, self.image_shape[0])).clamp(min=LEAST)
        with torch.no_grad():
            self.log_gain.copy_(unit.log())
            self.log_back.copy_(self.log_gain)
        self.prior.reset_parameters(unit)

    def _deviations(self) -> Tensor:
        nested = isinstance(self._principal, NestedComponents)
        return (self._principal.outer if nested else self._principal).deviations[: self.code_size]

    @torch.no_grad()
    def _start_as_pca(self, inside: nn.Linear, outside: nn.Linear) -> None:
        """Let the layers give principal components, with variance 1, and draw them."""
        deviations, principal = self._deviations()[:, None], self._principal
        if isinstance(principal, NestedComponents):
            inner, principal = principal
            # Values of the grid are divided by the root of their component's deviation (see `start_as_pca`).
            half = inner.deviations.sqrt()
            into, out = self.encoder[0][1], self.decoder[2][-2]
            into.weight.copy_((inner.components / half[:, None])[:, :, None, None])
            into.bias.copy_(-(inner.components @ inner.mean) / half)
            out.weight.copy_((inner.components.T * half)[:, :, None, None])
            out.bias.copy_(inner.mean)
            grid = half.repeat_interleave(math.prod(self.sizes.grid[1:]))
        else:
            grid = torch.ones(principal.components.shape[1])
        components = principal.components[: self.code_size]
        inside.weight.copy_(components * grid / deviations)
        inside.bias.copy_(-(components @ principal.mean) / deviations[:, 0])
        outside.weight.copy_((components * deviations).T / grid[:, None])
        outside.bias.copy_(principal.mean / grid)


def _checked(image_shape: object, code_size: int, principal: object, hidden: tuple[int, ...]) -> SmallSizes:
    """Return the sizes of the networks, or raise a ValueError where the components are none, or not for them."""
    channels, height, breadth = shape = check_image_shape(image_shape)
    check_code_size(code_size, shape)
    if isinstance(principal, PrincipalComponents):
        sizes = SmallSizes(shape, code_size, check_sizes("hidden", hidden))
        found = tuple(principal.components.shape)
    elif isinstance(principal, NestedComponents):
        width, values = principal.inner.components.shape
        stride = math.isqrt(values // channels)
        sizes = SmallSizes(shape, code_size, check_sizes("hidden", hidden), stride, width)
        found = tuple(principal.outer.components.shape)
        if channels * stride**2 != values or height % stride or breadth % stride:
            raise ValueError(
                f"principal: wanted components of blocks that divide {shape}, got blocks of {values} values"
            )
    else:
        raise ValueError(
            "principal: wanted what principal_components(images, count) or nested_components returns, got "
            + type(principal).__name__
        )
    wanted = math.prod(sizes.grid)
    if found[1] != wanted or found[0] < code_size:
        raise ValueError(
            f"principal: wanted {code_size} components or more of {wanted} values, those of a whole image, got "
            f"{found[0]} of {found[1]}"
        )
    return sizes
