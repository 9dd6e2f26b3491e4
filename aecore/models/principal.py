"""An autoencoder that begins as PCA and learns only what PCA cannot do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_size, check_sizes
from .dense import dense_layers

BLOCK = 4  # height and width, in pixels, of what the convolutional networks see as one place


class PCAStart(Autoencoder):
    """What autoencoders have in common whose encoder and decoder hold a linear layer that starts as PCA.

    A class derived from it makes its layers, checks its arguments with `_checked`, and has a `reset_parameters`, which
    calls `_start_as_pca`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        principal: PrincipalComponents,
        encoder: nn.Module,
        decoder: nn.Module,
    ) -> None:
        super().__init__(image_shape, encoder, decoder)
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

    @torch.no_grad()
    def _start_as_pca(self, inside: nn.Linear, outside: nn.Linear) -> None:
        """Let the first layer give the principal components, with variance 1, and the second draw them."""
        mean, components, deviations = self._principal
        components, deviations = components[: self.code_size], deviations[: self.code_size]
        inside.weight.copy_(components / deviations[:, None])
        inside.bias.copy_(-(components @ mean) / deviations)
        outside.weight.copy_(components.T * deviations)
        outside.bias.copy_(mean)


class PCAStartAutoencoder(PCAStart):
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
        shape = _checked(image_shape, code_size, principal)
        widths = (math.prod(shape), *check_sizes("hidden", hidden), code_size)
        encoder = nn.Sequential(nn.Flatten(), _dense_beside_linear(widths))
        decoder = nn.Sequential(_dense_beside_linear(widths[::-1]), nn.Unflatten(1, shape))
        super().__init__(shape, principal, encoder, decoder)

    def reset_parameters(self) -> None:
        """Draw the dense branches anew, except their last layers, which are zero, and begin the linear ones as PCA."""
        coder, drawer = self.encoder[1], self.decoder[0]
        for layer in (*coder.network, *drawer.network):
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        for branch in (coder.network, drawer.network):
            _zero(branch[-1])
        self._start_as_pca(coder.linear, drawer.linear)


class PCAStartConvAutoencoder(PCAStart):
    """A linear autoencoder that starts as PCA, with a convolutional network beside each half that starts as nothing.

    The networks work on the image cut into blocks of 4×4 pixels, each block a place with 16·C channels (pixel
    unshuffle). The encoder's is a second way to the code, z = W x + f(x). The decoder's improves what the linear
    layer has drawn, x_hat = y + g(y) with y = V z, and ends in a sub-pixel convolution. Both are a 3×3 convolution and
    residual blocks without normalisation; their last layers begin with zeros. Before training the model is PCA.

    Args:
        image_shape: (C, H, W) of one image; H and W divisible by 4.
        code_size: number of values in the code, at most C * H * W.
        principal: the `principal_components` of the training images, as many as `code_size` or more.
        width: channels of the networks.
        blocks: residual blocks in each.

    Raises:
        ValueError: components of images of another shape, fewer of them than `code_size`, or sizes that do not fit.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        principal: PrincipalComponents,
        width: int = 64,
        blocks: int = 1,
    ) -> None:
        channels, height, w = shape = _checked(image_shape, code_size, principal)
        if height % BLOCK or w % BLOCK:
            raise ValueError(f"image_shape: height and width must be divisible by {BLOCK} here, got {height}×{w}")
        check_size("width", width)
        check_size("blocks", blocks, least=0)

        def network() -> list[nn.Module]:
            first = nn.Conv2d(channels * BLOCK**2, width, 3, padding=1)
            return [nn.PixelUnshuffle(BLOCK), first, nn.ReLU(), *(_Residual(width) for _ in range(blocks))]

        places = (height // BLOCK) * (w // BLOCK)
        to_code = [*network(), nn.Flatten(), nn.Linear(width * places, code_size)]
        to_image = [*network(), nn.Conv2d(width, channels * BLOCK**2, 3, padding=1), nn.PixelShuffle(BLOCK)]
        linear = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), code_size))
        drawn = nn.Sequential(nn.Linear(code_size, math.prod(shape)), nn.Unflatten(1, shape))
        encoder = _Added(linear, nn.Sequential(*to_code))
        decoder = nn.Sequential(drawn, _Added(nn.Identity(), nn.Sequential(*to_image)))
        super().__init__(shape, principal, encoder, decoder)

    def reset_parameters(self) -> None:
        """Draw the networks anew, except their last layers, which are zero, and begin the linear layers as PCA."""
        to_code, to_image = self.encoder.network, self.decoder[1].network
        for layer in (*to_code.modules(), *to_image.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
        _zero(to_code[-1])
        _zero(to_image[-2])
        self._start_as_pca(self.encoder.linear[1], self.decoder[0][0])


def _checked(image_shape: object, code_size: int, principal: object) -> tuple[int, int, int]:
    """Return the image shape, or raise a ValueError where the components are none, or not for it."""
    shape = check_image_shape(image_shape)
    check_code_size(code_size, shape)
    if not isinstance(principal, PrincipalComponents):
        raise ValueError(
            "principal: wanted what principal_components(images, count) returns, got " + type(principal).__name__
        )
    found, values = principal.components.shape
    if values != math.prod(shape):
        raise ValueError(f"principal: wanted components of {math.prod(shape)} values, like image_shape, got {values}")
    if found < code_size:
        raise ValueError(f"principal: wanted code_size = {code_size} components or more, got {found}")
    return shape


@torch.no_grad()
def _zero(layer: nn.Linear | nn.Conv2d) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


class _Residual(nn.Module):
    """x plus two 3×3 convolutions of it, with a ReLU before each (He et al. 2016b) and no normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(relu(self.first(relu(x))))


class _Added(nn.Module):
    """Two branches with the same input, whose outputs are added."""

    def __init__(self, linear: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.linear, self.network = linear, network

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.network(x)


def _dense_beside_linear(widths: tuple[int, ...]) -> _Added:
    return _Added(nn.Linear(widths[0], widths[-1]), nn.Sequential(*dense_layers(widths)))


class PrincipalComponents(NamedTuple):
    """The mean image (C·H·W values), components as rows (count, C·H·W), the standard deviation along each (count)."""

    mean: Tensor
    components: Tensor
    deviations: Tensor


BATCH = 2000  # images at a time: 49 MB of float64 for 32×32 in colour


def principal_components(images: Tensor, count: int) -> PrincipalComponents:
    """Return the mean image, the first principal components, and the standard deviation along each.

    Each component's sign is such that its largest value is positive, so that two machines agree.

    Args:
        images: floats of shape (N, C, H, W), or bytes of that shape, which are divided by 255.
        count: how many components, from 1 to less than N and at most C * H * W.

    Raises:
        ValueError: so many components are not to be had from these images, or they are no images (N, C, H, W).
    """
    usual = isinstance(images, Tensor) and images.ndim == 4
    if not usual or not (images.is_floating_point() or images.dtype == torch.uint8):
        tensor = isinstance(images, Tensor)
        found = f"{images.dtype} of shape {tuple(images.shape)}" if tensor else type(images).__name__
        raise ValueError(f"images: wanted floats or bytes of shape (N, C, H, W), as mnist.train.pixels, got {found}")
    number, values = len(images), math.prod(images.shape[1:])
    most = min(number - 1, values)
    if not isinstance(count, int) or not 1 <= count <= most:
        raise ValueError(f"count: {tuple(images.shape)} images have from 1 to {most} components, wanted {count!r}")
    mean = sum(part.sum(0) for part in _flat(images)) / number
    if number < values:  # fewer images than values: the same axes from a smaller matrix
        centred = torch.cat(list(_flat(images))) - mean
        variances, axes = torch.linalg.eigh(centred @ centred.T / number)
        axes = torch.nn.functional.normalize(centred.T @ axes, dim=0)
    else:
        covariance = torch.zeros(values, values, dtype=torch.float64)
        for part in _flat(images):
            part -= mean
            covariance += part.T @ part
        variances, axes = torch.linalg.eigh(covariance / number)
    components = axes[:, -count:].flip(1).T
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    deviations = variances[-count:].flip(0).clamp(min=1e-12).sqrt()
    return PrincipalComponents(mean.float(), (components * largest.sign()).float(), deviations.float())


def _flat(images: Tensor) -> Iterator[Tensor]:
    """Yield the images in batches as rows of float64 that may be written into."""
    for part in images.split(BATCH):
        rows = part.flatten(1).to(torch.float64, copy=True)
        yield rows if images.is_floating_point() else rows / 255
