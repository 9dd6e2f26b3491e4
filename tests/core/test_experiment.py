"""`fit`: trained once, loaded afterwards, and nothing lost when the store fails."""

import errno
import json
import math
import os

import pytest
import torch
from torch import nn

from aecore import experiment, losses, profile, runs
from aecore.data import Splits
from aecore.experiment import fit
from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder, draw_weights
from aecore.training import Plan, TrainingDiverged

PLAN = Plan(epochs=2, batch_size=10)


def linear(code_size=3):
    return LinearAutoencoder((1, 4, 4), code_size)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def trainings(monkeypatch):
    """A list with one entry for each training that really took place."""
    seen, train = [], experiment.train
    monkeypatch.setattr(experiment, "train", lambda *a, **k: (seen.append(1), train(*a, **k))[1])
    return seen


class TestStart:
    def test_the_weights_depend_on_the_seed_alone(self, splits):
        models = [linear(), linear()]
        draw_weights(models[1], 99)
        for model in models:
            torch.rand(3)
            fit(model, splits, PLAN)
        assert equal(*map(state, models))

    def test_the_first_weights_are_those_of_the_seed(self, splits):
        model, wanted = linear(), linear()
        fit(model, splits, Plan(epochs=1, lr=1e-30, seed=4))  # a rate at which nothing moves
        draw_weights(wanted, 4)
        assert torch.equal(model.encoder[1].weight, wanted.encoder[1].weight)

    def test_given_weights_are_kept(self, splits):
        model = linear()
        draw_weights(model, 99)
        before = model.encoder[1].weight.clone()
        fit(model, splits, Plan(epochs=1, lr=1e-30), start="given")
        assert torch.equal(model.encoder[1].weight, before)

    def test_training_a_model_a_second_time_starts_anew(self, splits):
        once, twice = ConvAutoencoder((1, 4, 4), 3), ConvAutoencoder((1, 4, 4), 3)
        fit(once, splits, PLAN)
        for _ in range(2):
            fit(twice, splits, PLAN)
        assert equal(state(once), state(twice))

    def test_dropout_depends_on_the_seed_alone(self, splits):
        def model():
            decoder = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)))
            return Autoencoder((1, 4, 4), nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), decoder)

        models = [model(), model()]
        for one in models:
            torch.rand(3)  # the notebook goes on
            fit(one, splits, PLAN)
        assert equal(*map(state, models))

    def test_the_global_generator_is_left_alone(self, splits):
        model, before = linear(), torch.get_rng_state()
        fit(model, splits, PLAN)
        assert torch.equal(torch.get_rng_state(), before)


class TestSecondTime:
    @pytest.fixture
    def first(self, splits):
        return fit(linear(), splits, PLAN, name="00-a")

    def test_equal_settings_do_not_train(self, splits, first, monkeypatch):
        monkeypatch.setattr(experiment, "train", None)  # would be an error
        assert fit(linear(), splits, PLAN, name="00-a").fingerprint == first.fingerprint

    def test_the_loaded_weights_are_bit_equal(self, splits, first):
        assert equal(state(fit(linear(), splits, PLAN, name="00-a").model), state(first.model))

    def test_the_loaded_facts_are_equal(self, splits, first):
        assert fit(linear(), splits, PLAN, name="00-a").facts() == first.facts()

    def test_one_line_says_that_it_was_loaded(self, splits, first, caplog):
        fit(linear(), splits, PLAN, name="00-a")
        assert f"loaded 00-a: trained {first.date[:10]} on " in caplog.text

    @pytest.mark.parametrize(
        "change", [{"lr": 1e-4}, {"seed": 1}, {"epochs": 3}, {"batch_size": 9}], ids=lambda change: next(iter(change))
    )
    def test_another_plan_trains(self, splits, first, trainings, change):
        fit(linear(), splits, PLAN.but(**change), name="00-a")
        assert trainings

    def test_another_code_size_trains(self, splits, first, trainings):
        fit(linear(4), splits, PLAN, name="00-a")
        assert trainings

    def test_another_loss_trains(self, splits, first, trainings):
        fit(linear(), splits, PLAN, name="00-a", loss="mae")
        assert trainings

    def test_other_images_train(self, splits, first, trainings, noise):
        fit(linear(), Splits(noise(24, 1, 4, 4, seed=7), splits.valid, splits.test), PLAN, name="00-a")
        assert trainings

    def test_another_name_trains(self, splits, first, trainings):
        fit(linear(), splits, PLAN, name="00-b")
        assert trainings

    def test_a_loss_by_name_and_by_function_is_one(self, splits, first, trainings):
        fit(linear(), splits, PLAN, name="00-a", loss=losses.mse)
        assert not trainings

    def test_a_class_from_a_notebook_is_loaded(self, splits, trainings, in_a_cell):
        for _ in range(2):
            fit(in_a_cell(OWN).Mine(), splits, PLAN, name="00-own")
        assert len(trainings) == 1

    def test_a_class_from_a_notebook_trains_when_its_code_changes(self, splits, trainings, in_a_cell):
        for factor in (1, 2):
            fit(in_a_cell(OWN.replace("1 *", f"{factor} *")).Mine(), splits, PLAN, name="00-own")
        assert len(trainings) == 2

    def test_two_settings_under_one_name_do_not_push_each_other_out(self, splits, first, trainings):
        fit(linear(), splits, PLAN.but(seed=1), name="00-a")
        trainings.clear()
        fit(linear(), splits, PLAN, name="00-a")
        assert not trainings

    def test_retrain_trains(self, splits, first, trainings, monkeypatch):
        monkeypatch.setenv("AECORE_RETRAIN", "1")
        fit(linear(), splits, PLAN, name="00-a")
        assert trainings

    @pytest.mark.parametrize("word", ["0", ""])
    def test_retrain_switched_off_does_not(self, splits, first, trainings, monkeypatch, word):
        monkeypatch.setenv("AECORE_RETRAIN", word)
        fit(linear(), splits, PLAN, name="00-a")
        assert not trainings


OWN = """
import aecore as ae

class Mine(ae.models.LinearAutoencoder):
    def __init__(self):
        super().__init__((1, 4, 4), 3)

    def forward(self, x):
        return 1 * super().forward(x)
"""


def test_without_a_name_nothing_is_stored(splits):
    fit(linear(), splits, PLAN)
    assert not runs.home().exists()


def test_a_stored_run_is_two_files(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    folder = runs.own_folder("00-a", run.fingerprint)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]


def test_a_run_is_noted_in_the_journal(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert [fact["fingerprint"] for fact in profile.journal()] == [run.fingerprint]


class TestProfiles:
    def test_quick_cuts_the_epochs(self, splits, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        assert len(fit(linear(), splits, Plan(epochs=5)).history) == experiment.QUICK_EPOCHS < 5

    def test_quick_trains_no_more_than_the_plan_says(self, splits, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        assert len(fit(linear(), splits, Plan(epochs=1)).history) == 1

    def test_full_trains_as_many_as_the_plan_says(self, splits):
        assert len(fit(linear(), splits, Plan(epochs=5)).history) == 5

    def test_a_run_of_quick_is_not_taken_for_one_of_full(self, splits, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        fit(linear(), splits, Plan(epochs=5), name="00-a")
        monkeypatch.setenv("AECORE_PROFILE", "full")
        assert len(fit(linear(), splits, Plan(epochs=5), name="00-a").history) == 5


class TestRefuses:
    def test_images_of_another_shape(self, splits):
        with pytest.raises(ValueError, match=r"images of shape \(1, 4, 4\) do not fit .* made for \(1, 8, 8\)"):
            fit(LinearAutoencoder((1, 8, 8), 3), splits, PLAN)

    def test_a_set_without_training_images(self, splits):
        with pytest.raises(ValueError, match="data: noise has no training images; this set is for measuring only"):
            fit(linear(), Splits(splits.train[:0], splits.valid, splits.test), PLAN)

    def test_a_patience_without_validation_images(self, splits):
        with pytest.raises(ValueError, match="plan: a patience needs validation images"):
            fit(linear(), Splits(splits.train, splits.valid[:0], splits.test), PLAN.but(patience=1))

    def test_an_unknown_start(self, splits):
        with pytest.raises(ValueError, match="start: wanted 'seed' or 'given', got 'warm'"):
            fit(linear(), splits, PLAN, start="warm")

    def test_an_unknown_loss(self, splits):
        with pytest.raises(ValueError, match="loss: unknown name 'msse'. Did you mean 'mse'"):
            fit(linear(), splits, PLAN, loss="msse")

    @pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", "a b", "/tmp/a"])
    def test_a_name_that_is_no_folder_name(self, splits, name):
        with pytest.raises(ValueError, match="name: wanted letters, digits"):
            fit(linear(), splits, PLAN, name=name)

    def test_before_any_weight_is_drawn(self, splits):
        model = linear()
        before = state(model)
        with pytest.raises(ValueError, match="start: wanted"):
            fit(model, splits, PLAN, start="warm")
        assert equal(state(model), before)


class TestStoreThatFails:
    @pytest.fixture
    def closed(self, tmp_path, monkeypatch):
        """A store below a regular file: nobody can make a folder there, not even root."""
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("AECORE_RUNS", str(tmp_path / "file" / "runs"))
        return tmp_path / "file"

    def test_is_found_out_before_training(self, splits, closed, trainings):
        with pytest.raises(OSError, match="cannot write"):
            fit(linear(), splits, PLAN, name="00-a")
        assert not trainings

    def test_is_named_with_the_way_out(self, splits, closed):
        with pytest.raises(OSError, match=rf"{closed}.* environment variable AECORE_RUNS"):
            fit(linear(), splits, PLAN, name="00-a")

    def test_leaves_the_model_as_it_was(self, splits, closed):
        model = linear()
        before = state(model)
        with pytest.raises(OSError, match="cannot write"):
            fit(model, splits, PLAN, name="00-a")
        assert equal(state(model), before)

    def test_does_not_matter_without_a_name(self, splits, closed):
        assert len(fit(linear(), splits, PLAN).history) == 2

    @pytest.fixture
    def full_disk(self, monkeypatch):
        def save_file(weights, path):
            path.write_bytes(b"half of the weights")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("safetensors.torch.save_file", save_file)

    def test_a_disk_full_after_training_does_not_lose_the_run(self, splits, full_disk):
        twin = linear()
        fit(twin, splits, PLAN)
        assert equal(state(fit(linear(), splits, PLAN, name="00-a").model), state(twin))

    def test_a_disk_full_after_training_is_reported_with_the_folder(self, splits, full_disk, caplog):
        run = fit(linear(), splits, PLAN, name="00-a")
        folder = runs.own_folder("00-a", run.fingerprint)
        assert f"00-a could not be stored in {folder}: [Errno 28] No space left on device" in caplog.text

    def test_a_disk_full_after_training_leaves_no_half_file(self, splits, full_disk):
        run = fit(linear(), splits, PLAN, name="00-a")
        assert list(runs.own_folder("00-a", run.fingerprint).iterdir()) == []


class TestDamagedRun:
    @pytest.fixture(params=["weights.safetensors", "run.json"])
    def damaged(self, request, splits):
        run = fit(linear(), splits, PLAN, name="00-a")
        path = runs.own_folder("00-a", run.fingerprint) / request.param
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    def test_is_trained_again(self, splits, damaged, trainings):
        fit(linear(), splits, PLAN, name="00-a")
        assert trainings

    def test_is_reported_by_its_path(self, splits, damaged, caplog):
        fit(linear(), splits, PLAN, name="00-a")
        assert str(damaged) in caplog.text

    def test_is_whole_afterwards(self, splits, damaged, trainings):
        for _ in range(2):
            fit(linear(), splits, PLAN, name="00-a")
        assert len(trainings) == 1


class TestDivergence:
    def test_comes_through(self, splits):
        with pytest.raises(TrainingDiverged):
            fit(linear(), splits, Plan(epochs=3, lr=1e30), name="00-a")

    def test_stores_no_run(self, splits):
        with pytest.raises(TrainingDiverged):
            fit(linear(), splits, Plan(epochs=3, lr=1e30), name="00-a")
        assert not list(runs.home().rglob("*.*"))


def test_a_run_says_what_it_was_trained_on(splits):
    assert fit(linear(), splits, PLAN).data["fingerprint"] == splits.train.fingerprint


def test_a_run_without_validation_images_is_stored_and_loaded(splits, trainings):
    data = Splits(splits.train, splits.valid[:0], splits.test)
    histories = [fit(linear(), data, PLAN, name="00-a").history for _ in range(2)]
    assert (len(trainings), [math.isnan(h.valid_loss[0]) for h in histories]) == (1, [True, True])


def test_a_run_is_stored_under_its_fingerprint(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    facts = json.loads((runs.home() / f"00-a-{run.fingerprint[:12]}" / "run.json").read_text())
    assert facts["fingerprint"] == run.fingerprint


def test_training_can_be_silent(splits, capfd):
    fit(linear(), splits, PLAN)
    assert capfd.readouterr().err == ""


def test_training_shows_its_progress(splits, capfd, monkeypatch):
    monkeypatch.delenv("AECORE_PROGRESS")
    fit(linear(), splits, PLAN, name="00-a")
    assert "00-a:" in capfd.readouterr().err
