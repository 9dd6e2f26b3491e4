"""A masked network, the entropy model of a flat code: each value's distribution depends on the values before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from .autoencoder import check_size
from .hyperprior import SCALE_STEP, SCALES, SMALLEST

PER_OUTPUT = 8  # rungs of the ladder of scales for 1 at an output: weights of usual size then reach all of them
FLOOR = 2.0**-16  # the least probability that a table of frequencies gives to a value
MIXTURE = 3  # logistic distributions for each value, where nothing else is asked for
KINDS = 3  # of outputs for each distribution of a mixture: share, mean, scale


class MaskedPrior(nn.Module):
    """The probability of each value of a flat code, given those before it (Germain et al. 2015, “MADE”).

    Values are read in groups. Each group has units of its own in two hidden layers. Those of the first layer see the
    values of all groups before theirs, those of the second the first layer of their own group and of those before. Each
    value is distributed as a mixture of logistics (Salimans et al. 2017, “PixelCNN++”). So a decoder computes one group
    after the other, of all pictures at once.

    Args:
        size: values of a code.
        group: values of a group; it divides `size`.
        hidden: units of each group in either hidden layer.
        mixture: logistic distributions for each value.

    Attributes:
        unit: what counts as a value of usual size, for each value in steps of rounding; set by `reset_parameters`.
        reduced: whether hidden layers may compute in bfloat16. What comes after them never does: in bfloat16 a
            probability of .999 would be 1.
    """

    reduced = False

    def __init__(self, size: int, group: int = 1, hidden: int = 16, mixture: int = MIXTURE) -> None:
        super().__init__()
        for name, value in {"group": group, "hidden": hidden, "mixture": mixture}.items():
            check_size(name, value)
        if size % group:
            raise ValueError(f"group: wanted a divisor of the code's {size} values, got {group}")
        self.size, self.group, self.mixture, self.groups = size, group, mixture, size // group
        units = self.groups * hidden
        # What a unit may not see has a weight too, which is multiplied by 0.
        self.first, self.second = nn.Linear(size, units), nn.Linear(units, units)
        self.head = nn.Parameter(torch.zeros(self.groups, hidden, group * KINDS * mixture))
        self.head_bias = nn.Parameter(torch.zeros(size, KINDS, mixture))
        of_value, of_unit = torch.arange(size) // group, torch.arange(self.groups).repeat_interleave(hidden)
        self.register_buffer("sees_value", (of_value < of_unit[:, None]).float(), persistent=False)
        self.register_buffer("sees_unit", (of_unit <= of_unit[:, None]).float(), persistent=False)
        self.register_buffer("unit", torch.ones(size))

    def extra_repr(self) -> str:
        """Say what the layers do not tell, where it is not as usual."""
        told = {"group": self.group} if self.group != 1 else {}
        told |= {"mixture": self.mixture} if self.mixture != MIXTURE else {}
        return ", ".join(f"{name}={value}" for name, value in told.items())

    @torch.no_grad()
    def reset_parameters(self, unit: Tensor) -> None:
        """Draw the network anew; `unit`: the deviation of each value, in steps of rounding, as far as it is known."""
        self.unit.copy_(unit)
        for layer, mask in ((self.first, self.sees_value), (self.second, self.sees_unit)):
            layer.weight.normal_().mul_(mask / mask.sum(1, keepdim=True).clamp(min=1).sqrt())
            layer.bias.uniform_(-0.3, 0.3)
        self.head.normal_(std=0.2 / math.sqrt(self.head.shape[1]))
        share, mean, scale = self.head_bias.unbind(1)
        share.zero_()
        mean.copy_(torch.linspace(-1, 1, self.mixture) if self.mixture > 1 else torch.zeros(1))
        # A logistic distribution of deviation 1 has the scale √3/π; those of a mixture begin narrower.
        narrower = 0.7 if self.mixture > 1 else 1.0
        index = (narrower * unit * math.sqrt(3) / math.pi / SMALLEST).log() / SCALE_STEP
        scale.copy_((index.clamp(0, SCALES - 1) / PER_OUTPUT)[:, None].expand_as(scale))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes (N, size) rounded, and the probability of each of their values.

        In training, values are rounded for the decoder and for the values after them, with a gradient of one
        (straight-through), and get noise from −½ to ½ for their probability; in evaluation all are rounded.

        Args:
            y: codes in steps of rounding.
        """
        y_hat = y + (y.round() - y).detach()
        return y_hat, self.likelihoods(y + torch.rand_like(y) - 0.5 if self.training else y_hat, y_hat)

    def likelihoods(self, values: Tensor, seen: Tensor) -> Tensor:
        """Return the probability of the interval of length 1 around each value; `seen`: the codes that are known."""
        share, mean, scale = self.distributions(seen)
        distance = (values[..., None] - mean).abs()  # both sigmoids are small then: their difference keeps its digits
        mass = torch.sigmoid((0.5 - distance) / scale) - torch.sigmoid((-0.5 - distance) / scale)
        return (1 - FLOOR) * (share * mass).sum(-1) + FLOOR

    def distributions(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return shares, means and scales of each value, in steps of rounding: each (N, size, mixture)."""
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.reduced):
            hidden = relu(linear(seen / self.unit, self.first.weight * self.sees_value, self.first.bias))
            hidden = relu(linear(hidden, self.second.weight * self.sees_unit, self.second.bias)).float()
        by_group = hidden.unflatten(1, (self.groups, -1)).transpose(0, 1)
        outputs = torch.bmm(by_group, self.head).transpose(0, 1)
        outputs = outputs.reshape(len(seen), self.size, KINDS, self.mixture) + self.head_bias
        share, mean, index = outputs.unbind(2)
        return share.softmax(-1), mean * self.unit[:, None], _scale(PER_OUTPUT * index)


def _scale(index: Tensor) -> Tensor:
    """Return scales by their place on the ladder; beyond its ends only a tenth counts, so that all can come back."""
    inside = index.clamp(0, SCALES - 1)
    return SMALLEST * (SCALE_STEP * (inside + 0.1 * (index - inside))).exp()
