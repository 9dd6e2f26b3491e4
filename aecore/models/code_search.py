"""Better codes for given pictures, found when a file is made: the decoder and its weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TRIED = 6  # changes that are tried for each picture in a round
Cost = Callable[[Tensor, Tensor], Tensor]


def searched(codes: Tensor, cost: Cost, rounds: int, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Return codes of lower cost, found by changing one value at a time by 1.

    An encoder gives the code of a picture in one go, and for pictures that it was not trained on it misses the best
    one; a search finds a better one (Campos et al. 2019 go along gradients). In each round the gradient of the cost
    tells for every value in which direction to change it. Of the changes that promise most some are tried, and the best
    one is kept where the cost falls. Codes that no change has made better are left alone from then on.

    Args:
        codes: whole numbers in floats, of shape (N, values).
        cost: of some codes, and of which of the N they are: one number for each code, with a gradient.
        rounds: at most so many changes are made in each code.
        ends: the lowest and the highest that each value may be.
    """
    codes, active = codes.clone(), torch.arange(len(codes))
    for _ in range(rounds):
        found, better = _best_change(codes[active], lambda some: cost(some, active), ends)  # noqa: B023
        codes[active] = found
        active = active[better]
        if not len(active):
            break
    return codes


def _best_change(codes: Tensor, cost: Callable[[Tensor], Tensor], ends: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return codes with the best of the changes that were tried, and which of them have become better by it."""
    with torch.enable_grad():
        start = codes.detach().requires_grad_()
        costs = cost(start)
        (gradient,) = torch.autograd.grad(costs.sum(), start)
    changed = codes - gradient.sign()
    allowed = (changed >= ends[0]) & (changed <= ends[1])
    places = (gradient.abs() * allowed).topk(min(TRIED, codes.shape[1]), dim=1).indices
    best, found = costs.detach(), codes
    for place in places.split(1, 1):
        one = codes.scatter(1, place, torch.where(allowed, changed, codes).gather(1, place))
        with torch.no_grad():
            costs = cost(one)
        lower = costs < best
        best, found = torch.where(lower, costs, best), torch.where(lower[:, None], one, found)
    return found, (found != codes).any(1)
