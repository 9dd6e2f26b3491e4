"""Random numbers of a training: a function of (seed, step), so that nothing of them needs to be saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from .. import distributed


class Randomness:
    """Seeds PyTorch's generators anew for each step: dropout, sampled codes and the like depend on its number alone."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.seed, self.rank, self.world_size = seed, distributed.rank(), distributed.world_size()
        self.generators = [torch.default_generator]
        if device.type == "cuda":
            self.generators.append(torch.cuda.default_generators[torch.cuda.current_device()])

    def of_step(self, step: int) -> None:
        """Make what is drawn from now on that of step number `step` of the whole training."""
        number = (self.seed * 1_000_003 + step) * self.world_size + self.rank
        for generator in self.generators:
            generator.manual_seed(number % 2**63)


@contextlib.contextmanager
def own_randomness(device: torch.device, seed: int) -> Iterator[Randomness]:
    """Give the training its own random numbers; what a notebook draws itself is untouched."""
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        yield Randomness(device, seed)
