"""`randomness`: what a training draws depends on (seed, step, process) alone, and nobody else's numbers change."""

import itertools

import pytest
import torch
from torch import nn

from aecore import distributed
from aecore.data import Splits
from aecore.models import Autoencoder
from aecore.objectives import Reconstruction
from aecore.training import Observer, Plan, train
from aecore.training.randomness import own_randomness

CPU = torch.device("cpu")


def draws(seed, steps):
    """Return the first random number of each of those steps."""
    with own_randomness(CPU, seed) as chance:
        found = []
        for step in steps:
            chance.of_step(step)
            found.append(torch.rand(()).item())
    return found


def test_every_step_draws_other_numbers():
    assert len(set(draws(0, range(100)))) == 100


def test_every_seed_draws_other_numbers():
    assert len(set(itertools.chain(*(draws(seed, range(10)) for seed in range(10))))) == 100


def test_a_step_draws_the_same_whatever_came_before():
    assert draws(3, [7]) == draws(3, range(8))[7:]


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**63 - 1])
def test_every_seed_of_64_bits_draws(seed):
    assert len(set(draws(seed, range(10)))) == 10


def test_every_process_draws_other_numbers_in_every_step(monkeypatch):
    """Else the dropout of two processes would leave out the same values of different images."""
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    found = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        found += draws(0, range(30))
    assert len(set(found)) == 90


def test_afterwards_a_notebook_draws_what_it_would_have_drawn():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    draws(0, range(3))
    assert torch.equal(torch.rand(3), wanted)


class Noisy(nn.Module):
    """Adds noise to codes while it trains, and notes it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, z):
        noise = torch.rand_like(z)
        self.seen.append(noise.flatten()[0].item())
        return z + noise


def test_the_steps_of_a_training_and_its_validations_draw_other_numbers_each(splits):
    noisy = Noisy()
    model = Autoencoder((1, 4, 4), nn.Sequential(nn.Flatten(), nn.Linear(16, 3), noisy), nn.Sequential(
        nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4))
    ))  # fmt: skip
    noisy.seen.clear()
    ends = []  # of each epoch: a validation is seeded with the number of steps that are done, as the next step is
    train(
        model, Splits(splits.train, splits.valid, splits.test), Plan(epochs=2, batch_size=10), Reconstruction(), CPU,
        Observer(on_epoch=lambda history: ends.append(len(noisy.seen))),
    )  # fmt: skip
    steps = [number for place, number in enumerate(noisy.seen, start=1) if place not in ends]
    assert (len(noisy.seen), len(set(steps))) == (8, 6)  # two epochs of three steps and one validation
