"""Losses: one number that training makes small. Each takes images and reconstructions, in that order."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from .suggest import did_you_mean

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the mean squared error over all values of all images, a scalar."""
    _check_shapes(x, x_hat)
    return F.mse_loss(x_hat, x)


def mae(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the mean absolute error over all values of all images, a scalar."""
    _check_shapes(x, x_hat)
    return F.l1_loss(x_hat, x)


def bce(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the binary cross-entropy, a scalar; `x_hat` must come out of a sigmoid, within [0, 1].

    Raises:
        ValueError: it does not.
    """
    _check_shapes(x, x_hat)
    try:
        return F.binary_cross_entropy(x_hat, x)
    except RuntimeError as error:
        low, high = x_hat.detach().aminmax()
        if low.isnan():  # the training has broken down, and the loop says so better
            return x_hat.mean()
        raise ValueError(
            f"loss: 'bce' wants reconstructions in [0, 1], as a sigmoid gives them; this model gave {low:.3g} to "
            f"{high:.3g}. End its decoder with nn.Sigmoid() (sigmoid=True), or take 'mse'."
        ) from error


def _check_shapes(x: Tensor, x_hat: Tensor) -> None:
    if x.shape != x_hat.shape:  # torch would repeat the smaller one, and most such sums make no sense
        raise ValueError(
            f"loss: wanted reconstructions of the images' shape {tuple(x.shape)}, the model gave {tuple(x_hat.shape)}"
        )


LOSSES: dict[str, Loss] = {"mse": mse, "mae": mae, "bce": bce}


def get(loss: str | Loss) -> Loss:
    """Return a loss by its name; a function is returned as it is.

    Raises:
        ValueError: no loss has that name (the message suggests the nearest), or it is no plain function.
    """
    if callable(loss) and hasattr(loss, "__qualname__") and not isinstance(loss, type):
        return loss
    if callable(loss):  # a module or a partial: its settings could not be told apart when a run is looked for
        hint = "write def my_loss(x, x_hat): return …"
        hint = "that goes into objective=" if hasattr(loss, "needs_labels") else hint
        raise ValueError(f"loss: wanted a name or a function, got {loss!r}; {hint}")
    if not isinstance(loss, str) or loss not in LOSSES:
        hint = did_you_mean(loss, LOSSES)
        raise ValueError(f"loss: unknown name {loss!r}.{hint} Known: {', '.join(LOSSES)}.")
    return LOSSES[loss]
