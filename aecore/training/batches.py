"""Batches drawn on the device: the data set lies there once, as bytes, and never moves again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..data.images import Images


class Batches:
    """The images of a set as float batches in [0, 1], in an order that depends on (seed, epoch) alone.

    Args:
        images: what to draw from.
        size: images for each batch; the last one of an epoch may be smaller.
        device: where the bytes lie and the batches are made.
        seed: of the order.
    """

    def __init__(self, images: Images, size: int, device: torch.device, seed: int = 0) -> None:
        self.pixels = images.pixels.to(device)
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.pixels) / self.size)

    def shuffled(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches of epoch number `epoch`, each image once."""
        order = epoch_order(len(self.pixels), self.seed, epoch).to(self.pixels.device)
        for chosen in order.split(self.size):
            yield to_floats(self.pixels[chosen])

    def in_order(self) -> Iterator[Tensor]:
        """Yield the images in the order of the set."""
        for pixels in self.pixels.split(self.size):
            yield to_floats(pixels)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the positions 0 … count − 1 shuffled, the same for the same (seed, epoch) on every machine.

    Drawn on the CPU, because a GPU's generator gives other numbers.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def to_floats(pixels: Tensor) -> Tensor:
    """Return bytes 0 … 255 as float32 in [0, 1]."""
    return pixels.float().div_(255)
