"""What a model is made of, layer by layer: shapes, weights, multiply–adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..inference import device_of, eval_mode, model_of


@dataclass(frozen=True)
class Layer:
    """One line of a summary: `part` is "encoder", "decoder", "head" …, or "", `shape` is that of one output."""

    part: str
    text: str
    shape: tuple[int, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The layers of a model in the order in which an image meets them; prints as a table."""

    title: str
    layers: tuple[Layer, ...]
    image_shape: tuple[int, ...]
    code_shape: tuple[int, ...] | None  # None: the model has no code, as a classifier

    @property
    def params(self) -> int:
        """Number of trained values, biases included."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply–adds for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def ratio(self) -> float | None:
        """Values of the code over values of the image. Values, not bytes. None where there is no code."""
        if self.code_shape is None:
            return None
        return math.prod(self.code_shape) / math.prod(self.image_shape)

    def __repr__(self) -> str:
        rows = [("", "image", _by(self.image_shape), "", "")]
        for part in dict.fromkeys(layer.part for layer in self.layers if layer.part):
            rows += [
                (part, layer.text, _by(layer.shape), _count(layer.params), _count(layer.macs))
                for layer in self.layers
                if layer.part == part
            ]
            if part == "encoder" and self.code_shape is not None:
                rows.append(("", "code", _by(self.code_shape), "", ""))
        rows += [("", layer.text, "", _count(layer.params), "") for layer in self.layers if not layer.part]
        rows.append(("", "all", "", _count(self.params), _count(self.macs)))
        head = ("part", "layer", "shape after it", "weights", "multiply–adds")
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(5)]
        lines = [_line(row, widths) for row in [head, *rows]]
        if self.code_shape is not None:
            values = f"{math.prod(self.code_shape)} / {math.prod(self.image_shape)} = {self.ratio:.4f}"
            lines.append(f"code values / image values = {values}")
        return "\n".join([self.title, *lines])


@torch.no_grad()
def summary(model: nn.Module) -> Summary:
    """Return the layers of `model` with the shape after each, its weights and its multiply–adds.

    The shapes are not computed from formulas: a blank image goes through the model and each layer
    reports what came out of it. A layer that is made of others has a line where it has weights of its own; weights
    that no layer reports have a line at the end.

    Args:
        model: an autoencoder, a classifier, or another network that has an `image_shape`; or a run of one.

    Raises:
        TypeError: it is something else.
    """
    model = model_of(model)
    if not isinstance(model, nn.Module) or not hasattr(model, "image_shape"):
        raise TypeError(
            f"model: wanted a network with an image_shape, got {type(model).__name__}; wrap your layers: "
            "Autoencoder(image_shape, encoder, decoder)"
        )
    layers: list[Layer] = []
    hooks = []
    counted: set[int] = set()
    for part, layers_of_part in model.named_children():
        for layer in layers_of_part.modules():
            if not list(layer.children()) or list(layer.parameters(recurse=False)):
                hooks.append(layer.register_forward_hook(_recorder(part, layers, counted)))
    try:
        with eval_mode(model):
            model(torch.zeros(1, *model.image_shape, device=device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    if elsewhere := count_parameters(model) - sum(layer.params for layer in layers):
        layers.append(Layer("", "outside these layers", (), elsewhere, 0))
    return Summary(type(model).__name__, tuple(layers), model.image_shape, getattr(model, "code_shape", None))


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained values of a model, or of that of a run, biases included."""
    return sum(p.numel() for p in model_of(model).parameters() if p.requires_grad)


def _recorder(part: str, layers: list[Layer], counted: set[int]):
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shape, macs = tuple(output.shape[1:]), _macs(module, inputs[0], output)
        # A layer that is used twice works twice, but its weights are there once.
        fresh = [p for p in module.parameters() if p.requires_grad and id(p) not in counted]
        counted.update(id(p) for p in fresh)
        layers.append(Layer(part, _describe(module), shape, sum(p.numel() for p in fresh), macs))

    return record


def _macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return module.in_features * module.out_features
    if isinstance(module, nn.Conv2d):  # every output value reads a window in each input channel of its group
        return y[0].numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, nn.ConvTranspose2d):  # every input value is spread over a window in each output channel
        return x[0].numel() * module.out_channels // module.groups * math.prod(module.kernel_size)
    return 0


def _describe(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.Linear):
        return f"{name} {module.in_features}→{module.out_features}"
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        kernel, stride, padding = module.kernel_size, module.stride[0], module.padding[0]
        details = f"{kernel[0]}×{kernel[1]}"
        details += f", stride {stride}" if stride > 1 else ""
        details += f", padding {padding}" if padding else ""
        return f"{name} {module.in_channels}→{module.out_channels}, {details}"
    return name


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    # Text stands left, numbers right.
    cells = [c.rjust(w) if i >= 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
    return "  ".join(cells).rstrip()
