"""The one protocol that every model of the book keeps: `encode`, `decode`, `code_shape`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
        ValueError: the decoder's images have another shape than the encoder's, or the code holds more
            values than the image.
    """

    def __init__(self, image_shape: tuple[int, int, int], encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        self.encoder = encoder
        self.decoder = decoder
        with torch.no_grad():
            z = encoder(torch.zeros(1, *self.image_shape))
            x_hat = decoder(z)
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
            ValueError: the images have another shape than the model was made for.
        """
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(f"x: wanted images of shape (N, {_inner(self.image_shape)}), got {tuple(x.shape)}")
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images that belong to codes.

        Args:
            z: codes of shape (N, *code_shape).

        Returns:
            Images of shape (N, C, H, W); nothing forces the values into [0, 1] unless the decoder does.

        Raises:
            ValueError: the codes have another shape than this model's.
        """
        if tuple(z.shape[1:]) != self.code_shape:
            raise ValueError(f"z: wanted codes of shape (N, {_inner(self.code_shape)}), got {tuple(z.shape)}")
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))`, the reconstructions of `x`."""
        return self.decode(self.encode(x))


def check_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return `image_shape` as a tuple (C, H, W), or raise a ValueError that says what is wrong with it."""
    shape = tuple(image_shape)
    if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(f"image_shape: wanted three positive whole numbers (C, H, W), got {image_shape!r}")
    if shape[0] not in (1, 3):
        hint = f"; with the channels first that would be {(shape[2], shape[0], shape[1])}" if shape[2] in (1, 3) else ""
        raise ValueError(f"image_shape: wanted 1 or 3 channels first, got {shape}{hint}")
    return shape


def check_code_size(code_size: int, image_shape: tuple[int, int, int]) -> int:
    """Return `code_size`, or raise a ValueError where it is not from 1 to the number of values of an image."""
    values = math.prod(image_shape)
    if not isinstance(code_size, int) or code_size < 1:
        raise ValueError(f"code_size: wanted a whole number of at least 1, got {code_size!r}")
    if code_size > values:
        raise ValueError(
            f"code_size: {code_size} values are more than the image's {values} ({_inner(image_shape)}); such a code "
            f"compresses nothing. Choose at most {values}."
        )
    return code_size


def draw_weights(model: nn.Module, seed: int) -> None:
    """Give every layer new random weights that depend on `seed` alone.

    The same seed gives the same start, whatever was computed before. A model that has a start of its
    own (`LinearAutoencoder` has) says so in its `reset_parameters`; otherwise each layer's is called.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(model, "reset_parameters"):
            model.reset_parameters()
            return
        for layer in model.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


def _inner(shape: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in shape)
