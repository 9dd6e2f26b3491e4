"""Using a model without training it: in evaluation mode, on its own device, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Model = nn.Module | Callable[[Tensor], Tensor]


@contextlib.contextmanager
def eval_mode(*models: Model) -> Iterator[None]:
    """Switch every layer to evaluation, and each back to the mode that it had; plain functions are left alone."""
    layers = [layer for model in models if isinstance(model, nn.Module) for layer in model.modules()]
    modes = [(layer, layer.training) for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def device_of(model: Model) -> torch.device:
    """Return where a model's parameters lie; a plain function is taken to compute on the CPU."""
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return first.device if first is not None else torch.device("cpu")


@torch.no_grad()
def apply(model: Model, x: Tensor, batch_size: int = 500) -> Tensor:
    """Return what a model, or a function such as `model.encode`, makes of all of `x`, as float32 on the CPU.

    Args:
        model: takes batches of `x` and returns as many results.
        x: of shape (N, …), on the CPU.
        batch_size: how many at a time.
    """
    owner = getattr(model, "__self__", model)  # of a bound method such as model.encode
    place = device_of(owner)
    with eval_mode(owner):
        return torch.cat([model(part.to(place)).float().cpu() for part in x.split(batch_size)])


def check_unchanged(x: Tensor, version: int, who: str) -> None:
    """Raise a ValueError where `x` was written into since it had `version`: scores against it would be wrong.

    Args:
        x: what a model was given.
        version: `x._version` from before.
        who: did it, for the message.
    """
    if x._version != version:
        raise ValueError(
            f"{who}: it writes into the images that it is given, so its reconstructions would be compared with "
            "changed ones. Look for operations in place (x += …, x.clamp_(), nn.ReLU(inplace=True) as first layer) "
            "and work on a copy: x = x.clone()."
        )
