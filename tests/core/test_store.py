"""`runs.store`: what lies in a run's folder and in a published chapter, and what a damaged one does."""

import contextlib
import copy
import hashlib
import json
import math
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aecore import runs
from aecore.models import ConvAutoencoder, LinearAutoencoder
from aecore.runs import DamagedRun, Run, WeightsNotPublished, store
from aecore.training import History, Plan

PARTS = {"format": "1", "plan": "a", "model": "b", "loss": "c", "train": "d", "valid": "e", "start": "f"}


@pytest.fixture
def run():
    """A run as `fit` makes it, untrained."""
    return Run(
        name="00-a", fingerprint="f" * 64, model=ConvAutoencoder((1, 4, 4), 3), plan=Plan(epochs=2), objective="mse",
        history=History({"loss": [0.5, 0.25]}, {"loss": [0.4, 0.2]}, [1.0, 1.0]), data={"name": "noise", "count": 24},
        date="2026-11-22 14:03", seconds=2.0, machine="CPU", versions={"torch": "2.14.1"}, parts=PARTS,
    )  # fmt: skip


@pytest.fixture
def folder(run, tmp_path):
    runs.save(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def stored(run):
    """The run, stored as one's own."""
    runs.save(run, runs.own_folder(run.name, run.fingerprint))
    return run


@pytest.fixture
def silent(monkeypatch):
    """Not a thousand lines in the log."""
    monkeypatch.setattr(store.config.log, "disabled", True)


def model():
    return ConvAutoencoder((1, 4, 4), 3)


def with_hidden_buffer(value):
    model = nn.Linear(2, 2)
    model.register_buffer("seen", torch.tensor(value), persistent=False)
    return model


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def brightest(model, images):
    """What a chapter might measure: of each reconstruction the brightest pixel, and the reconstructions in bytes."""
    x_hat = model(images.floats())
    return {"each": x_hat.amax((1, 2, 3)).tolist(), "pictures": (x_hat * 255).round().to(torch.uint8)}


def same(one, other):
    return one["each"] == other["each"] and torch.equal(one["pictures"], other["pictures"])


class TestOwn:
    def test_a_run_is_two_files_and_neither_is_a_pickle(self, folder):
        assert names(folder) == ["run.json", "weights.safetensors"]

    def test_the_facts_are_json(self, folder):
        assert json.loads((folder / "run.json").read_text())["name"] == "00-a"

    def test_the_weights_are_safetensors_in_full_precision(self, folder, run):
        assert equal(load_file(folder / "weights.safetensors"), run.model.state_dict())

    def test_loading_gives_bit_equal_weights(self, folder, run):
        found = runs.load(folder, model()).model
        assert equal(found.state_dict(), run.model.state_dict())

    def test_weights_in_channels_last_come_back_bit_equal(self, run, tmp_path):
        run.model.to(memory_format=torch.channels_last)
        runs.save(run, tmp_path / "run")
        assert equal(runs.load(tmp_path / "run", model()).model.state_dict(), run.model.state_dict())

    def test_loading_gives_the_facts_back(self, folder, run):
        assert runs.load(folder, model()).facts() == run.facts()

    def test_loading_gives_the_parts_of_the_fingerprint_back(self, folder):
        assert runs.load(folder, model()).parts == PARTS

    def test_a_history_without_validation_comes_back(self, run, tmp_path):
        run.history = History({"loss": [0.5]}, {"loss": [math.nan]}, [1.0])
        runs.save(run, tmp_path / "run")
        assert math.isnan(runs.load(tmp_path / "run", run.model).history.valid_loss[0])

    def test_named_losses_come_back(self, run, tmp_path):
        run.history = History({"loss": [0.5], "kl": [0.1]}, {"loss": [0.4], "kl": [0.2]}, [1.0])
        runs.save(run, tmp_path / "run")
        assert runs.load(tmp_path / "run", run.model).history == run.history

    def test_a_loaded_model_is_in_evaluation_mode(self, folder):
        assert not runs.load(folder, model()).model.training

    def test_a_loaded_model_can_be_trained_on(self, folder):
        assert all(weight.requires_grad for weight in runs.load(folder, model()).model.parameters())

    def test_weights_that_two_layers_share_come_back(self, run, tmp_path):
        """safetensors refuses tensors that share their memory."""
        shared = nn.Linear(4, 4)
        run.model = nn.Sequential(shared, shared)
        runs.save(run, tmp_path / "run")
        found = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        runs.load(tmp_path / "run", found)
        assert torch.equal(found[0].weight, found[1].weight)

    def test_the_facts_hold_no_word_that_json_does_not_know(self, run, tmp_path):
        """Python writes NaN and Infinity, which other readers of JSON refuse."""
        run.history = History({"loss": [0.5]}, {"loss": [math.nan]}, [1.0])
        runs.save(run, tmp_path / "run")

        def refused(word):
            raise AssertionError(word)

        facts = json.loads((tmp_path / "run" / "run.json").read_text(), parse_constant=refused)
        assert facts["history"]["valid"] == {"loss": [None]}

    def test_a_plan_of_before_the_later_settings_is_read(self, folder):
        """Runs that were published before `Plan` knew `validate_every` and `sizes` do not name them."""
        assert "sizes" not in store.read_facts(folder)["plan"]
        assert runs.load(folder, model()).plan == Plan(epochs=2)

    def test_a_plan_with_the_later_settings_comes_back(self, run, tmp_path):
        run.plan = Plan(epochs=2, validate_every=2, sizes=((0, 2), (1, 4)), crop=3, flip=True, ema=0.9, clip_norm=1)
        runs.save(run, tmp_path / "run")
        assert runs.load(tmp_path / "run", run.model).plan == run.plan

    def test_an_error_of_safetensors_is_an_error_of_the_system(self, run, tmp_path, monkeypatch):
        from safetensors import SafetensorError

        def full(*args):
            raise SafetensorError("No space left on device (os error 28)")

        monkeypatch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError, match="No space left on device"):
            runs.save(run, tmp_path / "run")

    def test_without_whole_weights_there_is_no_run(self, run, tmp_path, monkeypatch):
        def half(weights, path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", half)
        with pytest.raises(OSError, match="No space"):
            runs.save(run, tmp_path / "run")
        assert names(tmp_path / "run") == []

    def test_a_stamp_changes_with_every_run_that_is_stored(self, run, tmp_path):
        before = store.stamp(tmp_path / "run")
        runs.save(run, tmp_path / "run")
        first = store.stamp(tmp_path / "run")
        runs.save(run, tmp_path / "run")
        assert before is None
        assert len({before, first, store.stamp(tmp_path / "run")}) == 3


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def without_a_fact(path):
    facts = json.loads(path.read_text())
    del facts["fingerprint"]
    path.write_text(json.dumps(facts))


def of_another_format(path):
    path.write_text(path.read_text().replace('"format": 2', '"format": 99'))


def written(content):
    return lambda path: path.write_bytes(content)


DEEP = b"[" * 100_000 + b"]" * 100_000  # Python's reader of JSON calls itself for each
DAMAGE = [
    pytest.param("weights.safetensors", Path.unlink, "is missing", id="weights missing"),
    pytest.param("weights.safetensors", cut, "is damaged: its SHA-256", id="weights cut"),
    pytest.param("weights.safetensors", flip, "is damaged: its SHA-256", id="one bit of the weights"),
    pytest.param("run.json", cut, "cannot be read", id="json cut"),
    pytest.param("run.json", written(b""), "cannot be read", id="json empty"),
    pytest.param("run.json", written(b"\xff\xfe"), "cannot be read", id="json no text"),
    pytest.param("run.json", written(b"[]"), "is not a run of format 2", id="json a list"),
    pytest.param("run.json", written(DEEP), "cannot be read", id="json too deep"),
    pytest.param("run.json", without_a_fact, "is damaged: its SHA-256", id="json without a fact"),
    pytest.param("run.json", of_another_format, "is not a run of format 2", id="json of another format"),
]


@pytest.mark.parametrize(("file", "damage", "words"), DAMAGE)
class TestDamage:
    def test_is_an_error_that_names_the_file(self, folder, file, damage, words):
        damage(folder / file)
        with pytest.raises(DamagedRun, match=rf"{file} {words}"):
            runs.load(folder, model())

    def test_leaves_the_model_as_it_was(self, folder, file, damage, words):
        damage(folder / file)
        found = model()
        before = copy.deepcopy(found.state_dict())
        with pytest.raises(DamagedRun):
            runs.load(folder, found)
        assert equal(found.state_dict(), before)

    def test_is_reported_and_passed_over_by_find(self, stored, file, damage, words, caplog):
        damage(runs.own_folder("00-a", stored.fingerprint) / file)
        found = runs.find("00-a", stored.fingerprint, stored.model)
        assert (found, "it is not used" in caplog.text) == (None, True)

    def test_is_not_deleted_by_find(self, stored, file, damage, words):
        place = runs.own_folder("00-a", stored.fingerprint)
        damage(place / file)
        before = names(place)
        runs.find("00-a", stored.fingerprint, stored.model)
        assert names(place) == before


class TestChecksum:
    """`run.json` states the SHA-256 of what it says."""

    @pytest.mark.parametrize("bit", [0, 5, 7])
    def test_a_flipped_bit_of_any_byte_of_the_facts_is_found_or_says_the_same(self, folder, bit):
        """The same: the E of 1e-05 may be large or small, which is bit 5. Bit 7 makes the file no text."""
        path = folder / "run.json"
        whole, facts = path.read_bytes(), store.read_facts(folder)
        unnoticed = []
        for place in range(len(whole)):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            path.write_bytes(content)
            with contextlib.suppress(DamagedRun):
                if store.read_facts(folder) != facts:
                    unnoticed.append(place)
        assert unnoticed == []

    @pytest.mark.parametrize(
        ("old", "new"), [("0.25", "0.24"), ('"epochs": 2', '"epochs": 3'), ("2026-11-22", "2026-11-23")]
    )
    def test_a_changed_fact_is_named_as_damage(self, folder, old, new):
        path = folder / "run.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(DamagedRun, match=r"run.json is damaged: its SHA-256 is not the one that it states"):
            store.read_facts(folder)

    def test_is_the_sha256_of_the_facts_in_the_order_of_their_names(self, folder):
        facts = json.loads((folder / "run.json").read_text())
        stated = facts.pop("facts_sha256")
        assert stated == hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def test_a_file_in_another_layout_says_the_same(self, folder):
        facts = store.read_facts(folder)
        path = folder / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text())))
        assert store.read_facts(folder) == facts

    def test_without_it_a_run_does_not_count(self, folder):
        path = folder / "run.json"
        facts = json.loads(path.read_text())
        del facts["facts_sha256"]
        path.write_text(json.dumps(facts))
        with pytest.raises(DamagedRun, match="is damaged"):
            store.read_facts(folder)

    def test_facts_that_make_no_run_are_reported(self, run, folder, caplog):
        """As those of a later version, whose checksum is right."""
        facts = store.read_facts(folder)
        facts["plan"]["colour"] = "red"
        (folder / "run.json").write_text(json.dumps(store.with_checksum(facts)))
        with pytest.raises(DamagedRun, match="does not tell of a run that this version of aecore knows: .*colour"):
            runs.load(folder, model())


class TestWeights:
    """Weights that are whole, but of another model."""

    @pytest.mark.parametrize(
        "other", [LinearAutoencoder((1, 4, 4), 3), ConvAutoencoder((1, 4, 4), 3, width=5)], ids=["names", "shapes"]
    )
    def test_are_refused_and_leave_the_model_as_it_was(self, folder, other):
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(DamagedRun, match=r"weights.safetensors does not fit this model"):
            runs.load(folder, other)
        assert equal(other.state_dict(), before)

    def test_come_back_with_the_buffers_that_a_state_dict_leaves_out(self, run, folder):
        """A training may change them, and then they are part of what was trained."""
        run.model = with_hidden_buffer(5.0)
        runs.save(run, folder)
        assert runs.load(folder, with_hidden_buffer(0.0)).model.seen == 5

    def test_without_such_a_buffer_leave_it_as_it_was(self, run, folder):
        """Files of earlier versions, and tables that a model computes when it is made."""
        run.model = nn.Linear(2, 2)
        runs.save(run, folder)
        assert runs.load(folder, with_hidden_buffer(3.0)).model.seen == 3

    def test_that_are_no_safetensors_are_refused(self, tmp_path):
        (tmp_path / "w").write_bytes(b"junk")
        with pytest.raises(DamagedRun, match="w cannot be read"):
            store.load_weights(tmp_path / "w", hashlib.sha256(b"junk").hexdigest(), model())

    def test_that_cannot_be_read_are_passed_over(self, stored, monkeypatch, caplog):
        """As when a disk fails."""
        read = Path.read_bytes

        def fails(path):
            if path.name == "weights.safetensors":
                raise OSError(5, "Input/output error")
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", fails)
        found = runs.find("00-a", stored.fingerprint, stored.model)
        assert (found, "weights.safetensors cannot be read: [Errno 5]" in caplog.text) == (None, True)


class TestMeasuredOfOnesOwn:
    @pytest.fixture
    def path(self, stored):
        return runs.own_folder("00-a", stored.fingerprint) / "measured.safetensors"

    def again(self, stored):
        return runs.find("00-a", stored.fingerprint, model())

    def test_is_there_when_the_run_is_loaded(self, stored, noise):
        found = stored.measure(brightest, noise(5, 1, 4, 4))
        (entry,) = self.again(stored).measured.values()
        assert (entry.what, entry.count, same(entry.value, found)) == ("brightest", 5, True)

    def test_more_comes_to_what_is_there(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        self.again(stored).measure(brightest, noise(6, 1, 4, 4))
        assert [entry.count for entry in self.again(stored).measured.values()] == [5, 6]

    def test_two_processes_that_measure_at_once_do_not_lose_each_others(self, stored, noise):
        one, other = self.again(stored), self.again(stored)
        one.measure(brightest, noise(5, 1, 4, 4))
        other.measure(brightest, noise(6, 1, 4, 4))
        assert sorted(entry.count for entry in self.again(stored).measured.values()) == [5, 6]

    @pytest.mark.parametrize("damage", [cut, flip, written(b"[]"), written(b"")], ids=["cut", "a bit", "text", "empty"])
    def test_is_measured_again_where_its_file_is_damaged(self, stored, noise, path, damage, caplog):
        images = noise(5, 1, 4, 4)
        right = stored.measure(brightest, images)
        damage(path)
        again = self.again(stored)
        assert (len(again.measured), same(again.measure(brightest, images), right)) == (0, True)
        assert f"{path} cannot be read: " in caplog.text

    def test_what_was_read_does_not_change_with_its_file(self, stored, noise, path):
        """safetensors can leave the tensors in the file, and the file in place of memory."""
        right = stored.measure(brightest, noise(5, 1, 4, 4))
        again = self.again(stored)
        path.write_bytes(bytes(path.stat().st_size))
        assert same(again.measure(brightest, noise(5, 1, 4, 4)), right)

    def test_where_its_file_is_missing_nothing_is_said(self, stored, noise, path, caplog):
        stored.measure(brightest, noise(5, 1, 4, 4))
        path.unlink()
        assert (len(self.again(stored).measured), caplog.messages) == (0, [])

    def test_any_flipped_byte_of_its_file_is_noticed_and_never_raises(self, stored, noise, path, silent):
        right = stored.measure(brightest, noise(2, 1, 4, 4))
        whole, found = path.read_bytes(), []
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
            found += store._read_measured(path.parent, stored.fingerprint, stored.date).values()
        # The four bytes of the tensor that is there because safetensors wants one may change.
        assert [same(entry.value, right) for entry in found] == [True] * 4

    def test_of_an_earlier_training_does_not_count(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        stored.date = "2026-11-23 08:00"
        assert store._read_measured(runs.own_folder("00-a", stored.fingerprint), stored.fingerprint, stored.date) == {}

    def test_is_gone_when_the_run_is_stored_anew_within_the_same_minute(self, stored, noise, path):
        stored.measure(brightest, noise(5, 1, 4, 4))
        runs.save(stored, path.parent)
        assert not path.exists()

    def test_a_full_disk_does_no_harm(self, stored, noise, monkeypatch):
        def full(path, content):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            assert len(stored.measure(brightest, noise(5, 1, 4, 4))["each"]) == 5
        assert len(self.again(stored).measured) == 0


class TestFind:
    def test_finds_an_own_run(self, stored):
        assert runs.find("00-a", stored.fingerprint, stored.model).date == stored.date

    def test_finds_nothing_in_an_empty_store(self, run):
        assert runs.find("00-a", run.fingerprint, run.model) is None

    def test_a_folder_that_holds_another_run_than_its_name_says_is_reported(self, stored, caplog):
        """Its name holds the first twelve digits of the fingerprint."""
        wanted = stored.fingerprint[:12] + "0" * 52
        assert runs.find("00-a", wanted, model()) is None
        assert "tells of another run than the folder's name" in caplog.text

    def test_finds_a_published_run_first(self, stored):
        publish(stored, weights=True, date="2001-01-01 00:00")
        assert runs.find("00-a", stored.fingerprint, model()).date == "2001-01-01 00:00"

    def test_does_not_take_a_published_run_with_other_settings(self, stored):
        publish(stored, weights=True)
        assert runs.find("00-a", "e" * 64, model()) is None

    @pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "a bit", "missing"])
    def test_goes_on_to_the_own_run_where_the_published_weights_are_damaged(self, stored, damage, caplog):
        publish(stored, weights=True, date="2001-01-01 00:00")
        damage(store.PUBLISHED / "00" / "weights" / "00-a.safetensors")
        assert runs.find("00-a", stored.fingerprint, model()).date == stored.date
        assert "00-a.safetensors is " in caplog.text

    def test_own_weights_are_preferred_to_published_numbers(self, stored):
        publish(stored)
        assert isinstance(runs.find("00-a", stored.fingerprint, model(), weights=False).model, ConvAutoencoder)


def record(run, **changes):
    found = store.record(run.name, run.fingerprint)
    found.facts.update(changes)
    return found


def publish(run, weights=False, data=None, **changes):
    """Publish a stored run as chapter 00, maybe with other facts."""
    store.publish("00", [record(run, **changes)], [run.name] if weights else [], data or {})


class TestPublished:
    """A chapter with one run, with numbers alone or with weights, as a reader without runs of their own has it."""

    @pytest.fixture
    def numbers(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        publish(stored)
        shutil.rmtree(runs.own_folder(stored.name, stored.fingerprint))
        return runs.find(stored.name, stored.fingerprint, model(), weights=False)

    @pytest.fixture
    def shipped(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        publish(stored, weights=True)
        shutil.rmtree(runs.own_folder(stored.name, stored.fingerprint))
        return stored

    def test_without_weights_it_is_facts_and_arrays(self, numbers):
        assert names(store.PUBLISHED / "00") == ["arrays.npz", "page.json", "runs.jsonl"]

    def test_with_weights_they_lie_in_a_folder(self, shipped):
        assert names(store.PUBLISHED / "00" / "weights") == ["00-a.safetensors"]

    def test_where_nothing_was_measured_there_are_no_arrays(self, stored):
        publish(stored)
        assert names(store.PUBLISHED / "00") == ["page.json", "runs.jsonl"]

    def test_arrays_that_nothing_needs_any_more_are_removed(self, stored, numbers):
        found = store.record("00-a", stored.fingerprint)
        found.measured.clear()
        store.publish("00", [found], [], {})
        assert names(store.PUBLISHED / "00") == ["page.json", "runs.jsonl"]

    def test_publishing_twice_writes_the_same_bytes(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        content = []
        for _ in range(2):
            publish(stored, weights=True)
            content.append([path.read_bytes() for path in sorted(store.PUBLISHED.rglob("*.*"))])
        assert content[0] == content[1]

    def test_is_listed(self, numbers):
        assert [facts["name"] for facts in runs.published()] == ["00-a"]

    def test_its_weights_are_listed_where_they_are_shipped(self, shipped):
        assert list(store.published_weights()) == ["00-a"]

    def test_knows_what_was_measured(self, numbers, run, noise):
        with torch.no_grad():
            assert same(numbers.measure(brightest, noise(5, 1, 4, 4)), brightest(run.model.eval(), noise(5, 1, 4, 4)))

    def test_has_its_facts(self, numbers, run):
        assert numbers.facts() == run.facts()

    def test_says_so_when_something_new_is_measured(self, numbers, noise):
        with pytest.raises(WeightsNotPublished, match=r"'00-a' are not part of the book"):
            numbers.measure(brightest, noise(5, 1, 4, 4, seed=7))

    def test_is_no_answer_to_who_needs_the_weights(self, numbers):
        assert runs.find("00-a", numbers.fingerprint, model()) is None

    def test_nor_to_who_asks_for_another_training(self, numbers):
        assert runs.find("00-a", "e" * 64, model(), weights=False) is None

    def test_with_weights_what_is_new_is_measured_and_kept_in_ones_own_store(self, shipped, noise):
        runs.find("00-a", shipped.fingerprint, model()).measure(brightest, noise(6, 1, 4, 4))
        assert names(runs.own_folder("00-a", shipped.fingerprint)) == ["measured.safetensors"]
        again = runs.find("00-a", shipped.fingerprint, model())
        assert sorted(entry.count for entry in again.measured.values()) == [5, 6]

    def test_whoever_changes_the_facts_of_a_loaded_run_does_not_change_the_next(self, numbers):
        numbers.data["name"] = "another"
        numbers.versions.clear()
        again = runs.find("00-a", numbers.fingerprint, model(), weights=False)
        assert (again.data["name"], again.versions) == ("noise", {"torch": "2.14.1"})

    def test_a_chapter_that_is_published_again_is_read_again(self, numbers, stored):
        runs.save(stored, runs.own_folder("00-a", stored.fingerprint))
        publish(stored, date="2001-01-01 00:00")
        assert runs.published()[0]["date"] == "2001-01-01 00:00"

    def test_publishing_numbers_removes_weights_that_were_shipped_before(self, stored):
        publish(stored, weights=True)
        publish(stored)
        assert names(store.PUBLISHED / "00" / "weights") == []

    def test_runs_of_a_chapter_do_not_take_each_others_arrays(self, stored, noise):
        pictures = stored.measure(brightest, noise(5, 1, 4, 4))["pictures"]
        one, other = record(stored), record(stored, name="00-a-b", fingerprint="e" * 64)
        for entry in other.measured.values():
            entry.value["pictures"].zero_()
        store.publish("00", [one, other], [], {})
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        found = [runs.find(name, mark * 64, model(), weights=False) for name, mark in (("00-a", "f"), ("00-a-b", "e"))]
        first, second = (next(iter(run.measured.values())).value["pictures"] for run in found)
        assert (torch.equal(first, pictures), int(second.sum())) == (True, 0)

    def test_page_says_which_data_it_was_made_from(self, stored):
        publish(stored, data={"mnist": "0a75392c08ed"})
        assert runs.data_of_page("00") == {"mnist": "0a75392c08ed"}

    @pytest.mark.parametrize(
        "content",
        [None, b"", b"[]", b'{"data": [1]}', b'{"data": 3}', b"\xff", DEEP],
        ids=["missing", "empty", "a list", "data a list", "data a number", "no text", "too deep"],
    )
    def test_page_that_does_not_say_it_is_one_of_no_data(self, content):
        if content is not None:
            (store.PUBLISHED / "00").mkdir(parents=True)
            (store.PUBLISHED / "00" / "page.json").write_bytes(content)
        assert runs.data_of_page("00") == {}


class TestFloat16:
    """Published weights take half the bytes."""

    def shipped(self, run, weights):
        """Return what a model with these weights gets back from its published run."""
        run.model = nn.ParameterDict({"w": nn.Parameter(weights, requires_grad=weights.is_floating_point())})
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        publish(run, weights=True)
        found = nn.ParameterDict({"w": nn.Parameter(torch.zeros_like(weights), requires_grad=False)})
        runs.find("00-a", run.fingerprint, found)
        return found["w"].data

    def file(self):
        return load_file(store.PUBLISHED / "00" / "weights" / "00-a.safetensors")["w"]

    def test_weights_are_shipped_in_it_and_come_back_in_float32(self, run):
        back = self.shipped(run, torch.tensor([0.1, -2.5, 0.0]))
        assert (self.file().dtype, back.dtype) == (torch.float16, torch.float32)
        # float16 has 11 digits of the binary system: half a unit of the last is 2^-12 of the value
        assert back.tolist() == pytest.approx([0.1, -2.5, 0.0], rel=2**-11)

    @pytest.mark.parametrize("large", [65_520.0, -1e6, 1e38])
    def test_what_would_become_infinite_is_shipped_as_it_is(self, run, large):
        assert self.shipped(run, torch.tensor([large, 0.1])).tolist() == torch.tensor([large, 0.1]).tolist()

    def test_whole_numbers_are_shipped_as_they_are(self, run):
        assert self.shipped(run, torch.tensor([4_097, 3])).tolist() == [4_097, 3]  # float16 would make 4,096 of it

    def test_weights_that_are_published_already_are_not_rounded_again(self, run):
        self.shipped(run, torch.tensor([0.1]))
        shutil.rmtree(runs.own_folder("00-a", run.fingerprint))
        before = (store.PUBLISHED / "00" / "weights" / "00-a.safetensors").read_bytes()
        publish(run, weights=True)
        assert (store.PUBLISHED / "00" / "weights" / "00-a.safetensors").read_bytes() == before

    @pytest.mark.parametrize(("named", "dtype"), [(["00-a"], torch.float32), (["00-b"], torch.float16)])
    def test_a_page_that_shows_more_digits_names_those_that_are_shipped_unrounded(self, run, named, dtype):
        (store.PUBLISHED / "00").mkdir(parents=True)
        (store.PUBLISHED / "00" / "page.json").write_text(json.dumps({"data": {}, "float32": named}))
        self.shipped(run, torch.tensor([0.1]))
        assert self.file().dtype == dtype

    def test_a_page_goes_on_naming_them_when_it_is_published_again(self, run):
        (store.PUBLISHED / "00").mkdir(parents=True)
        (store.PUBLISHED / "00" / "page.json").write_text(json.dumps({"data": {}, "float32": ["00-a", "00-old"]}))
        for _ in range(2):
            self.shipped(run, torch.tensor([0.1]))
        assert (self.file().dtype, store._page("00")["float32"]) == (torch.float32, ["00-a"])


class TestPublish:
    @pytest.fixture
    def large(self, run):
        """A run with one value too many: 2 MiB hold 2^20 values of two bytes, less what the file says about them."""
        run.model = nn.ParameterDict({"w": nn.Parameter(torch.zeros(2**20))})
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        return run

    def test_refuses_weights_above_2_mib(self, large):
        with pytest.raises(ValueError, match=r"00-a: its weights have 2,097,2.. bytes, more than 2,097,152; publish"):
            publish(large, weights=True)

    def test_a_refused_run_leaves_what_was_published_before(self, large, run):
        large.model = model()
        runs.save(large, runs.own_folder("00-a", run.fingerprint))
        publish(run, weights=True)
        before = {path: path.read_bytes() for path in store.PUBLISHED.rglob("*.*")}
        large.model = nn.ParameterDict({"w": nn.Parameter(torch.zeros(2**20))})
        runs.save(large, runs.own_folder("00-a", run.fingerprint))
        with pytest.raises(ValueError, match="more than"):
            publish(large, weights=True)
        assert {path: path.read_bytes() for path in store.PUBLISHED.rglob("*.*")} == before

    def test_weights_of_2_mib_and_less_are_shipped(self, run):
        run.model = nn.ParameterDict({"w": nn.Parameter(torch.zeros(2**20 - 100))})
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        publish(run, weights=True)
        assert store.published_weights()["00-a"].stat().st_size <= 2 * 1024 * 1024

    def test_refuses_damaged_weights(self, stored):
        flip(runs.own_folder("00-a", stored.fingerprint) / "weights.safetensors")
        with pytest.raises(DamagedRun, match="is damaged"):
            publish(stored, weights=True)

    def test_refuses_weights_that_are_not_here(self, stored):
        publish(stored)
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        with pytest.raises(ValueError, match="00-a: its weights are wanted, but they are not here"):
            publish(stored, weights=True)

    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(DamagedRun, match="00-a: no run of fingerprint ffffffffffff is stored"):
            store.record("00-a", "f" * 64)


class TestRecord:
    """What `publish` copies: one's own run, unless the page used the published one, which may come from elsewhere."""

    @pytest.fixture
    def both(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        publish(stored, weights=True, date="2001-01-01 00:00")
        return stored

    def test_is_ones_own_where_the_page_used_that(self, both):
        assert store.record("00-a", both.fingerprint, both.date).facts["date"] == both.date

    def test_is_the_published_one_where_the_page_used_that(self, both):
        found = store.record("00-a", both.fingerprint, "2001-01-01 00:00")
        assert (found.facts["date"], found.weights) == (
            "2001-01-01 00:00", store.PUBLISHED / "00" / "weights" / "00-a.safetensors",
        )  # fmt: skip

    def test_of_a_published_one_takes_along_what_was_measured_on_it_since(self, both, noise):
        shutil.rmtree(runs.own_folder("00-a", both.fingerprint))
        runs.find("00-a", both.fingerprint, model()).measure(brightest, noise(6, 1, 4, 4))
        found = store.record("00-a", both.fingerprint, "2001-01-01 00:00")
        assert sorted(entry.count for entry in found.measured.values()) == [5, 6]


    def test_of_one_published_with_its_numbers_alone_has_the_weights_of_ones_own(self, stored, noise):
        """Where it was trained, its weights still are, and a page may ask for them later."""
        stored.measure(brightest, noise(5, 1, 4, 4))
        publish(stored)
        (runs.own_folder("00-a", stored.fingerprint) / "measured.safetensors").unlink()
        store.publish("00", [store.record("00-a", stored.fingerprint, stored.date)], ["00-a"], {})
        found = runs.find("00-a", stored.fingerprint, model())
        assert [entry.count for entry in found.measured.values()] == [5]
        assert list(store.published_weights()) == ["00-a"]

    def test_of_one_published_with_its_numbers_alone_has_not_the_weights_of_another_training(self, stored):
        publish(stored, date="2001-01-01 00:00")
        assert store.record("00-a", stored.fingerprint, "2001-01-01 00:00").weights is None


class TestDamagedPublished:
    """Nothing that lies in a published chapter makes `fit` raise."""

    @pytest.fixture
    def numbers(self, stored, noise):
        """Two runs without weights; something was measured on both."""
        stored.measure(brightest, noise(5, 1, 4, 4))
        store.publish("00", [record(stored), record(stored, name="00-b", fingerprint="e" * 64)], [], {})
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        return store.PUBLISHED / "00"

    def find(self, name="00-a", mark="f"):
        return runs.find(name, mark * 64, None, weights=False)  # no weights are there that a model would be needed for

    @pytest.mark.parametrize(
        "damage",
        [
            lambda line: line[: len(line) // 2],
            lambda line: line.replace(b"0.25", b"0.26"),
            lambda line: b"\xff" + line[1:],
            lambda line: b"[]",
            lambda line: b"3",
            lambda line: b"{}",
            lambda line: DEEP,
            lambda line: line.replace(b'"format": 2', b'"format": 3'),
        ],
        ids=["cut", "a digit", "no text", "a list", "a number", "empty", "too deep", "another format"],
    )
    def test_a_damaged_line_is_reported_with_its_number_and_the_others_stay(self, numbers, damage, caplog):
        path = numbers / "runs.jsonl"
        first, second = path.read_bytes().splitlines()
        path.write_bytes(damage(first) + b"\n" + second + b"\n")
        assert (self.find(), self.find("00-b", "e").name) == (None, "00-b")
        assert "00/runs.jsonl, line 1: " in caplog.text
        assert "Without another copy the run is trained again." in caplog.text

    def test_a_line_of_another_format_with_its_checksum_is_reported(self, numbers, caplog):
        path = numbers / "runs.jsonl"
        facts = json.loads(path.read_text().splitlines()[0])
        del facts["facts_sha256"]
        path.write_text(json.dumps(store.with_checksum({**facts, "format": 3})))
        assert (self.find(), "it is no run of format 2" in caplog.text) == (None, True)

    def test_any_byte_of_the_lines_may_change(self, numbers, stored, silent):
        """Every seventh, so that it takes a second. The line that was hit gives no run, or the run as it was."""
        path = numbers / "runs.jsonl"
        whole, found = path.read_bytes(), []
        for place in range(0, len(whole), 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
            found += [run.history for run in (self.find(), self.find("00-b", "e")) if run]
        assert set(map(repr, found)) == {repr(stored.history)}

    @pytest.mark.parametrize(
        "damage",
        [cut, lambda path: flip(path, 80), Path.unlink, written(b""), written(b"\x93NUMPY"), written(b"PK")],
        ids=["cut", "a bit", "missing", "empty", "an array alone", "no ZIP file"],
    )
    def test_damaged_arrays_are_reported_and_the_numbers_not_used(self, numbers, damage, caplog):
        damage(numbers / "arrays.npz")
        assert self.find() is None
        assert f"00-a: {numbers / 'arrays.npz'} does not hold what was measured on 00-a: " in caplog.text

    def test_any_byte_of_the_arrays_may_change(self, numbers, stored, noise, silent):
        """Dates and attributes in the ZIP file do not matter; all else is noticed, and nothing raises."""
        right = stored.measure(brightest, noise(5, 1, 4, 4))
        path = numbers / "arrays.npz"
        whole, found = path.read_bytes(), []
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
            found += [entry.value for run in filter(None, [self.find()]) for entry in run.measured.values()]
        assert all(same(value, right) for value in found)
        assert 0 < len(found) < len(whole)

    def test_a_header_that_claims_a_terabyte_takes_no_memory(self, numbers, caplog):
        with zipfile.ZipFile(numbers / "arrays.npz", "w") as file, file.open("00-a/0.npy", "w") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (2**40,)}
            np.lib.format.write_array_header_1_0(stream, header)
        assert (self.find(), "does not hold" in caplog.text) == (None, True)

    def test_with_weights_the_run_is_used_and_measured_again(self, stored, noise, caplog):
        images = noise(5, 1, 4, 4)
        stored.measure(brightest, images)
        publish(stored, weights=True)
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        cut(store.PUBLISHED / "00" / "arrays.npz")
        found = runs.find("00-a", stored.fingerprint, model())
        assert len(found.measure(brightest, images)["each"]) == 5
        assert caplog.messages[-1].endswith("it is not used. It is measured again.")

    @pytest.mark.parametrize("damage", [cut, flip, Path.unlink, written(b"")], ids=["cut", "a bit", "missing", "empty"])
    @pytest.mark.parametrize("weights", [True, False])
    def test_damaged_weights_are_reported(self, stored, damage, weights, caplog):
        publish(stored, weights=True)
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        damage(store.PUBLISHED / "00" / "weights" / "00-a.safetensors")
        found = runs.find("00-a", stored.fingerprint, model(), weights=weights)
        assert (found is None) == weights  # whoever needs no weights still has the numbers
        assert "00-a.safetensors is " in caplog.text

    def test_weights_that_no_line_names_do_not_count(self, numbers):
        (numbers / "weights").mkdir()
        save_file({"w": torch.zeros(1)}, numbers / "weights" / "00-a.safetensors")
        assert self.find().facts()["name"] == "00-a"


class TestOtherData:
    """A published run is taken for other data too, where it differs in nothing else."""

    def find(self, weights=False, **parts):
        return store.find_for_other_data("00-a", {**PARTS, **parts}, model(), weights=weights)

    @pytest.mark.parametrize("parts", [{"train": "x"}, {"valid": "x"}, {"train": "x", "valid": "x"}], ids=str)
    def test_is_taken_and_says_so(self, stored, parts):
        publish(stored)
        found = self.find(**parts)
        assert (found.other_data, found.date) == (True, stored.date)

    @pytest.mark.parametrize("part", ["format", "plan", "model", "loss", "start"])
    def test_is_not_taken_where_anything_else_differs_as_well(self, stored, part):
        publish(stored)
        assert self.find(train="x", **{part: "x"}) is None

    def test_is_not_taken_where_a_part_is_unknown(self, stored):
        publish(stored)
        assert self.find(train="x", colour="red") is None

    def test_where_nothing_differs_it_is_not_for_other_data(self, stored):
        publish(stored)
        assert self.find() is None

    def test_without_weights_it_is_no_answer_to_who_needs_them(self, stored):
        publish(stored)
        assert self.find(weights=True, train="x") is None

    @pytest.mark.parametrize("weights", [True, False])
    def test_with_weights_it_comes_with_them(self, stored, weights):
        publish(stored, weights=True)
        assert isinstance(self.find(weights=weights, train="x").model, ConvAutoencoder)

    def test_ones_own_run_on_other_data_is_not_taken(self, stored):
        """Somebody else's page may be shown instead of one's own numbers; one's own earlier ones may not."""
        assert self.find(train="x") is None

    def test_damaged_weights_are_reported_and_the_numbers_taken_where_they_are_enough(self, stored, caplog):
        publish(stored, weights=True)
        cut(store.PUBLISHED / "00" / "weights" / "00-a.safetensors")
        assert self.find(weights=True, train="x") is None
        assert self.find(weights=False, train="x").other_data
        assert caplog.text.count("00-a.safetensors is damaged") == 2

    def test_where_no_run_of_that_name_is_published_there_is_none(self):
        assert self.find(train="x") is None


class TestMismatch:
    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            ({"plan": "x"}, "another plan"),
            ({"model": "x", "plan": "x"}, "another model and another plan"),
            ({"train": "x", "valid": "x", "plan": "x"}, "another plan and other data"),
            ({"start": "x"}, "other starting weights"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_named(self, stored, parts, words):
        publish(stored)
        assert store.mismatch("00-a", {**PARTS, **parts}) == f"00-a is published, but for {words}"

    def test_where_nothing_differs_there_is_none(self, stored):
        publish(stored)
        assert store.mismatch("00-a", PARTS) is None

    def test_where_nothing_is_published_there_is_none(self):
        assert store.mismatch("00-a", PARTS) is None


class TestLock:
    def test_lets_whoever_comes_first_in(self, tmp_path):
        with store.training_lock(tmp_path, "00-a") as ours:
            assert ours

    def test_is_held_as_long_as_the_block(self, tmp_path):
        with store.training_lock(tmp_path, "00-a"), store.training_lock(tmp_path, "00-a", wait=False) as ours:
            assert not ours
        with store.training_lock(tmp_path, "00-a", wait=False) as ours:
            assert ours

    def test_is_given_back_after_an_error(self, tmp_path):
        with pytest.raises(RuntimeError, match="stop"), store.training_lock(tmp_path, "00-a"):
            raise RuntimeError("stop")
        with store.training_lock(tmp_path, "00-a", wait=False) as ours:
            assert ours

    def test_a_folder_without_locks_is_used_without(self, tmp_path, monkeypatch):
        """As some network folders are."""
        import fcntl

        def unsupported(stream, kind):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", unsupported)
        with store.training_lock(tmp_path, "00-a") as ours:
            assert ours


def test_a_folder_is_found_writable_without_leaving_anything(tmp_path):
    store.is_writable(tmp_path / "new")
    assert names(tmp_path / "new") == []


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"{tmp_path / 'file'}.*AECORE_RUNS"):
        store.is_writable(tmp_path / "file" / "runs")


def test_two_processes_may_look_whether_a_folder_is_writable_at_once(tmp_path, monkeypatch):
    """The second one removed the first one's probe, which then raised a FileNotFoundError."""
    unlink = Path.unlink

    def slow(path, missing_ok=False):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slow)
    store.is_writable(tmp_path)
    assert names(tmp_path) == []
