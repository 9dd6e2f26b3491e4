"""An autoencoder that begins as PCA and learns only what PCA cannot do."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape
from .dense import dense_layers


class PCAStartAutoencoder(Autoencoder):
    """A linear autoencoder that starts as PCA, with a dense network beside each half that starts as nothing.

    Encoder and decoder each add two branches: a linear one, which begins with the principal components of the
    images (so the code's values begin with mean 0 and variance 1), and a dense network with ReLU whose last layer
    begins with zeros. Before training the model therefore is PCA; training moves both branches.

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, at most C * H * W and less than the number of images.
        images: floats of shape (N, C, H, W), those to find the components of: the training images.
        hidden: widths of the hidden layers of the encoder's dense branch, from the image to the code; the decoder
            has them in the opposite order.

    Raises:
        ValueError: images of another shape, or too few of them for so many components.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        images: Tensor,
        hidden: tuple[int, ...] = (512, 256),
    ) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        if images.shape[1:] != shape:
            raise ValueError(f"images: wanted shape (N, {', '.join(map(str, shape))}), got {tuple(images.shape)}")
        if len(images) <= code_size:
            raise ValueError(f"images: wanted more than code_size = {code_size} of them, got {len(images)}")
        widths = (math.prod(shape), *hidden, code_size)
        encoder = nn.Sequential(nn.Flatten(), _Added(widths))
        decoder = nn.Sequential(_Added(widths[::-1]), nn.Unflatten(1, shape))
        super().__init__(shape, encoder, decoder)
        # A plain attribute: a buffer would be stored with the weights.
        self._principal = principal_components(images, code_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the dense branches anew, except their last layers, which are zero, and begin the linear ones as PCA."""
        coder, drawer = self.encoder[1], self.decoder[0]
        mean, components, deviations = self._principal
        for layer in (*coder.network, *drawer.network):
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        with torch.no_grad():
            for branch in (coder.network, drawer.network):
                branch[-1].weight.zero_()
                branch[-1].bias.zero_()
            coder.linear.weight.copy_(components / deviations[:, None])
            coder.linear.bias.copy_(-(components @ mean) / deviations)
            drawer.linear.weight.copy_(components.T * deviations)
            drawer.linear.bias.copy_(mean)


class _Added(nn.Module):
    """Two branches with the same input, whose outputs are added."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Linear(widths[0], widths[-1])
        self.network = nn.Sequential(*dense_layers(widths))

    def forward(self, values: Tensor) -> Tensor:
        return self.linear(values) + self.network(values)


def principal_components(images: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean image, the first principal components as rows, and the standard deviation along each.

    Each component's sign is such that its largest value is positive, so that two machines agree.

    Args:
        images: floats of shape (N, C, H, W).
        count: how many components.
    """
    flat = images.flatten(1).double()
    mean = flat.mean(0)
    centred = flat - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(flat))
    components = axes[:, -count:].flip(1).T
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    deviations = variances[-count:].flip(0).clamp(min=1e-12).sqrt()
    return mean.float(), (components * largest.sign()).float(), deviations.float()
