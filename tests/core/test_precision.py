"""A plan's bfloat16 is a permission: measured once, noted in the run, and no part of what the run is."""

import time

import pytest
import torch
from torch import nn

from aecore import experiment, machine
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.objectives import Batch, Classification, Reconstruction
from aecore.runs import store
from aecore.training import Batches, Plan, precision
from aecore.training.precision import chosen_precision, faster_precision

CPU = torch.device("cpu")
PLAN = Plan(epochs=1, batch_size=10, precision="bfloat16")


def linear():
    return LinearAutoencoder((1, 4, 4), 3)


@pytest.fixture
def batch(splits):
    return next(Batches(splits.train, PLAN, CPU).shuffled(0))


@pytest.fixture
def clock(monkeypatch):
    """Seconds that steps in each precision seem to take on a processor that knows both."""
    seconds = {"float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda step, batch: seconds[step.plan.precision])
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: True)
    return seconds


def faster(batch, model=None, objective=None):
    return faster_precision(model or linear(), objective or Reconstruction(), batch, PLAN)


@pytest.mark.parametrize(
    ("bfloat16", "wanted"), [(0.5, "bfloat16"), (0.94, "bfloat16"), (0.96, "float32"), (1.0, "float32"), (3, "float32")]
)
def test_bfloat16_is_taken_where_it_saves_a_twentieth_of_the_time(batch, clock, bfloat16, wanted):
    clock["bfloat16"] = bfloat16
    assert faster(batch) == wanted


@pytest.mark.parametrize(
    ("capability", "architecture", "wanted"),
    [
        ("AVX2", "x86_64", False), ("DEFAULT", "AMD64", False), ("AVX512", "x86_64", True), ("AVX512", "AMD64", True),
        ("DEFAULT", "arm64", True), ("SVE256", "aarch64", True),
    ],
)  # fmt: skip
def test_an_ordinary_processor_has_no_bfloat16(monkeypatch, capability, architecture, wanted):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(machine.platform, "machine", lambda: architecture)
    assert machine.has_bfloat16(CPU) is wanted


def test_without_the_instructions_nothing_is_tried(batch, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(precision, "_seconds", None)  # would be an error
    found = chosen_precision(linear(), Reconstruction(), batch, PLAN)
    assert found == ("float32", "this processor has no instructions for bfloat16")


def test_a_plan_for_float32_is_not_asked_again(batch, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", None)  # would be an error
    assert chosen_precision(linear(), Reconstruction(), batch, Plan()) == ("float32", None)


def test_measuring_leaves_the_model_as_it_was(batch):
    model = linear()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    faster(batch, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_measuring_leaves_the_images_as_they_were(batch):
    before = batch.x.clone()
    faster(batch)
    assert torch.equal(batch.x, before)


def test_measuring_runs_steps_in_both_precisions(batch, monkeypatch):
    seen = []
    monkeypatch.setattr(precision, "_seconds", lambda step, batch: seen.append(step.plan.precision) or 1.0)
    faster(batch)
    assert seen == ["float32", "bfloat16"] * (precision.ROUNDS + 1)


def test_measuring_is_done_with_the_trainings_own_objective_and_its_labels():
    """By what comes out of the network's layers."""
    seen = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].register_forward_hook(lambda layer, x, y: seen.append(y.dtype))
    x, labels = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 1])
    faster(Batch(x, labels, 3, torch.zeros(())), model, Classification())
    assert set(seen) == {torch.float32, torch.bfloat16}


def test_a_hopeless_bfloat16_is_not_measured_to_the_end(batch, monkeypatch):
    seen = []

    def seconds(step, batch):
        seen.append(1)
        return {"float32": 1.0, "bfloat16": 9.0}[step.plan.precision]

    monkeypatch.setattr(precision, "_seconds", seconds)
    assert (faster(batch), len(seen)) == ("float32", 4)


def test_the_first_round_which_warms_up_does_not_count(batch, monkeypatch):
    seconds = iter([1.0, 100.0] + [1.0, 0.5] * precision.ROUNDS)
    monkeypatch.setattr(precision, "_seconds", lambda step, batch: next(seconds))
    assert faster(batch) == "bfloat16"


def test_one_slow_moment_of_the_machine_decides_nothing(batch, monkeypatch):
    seconds = iter([1.0, 0.5] * precision.ROUNDS + [1.0, 100.0])
    monkeypatch.setattr(precision, "_seconds", lambda step, batch: next(seconds))
    assert faster(batch) == "bfloat16"


@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
class TestFit:
    @pytest.fixture(autouse=True)
    def _chosen(self, clock, choice):
        clock["bfloat16"] = 0.5 if choice == "bfloat16" else 2.0

    def test_trains_in_the_faster_one(self, splits, choice, monkeypatch):
        """By what a layer gives out while it trains, not by what is noted."""
        seen = []
        model = linear()
        model.encoder[1].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
        monkeypatch.setattr(precision, "faster_precision", lambda *arguments: choice)
        fit(model, splits, PLAN)
        assert set(seen) == {getattr(torch, choice)}

    def test_notes_it_in_the_run_and_leaves_the_plan_alone(self, splits, choice):
        run = fit(linear(), splits, PLAN)
        assert (run.history.precision, run.plan.precision) == (choice, "bfloat16")

    def test_is_the_same_run_whichever_it_was(self, splits, choice, monkeypatch):
        """A reader's processor may find the other one faster, and must not train for an hour because of it."""
        first = fit(linear(), splits, PLAN, name="00-a")
        monkeypatch.setattr(experiment, "train", None)  # would be an error
        found = fit(linear(), splits, PLAN, name="00-a")
        assert (found.fingerprint, found.history.precision) == (first.fingerprint, choice)

    def test_a_published_run_is_found_as_well(self, splits, choice, monkeypatch, tmp_path):
        first = fit(linear(), splits, PLAN, name="00-a")
        store.publish("00", [store.record("00-a", first.fingerprint)], ["00-a"], {})
        monkeypatch.setenv("AECORE_RUNS", str(tmp_path / "of a reader"))
        monkeypatch.setattr(experiment, "train", None)
        assert fit(linear(), splits, PLAN, name="00-a").history.precision == choice

    def test_a_training_goes_on_in_the_precision_that_it_began_with(self, splits, choice, clock, monkeypatch):
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", "0")
        with monkeypatch.context() as patch:
            patch.setattr(experiment._Progress, "step", stops)
            with pytest.raises(InterruptedError):
                fit(linear(), splits, PLAN.replace(epochs=3), name="00-a")
        patch_back = {"float32": clock["bfloat16"], "bfloat16": clock["float32"]}
        clock.update(patch_back)
        assert fit(linear(), splits, PLAN.replace(epochs=3), name="00-a").history.precision == choice

    def test_says_in_one_line_where_the_permission_is_not_used(self, splits, choice, caplog):
        fit(linear(), splits, PLAN, name="00-a")
        said = "00-a: computing in float32: bfloat16 is no faster here for this model" in caplog.text
        assert said is (choice == "float32")


def stops(progress, done):
    if done == 3:
        raise InterruptedError


def test_the_quick_profile_computes_in_float32(splits, monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "quick")
    monkeypatch.setattr(machine, "has_bfloat16", None)  # would be an error
    assert fit(linear(), splits, PLAN).history.precision == "float32"


def test_fit_leaves_the_global_generator_alone_while_it_measures(splits, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: True)
    model, before = linear(), torch.get_rng_state()
    fit(model, splits, PLAN)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_clock_is_read_after_the_device_has_finished(batch, monkeypatch):
    """A GPU is given its work and works on alone: the last values are read before the clock is."""
    order = []

    class Values:
        def sum(self):
            return self

        def item(self):
            order.append("read")

    monkeypatch.setattr(time, "perf_counter", lambda: order.append("clock") or 0.0)
    precision._seconds(lambda batch, lr: order.append("step") or Values(), batch)
    assert order == ["clock", *["step"] * precision.STEPS, "read", "clock"]
