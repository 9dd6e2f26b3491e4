"""`fit`: trained once, loaded afterwards, and nothing lost when the store fails."""

import errno
import json
import math
import os
import re
import shutil
import signal

import pytest
import torch
from torch import nn

from aecore import experiment, journal, losses, runs
from aecore.data import Splits
from aecore.experiment import fit
from aecore.models import Autoencoder, ConvAutoencoder, DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.training import Checkpoints, Plan, TrainingDiverged

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
    folder = runs.own_folder("00-a", run.fingerprint)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]


def test_a_run_is_noted_in_the_journal(splits):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert [fact["fingerprint"] for fact in journal.entries()] == [run.fingerprint]


@pytest.fixture
def numbers_published(splits):
    """A run whose numbers were published without its weights, as a reader without runs of their own has it."""
    run = fit(linear(), splits, PLAN, name="00-a")
    scores = run.score(splits.test)
    runs.publish("00-a", run.fingerprint, weights=False)
    shutil.rmtree(config.runs_root())
    return scores


def test_numbers_only_takes_a_published_run_without_weights(splits, numbers_published):
    assert fit(linear(), splits, PLAN, name="00-a", weights=False).score(splits.test).mse == numbers_published.mse
    assert not config.runs_root().exists()


def test_whoever_needs_the_weights_trains(splits, numbers_published):
    run = fit(linear(), splits, PLAN, name="00-a")
    assert run.model.encode(splits.test.floats()).shape == (len(splits.test), 3)


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
            fit(linear(), Splits(splits.train, splits.valid[:0], splits.test), PLAN.replace(patience=1))

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
        number = re.search(rf'"{name}": \[?\s*\d*\.?(\d)', text)
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

    @pytest.mark.parametrize("name", ["train_loss", "valid_loss", "seconds", "lr", "epochs"])
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
        assert [path.name for path in folder.iterdir()] == ["checkpoints"]

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
        assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]

    def test_twice_in_one_training_it_ends_the_same(self, run, stopped, splits):
        stopped(5, linear(), splits, PLAN, name="00-a")
        again, twin = fit(linear(), splits, PLAN, name="00-a"), fit(linear(), splits, PLAN)
        assert equal(state(again.model), state(twin.model))

    def test_another_plan_under_the_same_name_begins_at_its_beginning(self, run, splits, steps):
        fit(linear(), splits, PLAN.replace(seed=1), name="00-a")
        assert steps[0] == 1

    def test_retrain_begins_at_the_beginning(self, run, splits, steps, monkeypatch):
        monkeypatch.setenv("AECORE_RETRAIN", "1")
        fit(linear(), splits, PLAN, name="00-a")
        assert steps == [1, 2, 3, 4, 5, 6]

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
        signal.signal(signal.SIGTERM, lambda number, frame: seen.append(list(config.runs_root().rglob("*.safetensors"))))
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
        (folder / ".run.json.abc.part").write_text("half")
        assert (folder / "checkpoints").is_dir()
        return folder

    def test_the_next_call_loads_the_run(self, folder, splits, trainings):
        fit(linear(), splits, PLAN, name="00-a")
        assert not trainings

    def test_the_next_call_removes_what_was_left(self, folder, splits):
        fit(linear(), splits, PLAN, name="00-a")
        assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]


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
