"""A factorised prior: the entropy model of a code that takes each of its values alone, and knows its channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .hyperprior import MIXTURE, SMALLEST, between, mixture_mass, noisy, rounded

SPREAD = 3.0  # how many times as wide as the one before each distribution of a mixture begins


class FactorisedPrior(nn.Module):
    """The entropy model: what probability a value of a code has by its channel and the quality, and nothing else.

    The distribution of a channel is the same at all places, a mixture of logistic ones for each quality; between two
    qualities shares, means and scales are interpolated. That no value tells anything of another is what Ballé et al.
    2017 assume, whose distributions are piecewise linear.

    Args:
        channels: of the code.
        levels: how many qualities there are.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        shape = (levels, channels, MIXTURE)
        self.mixture_share, self.mixture_mean, self.mixture_scale = (nn.Parameter(torch.zeros(shape)) for _ in range(3))

    @torch.no_grad()
    def reset_parameters(self, relative: Tensor) -> None:
        """Begin at the deviations (levels, channels) of what is rounded, `relative`, as far as they are known."""
        widths = SPREAD ** (torch.arange(MIXTURE) - (MIXTURE - 1) / 2)
        # A logistic distribution of deviation 1 has the scale √3/π.
        self.mixture_scale.copy_((relative[..., None] * widths * math.sqrt(3) / math.pi).log())
        self.mixture_share.zero_()
        self.mixture_mean.zero_()

    def forward(self, y: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes rounded, and the probability (N, values) of each of their values.

        Args:
            y: codes in steps of rounding.
            position: quality − 1, of shape (N,).
        """
        share, mean, scale = (self._at(values, position) for values in self._mixture())
        share, scale = share.softmax(-1), SMALLEST + scale.exp()
        return rounded(y), mixture_mass(noisy(y, self.training), share, mean * scale, scale).flatten(1)

    def _mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of shares, means in units of scales, and logarithms of scales (levels, channels, mixture)."""
        return self.mixture_share, self.mixture_mean, self.mixture_scale

    @staticmethod
    def _at(values: Tensor, position: Tensor) -> Tensor:
        """Return values (N, channels, 1, 1, mixture) at positions (N,)."""
        return between(values.flatten(1), position).unflatten(1, values.shape[1:])[:, :, None, None]
