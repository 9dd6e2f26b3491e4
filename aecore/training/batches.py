"""Batches drawn on the device: the data set lies there once, as bytes, and never moves again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import processes
from ..data.images import Images


class Batches:
    """The images of a set as float batches in [0, 1], in an order that depends on (seed, epoch) alone.

    Every batch is written over the one before it, into memory that is taken once: use a batch before you ask
    for the next, or clone it. A linear autoencoder's epoch took 11 % longer with new memory for each batch.

    Args:
        images: what to draw from.
        size: images for each batch, over all processes; the last one of an epoch may be smaller.
        device: where the bytes lie and the batches are made.
        seed: of the order.
    """

    def __init__(self, images: Images, size: int, device: torch.device, seed: int = 0) -> None:
        self.pixels = images.pixels.to(device)
        self.size = size
        self.seed = seed
        largest = (min(size, len(self.pixels)), *images.shape)
        self._bytes = torch.empty(largest, dtype=torch.uint8, device=device)
        self._floats = torch.empty(largest, device=device)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.pixels) / self.size)

    def count(self, step: int) -> int:
        """Return how many images batch number `step` of an epoch holds, over all processes."""
        return min(self.size, len(self.pixels) - step * self.size)

    def shuffled(self, epoch: int, skip: int = 0, edge: int | None = None) -> Iterator[Tensor]:
        """Yield the batches of epoch number `epoch`, each image once.

        Several processes share each batch between them; where it has fewer images than there are
        processes, some get none.

        Args:
            epoch: counts from 0.
            skip: leave out so many batches, because they were used before an interruption.
            edge: make the images so many pixels high and wide, by averaging; None leaves them as they are.
        """
        order = epoch_order(len(self.pixels), self.seed, epoch).to(self.pixels.device)
        rank, count = processes.rank(), processes.count()
        for chosen in order.split(self.size)[skip:]:
            x = self._gather(chosen[rank::count] if count > 1 else chosen)
            yield x if edge is None else resized(x, edge)

    def in_order(self, edge: int | None = None) -> Iterator[Tensor]:
        """Yield the images in the order of the set; of several processes each gets every other batch."""
        for step in processes.share_of(len(self)):
            x = to_floats(self.pixels[step * self.size : (step + 1) * self.size])
            yield x if edge is None else resized(x, edge)

    def _gather(self, chosen: Tensor) -> Tensor:
        picked, x = self._bytes, self._floats
        if len(chosen) < len(x):
            picked, x = picked[: len(chosen)], x[: len(chosen)]
        torch.index_select(self.pixels, 0, chosen, out=picked)
        return torch.div(picked, 255, out=x)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the positions 0 … count − 1 shuffled, the same for the same (seed, epoch) on every machine.

    Drawn on the CPU, because a GPU's generator gives other numbers.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def to_floats(pixels: Tensor) -> Tensor:
    """Return bytes 0 … 255 as float32 in [0, 1]."""
    return pixels.float().div_(255)


def resized(x: Tensor, edge: int) -> Tensor:
    """Return images of `edge`×`edge` pixels, each the mean of the area that it covers."""
    return x if x.shape[-2:] == (edge, edge) or len(x) == 0 else F.interpolate(x, size=(edge, edge), mode="area")
