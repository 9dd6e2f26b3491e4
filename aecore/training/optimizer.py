"""Adam, without what a training loop does not need at every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), or AdamW (Loshchilov and Hutter 2019), over one list of weights.

    `torch.optim.Adam` looks its settings and states up again at each step, keeps gradients on the weights and
    calls hooks. For an autoencoder of four weight tensors that took a seventh of the whole step; the public
    function behind that class does the same arithmetic, with the same fused kernel, and nothing around it.

    Args:
        weights: what to train; those that need no gradient are left out.
        weight_decay: at each step a weight loses lr · weight_decay of itself, apart from its gradient.
        clip_norm: gradients whose norm over all weights is larger are scaled down to it; None: never.

    Raises:
        ValueError: nothing is left to train.
    """

    def __init__(self, weights: Iterable[Tensor], weight_decay: float = 0.0, clip_norm: float | None = None) -> None:
        self.weights = [weight for weight in weights if weight.requires_grad]
        if not self.weights:
            raise ValueError("model: it has no weight that needs a gradient, so there is nothing to train")
        self.weight_decay, self.clip_norm = weight_decay, clip_norm
        self._values = [weight.detach() for weight in self.weights]  # the same memory, without a history to record
        self.first = [torch.zeros_like(weight) for weight in self.weights]  # running mean of the gradient
        self.second = [torch.zeros_like(weight) for weight in self.weights]  # and of its square
        self._fused = self.weights[0].device.type in ("cpu", "cuda")  # elsewhere torch has no such kernel
        # The fused kernel on a GPU counts its steps there; all else counts on the CPU.
        place = self.weights[0].device if self.weights[0].device.type == "cuda" else torch.device("cpu")
        self._counts = [torch.zeros((), device=place) for _ in self.weights]

    def step(self, gradients: Sequence[Tensor], lr: float | Tensor) -> None:
        """Move every weight against its gradient, at learning rate `lr`."""
        gradients = list(map(_in_layout, gradients, self._values))
        if self.clip_norm is not None:
            gradients = _clipped(gradients, self.clip_norm)
        adam(
            self._values, gradients, self.first, self.second, [], self._counts, fused=self._fused, lr=lr,
            beta1=BETA1, beta2=BETA2, eps=EPSILON, weight_decay=self.weight_decay,
            decoupled_weight_decay=self.weight_decay > 0, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps: the running means and the counts, by name."""
        kinds = {"first": self.first, "second": self.second, "steps": self._counts}
        return {f"{kind}.{i}": value for kind, values in kinds.items() for i, value in enumerate(values)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, value in self.state().items():
            value.copy_(state[name])


def _in_layout(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return a gradient laid out in memory as its weight is: the fused kernel walks through both side by side."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def _clipped(gradients: Sequence[Tensor], largest: float) -> list[Tensor]:
    """Return gradients scaled so that their common norm is at most `largest`, as torch.nn.utils does it."""
    norm = torch.nn.utils.get_total_norm(gradients)
    scale = (largest / (norm + 1e-6)).clamp(max=1)
    return [gradient * scale for gradient in gradients]  # not in place: autograd may give two weights one gradient
