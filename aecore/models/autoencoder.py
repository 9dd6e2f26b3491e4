"""The one protocol that every model of the book keeps: `encode`, `decode`, `code_shape`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..inference import device_of, eval_mode, model_of
from .frozen import Frozen


class Autoencoder(nn.Module):
    """An encoder and a decoder that fit each other.

    `encode(x)` gives the code `z`, `decode(z)` the reconstruction `x_hat`, and `forward(x)` is
    `decode(encode(x))`. The constructor sends one blank image through both, so that shapes which do
    not fit are found before any training.

    Args:
        image_shape: (C, H, W) of one image.
        encoder: maps (N, C, H, W) to (N, *code_shape).
        decoder: maps (N, *code_shape) back to (N, C, H, W).

    Raises:
        ValueError: a blank image does not go through, the decoder's images have another shape than the encoder's, or
            the code holds more values than the image.

    Attributes:
        any_size: True for a model whose layers are all convolutions and that may get images of any height and
            width that its strides divide: `image_shape` is then one of many, and the code grows with the image.
    """

    any_size = False

    def __init__(self, image_shape: tuple[int, int, int], encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        self.encoder = encoder
        self.decoder = decoder
        # Batch normalisation cannot train on one image, and must not learn from a blank one.
        with torch.no_grad(), eval_mode(self):
            z = _through("encoder", encoder, torch.zeros(1, *self.image_shape))
            x_hat = _through("decoder", decoder, z)
        self.code_shape = tuple(z.shape[1:])
        if tuple(x_hat.shape[1:]) != self.image_shape:
            raise ValueError(
                f"decoder: gives images of shape {tuple(x_hat.shape[1:])}, wanted {self.image_shape} like image_shape. "
                f"The code has shape {self.code_shape}; ae.summary shows the shape after each layer."
            )
        check_code_size(self.code_size, self.image_shape)

    @property
    def code_size(self) -> int:
        """How many values one code holds."""
        return math.prod(self.code_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images.

        Args:
            x: float images of shape (N, C, H, W), values in [0, 1].

        Returns:
            Codes of shape (N, *code_shape).

        Raises:
            TypeError: they are no floats in a tensor.
            ValueError: the images have another shape than the model was made for.
        """
        self._check_images(x)
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images that belong to codes.

        Args:
            z: codes of shape (N, *code_shape).

        Returns:
            Images of shape (N, C, H, W); nothing forces the values into [0, 1] unless the decoder does.

        Raises:
            TypeError: they are no floats in a tensor.
            ValueError: the codes have another shape than this model's.
        """
        self._check_codes(z)
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))`, the reconstructions of `x`."""
        return self.decode(self.encode(x))

    def _check_images(self, x: Tensor) -> None:
        self._check_floats("x", x)
        if x.shape[1:] != self.image_shape and not (self.any_size and self._divides(x)):
            raise ValueError(f"x: wanted images of shape {self._wanted(self.image_shape)}, got {tuple(x.shape)}")

    def _check_codes(self, z: Tensor) -> None:
        self._check_floats("z", z)
        if z.shape[1:] != self.code_shape and not (self.any_size and z.ndim == 4 and z.shape[1] == self.code_shape[0]):
            raise ValueError(f"z: wanted codes of shape {self._wanted(self.code_shape, 1)}, got {tuple(z.shape)}")

    def _check_floats(self, argument: str, batch: Tensor) -> None:
        hint = "; the .floats() of images are" if argument == "x" else ""
        if not isinstance(batch, Tensor) or not batch.is_floating_point():
            found = f"a tensor of {batch.dtype}" if isinstance(batch, Tensor) else type(batch).__name__
            raise TypeError(f"{argument}: wanted floats in a tensor, got {found}{hint}")
        if batch.dtype == torch.float64 and not any(weight.dtype == torch.float64 for weight in self.parameters()):
            raise TypeError(f"{argument}: wanted float32, got float64; {argument}.float() makes it")

    def _stride(self) -> int:
        """How many pixels of an edge come to one place of a convolutional code."""
        return self.image_shape[1] // self.code_shape[1]

    def _divides(self, x: Tensor) -> bool:
        return x.ndim == 4 and x.shape[1] == self.image_shape[0] and not any(n % self._stride() for n in x.shape[2:])

    def _wanted(self, shape: tuple[int, ...], stride: int | None = None) -> str:
        if not self.any_size:
            return f"(N, {_inner(shape)})"
        stride = stride or self._stride()
        return f"(N, {shape[0]}, H, W)" + (f" with H and W divisible by {stride}" if stride > 1 else "")


def _through(half: str, layers: nn.Module, batch: Tensor) -> Tensor:
    """Return what one half of a model makes of a batch of one.

    Raises:
        ValueError: it does not go through, or comes out as something else than a tensor.
    """
    if not callable(layers):
        raise ValueError(f"{half}: wanted a torch.nn.Module, got {type(layers).__name__}")
    try:
        out = layers(batch)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{half}: a batch of shape {tuple(batch.shape)} does not go through: {error}") from error
    if not isinstance(out, Tensor):
        raise ValueError(f"{half}: wanted it to give a tensor, got {type(out).__name__}")
    return out


def check_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return `image_shape` as a tuple (C, H, W), or raise a ValueError that says what is wrong with it."""
    shape = tuple(image_shape) if isinstance(image_shape, tuple | list) else ()
    if len(shape) != 3 or not all(map(_is_size, shape)):
        hint = ", as data.shape gives them" if not isinstance(image_shape, tuple | list) else ""
        raise ValueError(f"image_shape: wanted three positive whole numbers (C, H, W){hint}, got {image_shape!r}")
    if shape[0] not in (1, 3):
        hint = f"; with the channels first that would be {(shape[2], shape[0], shape[1])}" if shape[2] in (1, 3) else ""
        raise ValueError(f"image_shape: wanted 1 or 3 channels first, got {shape}{hint}")
    return shape


def check_code_size(code_size: int, image_shape: tuple[int, int, int]) -> int:
    """Return `code_size`, or raise a ValueError where it is not from 1 to the number of values of an image."""
    values = math.prod(image_shape)
    check_size("code_size", code_size)
    if code_size > values:
        raise ValueError(
            f"code_size: {code_size} values are more than the image's {values} ({_inner(image_shape)}); such a code "
            f"compresses nothing. Choose at most {values}."
        )
    return code_size


def check_size(argument: str, size: int, least: int = 1) -> int:
    """Return a width or a number of layers, or raise a ValueError where it is no whole number of at least `least`."""
    if not _is_size(size, least):
        raise ValueError(f"{argument}: wanted a whole number of at least {least}, got {size!r}")
    return size


def check_sizes(argument: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths of several layers as a tuple, or raise a ValueError where one is no whole number from 1."""
    if not isinstance(sizes, tuple | list) or not all(map(_is_size, sizes)):
        raise ValueError(f"{argument}: wanted whole numbers of at least 1, such as (512, 256), got {sizes!r}")
    return tuple(sizes)


def init_weights(model: nn.Module, seed: int) -> None:
    """Give every layer new random weights that depend on `seed` alone.

    The same seed gives the same start, whatever was computed before. A model that has a start of its
    own (`LinearAutoencoder` has) says so in its `reset_parameters`; otherwise each layer's is called. Parts that are
    `Frozen` keep theirs.

    Raises:
        ValueError: a weight belongs to no layer with a `reset_parameters`, so it would keep its old value; or the seed
            is no whole number of 64 bits.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed: wanted a whole number of 64 bits, got {seed!r}")
    model = model_of(model)
    layers = [model] if hasattr(model, "reset_parameters") else list(model.modules())
    frozen = [part for part in model.modules() if isinstance(part, Frozen)]
    kept = {id(part) for network in frozen for part in (*network.modules(), *network.parameters())}
    layers = [layer for layer in layers if id(layer) not in kept and hasattr(layer, "reset_parameters")]
    drawn = {id(weight) for layer in layers for weight in layer.parameters()}
    for name, weight in model.named_parameters():
        if id(weight) not in drawn | kept:
            raise ValueError(
                f"model: no layer draws the weight {name!r} anew, so it would keep what an earlier training left. Give "
                f"its class a method reset_parameters, or train with fit(…, init_from='model')."
            )
    place = device_of(model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # A GPU's generator gives other numbers, and weights that a training left channels-last would be filled in
        # another order.
        model.to("cpu", memory_format=torch.contiguous_format)
        for layer in layers:
            layer.reset_parameters()
        model.to(place)


def _is_size(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _inner(shape: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in shape)
