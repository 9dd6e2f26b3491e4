"""`Batches`: each image once, in an order that depends on (seed, epoch) alone."""

import pytest
import torch

from aecore.data import Images
from aecore.training import Batches, epoch_order
from aecore.training.batches import to_floats

CPU = torch.device("cpu")


@pytest.fixture
def ten():
    """Ten images of one pixel, whose value is their number."""
    return Images(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1))


def drawn(batches):
    return (torch.cat([batch.clone() for batch in batches]).flatten() * 255).round().int().tolist()


def test_an_epoch_draws_each_image_once(ten):
    assert sorted(drawn(Batches(ten, 3, CPU).shuffled(0))) == list(range(10))


def test_the_last_batch_is_smaller(ten):
    assert [len(batch) for batch in Batches(ten, 4, CPU).shuffled(0)] == [4, 4, 2]


def test_a_batch_larger_than_the_set_holds_the_set(ten):
    assert [len(batch) for batch in Batches(ten, 99, CPU).shuffled(0)] == [10]


@pytest.mark.parametrize(("size", "count"), [(1, 10), (3, 4), (5, 2), (10, 1), (11, 1)])
def test_the_length_is_the_number_of_batches(ten, size, count):
    assert len(Batches(ten, size, CPU)) == len(list(Batches(ten, size, CPU).shuffled(0))) == count


def test_the_same_seed_and_epoch_give_the_same_order(ten):
    first = drawn(Batches(ten, 3, CPU, seed=5).shuffled(2))
    torch.manual_seed(99)  # whatever the notebook does
    assert drawn(Batches(ten, 3, CPU, seed=5).shuffled(2)) == first


def test_the_order_does_not_depend_on_earlier_epochs(ten):
    batches = Batches(ten, 3, CPU)
    list(batches.shuffled(0))
    assert drawn(batches.shuffled(1)) == drawn(Batches(ten, 3, CPU).shuffled(1))


def test_the_order_does_not_depend_on_the_batch_size(ten):
    assert drawn(Batches(ten, 3, CPU).shuffled(1)) == drawn(Batches(ten, 4, CPU).shuffled(1))


def test_drawing_leaves_the_global_generator_alone(ten):
    before = torch.get_rng_state()
    list(Batches(ten, 3, CPU).shuffled(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_two_of_thirty_epochs_have_the_same_order():
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(10)}
    assert len(orders) == 30


def test_in_order_keeps_the_order_of_the_set(ten):
    assert drawn(Batches(ten, 3, CPU).in_order()) == list(range(10))


def test_bytes_become_exactly_n_over_255():
    values = torch.arange(256, dtype=torch.uint8)
    assert to_floats(values).tolist() == [torch.tensor(n / 255, dtype=torch.float32).item() for n in range(256)]


def test_the_images_are_not_changed(ten):
    before = ten.pixels.clone()
    list(Batches(ten, 3, CPU).shuffled(0))
    assert torch.equal(ten.pixels, before)
