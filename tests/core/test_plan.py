"""`Plan`: the learning rate by hand, and a clear refusal for each setting."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from aecore import training
from aecore.training import Plan


@pytest.mark.parametrize("step", [0, 50, 999])
def test_a_constant_rate_never_changes(step):
    assert Plan(lr=2e-3).lr_at(step, 1000) == 2e-3


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (0, 0.01 * 1),  # first of 100 steps of warming up
        (49, 0.5 * 0.5 * (1 + math.cos(math.pi * 49 / 1000))),
        (99, 1 * 0.5 * (1 + math.cos(math.pi * 99 / 1000))),  # warm
        (500, 0.5),  # half way: cos 90° = 0
        (750, 0.5 * (1 - math.sqrt(0.5))),  # cos 135°
        (999, 0.5 * (1 - math.cos(math.pi / 1000))),  # all but zero: 2.5e-6
    ],
)
def test_a_cosine_goes_up_over_100_steps_and_down_to_zero(step, wanted):
    assert Plan(lr=1.0, schedule="cosine").lr_at(step, 1000) == pytest.approx(wanted, rel=1e-9)  # double


def test_a_cosine_is_in_proportion_to_lr():
    assert Plan(lr=3e-3, schedule="cosine").lr_at(500, 1000) == pytest.approx(1.5e-3)


def test_no_step_of_a_cosine_is_without_a_rate():
    assert min(Plan(schedule="cosine").lr_at(step, 7) for step in range(7)) > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in ("epochs", "batch_size") for value in (0, -1, 1.5, "3", None, True)],
        *[("lr", value) for value in (0, -1e-3, math.inf, math.nan, "1e-3", None)],
        *[("patience", value) for value in (0, -1, 1.5, "3", True)],
        *[("seed", value) for value in (1.5, "0", None, True)],
        *[(field, value) for field in ("schedule", "precision") for value in ("linear", "float16", None)],
    ],
)
def test_a_wrong_setting_is_named_and_shown(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: wanted .*, got {value!r}$"):
        Plan(**{field: value})


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Plan)])
def test_a_plan_cannot_be_changed_in_place(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Plan(), field, 1)


def test_but_changes_what_is_named_and_nothing_else():
    assert Plan(epochs=3, lr=0.1).replace(seed=2) == Plan(epochs=3, lr=0.1, seed=2)


def test_but_checks_what_it_changes():
    with pytest.raises(ValueError, match="epochs: wanted"):
        Plan().replace(epochs=0)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_a_wrong_interval_of_validation_is_named_and_shown(value):
    with pytest.raises(ValueError, match=f"^validate_every: wanted a whole number of at least 1, got {value!r}$"):
        Plan(validate_every=value)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        (3, r"pairs \(first epoch, pixels\) as in \(\(0, 14\), \(5, 28\)\), got 3"),
        ((14, 28), r"pairs \(first epoch, pixels\) .*, got \(14, 28\)"),
        (((0, 14, 1),), r"pairs .*, got \(\(0, 14, 1\),\)"),
        (None, r"pairs .*, got None"),
        (((0, 14.0),), r"whole numbers, pixels of at least 1, got \(\(0, 14.0\),\)"),
        (((0, 0),), r"whole numbers, pixels of at least 1, got \(\(0, 0\),\)"),
        (((0, True),), r"whole numbers"),
        (((1, 14),), r"first epochs that begin with 0, rise, and stay below 10, got \[1\]"),
        (((0, 14), (0, 28)), r"first epochs that begin with 0, rise, .* got \[0, 0\]"),
        (((0, 7), (5, 14), (3, 28)), r"first epochs that begin with 0, rise, .* got \[0, 5, 3\]"),
        (((0, 14), (10, 28)), r"first epochs that .* stay below 10, got \[0, 10\]"),
    ],
)
def test_wrong_sizes_are_named_and_shown(sizes, wanted):
    with pytest.raises(ValueError, match=f"^sizes: wanted {wanted}"):
        Plan(epochs=10, sizes=sizes)


@pytest.mark.parametrize(("epoch", "edge"), [(0, 7), (1, 7), (2, 14), (4, 14), (5, 28), (9, 28)])
def test_each_epoch_has_the_size_that_began_last(epoch, edge):
    assert Plan(epochs=10, sizes=((0, 7), (2, 14), (5, 28))).size_at(epoch) == edge


def test_without_sizes_images_stay_as_they_come():
    assert Plan().size_at(3) is None


def test_sizes_from_json_make_the_same_plan():
    """JSON has lists where Python has tuples."""
    assert Plan(sizes=[[0, 14], [5, 28]]) == Plan(sizes=((0, 14), (5, 28)))


@pytest.mark.parametrize(
    ("every", "after"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [1, 3, 5, 6]), (3, [2, 5, 6]), (7, [6]), (99, [6])]
)
def test_validation_comes_after_every_so_many_epochs_and_the_last(every, after):
    plan = Plan(epochs=7, validate_every=every)
    assert [epoch for epoch in range(7) if plan.validates_after(epoch)] == after


def test_a_plan_is_described_as_before_it_had_its_later_settings():
    """Published runs are found by this description. If it changes, they are all trained again."""
    assert Plan().as_dict() == {
        "epochs": 10, "batch_size": 128, "lr": 1e-3, "schedule": "constant", "patience": None,
        "precision": "float32", "seed": 0,
    }  # fmt: skip


def test_a_later_setting_is_described_where_it_is_used():
    found = Plan(validate_every=2, sizes=((0, 14), (5, 28))).as_dict()
    assert (found["validate_every"], found["sizes"]) == (2, ((0, 14), (5, 28)))


@pytest.mark.parametrize(
    "plan", [Plan(), Plan(patience=2, schedule="cosine", validate_every=3, sizes=((0, 2), (1, 4)), seed=9)]
)
def test_a_plan_comes_back_from_its_description_in_json(plan):
    assert Plan(**json.loads(json.dumps(plan.as_dict()))) == plan


PUBLISHED = sorted((Path(training.__file__).parents[1] / "published").glob("*/run.json"))


def test_there_are_published_runs_to_try():
    assert PUBLISHED


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_the_plan_of_a_published_run_is_described_as_it_was_when_it_was_stored(path):
    kept = json.loads(path.read_text(encoding="utf-8"))["plan"]
    assert Plan(**kept).as_dict() == kept
