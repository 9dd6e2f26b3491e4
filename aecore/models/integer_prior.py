"""The part of a hyperprior that a decoder must compute exactly as the encoder did, in whole numbers.

Which table a value of the code has depends on the hyper-latents and on neighbours that are decoded already. Computed in
floating point, two machines (or two versions of a library, or one thread and two) differ in the last digits, now and
then one value gets another table, and all that follows in the file is lost. Whole numbers do not differ: the weights
here are integers of 8 bits, values are integers in units of 1/64, and all sums stay far below 2⁵³, up to which float64
holds every integer. So the matrix products are exact, in whatever order they are added.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from .hyperprior import PER_OUTPUT, SCALES, HyperPrior

UNIT = 64  # values are whole numbers of 1/64
LIMIT = 1 << 17  # what a value between layers is at most: 2048
WEIGHT_BITS = 8
LAYERS = ("spread", "mix", "spread_again", "gather", "context", "head")
LEVEL_STEPS = 64  # between two qualities
# Rows and columns of a kernel that are computed, by their number. The context needs four of nine: the other places of
# its kernel belong to the half of the checkerboard that is not known yet.
CROSS = ((0, 1), (1, 0), (1, 2), (2, 1))
PLACES = {1: ((0, 0),), 4: CROSS, 9: tuple((row, column) for row in range(3) for column in range(3))}


class IntegerPrior:
    """Means and scales of a code in whole numbers, from the hyper-latents and the half of the code that is known.

    Args:
        arrays: what `integers_of` gives, or what was stored of it.
    """

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        self.layers = {name: IntegerConv(arrays, name) for name in LAYERS}
        self.level_hidden, self.level_scale, self.second_hidden = (
            arrays[name].double() for name in ("level_hidden", "level_scale", "second_hidden")
        )

    def features(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """Return what the hyper-latents, whole numbers (channels, h, w), tell of a code of height and width `size`."""
        values = z.double() * UNIT
        for name in ("spread", "mix", "spread_again"):
            values = self.layers[name](values).clamp(0, LIMIT)
            if name != "mix":
                values = F.pixel_shuffle(values[None], 2)[0]
        return self.layers["gather"](values)[:, : size[0], : size[1]]

    def distributions(self, features: Tensor, steps: int, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return means, in units of 1/64, and places on the ladder of scales, from 0.

        Args:
            features: of the hyper-latents.
            steps: the quality, from 0 for the lowest, in steps of 1/64.
            seen: the first half of the code in units of 1/64, zero elsewhere; None where it is not known yet.
        """
        hidden = features + _at(self.level_hidden, steps)[:, None, None]
        if seen is not None:
            hidden.add_(self.layers["context"](seen)).add_(self.second_hidden[:, None, None])
        mean, index = self.layers["head"](hidden.clamp_(0, LIMIT)).chunk(2)
        # In place: of a large picture each of these has a hundred megabytes.
        index.add_(_at(self.level_scale, steps)[:, None, None]).mul_(PER_OUTPUT).add_(UNIT // 2)
        return mean, index.div_(UNIT).floor_().clamp_(0, SCALES - 1).to(torch.uint8)


class IntegerConv:
    """A convolution of whole numbers: the sums are divided by a power of two, one for each output, and rounded.

    Args:
        arrays: hold weights (places, out, in), shifts (out) and biases (out), under `name`.weight and so on.
        name: of the layer.
    """

    def __init__(self, arrays: dict[str, Tensor], name: str) -> None:
        self.weight = arrays[f"{name}.weight"].double()
        self.divisor = torch.pow(2.0, arrays[f"{name}.shift"].double())[:, None]
        self.bias = arrays[f"{name}.bias"].double()[:, None]
        self.places = PLACES[len(self.weight)]

    def __call__(self, values: Tensor) -> Tensor:
        """Return (out, h, w) for values (in, h, w), whole numbers in float64; beyond the edges there are zeros."""
        height, breadth = values.shape[1:]
        padded = F.pad(values, (1, 1, 1, 1)) if len(self.places) > 1 else values
        # Matrix products, one for each place of the kernel: a library's convolution may take another way, through
        # Fourier transforms or otherwise, on which whole numbers do not stay whole.
        total = self.bias.expand(-1, height * breadth).clone()
        for (row, column), weight in zip(self.places, self.weight, strict=True):
            total.addmm_(weight, padded[:, row : row + height, column : column + breadth].reshape(len(values), -1))
        return total.div_(self.divisor).add_(0.5).floor_().reshape(-1, height, breadth)


@torch.no_grad()
def integers_of(prior: HyperPrior) -> dict[str, Tensor]:
    """Return the weights of a hyperprior as whole numbers: int8 weights, int32 biases, and shifts.

    One without context is one whose context weighs nothing.
    """
    found = {}
    for name, layer in _layers(prior).items():
        places = CROSS if name == "context" else PLACES[math.prod(layer.kernel_size)]
        weight = torch.stack([layer.weight[:, :, row, column] for row, column in places]).double().cpu()
        # The largest power of two with which all weights of an output still fit.
        shift = torch.tensor([_shift(largest) for largest in weight.abs().amax((0, 2)).tolist()])
        factor = torch.pow(2.0, shift.double())
        found[f"{name}.weight"] = (weight * factor[:, None]).round().to(torch.int8)
        found[f"{name}.shift"] = shift.to(torch.int8)
        bias = torch.zeros(len(factor)) if layer.bias is None else layer.bias
        found[f"{name}.bias"] = _whole(bias.double().cpu() * UNIT * factor)
    second = torch.zeros(prior.level_hidden.shape[1]) if prior.second_hidden is None else prior.second_hidden
    values = {"level_hidden": prior.level_hidden, "level_scale": prior.level_scale, "second_hidden": second}
    return found | {name: _whole(value.double().cpu() * UNIT) for name, value in values.items()}


@torch.no_grad()
def floats_of(whole: IntegerPrior) -> HyperPrior:
    """Return a hyperprior that gives the means and rungs of a whole one but for their rounding, with gradients.

    Its mixtures and what comes before the hyper-latents have no values.
    """
    channels, width = whole.level_scale.shape[1], len(whole.layers["mix"].bias)
    with torch.device("meta"):  # where no weights are drawn
        found = HyperPrior(channels, width, len(whole.level_scale))
    found = found.to_empty(device="cpu")
    for name, layer in whole.layers.items():
        target = getattr(found, name)
        target.weight.zero_()
        for (row, column), weight in zip(layer.places, layer.weight, strict=True):
            target.weight[:, :, row, column] = (weight / layer.divisor).float()
        if target.bias is not None:
            target.bias.copy_((layer.bias / layer.divisor / UNIT).flatten())
    for name in ("level_hidden", "level_scale", "second_hidden"):
        getattr(found, name).copy_(getattr(whole, name) / UNIT)
    return found.eval().requires_grad_(False)


def _layers(prior: HyperPrior) -> dict[str, nn.Conv2d]:
    found = {name: getattr(prior, name) for name in LAYERS}
    if found["context"] is None:
        channels, hidden = prior.level_scale.shape[1], prior.level_hidden.shape[1]
        found["context"] = skip_init(nn.Conv2d, channels, hidden, 3, padding=1, bias=False)  # draws nothing
        nn.init.zeros_(found["context"].weight)
    return found


def _shift(largest: float) -> int:
    if not largest:
        return 0
    most = (1 << (WEIGHT_BITS - 1)) - 1
    shift = math.frexp(most / largest)[1] - 1  # the floor of the logarithm to base 2, exactly
    return min(max(shift, 0), 20)


def _whole(values: Tensor) -> Tensor:
    return values.round().clamp(-(1 << 31), (1 << 31) - 1).to(torch.int32)


def _at(levels: Tensor, steps: int) -> Tensor:
    """Return values (levels, …) at a quality between two, in whole numbers."""
    low, rest = divmod(steps, LEVEL_STEPS)
    if not rest:
        return levels[low]
    return torch.floor((levels[low] * (LEVEL_STEPS - rest) + levels[low + 1] * rest) / LEVEL_STEPS + 0.5)
