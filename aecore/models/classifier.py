"""A small residual classifier: the judge of reconstructions, and a network whose features a loss can use."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from .autoencoder import check_image_shape

STAGES = 3


class ResidualClassifier(nn.Module):
    """A residual network for small images (He et al. 2016, section 4.2): no pooling, and full resolution at first.

    A 3×3 convolution, three stages of residual blocks, each stage but the first at half the resolution and with twice
    the channels of the one before, then the mean over all places and a linear layer. Where a block changes the shape,
    its skip connection averages 2×2 pixels and has a 1×1 convolution (ResNet-D, He et al. 2019, section 4.1).

    With its settings and ten classes it has 692,000 weights, for images of 32×32 pixels 110 million multiply–adds.

    Args:
        image_shape: (C, H, W) of one image; H and W of at least 4.
        classes: number of classes.
        width: channels of the first stage.
        blocks: residual blocks in each stage, of two convolutions each.
        any_size: take images of other heights and widths too.

    Raises:
        ValueError: an argument is outside its range.

    Attributes:
        encoder: all but the linear layer, (N, C, H, W) to (N, 4·width, H/4, W/4), rounded up: what another model can
            start from, with `init_from={"encoder": run}`.
        head: the mean over all places, and the linear layer.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        width: int = 48,
        blocks: int = 1,
        any_size: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        if min(self.image_shape[1:]) < 4:
            raise ValueError(f"image_shape: wanted at least 4×4 pixels, got {image_shape[1]}×{image_shape[2]}")
        for name, value, least in (("classes", classes, 2), ("width", width, 1), ("blocks", blocks, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: wanted a whole number from {least}, got {value!r}")
        self.any_size = any_size
        stem = [nn.Conv2d(self.image_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        widths = [width, width, 2 * width, 4 * width]
        stages = [_stage(widths[i], widths[i + 1], blocks, stride=1 if i == 0 else 2) for i in range(STAGES)]
        self.encoder = nn.Sequential(nn.Sequential(*stem, *stages[0]), *stages[1:])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (logits), shape (N, classes), of images (N, C, H, W) with values in [0, 1].

        Raises:
            ValueError: the images have another shape than the network was made for.
        """
        return self.features(x)[-1]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return what comes out of each stage, and the class scores last, as `objectives.FeatureLoss` wants it.

        Shapes: (N, width, H, W), (N, 2·width, H/2, W/2), (N, 4·width, H/4, W/4), (N, classes).

        Raises:
            ValueError: the images have another shape than the network was made for.
        """
        channels = self.image_shape[0]
        if x.shape[1:] != self.image_shape and not (self.any_size and x.ndim == 4 and x.shape[1] == channels):
            wanted = f"{channels}, H, W" if self.any_size else ", ".join(map(str, self.image_shape))
            raise ValueError(f"x: wanted images of shape (N, {wanted}), got {tuple(x.shape)}")
        found = []
        for stage in self.encoder:
            x = stage(x)
            found.append(x)
        return [*found, self.head(x)]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, each normalised, beside a skip connection (He et al. 2016, section 3.2).

    Args:
        inside, outside: channels that come in and go out.
        stride: of the first convolution: 2 halves height and width.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
        )
        # No 1×1 convolution with a stride: it would pass over three pixels of four, and oneDNN's for few channels, in
        # channels-last order, writes past its memory (oneDNN issue 6035): crashes, or wrong gradients.
        halved = [nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []
        widened = [nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)]
        self.skip = nn.Sequential(*halved, *(widened if stride > 1 or inside != outside else []))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways, behind a ReLU: (N, inside, H, W) to (N, outside, H/stride, W/stride)."""
        return relu(self.path(x) + self.skip(x))


def _stage(inside: int, outside: int, blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(inside, outside, stride)
    return nn.Sequential(first, *(ResidualBlock(outside, outside) for _ in range(blocks - 1)))
