"""`Batches`: each image once, in an order that depends on (seed, epoch) alone."""

import pytest
import torch

from aecore import distributed
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


@pytest.mark.parametrize(("size", "skip"), [(4, 0), (4, 1), (4, 2), (3, 2), (1, 7), (99, 0)])
def test_skip_goes_on_with_exactly_the_later_batches(ten, size, skip):
    whole = [batch.clone() for batch in Batches(ten, size, CPU).shuffled(5)]
    rest = [batch.clone() for batch in Batches(ten, size, CPU).shuffled(5, skip=skip)]
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[skip:]]


@pytest.mark.parametrize("size", [3, 5, 10])
def test_after_the_last_batch_nothing_is_left(ten, size):
    """A training may have been interrupted there. An empty batch would be one more step of the optimiser."""
    batches = Batches(ten, size, CPU)
    assert list(batches.shuffled(0, skip=len(batches))) == []


@pytest.mark.parametrize(("size", "counts"), [(4, [4, 4, 2]), (5, [5, 5]), (99, [10])])
def test_count_is_the_number_of_images_in_each_batch(ten, size, counts):
    batches = Batches(ten, size, CPU)
    assert [batches.count(step) for step in range(len(batches))] == counts


def test_a_batch_is_written_over_the_one_before_it(ten):
    batches = Batches(ten, 5, CPU).shuffled(0)
    first = next(batches)
    assert next(batches).data_ptr() == first.data_ptr()


def test_a_batch_of_an_epoch_is_what_indexing_gives(ten):
    order = epoch_order(10, 3, 7)
    second = next(Batches(ten, 4, CPU, seed=3).shuffled(7, skip=1))
    assert torch.equal(second, ten.pixels[order[4:8]] / 255)


@pytest.fixture
def four_by_four():
    """One image of 4×4 pixels: 0, 10, 20 … 150 row by row."""
    return Images((torch.arange(16) * 10).to(torch.uint8).reshape(1, 1, 4, 4))


@pytest.mark.parametrize("draw", ["shuffled", "in_order"])
def test_edge_gives_the_mean_of_each_area(four_by_four, draw):
    """The upper left field of 2×2 holds 0, 10, 40 and 50: its mean is 25."""
    batches = Batches(four_by_four, 1, CPU)
    (x,) = list(batches.shuffled(0, edge=2)) if draw == "shuffled" else list(batches.in_order(edge=2))
    wanted = [[25 / 255, 45 / 255], [105 / 255, 125 / 255]]
    assert [row.tolist() for row in x[0, 0]] == [pytest.approx(row, rel=1e-6) for row in wanted]  # float32


def test_edge_of_a_size_that_does_not_divide_takes_overlapping_areas(four_by_four):
    """From 4 to 3 pixels: areas of columns 0–1, 1–2 and 2–3. The upper left one holds 0, 10, 40 and 50 again."""
    (x,) = Batches(four_by_four, 1, CPU).in_order(edge=3)
    assert (x[0, 0, 0] * 255).tolist() == pytest.approx([25, 35, 45], rel=1e-6)  # float32


def test_an_edge_of_the_images_own_size_changes_no_bit(four_by_four):
    (x,) = Batches(four_by_four, 1, CPU).in_order(edge=4)
    assert torch.equal(x, four_by_four.floats())


def test_images_that_were_made_smaller_are_not_changed_themselves(four_by_four):
    before = four_by_four.pixels.clone()
    list(Batches(four_by_four, 1, CPU).shuffled(0, edge=2))
    assert torch.equal(four_by_four.pixels, before)


@pytest.fixture
def shares(monkeypatch):
    """Return what each of so many processes gets of some batches: one list of lists of image numbers for each."""

    def of(count, draw):
        parts = []
        for rank in range(count):
            monkeypatch.setattr(distributed, "world_size", lambda: count)
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts.append([(x.flatten() * 255).round().int().tolist() for x in draw()])
        monkeypatch.undo()
        return parts

    return of


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_all_processes_make_the_batch(ten, shares, count):
    parts = shares(count, lambda: Batches(ten, 4, CPU).shuffled(1))
    whole = [(x.flatten() * 255).round().int().tolist() for x in Batches(ten, 4, CPU).shuffled(1)]
    together = [sorted(image for share in step for image in share) for step in zip(*parts, strict=True)]
    assert together == [sorted(batch) for batch in whole]


def test_a_process_gets_nothing_of_a_batch_with_fewer_images_than_processes(ten, shares):
    parts = shares(3, lambda: Batches(ten, 4, CPU).shuffled(1))  # the last batch has two images
    assert [len(part[-1]) for part in parts] == [1, 1, 0]


def test_in_order_every_image_goes_to_one_process(ten, shares):
    parts = shares(2, lambda: Batches(ten, 4, CPU).in_order())
    assert parts == [[[0, 1, 2, 3], [8, 9]], [[4, 5, 6, 7]]]
