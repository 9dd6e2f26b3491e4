"""Adam, without what a training loop does not need at every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1) with torch's own fused kernel, over one list of weights.

    `torch.optim.Adam` looks its settings and states up again at each step, keeps gradients on the weights and
    calls hooks. For an autoencoder of four weight tensors that took a seventh of the whole step; the
    function behind that class does the same arithmetic with nothing around it.

    Args:
        weights: what to train; those that need no gradient are left out.

    Raises:
        ValueError: nothing is left.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self.weights = [weight for weight in weights if weight.requires_grad]
        if not self.weights:
            raise ValueError("model: it has no weight that needs a gradient, so there is nothing to train")
        self._values = [weight.detach() for weight in self.weights]  # the same memory, without a history to record
        self.first = [torch.zeros_like(weight) for weight in self.weights]  # running mean of the gradient
        self.second = [torch.zeros_like(weight) for weight in self.weights]  # and of its square
        self.steps = [torch.zeros((), device=_counter_device(weight)) for weight in self.weights]

    def step(self, gradients: Sequence[Tensor], lr: float | Tensor) -> None:
        """Move every weight against its gradient, at learning rate `lr`."""
        adam(
            self._values, list(map(_in_layout, gradients, self._values)), self.first, self.second, [], self.steps,
            fused=_can_fuse(self.weights), amsgrad=False, beta1=BETA1, beta2=BETA2,
            lr=lr, weight_decay=0.0, eps=EPSILON, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps: the running means and the counts, by name."""
        kinds = {"first": self.first, "second": self.second, "steps": self.steps}
        return {f"{kind}.{i}": value for kind, values in kinds.items() for i, value in enumerate(values)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, value in self.state().items():
            value.copy_(state[name])


def _in_layout(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return a gradient laid out in memory as its weight is: the fused kernel walks through both side by side."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def _can_fuse(weights: Sequence[Tensor]) -> bool:
    return bool(weights) and weights[0].device.type in ("cpu", "cuda")


def _counter_device(weight: Tensor) -> torch.device:
    # The fused kernel on a GPU counts its steps there; all else counts on the CPU.
    return weight.device if weight.device.type == "cuda" else torch.device("cpu")
