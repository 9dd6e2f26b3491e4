"""An autoencoder that begins as PCA and learns only what PCA cannot do."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_sizes
from .dense import dense_layers


class PCAStartAutoencoder(Autoencoder):
    """A linear autoencoder that starts as PCA, with a dense network beside each half that starts as nothing.

    Encoder and decoder each add two branches: a linear one, which begins with the principal components of the
    images (so the code's values begin with mean 0 and variance 1), and a dense network with ReLU whose last layer
    begins with zeros. Before training the model therefore is PCA; training moves both branches.

    Args:
        image_shape: (C, H, W) of one image.
        code_size: number of values in the code, at most C * H * W.
        principal: the `principal_components` of the training images, as many as `code_size` or more.
        hidden: widths of the hidden layers of the encoder's dense branch, from the image to the code; the decoder
            has them in the opposite order.

    Raises:
        ValueError: components of images of another shape, or fewer of them than `code_size`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        principal: PrincipalComponents,
        hidden: tuple[int, ...] = (512, 256),
    ) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        if not isinstance(principal, PrincipalComponents):
            raise ValueError(
                "principal: wanted what principal_components(images, count) returns, got " + type(principal).__name__
            )
        found, values = principal.components.shape
        if values != math.prod(shape):
            raise ValueError(
                f"principal: wanted components of {math.prod(shape)} values, like image_shape, got {values}"
            )
        if found < code_size:
            raise ValueError(f"principal: wanted code_size = {code_size} components or more, got {found}")
        widths = (math.prod(shape), *check_sizes("hidden", hidden), code_size)
        encoder = nn.Sequential(nn.Flatten(), _Added(widths))
        decoder = nn.Sequential(_Added(widths[::-1]), nn.Unflatten(1, shape))
        super().__init__(shape, encoder, decoder)
        # A plain attribute: a buffer would be stored with the weights.
        self._principal = principal
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Say which components these are, which tells runs apart."""
        return f"starts as PCA, {self.from_data()}"

    def from_data(self) -> str:
        """Say what this model takes from its data: two standard deviations, rounded, since machines differ in the last
        digits."""
        first, last = self._principal.deviations[0], self._principal.deviations[self.code_size - 1]
        return f"standard deviations from {first:.3g} to {last:.3g}"

    def reset_parameters(self) -> None:
        """Draw the dense branches anew, except their last layers, which are zero, and begin the linear ones as PCA."""
        coder, drawer = self.encoder[1], self.decoder[0]
        mean, components, deviations = self._principal
        components, deviations = components[: self.code_size], deviations[: self.code_size]
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


class PrincipalComponents(NamedTuple):
    """The mean image (C·H·W values), components as rows (count, C·H·W), the standard deviation along each (count)."""

    mean: Tensor
    components: Tensor
    deviations: Tensor


def principal_components(images: Tensor, count: int) -> PrincipalComponents:
    """Return the mean image, the first principal components, and the standard deviation along each.

    Each component's sign is such that its largest value is positive, so that two machines agree.

    Args:
        images: floats of shape (N, C, H, W).
        count: how many components, from 1 to less than N and at most C * H * W.

    Raises:
        ValueError: so many components are not to be had from these images, or they are no floats (N, C, H, W).
    """
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4:
        tensor = isinstance(images, Tensor)
        found = f"{images.dtype} of shape {tuple(images.shape)}" if tensor else type(images).__name__
        raise ValueError(f"images: wanted floats of shape (N, C, H, W), as mnist.train.floats() gives, got {found}")
    flat = images.flatten(1).double()
    most = min(len(flat) - 1, flat.shape[1])
    if not isinstance(count, int) or not 1 <= count <= most:
        raise ValueError(f"count: {tuple(images.shape)} images have from 1 to {most} components, wanted {count!r}")
    mean = flat.mean(0)
    centred = flat - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(flat))
    components = axes[:, -count:].flip(1).T
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    deviations = variances[-count:].flip(0).clamp(min=1e-12).sqrt()
    return PrincipalComponents(mean.float(), (components * largest.sign()).float(), deviations.float())
