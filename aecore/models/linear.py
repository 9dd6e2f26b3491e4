"""The linear autoencoder: one matrix in, one matrix out."""

from __future__ import annotations

import math

import torch
from torch import nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape


class LinearAutoencoder(Autoencoder):
    """Encode with `z = W x + b`, decode with `x_hat = V z + c`, and nothing else.

    No such model has a smaller mean squared error than PCA with as many components (Baldi and Hornik,
    1989). Training starts where the decoder is the encoder's transpose and both have orthonormal rows
    and columns: the model is then a projection from its first step, and no direction starts out so weak
    that a small code gets stuck without it.

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values k in the code, at most C * H * W.
    """

    def __init__(self, image_shape: tuple[int, int, int], code_size: int) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        values = math.prod(shape)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(values, code_size))
        decoder = nn.Sequential(nn.Linear(code_size, values), nn.Unflatten(1, shape))
        super().__init__(shape, encoder, decoder)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw a random projection: orthonormal encoder rows, the transpose as decoder, no offsets."""
        into, out = self.encoder[1], self.decoder[0]
        nn.init.orthogonal_(into.weight)
        out.weight.copy_(into.weight.T)
        nn.init.zeros_(into.bias)
        nn.init.zeros_(out.bias)
