"""Several processes for one training, as torchrun starts them. In an ordinary process nothing here does anything.

torchrun tells each process its number (the rank) and how many there are in environment variables; all of
them run the same program. They meet only where their numbers are added up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator


class ProcessLost(RuntimeError):
    """Another process of the same training has ended, or can no longer be reached."""


def world_size() -> int:
    """Return how many processes share the training; 1 outside `process_group`."""
    return _group().get_world_size() if _group() else 1


def rank() -> int:
    """Return the number of this process, from 0; only rank 0 writes files and speaks."""
    return _group().get_rank() if _group() else 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun has started: over gloo on CPUs, over nccl on GPUs, one for each process.

    Raises:
        ProcessLost: they did not all come.
        ValueError: there are more processes on this machine than it has GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        own, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= there:
            raise ValueError(f"--nproc-per-node: wanted at most {there}, the GPUs here, got at least {own + 1}")
        torch.cuda.set_device(own)
    try:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except RuntimeError as error:  # torch has an error of its own for each way in which a meeting can fail
        raise ProcessLost(f"the processes did not find each other: {error}") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def first_rank_first() -> Iterator[None]:
    """Let rank 0 do the block first: it downloads and writes what the others then find.

    Raises:
        ProcessLost: rank 0 did not come to the end of it.
    """
    if rank() > 0:
        broadcast(0)  # waits for it
    yield
    if rank() == 0:
        broadcast(0)


def all_reduce_sum(values):
    """Replace a tensor by its sum over all processes, and return it.

    Raises:
        ProcessLost: a process is missing.
    """
    if world_size() > 1:
        try:
            _group().all_reduce(values)
        except RuntimeError as error:
            raise ProcessLost(
                "another process of this training has ended; its own message says why. Start the same command again: a "
                f"training with a name goes on from its last checkpoint. ({_first_line(error)})"
            ) from error
    return values


def all_reduce_sum_on_cpu(values):
    """Do the same for a tensor on the CPU; nccl needs it on the GPU meanwhile.

    Raises:
        ProcessLost: a process is missing.
    """
    if world_size() == 1:
        return values
    return all_reduce_sum(values.to(_device())).cpu()


def shard(number: int) -> range:
    """Return which of the pieces 0 … number − 1 this process works on: every world_size()-th, none twice."""
    return range(rank(), number, world_size())


def broadcast(number: int) -> int:
    """Return rank 0's `number` in every process."""
    if world_size() == 1:
        return number
    import torch

    return int(all_reduce_sum_on_cpu(torch.tensor(number if rank() == 0 else 0)))


def check_agreement(what: str, value: str, hint: str) -> None:
    """Raise a ValueError where `value` is not the same text in all processes.

    Args:
        what: its name, for the message.
        value: compared by a hash.
        hint: what to do where they differ.
    """
    if world_size() == 1:
        return
    import torch

    numbers = torch.zeros(world_size(), dtype=torch.int64)
    numbers[rank()] = int.from_bytes(hashlib.sha256(value.encode()).digest()[:4], "big")
    if all_reduce_sum_on_cpu(numbers).unique().numel() > 1:
        raise ValueError(f"{what} is not the same in all {world_size()} processes (here: {value[:80]!r}). {hint}")


def _group():
    """Return torch.distributed where the processes have met, else None; without importing it for nothing."""
    import sys

    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
