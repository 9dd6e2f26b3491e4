"""A variational autoencoder: codes are drawn from a normal distribution that the encoder gives for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from .fully_convolutional import GridAutoencoder, checked_shape, decoder_layers, encoder_layers
from .principal import PrincipalComponents

START = 0.1  # standard deviation with which a code of variance 1 is drawn before training, where it starts as PCA
LOG_VARIANCES = (-20.0, 10.0)  # deviations from 5e-5 to 150: no float overflows, and no logarithm is infinite


class VariationalAutoencoder(GridAutoencoder):
    """A `FullyConvAutoencoder` whose encoder gives a normal distribution of codes (Kingma and Welling 2014).

    For each value of the code the encoder gives a mean and the logarithm of a variance. `posterior` is that
    distribution, `encode` its mean, which is what an image is compressed to; only training draws from it, with
    `objectives.ELBO`. The decoder is the same as without.

    Args:
        image_shape: (C, H, W) of one image, H and W divisible by `stride`.
        channels: of the code, at most C·stride².
        stride: height and width, in pixels, of the block that belongs to one place of the code.
        width: channels between the two 1×1 convolutions of each half.
        blocks: residual blocks in each half.
        principal: the `principal_components` of `blocks_of` the training images: the means then start as PCA, and all
            deviations at 0.1.

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
        encoder = [*encoder_layers(shape[0], stride, width, blocks, 2 * channels), _Mean()]
        decoder = decoder_layers(channels, width, blocks, stride, shape[0])
        super().__init__(shape, principal, nn.Sequential(*encoder), nn.Sequential(*decoder))

    def posterior(self, x: Tensor) -> Normal:
        """Return the distributions of codes of images, a normal one for each value.

        Args:
            x: float images of shape (N, C, H, W), values in [0, 1].

        Returns:
            A distribution over codes of shape (N, channels, H/stride, W/stride).

        Raises:
            TypeError, ValueError: as for `encode`.
        """
        self._check_images(x)
        mean, log_variance = self.encoder[:-1](x).chunk(2, dim=1)
        # To look whether all deviations are positive would make a GPU wait, and cannot be recorded.
        return Normal(mean, (log_variance.clamp(*LOG_VARIANCES) / 2).exp(), validate_args=False)

    def reset_parameters(self) -> None:
        """Draw all layers anew and, where there are components, begin as PCA with small deviations."""
        super().reset_parameters()
        if self._principal is not None:
            with torch.no_grad():
                self.encoder[-2].bias[self.code_shape[0] :] = 2 * math.log(START)


class _Mean(nn.Module):
    """The first half of the channels; the second holds the logarithms of the variances."""

    def forward(self, x: Tensor) -> Tensor:
        return x.chunk(2, dim=1)[0]


@torch.no_grad()
def active_units(z: Tensor, threshold: float = 0.01) -> int:
    """Return how many units of a variational autoencoder say something about the image.

    A unit is active where the variance over images of its posterior mean is more than .01 (Burda et al. 2016):
    in the others the encoder gives every image the same, and the noise hides what is left. In a flat code each
    value is a unit; of a grid each channel, with all places as samples.

    Args:
        z: posterior means of many images, `model.encode(x)`: (N, D) or (N, C, H, W).
        threshold: the variance that a unit must exceed.

    Raises:
        ValueError: `z` has another shape, or is empty.
    """
    if not isinstance(z, Tensor) or z.ndim not in (2, 4) or z.numel() == 0:
        found = f"a tensor of {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise ValueError(f"z: wanted codes of shape (N, D) or (N, C, H, W), as model.encode gives them, got {found}")
    variances = z.double().transpose(0, 1).flatten(1).var(1, correction=0)
    return int((variances > threshold).sum())
