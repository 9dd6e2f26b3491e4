"""Latents optimised for one picture: an encoder that takes its time, for a decoder that stays as it is.

The encoder of an autoencoder guesses in one pass what code suits a picture. Here the code and its hyper-latents are
moved by gradients instead, to make λ · 255² · MSE + bits per pixel of this one picture small. What stands in the way is
the rounding, which has no gradient: it is replaced by rounding up or down by chance, the more at random the higher a
temperature, which falls (stochastic Gumbel annealing, Yang et al. 2020, “Improving inference for neural image
compression”).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..codec import Table
from .hyperprior import HyperPrior, logistic_mass, scale_at
from .progress import Tell, silent
from .transform import MARGIN

RATE = 0.02  # of learning at the beginning, in steps of rounding
WARMEST, COLDEST = 0.5, 0.2  # temperatures
LOOKS = 5  # how often on the way the latents are looked at
BAND = 32  # rows of the code that are decoded at a time, so that a large picture takes no more memory


class Latents(NamedTuple):
    """What is rounded and coded of one picture.

    Args:
        y: the code, in steps of rounding, of shape (1, channels, h, w).
        z: hyper-latents (1, hyper-channels, …).
    """

    y: Tensor
    z: Tensor


@dataclass(frozen=True)
class Cost:
    """λ · 255² · MSE + bits per pixel of a picture, with gradients.

    Args:
        picture: what is to be coded, (1, C, H, W).
        lmbda: λ, the price of an error in bits.
        prior: gives means and scales, in floats.
        hyper_bits: what a whole number costs as a hyper-latent: (hyper-channels, values), symmetric around 0.
        position: quality − 1, of shape (1,).
        synthesis: the decoder's network.
        back: what the code is divided by before it, (1, channels, 1, 1).
    """

    picture: Tensor
    lmbda: float
    prior: HyperPrior
    hyper_bits: Tensor
    position: Tensor
    synthesis: nn.Module
    back: Tensor

    def of(self, file: bytes, x_hat: Tensor) -> float:
        """Return the cost of a file and of the picture that is decoded from it."""
        error = (x_hat - self.picture).square().mean().item()
        return self.lmbda * 255**2 * error + 8 * len(file) / self._pixels

    def backward(self, latents: Latents, temperature: float, generator: torch.Generator) -> None:
        """Add the gradients of the cost to those of the latents, which are rounded by chance."""
        y_chance, z_chance = (_logistic_like(values, generator) for values in latents)

        def rounding(values: Tensor) -> Tensor:
            return rounded_by_chance(values, y_chance, temperature)

        z_hat = rounded_by_chance(latents.z, z_chance, temperature)
        mean, rung = self.prior.means_and_rungs(z_hat, latents.y, self.position, rounding)
        coded = rung >= 0.5  # a value on the lowest rung is its mean
        difference = rounding(latents.y - mean) * coded
        bits = -(logistic_mass(difference, scale_at(rung)).log2() * coded).sum() + bits_of(z_hat, self.hyper_bits)
        y_hat = (difference + mean) / self.back
        error_gradient = self._gradient_of_error(y_hat.detach())
        torch.autograd.backward([bits / self._pixels, y_hat], [None, error_gradient])

    def _gradient_of_error(self, y_hat: Tensor) -> Tensor:
        """Return how λ · 255² · MSE changes with a code; some rows at a time, each with those it depends on."""
        y_hat.requires_grad_()
        rows, stride = y_hat.shape[2], -(-self.picture.shape[2] // y_hat.shape[2])
        for top in range(0, rows, BAND):
            low, high = max(top - MARGIN, 0), min(top + BAND + MARGIN, rows)
            wanted = self.picture[:, :, top * stride : (top + BAND) * stride]
            drawn = self.synthesis(y_hat[:, :, low:high])[:, :, (top - low) * stride :]
            x_hat = drawn[:, :, : wanted.shape[2], : wanted.shape[3]]
            if wanted.shape[1] < x_hat.shape[1]:
                x_hat = x_hat.mean(1, keepdim=True)
            error = (x_hat.clamp(0, 1) - wanted).square().sum()
            (self.lmbda * 255**2 / self.picture.numel() * error).backward()
        return y_hat.grad

    @property
    def _pixels(self) -> int:
        return self.picture.shape[2] * self.picture.shape[3]


def refined(latents: Latents, cost: Cost, steps: int, tell: Tell = silent) -> Iterator[Latents]:
    """Yield what the latents become, some times on the way and at the end.

    Args:
        latents: from the encoder.
        cost: to be made small.
        steps: how many there are.
        tell: is told the share of them that is done.
    """
    free = Latents(*(values.detach().clone().requires_grad_() for values in latents))
    optimizer = torch.optim.Adam(free, lr=RATE, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(0)  # the same picture always makes the same file
    looks = {-(-steps * number // LOOKS) for number in range(1, LOOKS + 1)}
    for step in range(1, steps + 1):
        share = (step - 1) / steps
        optimizer.param_groups[0]["lr"] = RATE * min(1, 2 * (1 - share))
        optimizer.zero_grad()
        with torch.enable_grad():
            cost.backward(free, WARMEST * (COLDEST / WARMEST) ** share, generator)
        optimizer.step()
        tell(step / steps)
        if step in looks:
            yield Latents(*(values.detach().clone() for values in free))


def rounded_by_chance(values: Tensor, chance: Tensor, temperature: float) -> Tensor:
    """Return values that lie near the whole number below or above, at a low temperature mostly near the closer one.

    Yang et al. 2020: of the two numbers each has the logit −artanh(distance) / temperature, and a sample of the two is
    relaxed to a number between 0 and 1 at the same temperature.

    Args:
        values: not rounded.
        chance: drawn from the standard logistic distribution, like `values`.
        temperature: positive.
    """
    below = values.detach().floor()
    above = (values - below).clamp(1e-4, 1 - 1e-4)  # artanh(1) is infinite
    logit = (torch.atanh(above) - torch.atanh(1 - above)) / temperature
    return below + torch.sigmoid((logit + chance) / temperature)


def bits_of(values: Tensor, table: Tensor) -> Tensor:
    """Return how many bits values (1, channels, h, w) cost; between two whole numbers on a line between their bits.

    Args:
        values: hyper-latents.
        table: bits of whole numbers, (channels, 2·reach + 1); beyond the reach values cost as much as there.
    """
    reach = table.shape[1] // 2
    values = values.flatten(2)[0].clamp(-reach, reach)
    below = values.detach().floor().clamp(max=reach - 1)
    place, share = (below + reach).long(), values - below
    return (table.gather(1, place) * (1 - share) + table.gather(1, place + 1) * share).sum()


def bits_in(tables: Sequence[Table], reach: int) -> Tensor:
    """Return what the whole numbers from −`reach` to `reach` cost in each of some tables: (tables, 2·reach + 1)."""
    return torch.tensor([[_bits(table, value) for value in range(-reach, reach + 1)] for table in tables])


def _bits(table: Table, value: int) -> float:
    beyond = max(value - table.last, table.first - value)
    # What follows an escape: four bits, a sign, and the distance without its first bit.
    return table.bits(value) + (5 + math.floor(math.log2(beyond)) if beyond > 0 else 0)


def _logistic_like(values: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(values.shape, generator=generator).clamp(1e-6, 1 - 1e-6).logit()
