"""`fit`: trained once, loaded afterwards, and nothing lost when the store fails."""

import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from torch import nn

from aecore import config, experiment, journal, losses, metrics, runs
from aecore.data import Splits
from aecore.experiment import fit
from aecore.models import (
    Autoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    StridedConvAutoencoder,
    init_weights,
)
from aecore.models.frozen import Frozen
from aecore.objectives import Classification, Distillation, Reconstruction
from aecore.runs import WeightsNotPublished, store
from aecore.training import Checkpoints, Plan, TrainingDiverged

PLAN = Plan(epochs=2, batch_size=10)


def linear(code_size=3):
    return LinearAutoencoder((1, 4, 4), code_size)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def names(folder):
    """The files of a folder that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")


def published(run, weights=False, **changes):
    """Publish a stored run, maybe with other facts, and remove one's own, as a reader has it."""
    found = store.record(run.name, run.fingerprint)
    found.facts.update(changes)
    store.publish(run.name[:2], [found], [run.name] if weights else [], {})
    shutil.rmtree(config.runs_root())


@pytest.fixture
def trainings(monkeypatch):
    """A list with one entry for each training that really took place."""
    seen, train = [], experiment.train
    monkeypatch.setattr(experiment, "train", lambda *a, **k: (seen.append(1), train(*a, **k))[1])
    return seen


class TestStart:
    def test_the_weights_depend_on_the_seed_alone(self, splits):
        models = [linear(), linear()]
        init_weights(models[1], 99)
        for model in models:
            torch.rand(3)
            fit(model, splits, PLAN)
        assert equal(*map(state, models))

    def test_the_first_weights_are_those_of_the_seed(self, splits):
        model, wanted = linear(), linear()
        fit(model, splits, Plan(epochs=1, lr=1e-30, seed=4))  # a rate at which nothing moves
        init_weights(wanted, 4)
        assert torch.equal(model.encoder[1].weight, wanted.encoder[1].weight)

    def test_given_weights_are_kept(self, splits):
        model = linear()
        init_weights(model, 99)
        before = model.encoder[1].weight.clone()
        fit(model, splits, Plan(epochs=1, lr=1e-30), init_from="model")
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
        fit(linear(), splits, PLAN.replace(**change), name="00-a")
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
        fit(linear(), splits, PLAN.replace(seed=1), name="00-a")
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
    assert not config.runs_root().exists()


def test_a_stored_run_is_two_files(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert names(runs.own_folder("00-a", run.fingerprint)) == ["run.json", "weights.safetensors"]


def test_a_run_is_noted_in_the_journal(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert [(fact["fingerprint"], fact["other_data"]) for fact in journal.entries()] == [(run.fingerprint, False)]


@pytest.fixture
def numbers_published(splits):
    """A run whose numbers were published without its weights, as a reader without runs of their own has it."""
    run = fit(linear(), splits, PLAN, name="00-a")
    scores = run.score(splits.test)
    published(run)
    journal.begin()
    return scores


def test_without_weights_a_published_run_that_has_none_is_taken(splits, numbers_published):
    assert fit(linear(), splits, PLAN, name="00-a", weights=False).score(splits.test).mse == numbers_published.mse
    assert not config.runs_root().exists()


def test_a_published_run_with_another_plan_is_named(splits, numbers_published, caplog):
    fit(linear(), splits, PLAN.replace(lr=1e-4), name="00-a", weights=False)
    assert caplog.messages.count("00-a is published, but for another plan") == 1


def test_whoever_needs_the_weights_trains(splits, numbers_published):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert run.model.encode(splits.test.floats()).shape == (len(splits.test), 3)


class TestProfiles:
    @pytest.fixture
    def quick(self, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")

    def test_quick_trains_two_steps(self, splits, quick, steps):
        assert len(fit(linear(), splits, Plan(epochs=5, batch_size=4)).history) == 1
        assert steps == [1, 2]

    def test_quick_trains_on_16_images_at_a_time(self, noise, quick):
        seen = []
        model = linear()
        model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        fit(model, Splits(noise(100, 1, 4, 4), noise(50, 1, 4, 4), noise(8, 1, 4, 4)), Plan(batch_size=64))
        assert seen == [16, 16, 16]  # two steps and validation

    def test_quick_computes_in_float32(self, splits, quick):
        assert fit(linear(), splits, Plan(precision="bfloat16")).history.precision == "float32"

    def test_quick_stores_nothing(self, splits, quick, trainings):
        for _ in range(2):
            fit(linear(), splits, PLAN, name="00-a")
        assert (len(trainings), config.runs_root().exists()) == (2, False)

    def test_quick_looks_for_nothing(self, splits, numbers_published, quick, trainings):
        fit(linear(), splits, PLAN, name="00-a", weights=False)
        assert trainings

    def test_a_run_of_quick_is_noted_for_the_page(self, splits, quick):
        fit(linear(), splits, PLAN, name="00-a")
        assert [fact["name"] for fact in journal.entries()] == ["00-a"]

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
            fit(linear(), Splits(splits.train, splits.valid[:0], splits.test), PLAN.replace(patience=1))

    @pytest.mark.parametrize("start", ["warm", 5, ["model"], {"encoder": "02-conv"}, True, LinearAutoencoder], ids=repr)
    def test_an_unknown_start(self, splits, start):
        with pytest.raises(TypeError, match=r"init_from: wanted a run, runs by part {'encoder': run}, or 'model', got"):
            fit(linear(), splits, PLAN, init_from=start)

    @pytest.mark.parametrize(("part", "images"), [("train", torch.zeros(9, 1, 4, 4)), ("valid", None)])
    def test_a_part_of_the_data_that_is_none(self, splits, part, images):
        data = Splits(**{**vars(splits), part: images})
        with pytest.raises(TypeError, match=f"data: wanted Images as its {part}, got .*; ae.from_array makes them"):
            fit(linear(), data, PLAN)

    def test_one_part_of_the_data(self, splits):
        with pytest.raises(TypeError, match="data: wanted Splits, got Images; fit wants all three parts, as load"):
            fit(linear(), splits.train, PLAN)

    @pytest.mark.parametrize("plan", [{"epochs": 5}, 5, Plan, "quick"], ids=repr)
    def test_a_plan_that_is_none(self, splits, plan):
        with pytest.raises(TypeError, match=r"plan: wanted a Plan, such as ae.Plan\(epochs=5\), got "):
            fit(linear(), splits, plan)

    @pytest.mark.parametrize("model", [LinearAutoencoder, None, "linear", abs], ids=str)
    def test_a_model_that_is_none(self, splits, model):
        with pytest.raises(TypeError, match=r"model: wanted a torch.nn.Module, got "):
            fit(model, splits, PLAN)

    def test_a_metric_as_a_loss(self, splits):
        with pytest.raises(ValueError, match=r"loss: wanted mse\(x, x_hat\) .* tensor of shape \(10,\); take its mean"):
            fit(linear(), splits, PLAN, loss=metrics.mse)

    @pytest.mark.parametrize(("value", "found"), [(0.5, "float"), (None, "NoneType"), ([1], "list")])
    def test_a_loss_that_returns_no_tensor(self, splits, value, found):
        def mine(x, x_hat):
            return value

        with pytest.raises(ValueError, match=rf"loss: wanted mine\(x, x_hat\) to return one number .* got {found}"):
            fit(linear(), splits, PLAN, loss=mine)

    def test_bce_with_a_model_that_gives_no_probabilities(self, splits):
        with pytest.raises(ValueError, match=r"loss: 'bce' wants .* End its decoder with nn.Sigmoid\(\)"):
            fit(linear(), splits, PLAN, loss="bce")

    def test_a_loss_and_an_objective(self, splits):
        with pytest.raises(ValueError, match="loss: it is short for .* give one of the two"):
            fit(linear(), splits, PLAN, loss="mse", objective=Reconstruction())

    @pytest.mark.parametrize("objective", [losses.mse, "mse", Reconstruction], ids=["function", "name", "class"])
    def test_an_objective_that_is_none(self, splits, objective):
        with pytest.raises(TypeError, match="objective: wanted one of aecore.objectives, such as Classification"):
            fit(linear(), splits, PLAN, objective=objective)

    @pytest.mark.parametrize("loss", [Classification(), nn.MSELoss()], ids=repr)
    def test_an_objective_or_a_module_as_a_loss(self, splits, loss):
        with pytest.raises(ValueError, match="loss: wanted a name or a function, got "):
            fit(linear(), splits, PLAN, loss=loss)

    def test_labels_that_are_not_there(self, splits):
        with pytest.raises(ValueError, match="labels"):
            fit(linear(), splits, PLAN, objective=Classification())

    def test_validation_images_of_another_shape(self, splits, noise):
        """They were found after the first epoch."""
        data = Splits(splits.train, noise(8, 1, 8, 8), splits.test)
        with pytest.raises(ValueError, match=r"validation images of shape \(1, 8, 8\) are not like .* \(1, 4, 4\)"):
            fit(linear(), data, PLAN)

    def test_reconstructions_of_another_shape(self, splits):
        """torch repeats what it can, and the loss falls."""
        model = nn.Sequential(nn.Conv2d(1, 3, 1))
        wanted = r"model: wanted reconstructions of shape \(10, 1, 4, 4\) .*\(10, 3, 4, 4\)"
        with pytest.raises(ValueError, match=wanted):
            fit(model, splits, PLAN)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_weights_in_another_precision(self, splits, dtype):
        with pytest.raises(ValueError, match=rf"model: wanted weights in float32, got 'encoder.1.weight' in {dtype}"):
            fit(linear().to(dtype), splits, PLAN)

    def test_weights_without_a_shape(self, splits):
        with pytest.raises(ValueError, match="model: '1.weight' has no shape yet; send one batch through the model"):
            fit(nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.Unflatten(1, (1, 4, 4))), splits, PLAN)

    def test_a_model_that_writes_into_its_images(self, splits):
        model = nn.Sequential(nn.Threshold(0.5, 0, inplace=True), nn.Conv2d(1, 1, 1))
        with pytest.raises(ValueError, match="it writes into the images that it is given"):
            fit(model, splits, PLAN)

    @pytest.mark.parametrize("size", [0, 2**70, "4"])
    def test_a_crop_that_does_not_fit(self, splits, size):
        with pytest.raises(ValueError, match="crop"):
            fit(linear(), splits, PLAN.replace(crop=size))

    @pytest.mark.parametrize("seed", [2**63, 0.5, "0"])
    def test_a_seed_beyond_64_bits(self, splits, seed):
        with pytest.raises(ValueError, match="seed: wanted a whole number of 64 bits, got"):
            fit(linear(), splits, PLAN.replace(seed=seed))

    def test_an_unknown_loss(self, splits):
        with pytest.raises(ValueError, match="loss: unknown name 'msse'. Did you mean 'mse'"):
            fit(linear(), splits, PLAN, loss="msse")

    @pytest.mark.parametrize(
        "name", ["../a", "a/b", "", ".", "..", "a b", "/a", 5, True, b"a", ["a"], 101 * "a"], ids=repr
    )
    def test_a_name_that_is_no_folder_name(self, splits, name):
        with pytest.raises(ValueError, match="name: wanted letters, digits"):
            fit(linear(), splits, PLAN, name=name)

    def test_before_any_weight_is_drawn(self, splits):
        model = linear()
        before = state(model)
        with pytest.raises(TypeError, match="init_from: wanted"):
            fit(model, splits, PLAN, init_from="warm")
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
        assert [path.name for path in runs.own_folder("00-a", run.fingerprint).iterdir()] == []


def flip(place):
    """Return what turns over one bit, at a share of the file's length."""

    def damage(path):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 0b1
        path.write_bytes(content)

    return damage


def change_a_digit(name):
    """Return what changes a number in JSON, which stays JSON."""

    def damage(path):
        text = path.read_text()
        number = re.search(rf'"{name}": (?:{{\s*"loss": )?\[?\s*\d*\.?(\d)', text)
        changed = text[: number.start(1)] + str((int(number[1]) + 1) % 10) + text[number.end(1) :]
        assert changed != text
        path.write_text(changed)

    return damage


def cut(rest):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: rest(len(content))])

    return damage


DAMAGE = {
    **{f"a bit at {place:.0%}": flip(place) for place in (0, 0.02, 0.5, 1)},
    "cut to nothing": cut(lambda length: 0),
    "cut to half": cut(lambda length: length // 2),
    "cut by two bytes": cut(lambda length: length - 2),  # the last byte of run.json only ends its line
}
DAMAGED = [(file, what) for file in ("weights.safetensors", "run.json") for what in DAMAGE]


class TestDamagedRun:
    @pytest.fixture(params=DAMAGED, ids=" ".join)
    def damaged(self, request, splits):
        run = fit(linear(), splits, PLAN, name="00-a")
        path = runs.own_folder("00-a", run.fingerprint) / request.param[0]
        DAMAGE[request.param[1]](path)
        return path

    def test_is_trained_again_to_the_same_weights(self, splits, damaged, trainings):
        twin = linear()
        fit(twin, splits, PLAN)
        trainings.clear()
        run = fit(linear(), splits, PLAN, name="00-a")
        assert (len(trainings), equal(state(run.model), state(twin))) == (1, True)

    def test_is_reported_by_its_path_with_what_is_done(self, splits, damaged, caplog):
        fit(linear(), splits, PLAN, name="00-a")
        lines = [line for line in caplog.messages if str(damaged) in line]
        assert lines
        assert "it is not used. Without another copy the run is trained again." in lines[0]

    def test_is_whole_afterwards(self, splits, damaged, trainings):
        for _ in range(2):
            fit(linear(), splits, PLAN, name="00-a")
        assert len(trainings) == 1

    @pytest.mark.parametrize("name", ["train", "valid", "seconds", "lr", "epochs"])
    def test_one_changed_digit_is_found(self, splits, trainings, name):
        run = fit(linear(), splits, PLAN, name="00-a")
        change_a_digit(name)(runs.own_folder("00-a", run.fingerprint) / "run.json")
        trainings.clear()
        fit(linear(), splits, PLAN, name="00-a")
        assert trainings

    @pytest.mark.parametrize("file", ["weights.safetensors", "run.json"])
    def test_a_missing_file_is_trained_again(self, splits, trainings, file):
        run = fit(linear(), splits, PLAN, name="00-a")
        (runs.own_folder("00-a", run.fingerprint) / file).unlink()
        trainings.clear()
        again = fit(linear(), splits, PLAN, name="00-a")
        assert (len(trainings), equal(state(again.model), state(run.model))) == (1, True)


class TestDivergence:
    def test_comes_through(self, splits):
        with pytest.raises(TrainingDiverged):
            fit(linear(), splits, Plan(epochs=3, lr=1e30), name="00-a")

    def test_stores_no_run(self, splits):
        with pytest.raises(TrainingDiverged):
            fit(linear(), splits, Plan(epochs=3, lr=1e30), name="00-a")
        assert not list(config.runs_root().rglob("*.*"))


def test_a_run_says_what_it_was_trained_on(splits):
    assert fit(linear(), splits, PLAN).data["fingerprint"] == splits.train.fingerprint


def test_a_run_without_validation_images_is_stored_and_loaded(splits, trainings):
    data = Splits(splits.train, splits.valid[:0], splits.test)
    histories = [fit(linear(), data, PLAN, name="00-a").history for _ in range(2)]
    assert (len(trainings), [math.isnan(h.valid_loss[0]) for h in histories]) == (1, [True, True])


def test_a_run_is_stored_under_its_fingerprint(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    facts = json.loads((config.runs_root() / f"00-a-{run.fingerprint[:12]}" / "run.json").read_text())
    assert facts["fingerprint"] == run.fingerprint


def test_training_can_be_silent(splits, capfd):
    fit(linear(), splits, PLAN)
    assert capfd.readouterr().err == ""


def test_training_shows_its_progress(splits, capfd, monkeypatch):
    monkeypatch.delenv("AECORE_PROGRESS")
    fit(linear(), splits, PLAN, name="00-a")
    assert "00-a:" in capfd.readouterr().err


@pytest.fixture
def steps(monkeypatch):
    """The numbers of the steps that were made."""
    seen, step = [], experiment._Progress.step
    monkeypatch.setattr(experiment._Progress, "step", lambda self, done: seen.append(done) or step(self, done))
    return seen


@pytest.fixture
def stopped(monkeypatch):
    """Run `fit` and press Ctrl-C (or send another signal) in one of its steps: `stopped(4, model, splits, plan)`."""

    def run(last, *arguments, by=signal.SIGINT, **options):
        def step(self, done):
            if done == last:
                signal.raise_signal(by)

        with monkeypatch.context() as patch:
            patch.setattr(experiment._Progress, "step", step)
            return fit(*arguments, **options)

    return run


def losses_of(run):
    return run.history.train_loss, run.history.valid_loss, run.history.best_epoch


class TestInterrupted:
    """`PLAN` has two epochs of three steps."""

    @pytest.fixture
    def run(self, stopped, splits):
        return stopped(4, linear(), splits, PLAN, name="00-a")

    @pytest.fixture
    def folder(self, run):
        return runs.own_folder("00-a", run.fingerprint)

    def test_a_run_comes_back_that_knows_it(self, run):
        assert run.history.interrupted == signal.SIGINT

    def test_it_has_the_epochs_that_were_finished(self, run):
        assert len(run.history) == 1

    def test_its_name_for_a_reader_says_so(self, run):
        assert repr(run) == "Run 00-a: interrupted after 1 of 2 epochs"

    def test_it_is_not_stored_as_a_finished_one(self, run, folder):
        assert names(folder) == ["checkpoints"]

    def test_it_is_not_noted_for_the_page(self, run):
        assert journal.entries() == []

    def test_one_line_says_where_it_stands_and_how_to_go_on(self, stopped, splits, caplog):
        stopped(4, linear(), splits, PLAN, name="00-a")
        words = "stopped by SIGINT after 1 of 2 epochs; its state is in a checkpoint: the same call goes on from there"
        assert f"00-a: {words}" in caplog.messages

    @pytest.mark.parametrize("step", range(1, 7))
    def test_the_same_call_ends_with_the_same_weights_and_losses(self, stopped, splits, step):
        stopped(step, linear(), splits, PLAN, name="00-a")
        again, twin = fit(linear(), splits, PLAN, name="00-a"), fit(linear(), splits, PLAN)
        assert (losses_of(again), equal(state(again.model), state(twin.model))) == (losses_of(twin), True)

    def test_the_same_call_makes_only_the_steps_that_are_left(self, run, splits, steps):
        fit(linear(), splits, PLAN, name="00-a")
        assert steps == [5, 6]

    def test_the_same_call_says_where_it_goes_on(self, run, splits, caplog):
        fit(linear(), splits, PLAN, name="00-a")
        assert "00-a: going on from epoch 1, step 1" in caplog.messages

    def test_what_is_stored_in_the_end_was_not_interrupted(self, run, splits):
        fit(linear(), splits, PLAN, name="00-a")
        assert fit(linear(), splits, PLAN, name="00-a").history.interrupted is None

    def test_in_the_end_no_checkpoint_is_left(self, run, folder, splits):
        fit(linear(), splits, PLAN, name="00-a")
        assert names(folder) == ["run.json", "weights.safetensors"]

    def test_twice_in_one_training_it_ends_the_same(self, run, stopped, splits):
        stopped(5, linear(), splits, PLAN, name="00-a")
        again, twin = fit(linear(), splits, PLAN, name="00-a"), fit(linear(), splits, PLAN)
        assert equal(state(again.model), state(twin.model))

    def test_another_plan_under_the_same_name_begins_at_its_beginning(self, run, splits, steps):
        fit(linear(), splits, PLAN.replace(seed=1), name="00-a")
        assert steps[0] == 1

    def test_under_retrain_the_same_call_goes_on_as_well(self, stopped, splits, steps, monkeypatch):
        """It promised to, and began anew. The run is there from before; the checkpoint is newer."""
        fit(linear(), splits, PLAN, name="00-a")
        monkeypatch.setenv("AECORE_RETRAIN", "1")
        stopped(4, linear(), splits, PLAN, name="00-a")
        steps.clear()
        again, twin = fit(linear(), splits, PLAN, name="00-a"), fit(linear(), splits, PLAN)
        assert (steps[:2], equal(state(again.model), state(twin.model))) == ([5, 6], True)

    def test_under_retrain_one_that_was_not_interrupted_begins_at_its_beginning(self, splits, steps, monkeypatch):
        monkeypatch.setenv("AECORE_RETRAIN", "1")
        for _ in range(2):
            fit(linear(), splits, PLAN, name="00-a")
        assert steps == 2 * [1, 2, 3, 4, 5, 6]

    def test_with_a_patience_the_model_is_in_its_best_state(self, stopped, splits):
        """Best after epoch 1, and over after epoch 3 if nothing stops it; step 10 is the first of epoch 3."""
        model, best = (DenseAutoencoder((1, 4, 4), 8, hidden=(12,)) for _ in range(2))
        plan = Plan(epochs=12, batch_size=10, lr=0.03, patience=2)
        stopped(10, model, splits, plan, name="00-a")
        fit(best, splits, plan.replace(epochs=2, patience=None))
        assert (model.training, equal(state(model), state(best))) == (False, True)

    def test_without_a_name_one_line_says_that_nothing_is_kept(self, stopped, splits, caplog):
        stopped(4, linear(), splits, PLAN)
        words = "training: stopped by SIGINT after 1 of 2 epochs; its state is not stored, since the run has no name"
        assert words in caplog.messages

    def test_where_no_checkpoint_could_be_written_one_line_says_so(self, stopped, splits, caplog, monkeypatch):
        monkeypatch.setattr(Checkpoints, "save", lambda self, state: False)
        stopped(4, linear(), splits, PLAN, name="00-a")
        assert "00-a: stopped by SIGINT after 1 of 2 epochs; its state is not stored" in caplog.messages

    def test_of_given_weights_one_line_says_that_they_are_needed_again(self, stopped, splits, caplog):
        """The model holds others now, and the fingerprint of the run is made from those that it began with."""
        stopped(4, linear(), splits, PLAN, name="00-a", init_from="model")
        assert caplog.messages[-1].endswith("the same call goes on from there, with the weights that it began with")

    def test_of_given_weights_it_goes_on_with_those(self, stopped, splits, steps):
        model = linear()
        begin = state(model)
        stopped(4, model, splits, PLAN, name="00-a", init_from="model")
        model.load_state_dict(begin)
        fit(model, splits, PLAN, name="00-a", init_from="model")
        assert steps == [5, 6]

    def test_sigterm_is_passed_on_when_the_state_is_kept(self, stopped, splits):
        """Whoever sent it expects the process to end, and the process may have a handler of its own for that."""
        seen, before = [], signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *by: seen.append(list(config.runs_root().rglob("*.safetensors"))))
        try:
            stopped(4, linear(), splits, PLAN, name="00-a", by=signal.SIGTERM)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert [len(files) for files in seen] == [1]

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_damaged_checkpoint_is_reported_and_changes_nothing(self, run, folder, splits, caplog, damage):
        (path,) = (folder / "checkpoints").iterdir()
        DAMAGE[damage](path)
        again, twin = fit(linear(), splits, PLAN, name="00-a"), fit(linear(), splits, PLAN)
        assert equal(state(again.model), state(twin.model))
        assert f"00-a: the checkpoint {path} is damaged" in caplog.text


class TestBatchNorm:
    """24 images in batches of 23 leave one."""

    PLAN = Plan(epochs=1, batch_size=23)

    def test_a_last_batch_of_one_vector_is_found_before_training(self, splits, trainings):
        model = DenseAutoencoder((1, 4, 4), 3, hidden=(8,), batch_norm=True)
        with pytest.raises(ValueError, match="plan: with batch_size=23 the last batch of 24 images holds 1 image,"):
            fit(model, splits, self.PLAN)
        assert not trainings

    def test_of_two_it_trains(self, splits):
        model = DenseAutoencoder((1, 4, 4), 3, hidden=(8,), batch_norm=True)
        assert len(fit(model, splits, self.PLAN.replace(batch_size=22)).history) == 1

    def test_over_the_places_of_one_image_it_trains(self, splits):
        model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
        assert len(fit(model, splits, self.PLAN).history) == 1

    def test_that_is_frozen_trains(self, splits):
        """It stays in evaluation, where one image will do."""
        model = DenseAutoencoder((1, 4, 4), 3, hidden=(8,), batch_norm=True)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.requires_grad_(False)
        assert len(fit(model, splits, self.PLAN).history) == 1

    def test_under_quick_the_batches_that_it_makes_count(self, noise, monkeypatch):
        """17 images in one batch; quick makes one of 16, and one is left."""
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        model = StridedConvAutoencoder((1, 4, 4), 3, batch_norm=True)
        data = Splits(noise(17, 1, 4, 4), noise(8, 1, 4, 4), noise(8, 1, 4, 4))
        with pytest.raises(ValueError, match="plan: with batch_size=16 the last batch of 17 images holds 1 image"):
            fit(model, data, Plan(batch_size=17))


class TestCheckpointSeconds:
    def test_a_checkpoint_comes_as_often_as_is_asked(self, splits, monkeypatch):
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", "0")
        saved, save = [], Checkpoints.save
        monkeypatch.setattr(Checkpoints, "save", lambda self, state: saved.append(1) or save(self, state))
        fit(linear(), splits, PLAN, name="00-a")
        assert len(saved) >= 6  # one after each step

    def test_a_short_training_writes_none(self, splits, monkeypatch):
        monkeypatch.setattr(Checkpoints, "save", None)  # would be an error
        assert len(fit(linear(), splits, PLAN, name="00-a").history) == 2

    @pytest.mark.parametrize("value", ["-1", "soon", "nan", ""])
    def test_another_word_is_refused_and_shown(self, splits, monkeypatch, value):
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", value)
        with pytest.raises(ValueError, match=f"AECORE_CHECKPOINT_SECONDS: wanted the seconds .* got '{value}'"):
            fit(linear(), splits, PLAN, name="00-a")


class TestKilledAtTheVeryEnd:
    """After the run was stored, before its checkpoints were removed."""

    @pytest.fixture
    def folder(self, splits, monkeypatch):
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", "0")
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "clear", lambda self: None)
            run = fit(linear(), splits, PLAN, name="00-a")
        folder = runs.own_folder("00-a", run.fingerprint)
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        (folder / f".run.json.{process.pid}.abc.part").write_text("half")
        assert (folder / "checkpoints").is_dir()
        return folder

    def test_the_next_call_loads_the_run(self, folder, splits, trainings):
        fit(linear(), splits, PLAN, name="00-a")
        assert not trainings

    def test_the_next_call_removes_what_was_left(self, folder, splits):
        fit(linear(), splits, PLAN, name="00-a")
        assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]

    def test_the_next_call_leaves_what_a_training_needs_that_is_under_way(self, folder, splits):
        """One that trains the stored run anew, with AECORE_RETRAIN."""
        with store.training_lock(folder, "00-a"):
            fit(linear(), splits, PLAN, name="00-a")
        assert (folder / "checkpoints").is_dir()


class TestSizes:
    PLAN = Plan(epochs=4, batch_size=10, sizes=((0, 4), (2, 8)))

    @pytest.fixture
    def eights(self, noise):
        return Splits(noise(24, 1, 8, 8), noise(8, 1, 8, 8, seed=1), noise(8, 1, 8, 8, seed=2))

    def seen(self, model, eights, plan):
        """Return the heights of the images that the model was trained on, one for each epoch."""
        heights = []

        def note(module, given):
            if torch.is_grad_enabled():
                heights.append(given[0].shape[-1])

        model.register_forward_pre_hook(note)
        fit(model, eights, plan)
        return heights[::3]  # three batches in an epoch

    def test_each_epoch_sees_images_of_its_size(self, eights):
        assert self.seen(ConvAutoencoder((1, 8, 8), 8, any_size=True), eights, self.PLAN) == [4, 4, 8, 8]

    def test_quick_trains_one_epoch_at_each_size(self, eights, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        assert self.seen(ConvAutoencoder((1, 8, 8), 8, any_size=True), eights, self.PLAN) == [4, 8]

    def test_a_model_for_one_size_is_refused(self, eights):
        with pytest.raises(ValueError, match="plan: sizes need a model for images of any size, but LinearAutoencoder"):
            fit(LinearAutoencoder((1, 8, 8), 3), eights, self.PLAN)

    def test_a_size_that_the_model_cannot_take_is_found_before_training(self, eights, trainings):
        with pytest.raises(ValueError, match=r"plan: sizes: images of 6×6 do not fit this model: x: wanted"):
            fit(ConvAutoencoder((1, 8, 8), 8, any_size=True), eights, self.PLAN.replace(sizes=((0, 4), (3, 6))))
        assert not trainings


def test_a_validation_loss_that_is_infinite_ends_nothing(splits):
    def loss(x, x_hat):
        return losses.mse(x, x_hat) * (1 if torch.is_grad_enabled() else math.inf)

    assert len(fit(linear(), splits, PLAN, name="00-a", loss=loss).history) == 2


def test_weights_that_two_layers_share_are_stored_and_loaded(splits, trainings):
    """A decoder may be its encoder's transpose: then both know one weight."""

    def model():
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 16))
        return Autoencoder((1, 4, 4), encoder, nn.Sequential(encoder[1], nn.Unflatten(1, (1, 4, 4))))

    runs_ = [fit(model(), splits, PLAN, name="00-a") for _ in range(2)]
    assert (len(trainings), equal(*(state(run.model) for run in runs_))) == (1, True)


def test_a_run_with_frozen_weights_is_not_taken_for_one_without(splits, trainings):
    model = linear()
    begin = state(model)
    for frozen in (False, True):
        model.load_state_dict(begin)
        model.encoder.requires_grad_(not frozen)
        fit(model, splits, PLAN, name="00-a", init_from="model")
    assert len(trainings) == 2


class TestInitFrom:
    """A training that starts from the weights of an earlier run, in whole or in part."""

    STILL = Plan(epochs=1, lr=1e-30)  # a rate at which nothing moves

    @pytest.fixture
    def first(self, splits):
        return fit(linear(), splits, PLAN, name="00-first")

    def test_a_run_gives_all_its_weights(self, splits, first):
        assert equal(state(fit(linear(), splits, self.STILL, init_from=first).model), state(first.model))

    def test_a_part_of_a_run_gives_its_own_and_the_seed_the_others(self, splits, first):
        model, wanted = linear(), linear()
        fit(model, splits, self.STILL, init_from={"encoder": first})
        init_weights(wanted, 0)
        assert equal(state(model.encoder), state(first.model.encoder))
        assert torch.equal(model.decoder[0].weight, wanted.decoder[0].weight)  # the offsets begin at 0 and move

    def test_parts_may_come_from_several_runs(self, splits, first):
        second, model = fit(linear(), splits, PLAN.replace(seed=1)), linear()
        fit(model, splits, self.STILL, init_from={"encoder": first, "decoder": second})
        assert equal(state(model.encoder), state(first.model.encoder))
        assert equal(state(model.decoder), state(second.model.decoder))

    def test_a_run_of_a_smaller_network_may_fill_a_part(self, splits, first):
        larger = nn.ModuleDict({"inner": linear()})
        larger.forward = lambda x: larger["inner"](x)
        fit(larger, splits, self.STILL, init_from={"inner": first})
        assert equal(state(larger["inner"]), state(first.model))

    def test_the_runs_own_model_can_be_trained_on_from_its_own_part(self, splits, first):
        """Its weights are drawn anew before the part is filled, and were those that filled it."""
        encoder = state(first.model.encoder)
        fit(first.model, splits, self.STILL, init_from={"encoder": first})
        assert equal(state(first.model.encoder), encoder)

    def test_the_source_keeps_its_weights(self, splits, first):
        before = state(first.model)
        fit(linear(), splits, PLAN.replace(lr=0.1), init_from=first)
        assert equal(state(first.model), before)

    def test_a_part_that_is_not_there_is_named_with_those_that_are(self, splits, first):
        with pytest.raises(ValueError, match="init_from: the model has no part 'encodr'; its parts are 'encoder', "):
            fit(linear(), splits, PLAN, init_from={"encodr": first})

    @pytest.mark.parametrize(("part", "whose"), [("", "it"), ("encoder", "its part 'encoder'")])
    def test_weights_that_do_not_fit_are_named_with_their_run(self, splits, first, part, whose):
        with pytest.raises(ValueError, match=f"init_from: the weights of run '00-first' do not fit {whose}: "):
            fit(linear(5), splits, PLAN, init_from={part: first})

    def test_a_run_that_was_interrupted_is_refused(self, splits, stopped):
        """Its fingerprint is that of the whole training, its weights are not."""
        half = stopped(4, linear(), splits, PLAN, name="00-half")
        with pytest.raises(ValueError, match="init_from: run '00-half' was interrupted; call its fit again to its end"):
            fit(linear(), splits, PLAN, init_from=half)

    def test_a_run_whose_model_was_trained_again_is_refused(self, splits, first):
        fit(first.model, splits, PLAN.replace(seed=1))
        with pytest.raises(ValueError, match="init_from: the model of run '00-first' was trained again since"):
            fit(linear(), splits, PLAN, init_from=first)

    def test_runs_from_other_sources_are_not_taken_for_each_other(self, splits, first, trainings):
        second = fit(linear(), splits, PLAN.replace(seed=1))
        for start in (first, second, {"encoder": first}, {"encoder": second}, None):
            fit(linear(), splits, PLAN, name="00-a", init_from=start)
        assert len(trainings) == 1 + 5

    def test_the_same_source_is_known_again(self, splits, first, trainings):
        for _ in range(2):
            again = fit(linear(), splits, PLAN, name="00-first")
            fit(linear(), splits, PLAN, name="00-a", init_from=again)
        assert len(trainings) == 1

    @pytest.fixture
    def phases(self, splits, first):
        """Two published phases: the numbers of the first, and the weights of the second."""
        second = fit(linear(), splits, PLAN, name="00-second", init_from=first)
        records = [store.record(run.name, run.fingerprint) for run in (first, second)]
        store.publish("00", records, ["00-second"], {})
        shutil.rmtree(config.runs_root())
        return fit(linear(), splits, PLAN, name="00-first", weights=False), second

    def test_the_second_phase_is_found_without_the_weights_of_the_first(self, splits, phases, trainings):
        source, wanted = phases
        found = fit(linear(), splits, PLAN, name="00-second", init_from=source)
        assert not trainings
        # float16 has 11 digits of the binary system
        assert torch.allclose(found.model.decoder[0].weight, wanted.model.decoder[0].weight, rtol=2**-11)

    def test_another_second_phase_says_that_it_needs_them(self, splits, phases):
        with pytest.raises(WeightsNotPublished, match="the weights of '00-first' are not part of the book"):
            fit(linear(), splits, PLAN.replace(lr=1e-4), name="00-second", init_from=phases[0])

    def test_a_training_with_a_frozen_network_is_found_without_its_weights(self, splits, first, trainings):
        def student(teacher):
            objective = Distillation(Frozen(teacher), weight=1.0)
            return fit(linear(), splits, PLAN, name="00-student", objective=objective)

        records = [store.record(run.name, run.fingerprint) for run in (first, student(first))]
        store.publish("00", records, ["00-student"], {})
        shutil.rmtree(config.runs_root())
        trainings.clear()
        student(fit(linear(), splits, PLAN, name="00-first", weights=False))
        assert not trainings


class TestOtherData:
    """The page was made from other images than the reader has, and from nothing else that differs."""

    @pytest.fixture
    def own(self, noise):
        """The reader's images: as many names, other pixels."""
        return Splits(*(noise(count, 1, 4, 4, seed=seed) for count, seed in ((30, 7), (8, 8), (8, 9))))

    @pytest.fixture
    def page(self, splits):
        """What the page found on its own images, published without weights."""
        run = fit(linear(), splits, PLAN, name="00-a")
        scores = run.score(splits.test)
        published(run)
        journal.begin()
        return scores

    def test_the_published_run_is_taken(self, own, page, trainings):
        run = fit(linear(), own, PLAN, name="00-a", weights=False)
        assert (run.other_data, trainings) == (True, [])

    def test_one_line_says_so(self, own, page, caplog):
        fit(linear(), own, PLAN, name="00-a", weights=False)
        (line,) = caplog.messages
        assert line.startswith("loaded 00-a: trained 20")
        assert line.endswith("(the page's own data, not yours; AECORE_RETRAIN=1 trains on yours)")

    def test_it_is_noted_for_the_page(self, own, page):
        fit(linear(), own, PLAN, name="00-a", weights=False)
        assert [fact["other_data"] for fact in journal.entries()] == [True]
        assert "1 training run on the page's own data, not on these," in repr(journal.provenance())

    def test_its_scores_are_the_pages_own(self, own, page):
        assert repr(fit(linear(), own, PLAN, name="00-a", weights=False).score(own.test)) == repr(page)

    def test_a_claim_about_them_warns_instead_of_stopping(self, own, page, caplog):
        run = fit(linear(), own, PLAN, name="00-a", weights=False)
        journal.claim("MSE", run.score(own.test).mse, 1, 2)
        assert "the text says between 1 and 2, which was measured on other data than yours" in caplog.messages[-1]

    def test_with_its_weights_it_comes_with_a_model(self, own, splits, trainings):
        published(fit(linear(), splits, PLAN, name="00-a"), weights=True)
        run = fit(linear(), own, PLAN, name="00-a")
        assert (run.other_data, len(trainings), isinstance(run.model, LinearAutoencoder)) == (True, 1, True)

    def test_whoever_needs_weights_that_are_not_there_trains(self, own, page, trainings):
        run = fit(linear(), own, PLAN, name="00-a")
        assert (run.other_data, len(trainings)) == (False, 1)

    def test_retrain_trains_on_ones_own(self, own, page, trainings, monkeypatch):
        monkeypatch.setenv("AECORE_RETRAIN", "1")
        run = fit(linear(), own, PLAN, name="00-a", weights=False)
        assert (run.other_data, run.data["count"], len(trainings)) == (False, 30, 1)

    def test_what_was_trained_on_ones_own_is_found_from_then_on(self, own, page, trainings, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setenv("AECORE_RETRAIN", "1")
            fit(linear(), own, PLAN, name="00-a", weights=False)
        run = fit(linear(), own, PLAN, name="00-a", weights=False)
        assert (run.other_data, len(trainings)) == (False, 1)

    def test_whoever_publishes_trains_on_their_own(self, own, page, trainings, monkeypatch, tmp_path):
        monkeypatch.setenv("AECORE_JOURNAL", str(tmp_path / "journal"))
        run = fit(linear(), own, PLAN, name="00-a", weights=False)
        assert (run.other_data, len(trainings)) == (False, 1)

    @pytest.mark.parametrize(("plan", "loss"), [(PLAN.replace(lr=1e-4), "mse"), (PLAN, "mae")], ids=["plan", "loss"])
    def test_where_something_else_differs_as_well_it_is_named_and_trained(
        self, own, page, trainings, plan, loss, caplog
    ):
        run = fit(linear(), own, plan, loss=loss, name="00-a", weights=False)
        assert (run.other_data, len(trainings)) == (False, 1)
        assert " is published, but for another " in caplog.text
        assert " and other data" in caplog.text

    def test_phases_and_their_source_are_taken_together(self, own, splits, trainings):
        first = fit(linear(), splits, PLAN, name="00-first")
        second = fit(linear(), splits, PLAN, name="00-second", init_from=first)
        store.publish("00", [store.record(run.name, run.fingerprint) for run in (first, second)], [], {})
        shutil.rmtree(config.runs_root())
        trainings.clear()
        first = fit(linear(), own, PLAN, name="00-first", weights=False)
        second = fit(linear(), own, PLAN, name="00-second", init_from=first, weights=False)
        assert (first.other_data, second.other_data, trainings) == (True, True, [])


class TestDamagedPublishedRun:
    """`fit` goes on without it, and never raises."""

    @pytest.mark.parametrize("file", ["runs.jsonl", "arrays.npz", "page.json"])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_without_weights(self, splits, file, damage, caplog):
        run = fit(linear(), splits, PLAN, name="00-a")
        run.measure(pictures, splits.test)
        published(run)
        DAMAGE[damage](store.PUBLISHED / "00" / file)
        again = fit(linear(), splits, PLAN, name="00-a", weights=False)
        assert torch.equal(again.measure(pictures, splits.test), run.measure(pictures, splits.test))

    @pytest.mark.parametrize("file", ["runs.jsonl", "arrays.npz", "weights/00-a.safetensors"])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_with_weights(self, splits, file, damage, caplog):
        run = fit(linear(), splits, PLAN, name="00-a")
        run.measure(pictures, splits.test)
        published(run, weights=True)
        DAMAGE[damage](store.PUBLISHED / "00" / file)
        again = fit(linear(), splits, PLAN, name="00-a")
        # Trained again to the same weights, or loaded in float16.
        assert torch.allclose(again.model.decoder[0].weight, run.model.decoder[0].weight, rtol=2**-11)


def pictures(model, images):
    return (model(images.floats()) * 255).round().clamp(0, 255).to(torch.uint8)


CHILD = """
import sys, time
from pathlib import Path
import torch
from aecore import config, experiment
from aecore.data import Images, Splits
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.training import Plan

here, other, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
generator = torch.Generator().manual_seed(0)
images = Images(torch.randint(0, 256, (24, 1, 4, 4), dtype=torch.uint8, generator=generator), name="noise")
step = experiment._Progress.step
def slow(self, done):
    time.sleep(pause)
    step(self, done)
experiment._Progress.step = slow
config.speak()
here.touch()
while not other.exists():
    time.sleep(0.01)
run = fit(LinearAutoencoder((1, 4, 4), 3), Splits(images, images, images), Plan(epochs=2, batch_size=10), name="00-a")
print(torch.cat([weight.flatten() for weight in run.model.parameters()]).sum().item())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no locks that a killed process gives back")
class TestAtOnce:
    """Two processes train the run of one name at the same time."""

    @pytest.fixture
    def child(self, tmp_path):
        """Start a process: `child("one", after="other", pause=0.1)` waits for the file `other`; steps take a while."""
        started = []

        def start(name, after, pause):
            command = [sys.executable, "-c", CHILD, str(tmp_path / name), str(tmp_path / after), str(pause)]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.wait()

    @pytest.fixture
    def same(self, noise):
        """What the child trains on."""
        images = noise(24, 1, 4, 4)
        return Splits(images, images, images)

    def test_one_trains_and_the_other_waits_and_loads(self, child):
        processes = [child("one", "other", 0.3), child("other", "one", 0.3)]
        told = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], told
        trained, loaded = sorted((out.splitlines() for out, _ in told), key=len)
        assert [line.split(":")[0] for line in trained[:-1]] == ["trained 00-a"]
        assert loaded[0] == "00-a: another process trains this run; waiting for it"
        assert [line.split(":")[0] for line in loaded[1:-1]] == ["loaded 00-a"]
        assert trained[-1] == loaded[-1]  # the sum of the weights
        (folder,) = config.runs_root().iterdir()
        assert names(folder) == ["run.json", "weights.safetensors"]

    def test_the_other_goes_on_from_the_checkpoint_of_one_that_is_killed(self, child, same, steps, monkeypatch):
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", "0")
        process = child("one", "one", 0.5)
        while not list(config.runs_root().rglob("*.safetensors")):
            assert process.poll() is None
            time.sleep(0.01)
        threading.Timer(0.3, process.kill).start()
        run, twin = fit(linear(), same, PLAN, name="00-a"), linear()
        assert steps[0] > 1
        fit(twin, same, PLAN)
        assert equal(state(run.model), state(twin))
