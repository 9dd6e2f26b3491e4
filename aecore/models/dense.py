"""The dense autoencoder: fully connected layers with ReLU between them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_sizes


class DenseAutoencoder(Autoencoder):
    """Fully connected encoder and decoder, the decoder's layers in the opposite order.

    The code and, unless `sigmoid` is set, the image come out of plain linear layers: a ReLU there would let
    values die for good.

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, at most C * H * W.
        hidden: widths of the encoder's hidden layers, from the image to the code.
        batch_norm: normalise every hidden layer over the batch (Ioffe and Szegedy 2015).
        sigmoid: let the image come out of a sigmoid, so that its values lie between 0 and 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        hidden: tuple[int, ...] = (512, 256),
        batch_norm: bool = False,
        sigmoid: bool = False,
    ) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        widths = (math.prod(shape), *check_sizes("hidden", hidden), code_size)
        encoder = nn.Sequential(nn.Flatten(), *dense_layers(widths, batch_norm))
        image = [nn.Sigmoid()] if sigmoid else []
        decoder = nn.Sequential(*dense_layers(widths[::-1], batch_norm), *image, nn.Unflatten(1, shape))
        super().__init__(shape, encoder, decoder)


def dense_layers(widths: tuple[int, ...], batch_norm: bool = False) -> list[nn.Module]:
    """Return linear layers from each width to the next, with ReLU between them and nothing after the last."""
    layers: list[nn.Module] = []
    for into, out in pairwise(widths[:-1]):
        norm = [nn.BatchNorm1d(out)] if batch_norm else []
        layers += [nn.Linear(into, out), *norm, nn.ReLU()]
    return [*layers, nn.Linear(widths[-2], widths[-1])]
