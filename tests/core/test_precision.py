"""Precision "auto": measured once, stored in the run, and not measured again."""

import json
import time

import pytest
import torch

from aecore import experiment, losses, runs
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.training import Plan, faster_precision, precision, train, validation_loss

CPU = torch.device("cpu")
PLAN = Plan(epochs=1, batch_size=10, precision="auto")


def linear():
    return LinearAutoencoder((1, 4, 4), 3)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that steps in each precision seem to take: `clock["bfloat16"] = 0.5`."""
    seconds = {"float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda update, x: seconds[update.plan.precision])
    return seconds


@pytest.mark.parametrize(
    ("bfloat16", "wanted"), [(0.5, "bfloat16"), (0.94, "bfloat16"), (0.96, "float32"), (1.0, "float32"), (3, "float32")]
)
def test_bfloat16_is_taken_where_it_saves_a_twentieth_of_the_time(splits, clock, bfloat16, wanted):
    clock["bfloat16"] = bfloat16
    assert faster_precision(linear(), splits.train, PLAN, losses.mse, CPU) == wanted


def test_measuring_leaves_the_model_as_it_was(splits):
    model = linear()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    faster_precision(model, splits.train, PLAN, losses.mse, CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_measuring_runs_steps_in_both_precisions(splits, monkeypatch):
    """By the clock itself: nothing is faked but what it shows."""
    seen, seconds = [], precision._seconds
    monkeypatch.setattr(precision, "_seconds", lambda up, x: seen.append(up.plan.precision) or seconds(up, x))
    faster_precision(linear(), splits.train, PLAN, losses.mse, CPU)
    assert seen == ["float32", "bfloat16"] * (precision.ROUNDS + 1)


def test_the_first_round_which_warms_up_does_not_count(splits, monkeypatch):
    seconds = iter([1.0, 100.0] + [1.0, 0.5] * precision.ROUNDS)
    monkeypatch.setattr(precision, "_seconds", lambda update, x: next(seconds))
    assert faster_precision(linear(), splits.train, PLAN, losses.mse, CPU) == "bfloat16"


def test_one_slow_moment_of_the_machine_decides_nothing(splits, monkeypatch):
    seconds = iter([1.0, 0.5] * precision.ROUNDS + [1.0, 100.0])
    monkeypatch.setattr(precision, "_seconds", lambda update, x: next(seconds))
    assert faster_precision(linear(), splits.train, PLAN, losses.mse, CPU) == "bfloat16"


@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
class TestFit:
    @pytest.fixture(autouse=True)
    def _chosen(self, clock, choice):
        clock["bfloat16"] = 0.5 if choice == "bfloat16" else 2.0

    def test_trains_in_the_faster_one(self, splits, choice):
        assert fit(linear(), splits, PLAN).plan.precision == choice

    def test_gives_the_weights_of_a_plan_that_names_it(self, splits, choice):
        one, other = linear(), linear()
        fit(one, splits, PLAN)
        fit(other, splits, PLAN.but(precision=choice))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    def test_stores_the_choice(self, splits, choice):
        run = fit(linear(), splits, PLAN, name="00-a")
        facts = json.loads((runs.own_folder("00-a", run.fingerprint) / "run.json").read_text())
        assert facts["plan"]["precision"] == choice

    def test_finds_the_run_again_without_measuring(self, splits, choice, monkeypatch):
        first = fit(linear(), splits, PLAN, name="00-a")
        monkeypatch.setattr(experiment, "faster_precision", None)  # would be an error
        assert fit(linear(), splits, PLAN, name="00-a").fingerprint == first.fingerprint

    def test_finds_a_published_run_without_measuring(self, splits, choice, monkeypatch, tmp_path):
        """A reader's processor may find the other one faster, and must not train for an hour because of it."""
        first = fit(linear(), splits, PLAN, name="00-a")
        runs.publish("00-a", first.fingerprint)
        monkeypatch.setenv("AECORE_RUNS", str(tmp_path / "of a reader"))
        monkeypatch.setattr(experiment, "faster_precision", None)  # would be an error
        monkeypatch.setattr(experiment, "train", None)
        assert fit(linear(), splits, PLAN, name="00-a").fingerprint == first.fingerprint

    def test_goes_on_with_a_training_that_was_begun_in_it(self, splits, choice, clock, monkeypatch):
        """Measured again after an interruption, the other one might win, and training would begin anew."""
        with monkeypatch.context() as patch:
            patch.setattr(experiment, "train", stops)
            with pytest.raises(InterruptedError):
                fit(linear(), splits, PLAN, name="00-a")
        clock.update(float32=clock["bfloat16"], bfloat16=clock["float32"])
        assert fit(linear(), splits, PLAN, name="00-a").plan.precision == choice

    def test_says_what_it_found(self, splits, choice, caplog):
        fit(linear(), splits, PLAN)
        assert f"precision: {choice} is faster here" in caplog.text


def stops(*args, **options):
    raise InterruptedError


def test_fit_leaves_the_global_generator_alone_while_it_measures(splits):
    model, before = linear(), torch.get_rng_state()
    fit(model, splits, PLAN)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("call", ["train", "validation_loss"])
def test_the_loop_itself_wants_a_precision_that_is_settled(splits, call):
    with pytest.raises(ValueError, match="precision: 'auto' is for fit, which measures; here wanted 'float32' or"):
        if call == "train":
            train(linear(), splits.train, splits.valid, PLAN, losses.mse, CPU)
        else:
            validation_loss(linear(), splits.valid, losses.mse, PLAN, CPU)


def test_the_clock_is_read_after_the_device_has_finished(splits, monkeypatch):
    """A GPU is given its work and works on alone: the last loss is read before the clock is."""
    order = []

    class Value:
        def item(self):
            order.append("read")

    monkeypatch.setattr(time, "perf_counter", lambda: order.append("clock") or 0.0)
    precision._seconds(lambda x, lr, count: order.append("step") or Value(), torch.zeros(2, 1, 4, 4))
    assert order == ["clock", *["step"] * precision.STEPS, "read", "clock"]
