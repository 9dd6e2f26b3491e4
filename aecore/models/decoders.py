"""One encoder, many decoders: eight ways to double the height and width of a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .autoencoder import Autoencoder, check_code_size, check_image_shape, check_size

Doubler = Callable[[int, int], nn.Module]


class UpsamplingAutoencoder(Autoencoder):
    """Two strided convolutions and a linear layer to the code; back by a linear layer and two doublings.

    The encoder is the same for every decoder, so a difference between two of these models is one between
    their decoders. Code and image come out of their layers as they are: no ReLU, no sigmoid.

    Args:
        image_shape: (C, H, W) of one image; H and W divisible by 4.
        code_size: number of values in the code, at most C * H * W.
        up: how height and width are doubled, a name in `UPSAMPLERS`.
        width: channels between the two doublings.
        extra: number of convolutions of stride 1 after the first doubling; with any, one follows the second too.
        batch_norm: normalise every convolution but the last over the batch (Ioffe and Szegedy 2015).

    Raises:
        ValueError: a name that is not known, or sizes that do not fit.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        code_size: int,
        up: str = "transposed-4",
        width: int = 32,
        extra: int = 0,
        batch_norm: bool = False,
    ) -> None:
        shape = check_image_shape(image_shape)
        check_code_size(code_size, shape)
        if shape[1] % 4 or shape[2] % 4:
            raise ValueError(f"image_shape: height and width must be divisible by 4 here, got {shape[1]}×{shape[2]}")
        if not isinstance(up, str) or up not in UPSAMPLERS:
            raise ValueError(f"up: wanted one of {', '.join(map(repr, UPSAMPLERS))}, got {up!r}")
        check_size("width", width)
        check_size("extra", extra, least=0)
        grid = (64, shape[1] // 4, shape[2] // 4)
        features = grid[0] * grid[1] * grid[2]

        def activated(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.ReLU()]

        encoder = [
            *activated(nn.Conv2d(shape[0], 32, kernel_size=3, stride=2, padding=1), 32),
            *activated(nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1), 64),
            nn.Flatten(),
            nn.Linear(features, code_size),
        ]
        double = UPSAMPLERS[up]
        decoder = [nn.Linear(code_size, features), nn.ReLU(), nn.Unflatten(1, grid)]
        decoder += activated(double(64, width), width)
        for _ in range(extra):
            decoder += activated(nn.Conv2d(width, width, kernel_size=3, padding=1), width)
        if extra:
            decoder += activated(double(width, width), width)
        decoder.append(nn.Conv2d(width, shape[0], kernel_size=3, padding=1) if extra else double(width, shape[0]))
        super().__init__(shape, nn.Sequential(*encoder), nn.Sequential(*decoder))


def _transposed(kernel: int) -> Doubler:
    """Return a maker of transposed convolutions of stride 2 that double the size exactly."""
    padding = (kernel - 1) // 2
    missing = 2 - kernel + 2 * padding  # an odd kernel comes out one pixel short

    def double(into: int, out: int) -> nn.Module:
        return nn.ConvTranspose2d(into, out, kernel, stride=2, padding=padding, output_padding=missing)

    return double


def _enlarged(mode: str) -> Doubler:
    """Return a maker of "upsample by a fixed rule, then convolve"."""

    def double(into: int, out: int) -> nn.Module:
        # Bilinear: each new pixel lies a quarter of an old pixel off a centre, so nothing is shifted.
        options = {} if mode == "nearest" else {"align_corners": False}
        return nn.Sequential(nn.Upsample(scale_factor=2, mode=mode, **options), nn.Conv2d(into, out, 3, padding=1))

    return double


def _shuffled(into: int, out: int) -> nn.Module:
    """Return a sub-pixel convolution (Shi et al. 2016): four channels for each one wanted, dealt out as 2×2 pixels."""
    return nn.Sequential(nn.Conv2d(into, 4 * out, kernel_size=3, padding=1), nn.PixelShuffle(2))


class ICNRConv2d(nn.Conv2d):
    """The convolution in front of a 2×2 pixel shuffle, started so that the four pixels of a block are equal.

    Each kernel is drawn once and repeated for the four channels that `nn.PixelShuffle` deals out as one block, and so
    is its bias. At first the layer therefore computes what a convolution and nearest-neighbour upsampling would: no
    checkerboard (ICNR, Aitken et al. 2017). Training moves the four apart where that pays.

    Args:
        into: channels that come in.
        out: channels behind the pixel shuffle; the layer itself gives four times as many.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, 4 * out, kernel_size=3, padding=1)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw one kernel and one bias for each block of four channels, as `nn.Conv2d` draws them."""
        super().reset_parameters()
        for drawn in (self.weight, self.bias):
            drawn.copy_(drawn[::4].repeat_interleave(4, dim=0))


class Blur(nn.Module):
    """The mean of each 2×2 pixels, with stride 1; above and at the left the edge is repeated, so the size stays.

    Behind a pixel shuffle it averages over every position of a block once, so a pattern of period 2 cannot get through
    (as in fastai's PixelShuffle_ICNR, after Sugawara et al. 2018). It shifts the picture by half a pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the blurred (N, C, H, W)."""
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), kernel_size=2, stride=1)


def _shuffled_evenly(into: int, out: int) -> nn.Module:
    """Return a sub-pixel convolution that starts as nearest-neighbour upsampling."""
    return nn.Sequential(ICNRConv2d(into, out), nn.PixelShuffle(2))


def _shuffled_and_blurred(into: int, out: int) -> nn.Module:
    return nn.Sequential(*_shuffled_evenly(into, out), Blur())


UPSAMPLERS: dict[str, Doubler] = {
    "transposed-2": _transposed(2),
    "transposed-3": _transposed(3),
    "transposed-4": _transposed(4),
    "nearest": _enlarged("nearest"),
    "bilinear": _enlarged("bilinear"),
    "shuffle": _shuffled,
    "shuffle-icnr": _shuffled_evenly,
    "shuffle-icnr-blur": _shuffled_and_blurred,
}
