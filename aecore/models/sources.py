"""Networks of source S0, which several chapters train: its three strided convolutions, and its ResNet-18."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .autoencoder import Autoencoder, check_image_shape

S0_CODE_SIZE = 1000
UPSAMPLING_WAYS = ("upsampling", "shuffle")


def s0_autoencoder(image_shape: tuple[int, int, int], way: str = "upsampling", width: int = 16) -> Autoencoder:
    """Return the autoencoder of source S0, whose code has 1,000 numbers.

    Three strided convolutions, each normalised over the batch, and a linear layer to the code; a linear layer and three
    doublings of height and width back. Chapter 5 builds it layer by layer.

    Args:
        image_shape: (C, 32, 32).
        way: of doubling: "upsampling" repeats each pixel before a convolution; "shuffle" gives a convolution four
            times as many channels and arranges them as pixels (Shi et al. 2016).
        width: channels behind the first convolution.

    Raises:
        ValueError: images of another size, or an unknown way.
    """
    shape = _of_32_pixels(image_shape)
    return Autoencoder(shape, _s0_encoder(shape[0], width), s0_decoder(shape[0], way, width))


def s0_decoder(channels: int = 3, way: str = "upsampling", width: int = 16) -> nn.Sequential:
    """Return the decoder of source S0: codes of shape (N, 1000) to images of shape (N, channels, 32, 32)."""
    if way not in UPSAMPLING_WAYS:
        raise ValueError(f"way: wanted 'upsampling' or 'shuffle', got {way!r}")
    return nn.Sequential(
        nn.Linear(S0_CODE_SIZE, 64 * width), nn.ReLU(), nn.Unflatten(1, (4 * width, 4, 4)),
        *_double(4 * width, 2 * width, way), nn.BatchNorm2d(2 * width), nn.ReLU(),
        *_double(2 * width, width, way), nn.BatchNorm2d(width), nn.ReLU(),
        *_double(width, channels, way), nn.Sigmoid(),
    )  # fmt: skip


def s0_halves_for_16(channels: int = 3, width: int = 16) -> nn.Sequential:
    """Return the same autoencoder for images of 16×16 pixels, as `.encoder` and `.decoder` of one network.

    The outermost stride and the outermost doubling are left out, and all weights keep their shapes: what this network
    has learned is a start for `s0_autoencoder` (progressive resizing, as source S0 uses it; chapter 6).
    """
    encoder, decoder = _s0_encoder(channels, width), s0_decoder(channels, "upsampling", width)
    encoder[0] = nn.Conv2d(channels, width, 3, stride=1, padding=1)
    decoder[11] = nn.Upsample(scale_factor=1)
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


def resnet18_body(channels: int = 3, weights: str | None = None) -> nn.Module:
    """Return torchvision's ResNet-18 (He et al. 2016) without its last layer: images to 512 numbers each.

    Args:
        channels: of an image; with other than 3 the first convolution begins at random.
        weights: None, or what torchvision downloads, such as "IMAGENET1K_V1".
    """
    from torchvision.models import resnet18

    body = resnet18(weights=weights)
    body.fc = nn.Identity()
    if channels != 3:
        body.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return body


def with_s0_decoder(body: nn.Module, image_shape: tuple[int, int, int]) -> Autoencoder:
    """Return an autoencoder with a linear layer to 1,000 numbers and S0's decoder behind a body.

    Args:
        body: images of that shape to (N, features); `.encoder.body` of what comes back.
        image_shape: (C, 32, 32).
    """
    shape = _of_32_pixels(image_shape)
    with torch.no_grad():
        features: Tensor = body.eval()(torch.zeros(1, *shape))
    encoder = nn.Sequential(OrderedDict(body=body, to_code=nn.Linear(features.shape[1], S0_CODE_SIZE)))
    return Autoencoder(shape, encoder, s0_decoder(shape[0]))


def _s0_encoder(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        *_halve(channels, width), *_halve(width, 2 * width), *_halve(2 * width, 4 * width),
        nn.Flatten(), nn.Linear(64 * width, S0_CODE_SIZE),
    )  # fmt: skip


def _halve(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]


def _double(before: int, after: int, way: str) -> list[nn.Module]:
    if way == "shuffle":
        return [nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]


def _of_32_pixels(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    shape = check_image_shape(image_shape)
    if shape[1:] != (32, 32):
        raise ValueError(f"image_shape: S0's network takes images of 32×32 pixels, got {shape[1]}×{shape[2]}")
    return shape
