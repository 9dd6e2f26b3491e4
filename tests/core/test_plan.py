"""`Plan`: the learning rate by hand, and a clear refusal for each setting."""

import dataclasses
import math

import pytest

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
    assert Plan(epochs=3, lr=0.1).but(seed=2) == Plan(epochs=3, lr=0.1, seed=2)


def test_but_checks_what_it_changes():
    with pytest.raises(ValueError, match="epochs: wanted"):
        Plan().but(epochs=0)
