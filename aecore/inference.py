"""Using a model without training it: in evaluation mode, on its own device, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Model = nn.Module | Callable[[Tensor], Tensor]


def model_of(model: object, argument: str = "model") -> Model:
    """Return the model of a run; a model, or a function that takes its place, as it is.

    Args:
        model: any of the three.
        argument: what it is called where it was handed over, for messages.

    Raises:
        TypeError: it is none of the three.
        ValueError: the run's model was trained again since, as another run.
    """
    if isinstance(model, nn.Module):
        return model
    if hasattr(model, "check_model"):  # a run has it, and a model; runs are not known down here
        model.check_model(argument)
    found = getattr(model, "model", model)
    if isinstance(found, type) or not callable(found):
        hint = "; make one of it first, with brackets" if isinstance(found, type) else ""
        raise TypeError(f"{argument}: wanted a model, a run or a function, got {_kind(found)}{hint}")
    return found


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

    Raises:
        TypeError, ValueError: the model gives something else than a tensor, or changes what it is given.
    """
    check_batch_size(batch_size)
    owner = getattr(model, "__self__", model)  # of a bound method such as model.encode
    place = device_of(owner)
    with eval_mode(owner):
        return torch.cat([reconstructed(model, part.to(place)).float().cpu() for part in x.split(batch_size)])


def reconstructed(model: Model, x: Tensor) -> Tensor:
    """Return `model(x)`, a tensor, with `x` as it was.

    Raises:
        TypeError: the model gives something else.
        ValueError: it writes into `x`.
    """
    version = None if x.is_inference() else x._version  # under torch.inference_mode nobody counts
    x_hat = model(x)
    if not isinstance(x_hat, Tensor):
        raise TypeError(f"model: wanted it to give a tensor for a batch of images, got {_kind(x_hat)}")
    if version is not None:
        check_unchanged(x, version, f"model: {getattr(model, '__name__', type(model).__name__)}")
    return x_hat


def check_batch_size(batch_size: int) -> None:
    """Raise a ValueError where `batch_size` is no whole number from 1."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size: wanted a whole number from 1, got {batch_size!r}")


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


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
