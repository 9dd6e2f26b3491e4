"""An autoencoder whose code is rounded and written in few bits: one model for a range of rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, check_image_shape, check_size
from .factorised import FactorisedPrior
from .hyperprior import HyperPrior, between
from .picture_codec import PictureCodec, check_quality
from .transform import Block, NestedComponents, analysis, start_as_pca, synthesis

PRIORS = ("factorised", "hyperprior", "context")  # each tells more of a value than the one before
LMBDAS = (0.0009, 0.0031, 0.0105, 0.036)  # of the qualities 1 to 4: on photographs from about .15 to 1 bit per pixel


class CompressiveAutoencoder(Autoencoder):
    """A convolutional autoencoder with an entropy model, for pictures of any size and a range of rates.

    A gain for each channel and quality multiplies the code before it is rounded (Cui et al. 2021, “Asymmetric gained
    deep image compression”); between two qualities gains are interpolated, so that 2.5 is a quality too. What comes
    after is the entropy model, the prior. `encode` and `decode` know no quality; `entropy_model` multiplies, rounds
    and divides.

        model = CompressiveAutoencoder((3, 128, 128), principal=nested_components(photos.train.pixels))
        run = ae.fit(model, photos, Plan(crop=128), objective=VariableRate())
        files = run.model.compress(x, quality=2)
        x_hat = run.model.decompress(files)

    Args:
        image_shape: (C, H, W) of one image, H and W divisible by the stride. `encode` takes any other size that is,
            `compress` any size.
        channels: of the code.
        width: channels of the first half of the transform.
        strides: heights and widths of the blocks of its two halves; their product is the stride.
        lmbdas: λ of the qualities 1, 2, …, as of `objectives.RateDistortion`; rising.
        principal: `nested_components` of the training images, made with the same `channels`, `width` and `strides`: the
            transform then starts as PCA.
        prior: what tells the distribution of a value of the code: "factorised", its channel alone (`FactorisedPrior`);
            "hyperprior", hyper-latents, which give its mean and scale; "context", these and, for half of the values,
            their decoded neighbours (`HyperPrior`). Files are written with the last two.

    Raises:
        ValueError: sizes or components that do not fit, prices that do not rise, or a prior that is not there.

    Attributes:
        quality: what is taken where none is given, from 1 to `levels`.
    """

    any_size = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: int = 192,
        width: int = 96,
        strides: tuple[int, int] = (8, 2),
        lmbdas: Sequence[float] = LMBDAS,
        principal: NestedComponents | None = None,
        *,
        prior: str = "context",
    ) -> None:
        sizes = _checked(image_shape, channels, width, strides, principal)
        prices = _checked_lmbdas(lmbdas)
        super().__init__(check_image_shape(image_shape), analysis(*sizes), synthesis(*sizes))
        self.lmbdas, self._sizes, self._principal = prices, sizes, principal
        self.quality = (self.levels + 1) / 2
        self.log_gain = nn.Parameter(torch.zeros(self.levels, channels))
        self.log_back = nn.Parameter(torch.zeros(self.levels, channels))
        self.prior = _prior(prior, channels, width, self.levels)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Say which prices the qualities have and, where it starts from components, from which."""
        prices = f"lmbdas={self.lmbdas}"
        return prices if self._principal is None else f"{prices}, starts as PCA, {self.from_data()}"

    def from_data(self) -> str:
        """Say what this model takes from its data, rounded, since machines differ in the last digits."""
        if self._principal is None:
            return ""
        deviations = self._principal.outer.deviations
        return f"standard deviations from {deviations[0]:.3g} to {deviations[-1]:.3g}"

    @property
    def levels(self) -> int:
        """How many qualities there are."""
        return len(self.lmbdas)

    def entropy_model(self, y: Tensor, quality: Tensor | float | None = None) -> tuple[Tensor, Tensor]:
        """Return the codes as the decoder will have them, and the probability of each value that a file would hold.

        In training, values are rounded for the decoder, with a gradient of one (straight-through), and get noise from
        −½ to ½ for their probability (Ballé et al. 2017); in evaluation both are rounded.

        Args:
            y: codes of shape (N, channels, h, w).
            quality: from 1 to `levels`, whole or not; a tensor of N of them; or None, which is `self.quality`.

        Returns:
            Codes like `y`, and probabilities of shape (N, values): first the code's, then the hyper-latents', where the
            prior has some.
        """
        if not isinstance(quality, Tensor):
            quality = check_quality(self.quality if quality is None else quality, self.levels)
            quality = torch.full((y.shape[0],), quality, device=y.device)
        gain, back = (between(log, quality - 1).exp()[:, :, None, None] for log in (self.log_gain, self.log_back))
        scaled, probabilities = self.prior(y * gain, quality - 1)
        return scaled / back, probabilities

    def codec(self, bits: int = 8) -> PictureCodec:
        """Return what makes files with this model's weights as they are now, rounded as they would be shipped.

        Args:
            bits: of a weight of the transform, 8 or 16.

        Raises:
            ValueError: the prior is one that writes no files, or there are no such bits.
        """
        if not isinstance(self.prior, HyperPrior):
            raise ValueError(
                "prior: 'factorised' has no tables for files and is there to be compared with; a model with "
                "prior='hyperprior' or 'context' writes files"
            )
        return PictureCodec.of(self, self._sizes, bits)

    def compress(self, x: Tensor, quality: float | None = None) -> list[bytes]:
        """Return a file for each image, as `codec().compress` makes them; for many calls, keep the codec."""
        return self.codec().compress(x, self.quality if quality is None else quality)

    def decompress(self, files: Sequence[bytes]) -> Tensor:
        """Return the images of files that this model has made, as `codec().decompress` does."""
        return self.codec().decompress(files)

    def reset_parameters(self) -> None:
        """Draw all layers anew and, where there are components, begin as PCA."""
        layers = [*self.encoder.modules(), *self.decoder.modules()]
        for kind in (nn.Conv2d, Block):  # a block changes what its layers have drawn
            for layer in layers:
                if isinstance(layer, kind):
                    layer.reset_parameters()
        deviations = torch.ones(self.code_shape[0])
        if self._principal is not None:
            start_as_pca(self.encoder, self.decoder, self._principal)
            deviations = self._principal.outer.deviations
        steps = torch.tensor([step_of(lmbda, self.image_shape[0]) for lmbda in self.lmbdas])
        relative = deviations / steps[:, None]  # the deviations of what is rounded
        with torch.no_grad():
            # A channel of the code begins with the square root of its component's deviation.
            self.log_gain.copy_((relative / deviations.sqrt()).log())
            self.log_back.copy_(self.log_gain)
        self.prior.reset_parameters(relative)


def step_of(lmbda: float, colours: int) -> float:
    """Return the step of rounding that suits a price λ, in units where white is 1, for an orthonormal transform.

    A value that is rounded in steps of Δ has the error Δ²/12, and one more bit divides that by four. So λ · 255² · MSE
    + bits per pixel has its least value at Δ² = 12 · C / (2 ln 2 · λ · 255²), where steps are fine.
    """
    return math.sqrt(6 * colours / (math.log(2) * lmbda)) / 255


def _prior(name: str, channels: int, width: int, levels: int) -> nn.Module:
    """Return an entropy model by its name in `PRIORS`, or raise a ValueError where none has it."""
    if name not in PRIORS:
        raise ValueError(f"prior: wanted one of {', '.join(map(repr, PRIORS))}, got {name!r}")
    if name == "factorised":
        return FactorisedPrior(channels, levels)
    return HyperPrior(channels, width, levels, context=name == "context")


def _checked(
    image_shape: object, channels: int, width: int, strides: tuple[int, int], principal: object
) -> tuple[int, int, int, tuple[int, int]]:
    """Return colours, channels, width and strides, or raise a ValueError where they do not fit."""
    colours, height, breadth = check_image_shape(image_shape)
    check_size("channels", channels)
    check_size("width", width, least=3)
    if not isinstance(strides, tuple | list) or len(strides) != 2:
        raise ValueError(f"strides: wanted two whole numbers, such as (8, 2), got {strides!r}")
    first, second = (check_size("strides", stride) for stride in strides)
    if height % (first * second) or breadth % (first * second):
        raise ValueError(
            f"image_shape: height and width must be divisible by {first * second}, the product of strides, got "
            f"{height}×{breadth}"
        )
    if principal is not None:
        wanted = ((width, colours * first**2), (channels, width * second**2))
        nested = isinstance(principal, NestedComponents)
        found = tuple(tuple(part.components.shape) for part in principal) if nested else type(principal).__name__
        if found != wanted:
            raise ValueError(
                "principal: wanted nested_components of the same channels, width and strides, with components of shape "
                f"{wanted[0]} and {wanted[1]}, got {found}"
            )
    return colours, channels, width, (first, second)


def _checked_lmbdas(lmbdas: Sequence[float]) -> tuple[float, ...]:
    prices = tuple(map(float, lmbdas)) if isinstance(lmbdas, Sequence) else ()
    rising = all(low < high for low, high in pairwise(prices))
    if not prices or not 0 < prices[0] < math.inf or not rising:
        raise ValueError(f"lmbdas: wanted positive numbers that rise, such as {LMBDAS}, got {lmbdas!r}")
    return prices
