"""A hyperprior: the entropy model of a code, learned with it, that tells mean and scale of each of its values."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import relu

STRIDE = 4  # places of the code, on an edge, that share one place of the hyper-latents
SCALES = 64  # how many scales a value of the code may have: the rungs of a ladder
SMALLEST, LARGEST = 0.06, 64.0  # the first and the last of them, of a logistic distribution, in steps of rounding
SCALE_STEP = math.log(LARGEST / SMALLEST) / (SCALES - 1)
PER_OUTPUT = 8  # rungs for 1 at the output of a layer: weights of usual size then reach all of them
MIXTURE = 3  # logistic distributions in the prior of each hyper-latent
TAIL = 1e-6  # share of a distribution without exponential tail, which stands for the price of an escape


def rounded(values: Tensor) -> Tensor:
    """Return whole numbers, with the gradient of what they were before (straight-through)."""
    return values + (values.round() - values).detach()


class HyperPrior(nn.Module):
    """The entropy model: what probability each value of a code has, given the hyper-latents and its neighbours.

    Hyper-latents, which are coded first, give each value a mean and a scale (Minnen et al. 2018). One half of the code,
    every other place as on a checkerboard, has nothing else; the other half has its decoded neighbours besides (He et
    al. 2021). Distributions are logistic; those of the hyper-latents themselves are mixtures that stay the same.

    Args:
        channels: of the code.
        width: channels of the layers.
        levels: how many qualities there are.
        context: whether the second half sees the first; without, both have the hyper-latents alone.
    """

    def __init__(self, channels: int, width: int, levels: int, context: bool = True) -> None:
        super().__init__()
        self.hyper_channels, hidden = max(channels // 4, 1), 4 * width // 3
        self.analysis = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * width, self.hyper_channels, 1),
        )  # fmt: skip
        # What follows decides which tables the decoder takes. A codec computes it in whole numbers (`integer_prior`).
        self.spread = nn.Conv2d(self.hyper_channels, 4 * width, 1)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.spread_again = nn.Conv2d(width, 4 * width, 1)
        self.gather = nn.Conv2d(width, hidden, 1)
        self.context = nn.Conv2d(channels, hidden, 3, padding=1, bias=False) if context else None
        self.head = nn.Conv2d(hidden, 2 * channels, 1)
        self.level_hidden = nn.Parameter(torch.zeros(levels, hidden))
        self.second_hidden = nn.Parameter(torch.zeros(hidden)) if context else None  # added where there is context
        self.level_scale = nn.Parameter(torch.zeros(levels, channels))
        shape = (levels, self.hyper_channels, MIXTURE)
        self.mixture_share, self.mixture_mean, self.mixture_scale = (nn.Parameter(torch.zeros(shape)) for _ in range(3))

    @torch.no_grad()
    def reset_parameters(self, relative: Tensor) -> None:
        """Draw all layers anew; `relative`: the deviations (levels, channels) of what is rounded, as far as known."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        self.analysis[-1].weight.mul_(5)  # hyper-latents that are all rounded to 0 would teach nothing
        self.head.weight.mul_(0.2)
        for bias in (self.head.bias, self.level_hidden, self.second_hidden, self.mixture_share):
            if bias is not None:
                bias.zero_()
        # A logistic distribution of deviation 1 has the scale √3/π.
        index = (relative * math.sqrt(3) / math.pi / SMALLEST).log() / SCALE_STEP
        self.level_scale.copy_(index.clamp(0, SCALES - 1) / PER_OUTPUT)
        self.mixture_mean.copy_(torch.linspace(-2, 2, MIXTURE).expand_as(self.mixture_mean))
        self.mixture_scale.zero_()

    def forward(self, y: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes rounded, and the probabilities (N, values) of the code and of the hyper-latents.

        Args:
            y: codes in steps of rounding.
            position: quality − 1, of shape (N,).
        """
        z = self.analysis(filled_up(y))
        z_hat, z_noisy = rounded(z), noisy(z, self.training)
        mean, rung = self.means_and_rungs(z_hat, y, position)
        y_hat = rounded(y - mean) + mean
        likelihoods = logistic_mass(noisy(y - mean, self.training), scale_at(rung))
        return y_hat, torch.cat([likelihoods.flatten(1), self._of_hyper(z_noisy, position).flatten(1)], 1)

    def means_and_rungs(
        self, z: Tensor, y: Tensor, position: Tensor, rounding: Callable[[Tensor], Tensor] = rounded
    ) -> tuple[Tensor, Tensor]:
        """Return the mean of each value of a code, and the place of its scale on the ladder, from 0.

        Args:
            z: hyper-latents, rounded.
            y: codes in steps of rounding, not rounded.
            position: quality − 1, of shape (N,).
            rounding: what makes differences from means whole.
        """
        features, level = self.features(z, y.shape[2:]), between(self.level_hidden, position)[:, :, None, None]
        shift = PER_OUTPUT * between(self.level_scale, position)[:, :, None, None]
        mean, rung = self._distributions(features + level, shift)
        if self.context is None:
            return mean, rung
        first = checkerboard(*y.shape[2:], y.device)
        seen = (rounding(y - mean) + mean) * first
        more = features + level + self.second_hidden[None, :, None, None] + self.context(seen)
        mean_of_second, rung_of_second = self._distributions(more, shift)
        return torch.where(first, mean, mean_of_second), torch.where(first, rung, rung_of_second)

    def features(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """Return what the hyper-latents tell of every place of a code of that height and width."""
        wide = relu(F.pixel_shuffle(self.spread(z), 2))
        wide = relu(F.pixel_shuffle(self.spread_again(relu(self.mix(wide))), 2))
        return self.gather(wide)[:, :, : size[0], : size[1]]

    def _distributions(self, hidden: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return means, and places on the ladder of scales; beyond its ends only a tenth, so that all can come back."""
        mean, index = self.head(relu(hidden)).chunk(2, 1)
        index = PER_OUTPUT * index + shift
        inside = index.clamp(0, SCALES - 1)
        return mean, inside + 0.1 * (index - inside)

    def _of_hyper(self, z: Tensor, position: Tensor) -> Tensor:
        """Return the probabilities of hyper-latents: a mixture for each channel, that of the nearest quality."""
        nearest = (position + 0.5).floor()
        mixture = [between(values.flatten(1), nearest).unflatten(1, values.shape[1:]) for values in self._mixture()]
        return mixture_mass(z, *(values[:, :, None, None] for values in mixture))

    def mass_of_hyper(self, values: Tensor) -> Tensor:
        """Return the probability of whole numbers, for each quality and channel: (levels, channels, len(values))."""
        return mixture_mass(values, *(one.to(values.dtype)[:, :, None] for one in self._mixture()))

    def _mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return shares, means and scales (levels, channels, mixture)."""
        return self.mixture_share.softmax(-1), self.mixture_mean, self.mixture_scale.clamp(min=-3).exp()


def checkerboard(height: int, breadth: int, device: torch.device | str = "cpu") -> Tensor:
    """Return where a code's first half is, bool (height, breadth): at places whose row and column add up even."""
    return (torch.arange(height, device=device)[:, None] + torch.arange(breadth, device=device)) % 2 == 0


def filled_up(y: Tensor) -> Tensor:
    """Return codes with their last row and column repeated until whole hyper-latents cover them."""
    below, right = (-length % STRIDE for length in y.shape[2:])
    return F.pad(y, (0, right, 0, below), mode="replicate") if below or right else y


def scale_at(rung: Tensor) -> Tensor:
    """Return the scales of logistic distributions at places on the ladder, from 0, whole or not."""
    return SMALLEST * (SCALE_STEP * rung).exp()


def noisy(values: Tensor, training: bool) -> Tensor:
    """Return values with noise from −½ to ½, which stands for rounding in training, or rounded."""
    return values + torch.rand_like(values) - 0.5 if training else values.round()


def logistic_mass(distance: Tensor, scale: Tensor) -> Tensor:
    """Return what a logistic distribution gives to the interval of length 1 around a distance from its mean."""
    distance = distance.abs()  # both sigmoids are small then, and their difference keeps its digits
    mass = torch.sigmoid((0.5 - distance) / scale) - torch.sigmoid((-0.5 - distance) / scale)
    return (1 - TAIL) * mass + TAIL / (1 + distance.square())


def _weights(position: Tensor, levels: int) -> Tensor:
    """Return how much each quality counts at positions between them, shape (N, levels)."""
    return (1 - (position[:, None] - torch.arange(levels, device=position.device)).abs()).clamp(min=0)


def between(values: Tensor, position: Tensor) -> Tensor:
    """Return values (levels, …) of the qualities, interpolated at positions (N,)."""
    return _weights(position, len(values)) @ values


def mixture_mass(values: Tensor, share: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return what mixtures of logistic distributions, along the last axis, give to intervals of length 1."""
    return (share * logistic_mass(values.unsqueeze(-1) - mean, scale)).sum(-1)
