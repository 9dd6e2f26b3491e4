"""Better codes for given pictures, found when a file is made: the decoder and its weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TRIED = 8  # changes that are tried for each picture in a round
Cost = Callable[[Tensor, Tensor], Tensor]


def searched(codes: Tensor, cost: Cost, rounds: int, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Return codes of lower cost, found by changing values by 1.

    An encoder gives the code of a picture in one go, and for pictures that it was not trained on it misses the best
    one; a search finds a better one (Campos et al. 2019 go along gradients). In each round the gradient of the cost
    tells for every value in which direction to change it. Of the changes that promise most some are tried, each alone.
    Then all of them that lower the cost are made, or the best one alone, whichever costs less. Codes that no change has
    made better are left alone from then on.

    Args:
        codes: whole numbers in floats, of shape (N, values).
        cost: of some codes, and of which of the N they are: one number for each code, with a gradient.
        rounds: at most so many.
        ends: the lowest and the highest that each value may be.
    """
    codes, active = codes.clone(), torch.arange(len(codes))
    for _ in range(rounds):
        found, better = _changed(codes[active], lambda some: cost(some, active), ends)  # noqa: B023
        codes[active] = found
        active = active[better]
        if not len(active):
            break
    return codes


def _changed(codes: Tensor, cost: Callable[[Tensor], Tensor], ends: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return codes after a round, and which of them have become better."""
    with torch.enable_grad():
        start = codes.detach().requires_grad_()
        costs = cost(start)
        (gradient,) = torch.autograd.grad(costs.sum(), start)
    step = -gradient.sign()
    step[(codes + step < ends[0]) | (codes + step > ends[1])] = 0
    places = (gradient.abs() * step.abs()).topk(min(TRIED, codes.shape[1]), dim=1).indices
    first = best = costs.detach()
    found = together = codes
    with torch.no_grad():
        for place in places.split(1, 1):
            change = torch.zeros_like(codes).scatter(1, place, step.gather(1, place))
            costs = cost(codes + change)
            together = together + change * (costs < first)[:, None]
            lower = costs < best
            best, found = torch.where(lower, costs, best), torch.where(lower[:, None], codes + change, found)
        found = torch.where((cost(together) < best)[:, None], together, found)
    return found, (found != codes).any(1)
