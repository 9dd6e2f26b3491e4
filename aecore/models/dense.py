"""The dense autoencoder: fully connected layers with ReLU between them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape


class DenseAutoencoder(Autoencoder):
    """Fully connected encoder and decoder, the decoder's layers in the opposite order.

    The code and the image come out of plain linear layers: a ReLU there would let values die for good.

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, at most C * H * W.
        hidden: widths of the encoder's hidden layers, from the image to the code.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], code_size: int, hidden: tuple[int, ...] = (512, 256)
    ) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        widths = (math.prod(shape), *hidden, code_size)
        encoder = nn.Sequential(nn.Flatten(), *_layers(widths))
        decoder = nn.Sequential(*_layers(widths[::-1]), nn.Unflatten(1, shape))
        super().__init__(shape, encoder, decoder)


def _layers(widths: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return layers[:-1]  # nothing after the last linear layer
