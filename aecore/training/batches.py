"""Batches drawn on the device: the data set lies there once, as bytes, and never moves again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .. import distributed
from ..data.images import Images
from ..objectives import Batch, resized
from .plan import Plan

VALIDATION_BATCH = 1000


class Batches:
    """The images of a set as float batches in [0, 1], in an order that depends on (seed, epoch) alone.

    Every batch is written over the one before it, into memory that is taken once: use a batch before you ask
    for the next, or clone it. A linear autoencoder's epoch took 11 % longer with new memory for each batch.

    Args:
        images: what to draw from.
        plan: gives the size of a batch over all processes (the last one of an epoch may be smaller), the seed of the
            order, and what is done to each image: `crop` and `flip`.
        device: where the bytes lie and the batches are made.
        labels: whether batches bring the images' labels.

    Raises:
        ValueError: they are to bring labels, and there are none.
    """

    def __init__(self, images: Images, plan: Plan, device: torch.device, labels: bool = False) -> None:
        self.pixels = images.pixels.to(device)
        self.labels = labels_of(images).to(device) if labels else None
        self.plan, self.batch_size = plan, plan.batch_size
        self.augments = plan.crop is not None or plan.flip
        self._progress = torch.zeros((), device=device)
        largest = (min(self.batch_size, len(self.pixels)), *images.shape)
        if not self.augments:
            self._bytes = torch.empty(largest, dtype=torch.uint8, device=device)
            self._floats = torch.empty(largest, device=device)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.pixels) / self.batch_size)

    def shuffled(self, epoch: int, skip: int = 0, size: int | None = None) -> Iterator[Batch]:
        """Yield the batches of epoch number `epoch`, each image once.

        Several processes share each batch between them; where it has fewer images than there are
        processes, some get none.

        Args:
            epoch: counts from 0.
            skip: leave out so many batches, because they were used before an interruption.
            size: make the images so many pixels high and wide, by averaging; None leaves them as they are.
        """
        order = epoch_order(len(self.pixels), self.plan.seed, epoch).to(self.pixels.device)
        first = epoch * len(self)
        drawn = self._draws(range(first + skip, first + len(self))) if self.augments else None
        steps, is_shared = self.plan.epochs * len(self), distributed.world_size() > 1
        for step, chosen in enumerate(order.split(self.batch_size)[skip:], start=first + skip):
            own = _own_part(chosen) if is_shared else chosen
            x = self._gather(own) if drawn is None else self._augmented(own, *map(_own_part, next(drawn)))
            labels = None if self.labels is None else self.labels[own]
            self._progress.fill_(step / steps)
            yield Batch(resized(x, size), labels, chosen.shape[0], self._progress)

    def _gather(self, chosen: Tensor) -> Tensor:
        picked, x, count = self._bytes, self._floats, chosen.shape[0]
        if count < x.shape[0]:
            picked, x = picked[:count], x[:count]
        torch.index_select(self.pixels, 0, chosen, out=picked)
        return torch.div(picked, 255, out=x)

    def _draws(self, steps: range) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield for each step where the windows of its whole batch begin, rows and columns, and which are mirrored.

        A function of (seed, step), drawn on the CPU because a GPU's generator gives other numbers, and sent to the
        device at once: a transfer at each step would make it wait.
        """
        if not steps:
            return
        counts = [min(self.batch_size, len(self.pixels) - step % len(self) * self.batch_size) for step in steps]
        drawn = torch.cat([self._draw(*each) for each in zip(steps, counts, strict=True)], dim=1)
        for top, left, mirrored in drawn.to(self.pixels.device).split(counts, dim=1):
            yield top, left, mirrored.bool()

    def _draw(self, step: int, count: int) -> Tensor:
        # Far from the numbers that shuffle the epochs, so that the two are independent.
        generator = torch.Generator().manual_seed((2**40 + self.plan.seed * 1_000_003 + step) % 2**63)
        height, width = self._window()
        top = torch.randint(self.pixels.shape[2] - height + 1, (count,), generator=generator)
        left = torch.randint(self.pixels.shape[3] - width + 1, (count,), generator=generator)
        mirrored = torch.rand(count, generator=generator) < (0.5 if self.plan.flip else 0.0)
        return torch.stack([top, left, mirrored.long()])

    def _augmented(self, chosen: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        height, width = self._window()
        rows = top[:, None] + torch.arange(height, device=top.device)
        columns = torch.arange(width, device=top.device).expand(len(top), -1)
        columns = left[:, None] + torch.where(mirrored[:, None], columns.flip(1), columns)
        # One look-up for each pixel, straight from the data set: whole photographs are never copied.
        channels = torch.arange(self.pixels.shape[1], device=top.device)[None, :, None, None]
        places = chosen[:, None, None, None]
        return to_floats(self.pixels[places, channels, rows[:, None, :, None], columns[:, None, None, :]])

    def _window(self) -> tuple[int, int]:
        crop = self.plan.crop
        return (crop, crop) if crop else tuple(self.pixels.shape[2:])


def validation_batches(
    valid: Images, plan: Plan, device: torch.device, labels: bool, size: int | None = None
) -> Iterator[tuple[int | None, Batch]]:
    """Yield the number and the content of each validation batch; of several processes each gets every other one.

    A process for which there is none gets the first image without a number: it only shows what is measured.

    Args:
        valid: the images, in order; under a plan with `crop` their centres.
        plan, device: of the training.
        labels: whether batches bring the images' labels.
        size: make the images so many pixels high and wide, by averaging; None leaves them as they are.
    """
    done = torch.ones((), device=device)
    for number in distributed.shard(validation_batch_count(valid)) or (None,):
        first = (number or 0) * VALIDATION_BATCH
        part = valid[first : first + VALIDATION_BATCH] if number is not None else valid[:1]
        x = to_floats(centre(part.pixels, plan.crop).to(device))
        yield number, Batch(resized(x, size), labels_of(part).to(device) if labels else None, len(x), done)


def validation_batch_count(valid: Images) -> int:
    """Return how many batches the validation images make."""
    return math.ceil(len(valid) / VALIDATION_BATCH)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the positions 0 … count − 1 shuffled, the same for the same (seed, epoch) on every machine.

    Drawn on the CPU, because a GPU's generator gives other numbers.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)


def labels_of(images: Images) -> Tensor:
    """Return the labels of images, or raise a ValueError where there are none."""
    if images.labels is None:
        raise ValueError(f"data: this objective needs labels, and {images.name} has none")
    return images.labels


def to_floats(pixels: Tensor) -> Tensor:
    """Return bytes 0 … 255 as float32 in [0, 1]."""
    return pixels.float().div_(255)


def centre(pixels: Tensor, crop: int | None) -> Tensor:
    """Return the centre of images (N, C, H, W), `crop` pixels high and wide; None: all of them."""
    if crop is None:
        return pixels
    top, left = (pixels.shape[2] - crop) // 2, (pixels.shape[3] - crop) // 2
    return pixels[:, :, top : top + crop, left : left + crop]


def _own_part(values: Tensor) -> Tensor:
    """Return what this process works on of something that holds an entry for each image of a batch."""
    world_size = distributed.world_size()
    return values[distributed.rank() :: world_size] if world_size > 1 else values
