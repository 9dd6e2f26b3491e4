"""More training images from those there are: copies that are turned, stretched and slanted a little."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .images import Images

TURN, STRETCH, SLANT = 0.15, 0.1, 0.15  # at most: in radians, in each direction, and sideways for each row
PART = 5000  # images at a time


def with_warped_copies(images: Images, copies: int, seed: int = 0) -> Images:
    """Return the images and, after them, so many copies of all, each warped by a random affine map around its centre.

    A copy is turned by at most .15 (9°), stretched by at most a tenth in each direction, and slanted by at most .15;
    values between pixels are interpolated (bicubic), those from outside are 0. Labels stay. On another machine single
    pixels may differ by 1 of 255.

    Args:
        images: with a dark border, as digits have.
        copies: of each image, from 1.
        seed: of the maps.

    Raises:
        ValueError: `copies` is no whole number from 1.
    """
    if not isinstance(copies, int) or isinstance(copies, bool) or copies < 1:
        raise ValueError(f"copies: wanted a whole number from 1, got {copies!r}")
    generator = torch.Generator().manual_seed(seed)
    warped = [_warped(part, generator) for _ in range(copies) for part in images.pixels.split(PART)]
    labels = None if images.labels is None else images.labels.repeat(copies + 1)
    name = f"{images.name} with {copies} warped {'copy' if copies == 1 else 'copies'}"
    return replace(images, pixels=torch.cat([images.pixels, *warped]), labels=labels, name=name)


def _warped(pixels: Tensor, generator: torch.Generator) -> Tensor:
    turn, across, down, slant = 2 * torch.rand(4, len(pixels), generator=generator) - 1
    turn, across, down = TURN * turn, 1 + STRETCH * across, 1 + STRETCH * down
    nothing = torch.zeros(len(pixels))
    # From places of the copy to places of the image: stretched and slanted first, then turned.
    first = torch.stack([turn.cos() * across, SLANT * slant - turn.sin() * down, nothing], 1)
    second = torch.stack([turn.sin() * across, turn.cos() * down, nothing], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(pixels.shape), align_corners=False)
    warped = F.grid_sample(pixels.float(), grid, mode="bicubic", align_corners=False)
    return warped.clamp(0, 255).round().byte()
