"""Appendix: why the training loop is fast."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking import Function, Mistake, Number, Worth, versions_of


def _batch_of(pixels: Tensor, chosen: Tensor) -> Tensor:
    return pixels[chosen].float() / 255


def _batches_left(order: Tensor, batch_size: int, done: int) -> list[Tensor]:
    return list(order[done * batch_size :].split(batch_size))


def _bytes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _speedup(loading: int, arithmetic: int, batch: int) -> Number:
    """`loading` in microseconds for an image, `arithmetic` in milliseconds for a batch."""
    loaded = batch * loading / 1000
    return Number(
        title="the factor by which a step becomes faster",
        answer=(loaded + arithmetic) / (loaded + arithmetic / 2),
        mistakes=(
            Mistake(
                2, f"that is the gain of the arithmetic alone; the loading of {batch} pictures stays as slow as it was"
            ),
            Mistake(
                (loading / 1000 + arithmetic) / (loading / 1000 + arithmetic / 2),
                f"{loading} microseconds are for one picture; a step loads {batch} of them",
            ),
            Mistake(
                (loaded + arithmetic / 2) / (loaded + arithmetic),
                "that is the time after over the time before; turn it round: how many times as fast?",
            ),
            Mistake(
                (loaded + arithmetic) / loaded,
                f"that would be arithmetic that takes no time at all; here it still takes half of its {arithmetic} ms",
            ),
        ),
        worth=Worth(level=2, points=3, minutes=10),
    )


EXERCISES = {
    "90-1": versions_of(
        _speedup, loading=("40", "20", "25", "50"), arithmetic=("3", "4", "5", "6"), batch=("128", "64", "100", "256")
    ),
    "90-2": Number(
        title="megabytes of CIFAR-10's training pictures",
        answer=50_000 * 3 * 32 * 32 / 1e6,
        mistakes=(
            Mistake(
                4 * 50_000 * 3 * 32 * 32 / 1e6,
                "that is with 32-bit floats; the loop keeps bytes, and makes floats of one batch at a time",
            ),
            Mistake(50_000 * 32 * 32 / 1e6, "a colour picture has three values at each pixel"),
            Mistake(50_000 * 3 * 32 * 32 / 1e9, "that is in gigabytes; a megabyte is a million bytes"),
            Mistake(60_000 * 3 * 32 * 32 / 1e6, "those are 60,000 pictures, with the test set; 50,000 are asked for"),
        ),
    ),
    "90-3": Function(
        title="a batch of floats from bytes",
        right=_batch_of,
        examples=(
            (_bytes(6, 1, 4, 4), torch.tensor([4, 0, 3])),
            (_bytes(5, 3, 2, 2), torch.tensor([1, 1, 4, 2])),
        ),
        mistakes=(
            Mistake(
                lambda pixels, chosen: pixels[chosen].float(),
                "these run from 0 to 255; divide by 255",
            ),
            Mistake(
                lambda pixels, chosen: (pixels[chosen] // 255).float(),
                "the integer division // leaves zeros and ones; turn the bytes into floats and use /",
            ),
            Mistake(
                lambda pixels, chosen: pixels[: len(chosen)].float() / 255,
                "those are the first pictures; wanted are the ones at the positions in chosen",
            ),
            Mistake(
                lambda pixels, chosen: pixels[chosen].float() / 256,
                "white is 255, so that divided by 255 it becomes 1; 256 makes everything a little too dark",
            ),
        ),
    ),
    "90-4": Function(
        title="the batches that are left of an epoch",
        right=_batches_left,
        examples=((torch.randperm(10, generator=torch.Generator().manual_seed(1)), 3, 2), (torch.arange(8), 4, 0)),
        mistakes=(
            Mistake(
                lambda order, batch_size, done: list(order[done:].split(batch_size)),
                "done counts batches, not pictures: skip done times the batch size",
            ),
            Mistake(
                lambda order, batch_size, done: list(order.split(batch_size)),
                "those are all batches of the epoch; leave out the ones that are done",
            ),
            Mistake(
                lambda order, batch_size, done: [
                    batch for batch in order[done * batch_size :].split(batch_size) if len(batch) == batch_size
                ],
                "the last, smaller batch is missing; its pictures belong to the epoch too",
            ),
            Mistake(
                lambda order, batch_size, done: list(order[(done + 1) * batch_size :].split(batch_size)),
                "one batch too many is skipped: after done batches the next one has number done, counted from 0",
            ),
        ),
    ),
}
