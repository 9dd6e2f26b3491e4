"""`Plan`: the learning rate by hand, and a clear refusal for each setting."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from aecore import training
from aecore.training import Plan

WHOLE = ("epochs", "batch_size", "validate_every")


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


def rates_of_torch(lr, steps):
    """Return what PyTorch's scheduler gives each of so many steps."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()  # the scheduler warns where it is not called
        if len(rates) < steps:
            schedule.step()
    return rates


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 10, 100, 1001])
def test_one_cycle_is_that_of_pytorch(steps):
    plan = Plan(lr=3e-3, schedule="onecycle")
    # 1e-9: double, and the last rate is the small difference of two larger numbers.
    wanted = [pytest.approx(rate, rel=1e-9, abs=3e-3 * 1e-12) for rate in rates_of_torch(3e-3, steps)]
    assert [plan.lr_at(step, steps) for step in range(steps)] == wanted


@pytest.mark.parametrize(("step", "wanted"), [(0, 1 / 25), (1, 0.52), (2, 1.0), (9, 1 / 25 / 1e4)])
def test_one_cycle_by_hand(step, wanted):
    """Of ten steps the third has the peak; half way up, where the cosine is zero, the rate is (1 + 1/25) / 2."""
    assert Plan(lr=1.0, schedule="onecycle").lr_at(step, 10) == pytest.approx(wanted, rel=1e-9)  # double


@pytest.mark.parametrize("schedule", training.plan.SCHEDULES)
def test_a_single_step_has_a_rate(schedule):
    assert 0 < Plan(lr=1.0, schedule=schedule).lr_at(0, 1) <= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in WHOLE for value in (0, -1, 1.5, "3", None, True)],
        *[("lr", value) for value in (0, -1e-3, math.inf, math.nan, "1e-3", None)],
        *[(field, value) for field in ("patience", "crop") for value in (0, -1, 1.5, "3", True)],
        *[("seed", value) for value in (1.5, "0", None, True, 2**63, -(2**63) - 1)],
        *[(field, value) for field in ("schedule", "precision") for value in ("linear", "float16", None)],
        *[("flip", value) for value in (1, None, "yes")],
        *[("weight_decay", value) for value in (-0.1, math.inf, math.nan, None, True)],
        *[("clip_norm", value) for value in (0, -1, math.inf, math.nan, "1", True)],
        *[("ema", value) for value in (0, 1, 1.5, -0.1, math.nan, "0.9", True)],
    ],
)
def test_a_wrong_setting_is_named_and_shown(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: wanted .*, got {value!r}$"):
        Plan(**{field: value})


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Plan)])
def test_a_plan_cannot_be_changed_in_place(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Plan(), field, 1)


def test_replace_changes_what_is_named_and_nothing_else():
    assert Plan(epochs=3, lr=0.1).replace(seed=2) == Plan(epochs=3, lr=0.1, seed=2)


def test_replace_checks_what_it_changes():
    with pytest.raises(ValueError, match="epochs: wanted"):
        Plan().replace(epochs=0)


@pytest.mark.parametrize("seed", [-(2**63), 0, 2**63 - 1])
def test_every_seed_of_64_bits_is_taken(seed):
    assert Plan(seed=seed).seed == seed


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


@pytest.mark.parametrize(("epoch", "size"), [(0, 7), (1, 7), (2, 14), (4, 14), (5, 28), (9, 28)])
def test_each_epoch_has_the_size_that_began_last(epoch, size):
    assert Plan(epochs=10, sizes=((0, 7), (2, 14), (5, 28))).size_at(epoch) == size


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


LATER = {
    "validate_every": 2, "sizes": ((0, 14), (5, 28)), "crop": 7, "flip": True, "weight_decay": 0.01, "clip_norm": 1.0,
    "ema": 0.99,
}  # fmt: skip


def test_every_setting_is_one_of_the_first_or_a_later_one():
    assert {field.name for field in dataclasses.fields(Plan)} == Plan().as_dict().keys() | LATER.keys()


@pytest.mark.parametrize("name", LATER)
def test_a_later_setting_is_described_where_it_is_used(name):
    assert Plan(**{name: LATER[name]}).as_dict() == Plan().as_dict() | {name: LATER[name]}


@pytest.mark.parametrize("plan", [Plan(), Plan(patience=2, schedule="cosine", seed=9, **LATER)])
def test_a_plan_comes_back_from_its_description_in_json(plan):
    assert Plan(**json.loads(json.dumps(plan.as_dict()))) == plan


PUBLISHED = {
    line["name"]: line["plan"]
    for path in sorted((Path(training.__file__).parents[1] / "published").glob("*/runs.jsonl"))
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())
}


def test_there_are_published_runs_to_try():
    assert PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plan_of_a_published_run_is_described_as_it_was_when_it_was_stored(name):
    assert json.loads(json.dumps(Plan(**PUBLISHED[name]).as_dict())) == PUBLISHED[name]
