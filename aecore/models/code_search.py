"""Better codes for given pictures, found when a file is made: the decoder and its weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TRIED = 6  # changes that are tried for each picture in a round


def searched(codes: Tensor, cost: Callable[[Tensor], Tensor], rounds: int, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Return codes of lower cost, found by changing one value at a time by 1.

    An encoder gives the code of a picture in one go; what it misses can be found by a search (Campos et al. 2019 do so
    with gradients). In each round the gradient of the cost tells for every value in which direction to change it. Of
    the changes that promise most some are tried, and the best one is kept where the cost falls.

    Args:
        codes: whole numbers in floats, of shape (N, values).
        cost: of codes: one number for each, with a gradient.
        rounds: at most so many values of a code are changed.
        ends: the lowest and the highest that each value may be.
    """
    low, high = ends
    for _ in range(rounds):
        with torch.enable_grad():
            start = codes.detach().requires_grad_()
            costs = cost(start)
            (gradient,) = torch.autograd.grad(costs.sum(), start)
        step = -gradient.sign()
        allowed = (codes + step >= low) & (codes + step <= high)
        places = (gradient.abs() * allowed).topk(min(TRIED, codes.shape[1]), dim=1).indices
        best, found = costs.detach().clone(), codes
        for place in places.T:
            change = torch.zeros_like(codes).scatter_(1, place[:, None], step.gather(1, place[:, None]))
            changed = torch.where(allowed, codes + change, codes)
            with torch.no_grad():
                costs = cost(changed)
            better = costs < best
            best, found = torch.where(better, costs, best), torch.where(better[:, None], changed, found)
        if torch.equal(found, codes):
            break
        codes = found
    return codes
