"""Networks that are used and not trained: as a whole, or as a part of a model that is."""

from __future__ import annotations

import copy

from torch import Tensor, nn


class Frozen(nn.Module):
    """A copy of a trained network that stays as it is: no gradients for its parameters, always in evaluation mode.

    Gradients still flow *through* it to what it is given, as a feature loss needs. Whatever the network offers
    (`encode`, `decode`, `features` …) can be called on it. The network it was made from can be trained further, and
    moved to another device, without a change to the copy. A part of a model that is to be trained later is better
    frozen with `freeze` and released with `unfreeze`.

    Of a run whose weights were not published it can be made as well: it then says so when it is used, and a training
    that was done with it is found without it.

    Args:
        source: a run, which tells the network by its fingerprint; or a network, told by its weights.

    Attributes:
        network: the copy.
        fingerprint: of the run, or None.

    Raises:
        TypeError: `source` is neither.
        ValueError: the run's model was trained again since, as another run.
    """

    def __init__(self, source) -> None:
        super().__init__()
        network = source if isinstance(source, nn.Module) else getattr(source, "model", None)
        if network is None:
            raise TypeError(f"source: wanted a run or a network, got {type(source).__name__}")
        if hasattr(source, "check_model"):  # a run, which knows whether its model still holds its weights
            source.check_model("source")
        self.fingerprint: str | None = getattr(source, "fingerprint", None)
        # A copy, since the original belongs to the reader: frozen itself, its own training could not be repeated.
        self.network = freeze(copy.deepcopy(network)) if isinstance(network, nn.Module) else network
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network makes of `x`."""
        return self.network(x)

    def __repr__(self) -> str:
        """Name the run, which tells the network, whether its weights are here or not."""
        return super().__repr__() if self.fingerprint is None else f"Frozen(run {self.fingerprint})"

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network" or name.startswith("__"):
                raise
            return getattr(self.network, name)


def freeze(module: nn.Module) -> nn.Module:
    """Switch off the gradients of a module's parameters, and return it. Training leaves it in evaluation mode."""
    return module.requires_grad_(False)


def unfreeze(module: nn.Module) -> nn.Module:
    """Switch the gradients of a module's parameters on, and return it."""
    return module.requires_grad_(True)


def train_mode(model: nn.Module) -> None:
    """Switch a model to training, except parts whose parameters are all frozen: their BatchNorm must not drift."""
    model.train()
    for part in model.modules():
        params = list(part.parameters())
        if params and not any(weight.requires_grad for weight in params):
            part.eval()
