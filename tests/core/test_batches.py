"""`Batches`: each image once, in an order that depends on (seed, epoch) alone; windows and mirrors on (seed, step)."""

import dataclasses
import itertools

import pytest
import torch

from aecore import distributed
from aecore.data import Images
from aecore.training import Batches, Plan, epoch_order
from aecore.training.batches import VALIDATION_BATCH, centre, to_floats, validation_batches

CPU = torch.device("cpu")


@pytest.fixture
def ten():
    """Ten images of one pixel, whose value is their number; their labels are 100 more."""
    return Images(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1), torch.arange(100, 110))


def of(images, size, **plan):
    return Batches(images, Plan(batch_size=size, **plan), CPU)


def values(x):
    """Return the bytes of a batch of floats."""
    return (x * 255).round().int()


def drawn(batches):
    """Return the numbers of the images, batch by batch; a batch is written over by the next one."""
    return [values(batch.x).flatten().tolist() for batch in batches]


def in_one(batches):
    return list(itertools.chain(*drawn(batches)))


def test_an_epoch_draws_each_image_once(ten):
    assert sorted(in_one(of(ten, 3).shuffled(0))) == list(range(10))


@pytest.mark.parametrize(("size", "counts"), [(4, [4, 4, 2]), (5, [5, 5]), (99, [10])])
def test_the_last_batch_holds_what_is_left(ten, size, counts):
    assert [len(batch.x) for batch in of(ten, size).shuffled(0)] == counts


@pytest.mark.parametrize(("size", "counts"), [(4, [4, 4, 2]), (5, [5, 5]), (99, [10])])
def test_a_batch_says_how_many_images_it_has_over_all_processes(ten, size, counts):
    assert [batch.count for batch in of(ten, size).shuffled(0)] == counts


@pytest.mark.parametrize(("size", "count"), [(1, 10), (3, 4), (5, 2), (10, 1), (11, 1)])
def test_the_length_is_the_number_of_batches(ten, size, count):
    assert len(of(ten, size)) == len(list(of(ten, size).shuffled(0))) == count


def test_the_same_seed_and_epoch_give_the_same_order(ten):
    first = drawn(of(ten, 3, seed=5).shuffled(2))
    torch.manual_seed(99)  # whatever the notebook does
    assert drawn(of(ten, 3, seed=5).shuffled(2)) == first


def test_the_order_does_not_depend_on_earlier_epochs(ten):
    batches = of(ten, 3)
    list(batches.shuffled(0))
    assert drawn(batches.shuffled(1)) == drawn(of(ten, 3).shuffled(1))


def test_the_order_does_not_depend_on_the_batch_size(ten):
    assert in_one(of(ten, 3).shuffled(1)) == in_one(of(ten, 4).shuffled(1))


def test_drawing_leaves_the_global_generator_alone(ten):
    before = torch.get_rng_state()
    list(of(ten, 3, flip=True).shuffled(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_two_of_thirty_epochs_have_the_same_order():
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(10)}
    assert len(orders) == 30


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**63 - 1])
def test_every_seed_of_64_bits_shuffles(seed):
    assert sorted(epoch_order(100, seed, 3).tolist()) == list(range(100))


def test_bytes_become_exactly_n_over_255():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert to_floats(pixels).tolist() == [torch.tensor(n / 255, dtype=torch.float32).item() for n in range(256)]


@pytest.mark.parametrize("augmented", [{}, {"flip": True}])
def test_the_images_are_not_changed(ten, augmented):
    before = ten.pixels.clone()
    list(of(ten, 3, **augmented).shuffled(0))
    assert torch.equal(ten.pixels, before)


@pytest.mark.parametrize(("size", "skip"), [(4, 0), (4, 1), (4, 2), (3, 2), (1, 7), (99, 0)])
def test_skip_goes_on_with_exactly_the_later_batches(ten, size, skip):
    assert drawn(of(ten, size).shuffled(5, skip=skip)) == drawn(of(ten, size).shuffled(5))[skip:]


@pytest.mark.parametrize("size", [3, 5, 10])
def test_after_the_last_batch_nothing_is_left(ten, size):
    """A training may have been interrupted there. An empty batch would be one more step of the optimiser."""
    batches = of(ten, size)
    assert list(batches.shuffled(0, skip=len(batches))) == []


def test_a_batch_is_written_over_the_one_before_it(ten):
    batches = of(ten, 5).shuffled(0)
    first = next(batches).x
    assert next(batches).x.data_ptr() == first.data_ptr()


def test_a_batch_of_an_epoch_is_what_indexing_gives(ten):
    order = epoch_order(10, 3, 7)
    second = next(of(ten, 4, seed=3).shuffled(7, skip=1))
    assert torch.equal(second.x, ten.pixels[order[4:8]] / 255)


class TestProgress:
    def test_is_the_share_of_all_steps_that_are_done(self, ten):
        """Two epochs of three batches: step number n has n sixths behind it."""
        batches = of(ten, 4, epochs=2)
        found = [batch.progress.item() for epoch in range(2) for batch in batches.shuffled(epoch)]
        assert found == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])  # float32

    def test_goes_on_after_an_interruption(self, ten):
        batch = next(of(ten, 4, epochs=2).shuffled(1, skip=1))
        assert batch.progress.item() == pytest.approx(4 / 6)  # float32

    def test_is_one_in_validation(self, ten):
        ((_, batch),) = validation_batches(ten, Plan(), CPU, labels=False)
        assert batch.progress.item() == 1

    def test_lies_on_the_device_as_a_scalar(self, ten):
        assert next(of(ten, 4).shuffled(0)).progress.shape == ()


class TestLabels:
    def test_stay_with_their_images(self, ten):
        batches = Batches(ten, Plan(batch_size=4), CPU, labels=True)
        pairs = [(batch.labels - 100).tolist() == values(batch.x).flatten().tolist() for batch in batches.shuffled(3)]
        assert pairs == [True] * 3

    @pytest.mark.parametrize("augmented", [{"flip": True}, {"crop": 1}])
    def test_stay_with_cropped_and_mirrored_images(self, ten, augmented):
        batches = Batches(ten, Plan(batch_size=4, **augmented), CPU, labels=True)
        pairs = [(batch.labels - 100).tolist() == values(batch.x).flatten().tolist() for batch in batches.shuffled(3)]
        assert pairs == [True] * 3

    def test_stay_with_their_images_in_validation(self, ten):
        ((_, batch),) = validation_batches(ten, Plan(), CPU, labels=True)
        assert batch.labels.tolist() == list(range(100, 110))

    def test_are_left_out_where_nobody_needs_them(self, ten):
        assert next(of(ten, 4).shuffled(0)).labels is None

    def test_that_are_needed_and_missing_are_asked_for(self, ten):
        unlabelled = dataclasses.replace(ten, labels=None, name="ten")
        with pytest.raises(ValueError, match="^data: this objective needs labels, and ten has none$"):
            Batches(unlabelled, Plan(), CPU, labels=True)


@pytest.fixture
def four_by_four():
    """One image of 4×4 pixels: 0, 10, 20 … 150 row by row."""
    return Images((torch.arange(16) * 10).to(torch.uint8).reshape(1, 1, 4, 4))


@pytest.mark.parametrize("part", ["training", "validation"])
class TestSize:
    def resized(self, images, part, size):
        if part == "training":
            return next(of(images, 1).shuffled(0, size=size)).x
        return next(validation_batches(images, Plan(), CPU, False, size))[1].x

    def test_gives_the_mean_of_each_area(self, four_by_four, part):
        """The upper left field of 2×2 holds 0, 10, 40 and 50: its mean is 25."""
        x = self.resized(four_by_four, part, 2)
        assert (x * 255).flatten().tolist() == pytest.approx([25, 45, 105, 125], rel=1e-6)  # float32

    def test_that_does_not_divide_takes_overlapping_areas(self, four_by_four, part):
        """From 4 to 3 pixels: areas of columns 0–1, 1–2 and 2–3. The upper left one holds 0, 10, 40 and 50 again."""
        x = self.resized(four_by_four, part, 3)
        assert (x[0, 0, 0] * 255).tolist() == pytest.approx([25, 35, 45], rel=1e-6)  # float32

    def test_that_is_the_images_own_changes_no_bit(self, four_by_four, part):
        assert torch.equal(self.resized(four_by_four, part, 4), four_by_four.floats())

    def test_leaves_the_images_as_they_are(self, four_by_four, part):
        before = four_by_four.pixels.clone()
        self.resized(four_by_four, part, 2)
        assert torch.equal(four_by_four.pixels, before)


class TestValidation:
    """In batches of 1000, in the order of the set."""

    def numbered(self, count):
        """Return images of two pixels that hold their number."""
        number = torch.arange(count)
        pixels = torch.stack([number // 256, number % 256], 1).to(torch.uint8)
        return Images(pixels.reshape(count, 1, 1, 2), labels=number)

    def numbers(self, batches):
        return [(values(batch.x)[:, 0, 0] @ torch.tensor([256, 1], dtype=torch.int32)).tolist() for _, batch in batches]

    def test_keeps_the_order_of_the_set(self):
        found = self.numbers(validation_batches(self.numbered(2345), Plan(), CPU, False))
        assert [len(batch) for batch in found] == [1000, 1000, 345]
        assert list(itertools.chain(*found)) == list(range(2345))

    def test_gives_each_image_its_label(self):
        batches = list(validation_batches(self.numbered(2345), Plan(), CPU, True))
        assert [batch.labels.tolist() for _, batch in batches] == self.numbers(batches)

    def test_counts_its_batches(self):
        found = validation_batches(self.numbered(2345), Plan(), CPU, False)
        assert [(number, batch.count) for number, batch in found] == [(0, 1000), (1, 1000), (2, 345)]

    def test_gives_every_batch_to_one_process(self, shares):
        parts = shares(2, lambda: validation_batches(self.numbered(2345), Plan(), CPU, False))
        assert [[number for number, _ in part] for part in parts] == [[0, 2], [1]]

    def test_shows_a_process_for_which_there_is_no_batch_the_first_image_without_a_number(self, shares):
        parts = shares(2, lambda: validation_batches(self.numbered(5), Plan(), CPU, False))
        assert [(number, len(batch.x)) for number, batch in parts[1]] == [(None, 1)]

    @pytest.mark.parametrize(
        ("crop", "wanted"),
        [(None, range(0, 160, 10)), (2, [50, 60, 90, 100]), (3, [0, 10, 20, 40, 50, 60, 80, 90, 100])],
    )
    def test_sees_the_centre(self, four_by_four, crop, wanted):
        """Of 4×4 pixels the middle 2×2; where the middle falls between pixels, the one up and left of it."""
        ((_, batch),) = validation_batches(four_by_four, Plan(crop=crop), CPU, False)
        assert values(batch.x).flatten().tolist() == list(wanted)

    def test_is_not_mirrored(self, four_by_four):
        seen = [values(next(validation_batches(four_by_four, Plan(flip=True), CPU, False))[1].x) for _ in range(9)]
        assert all(torch.equal(x, four_by_four.pixels.int()) for x in seen)

    def test_batches_are_of_the_size_that_these_tests_take_for_granted(self):
        assert VALIDATION_BATCH == 1000


def test_the_centre_of_an_image_that_is_no_square():
    pixels = torch.arange(24, dtype=torch.uint8).reshape(1, 1, 4, 6)
    assert centre(pixels, 2).flatten().tolist() == [8, 9, 14, 15]


@pytest.fixture
def shares(monkeypatch):
    """Return what each of so many processes gets of some batches: a list for each process."""

    def of(count, draw):
        parts = []
        for rank in range(count):
            monkeypatch.setattr(distributed, "world_size", lambda: count)
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts.append(list(draw()))
        monkeypatch.undo()
        return parts

    return of


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_all_processes_make_the_batch(ten, shares, count):
    parts = shares(count, lambda: drawn(of(ten, 4).shuffled(1)))
    together = [sorted(image for share in step for image in share) for step in zip(*parts, strict=True)]
    assert together == [sorted(batch) for batch in drawn(of(ten, 4).shuffled(1))]


def test_a_process_gets_nothing_of_a_batch_with_fewer_images_than_processes(ten, shares):
    parts = shares(3, lambda: drawn(of(ten, 4).shuffled(1)))  # the last batch has two images
    assert [len(part[-1]) for part in parts] == [1, 1, 0]


def test_the_labels_of_a_share_are_those_of_its_images(ten, shares):
    for part in shares(2, lambda: Batches(ten, Plan(batch_size=4, flip=True), CPU, labels=True).shuffled(1)):
        assert [(batch.labels - 100).tolist() for batch in part] == drawn(part)


@pytest.fixture
def places():
    """60 images of 5×6 pixels; each pixel holds the number of its place, 0 to 29, and a second channel its image's."""
    place = torch.arange(30, dtype=torch.uint8).reshape(1, 1, 5, 6).expand(60, -1, -1, -1)
    number = torch.arange(60, dtype=torch.uint8).reshape(60, 1, 1, 1).expand(-1, -1, 5, 6)
    return Images(torch.cat([place, number], 1).contiguous())


def windows(batches):
    """Return for each image of some batches its number, the place of its window and whether it is mirrored.

    Raises:
        AssertionError: it is no window of the image, mirrored or not.
    """
    found = []
    for batch in batches:
        for place, number in values(batch.x).numpy():
            mirrored = bool(place[0, 0] > place[0, -1])
            first = place[:, ::-1] if mirrored else place
            top, left = divmod(int(first[0, 0]), 6)
            height, width = place.shape
            whole = torch.arange(30).reshape(5, 6)[top : top + height, left : left + width]
            assert (first == whole.numpy()).all()
            assert (number == number[0, 0]).all()
            found.append((int(number[0, 0]), top, left, mirrored))
    return found


class TestCropAndFlip:
    def test_give_windows_of_that_size(self, places):
        assert next(of(places, 7, crop=3).shuffled(0)).x.shape == (7, 2, 3, 3)

    def test_without_a_crop_the_whole_image_is_mirrored(self, places):
        found = windows(of(places, 7, flip=True).shuffled(0))
        assert {(top, left) for _, top, left, _ in found} == {(0, 0)}

    def test_each_image_of_an_epoch_comes_once_all_channels_alike(self, places):
        numbers = [number for number, *_ in windows(of(places, 7, crop=3, flip=True).shuffled(2))]
        assert sorted(numbers) == list(range(60))

    def test_the_order_of_the_images_is_that_without_them(self, places):
        numbers = [number for number, *_ in windows(of(places, 7, crop=3, flip=True, seed=4).shuffled(2))]
        assert numbers == epoch_order(60, 4, 2).tolist()

    def test_without_flip_nothing_is_mirrored(self, places):
        assert not any(mirrored for *_, mirrored in windows(of(places, 7, crop=3).shuffled(0)))

    def test_every_window_comes_equally_often_mirrored_or_not(self, places):
        """3 × 4 windows of 3×3 pixels, each in two ways: 24 cases.

        Over 200 epochs of 60 images each is expected 500 times, with a standard deviation of √(500 · 23/24) = 22. The
        sum of squared deviations over 500, χ² with 23 degrees of freedom, is below 50 in 999 of 1000 cases.
        """
        batches = of(places, 60, crop=3, flip=True, epochs=200)
        counts = torch.zeros(3, 4, 2)
        for epoch in range(200):
            x = values(next(batches.shuffled(epoch)).x[:, 0])
            mirrored = x[:, 0, 0] > x[:, 0, 2]
            first = torch.where(mirrored, x[:, 0, 2], x[:, 0, 0])
            counts.index_put_((first // 6, first % 6, mirrored.int()), torch.ones(60), accumulate=True)
        assert ((counts - 500).square() / 500).sum() < 50

    def test_two_steps_draw_otherwise(self, places):
        batches = of(places, 60, crop=3, flip=True)
        one, other = (sorted(windows(batches.shuffled(epoch))) for epoch in (0, 1))
        assert one != other

    def test_two_seeds_draw_otherwise(self, places):
        one, other = (sorted(windows(of(places, 60, crop=3, flip=True, seed=seed).shuffled(0))) for seed in (0, 1))
        assert one != other

    def test_the_same_seed_and_step_draw_the_same(self, places):
        first = windows(of(places, 7, crop=3, flip=True, seed=5).shuffled(2))
        torch.manual_seed(99)  # whatever the notebook does
        assert windows(of(places, 7, crop=3, flip=True, seed=5).shuffled(2)) == first

    def test_after_an_interruption_they_go_on_with_exactly_the_later_draws(self, places):
        whole = windows(of(places, 7, crop=3, flip=True).shuffled(2))
        assert windows(of(places, 7, crop=3, flip=True).shuffled(2, skip=3)) == whole[21:]

    def test_what_a_seed_draws_is_the_same_for_ever(self, places):
        """A training that is interrupted under one version of aecore goes on under the next.

        Step 14 under seed 1, drawn with `torch.Generator().manual_seed(2**40 + 1_000_003 + 14)`: three rows with
        `randint(3, (4,))`, three columns with `randint(4, (4,))`, and mirrored where `rand(4) < 0.5`.
        """
        found = windows(of(places, 4, crop=3, flip=True, seed=1).shuffled(0, skip=14))
        assert found == [(48, 1, 1, True), (13, 1, 2, False), (3, 1, 3, False), (26, 0, 3, False)]

    @pytest.mark.parametrize("count", [2, 3])
    def test_a_processs_share_is_its_share_of_the_whole_batchs_draws(self, places, shares, count):
        def draw():
            return [windows([batch]) for batch in of(places, 7, crop=3, flip=True).shuffled(1)]

        whole = draw()
        for rank, part in enumerate(shares(count, draw)):
            assert part == [batch[rank::count] for batch in whole]

    def test_a_crop_is_taken_before_images_are_made_smaller(self, places):
        """The mean of the four places of a 2×2 window whose first is p: p, p + 1, p + 6, p + 7, so p + 3.5."""
        whole = windows(of(places, 60, crop=2).shuffled(0))
        x = next(of(places, 60, crop=2).shuffled(0, size=1)).x[:, 0].flatten() * 255
        assert x.tolist() == pytest.approx([6 * top + left + 3.5 for _, top, left, _ in whole], rel=1e-6)  # float32

    def test_a_crop_as_large_as_the_image_changes_nothing(self, ten):
        assert drawn(of(ten, 4, crop=1).shuffled(0)) == drawn(of(ten, 4).shuffled(0))
