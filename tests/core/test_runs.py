"""`runs`: what a fingerprint depends on, what lies in a run's folder, and what a damaged one does."""

import contextlib
import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aecore import losses, runs
from aecore.data import Images, Splits
from aecore.metrics import evaluate
from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder, init_weights
from aecore.runs.fingerprint import fingerprint
from aecore.training import History, Plan


def print_of(splits, model=None, plan=None, loss=losses.mse, start="seed"):
    return fingerprint(model or LinearAutoencoder((1, 4, 4), 3), splits, plan or Plan(), loss, start)


@pytest.fixture
def run(splits):
    """A run as `fit` makes it, untrained."""
    model = ConvAutoencoder((1, 4, 4), 3)
    return runs.Run(
        name="00-a", fingerprint="f" * 64, model=model, plan=Plan(epochs=2), loss="mse",
        history=History([0.5, 0.25], [0.4, 0.2], [1.0, 1.0]), data={"name": "noise", "count": 24},
        date="2026-11-22 14:03", seconds=2.0, machine="CPU", versions={"torch": "2.14.1"},
    )  # fmt: skip


@pytest.fixture
def folder(run, tmp_path):
    runs.save(run, tmp_path / "run")
    return tmp_path / "run"


class TestFingerprint:
    def test_is_the_same_for_equal_things(self, splits):
        assert print_of(splits) == print_of(splits)

    def test_does_not_depend_on_the_weights_that_will_be_drawn_anew(self, splits):
        one, other = LinearAutoencoder((1, 4, 4), 3), LinearAutoencoder((1, 4, 4), 3)
        init_weights(other, 9)
        assert print_of(splits, one) == print_of(splits, other)

    def test_depends_on_the_weights_that_are_given(self, splits):
        one, other = LinearAutoencoder((1, 4, 4), 3), LinearAutoencoder((1, 4, 4), 3)
        init_weights(other, 9)
        assert print_of(splits, one, init_from="model") != print_of(splits, other, init_from="model")

    @pytest.mark.parametrize(
        "change",
        [
            {"epochs": 11}, {"batch_size": 64}, {"lr": 1e-4}, {"schedule": "cosine"}, {"patience": 3},
            {"precision": "bfloat16"}, {"seed": 1},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_changes_with_every_setting_of_the_plan(self, splits, change):
        assert print_of(splits, plan=Plan(**change)) != print_of(splits)

    @pytest.mark.parametrize("change", [{"validate_every": 2}, {"sizes": ((0, 2), (5, 4))}], ids=str)
    def test_changes_with_the_later_settings_too(self, splits, change):
        assert print_of(splits, plan=Plan(**change)) != print_of(splits)

    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_changes_with_what_is_frozen(self, splits, part):
        model = LinearAutoencoder((1, 4, 4), 3)
        getattr(model, part).requires_grad_(False)
        assert print_of(splits, model) != print_of(splits)

    def test_changes_with_the_code_size(self, splits):
        assert print_of(splits, LinearAutoencoder((1, 4, 4), 4)) != print_of(splits)

    def test_changes_with_a_layer_that_has_no_weights(self, splits):
        halves = [
            (
                nn.Sequential(nn.Flatten(), nn.Linear(16, 3), end),
                nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4))),
            )
            for end in (nn.ReLU(), nn.Identity())
        ]
        assert len({print_of(splits, Autoencoder((1, 4, 4), *half)) for half in halves}) == 2

    @pytest.mark.parametrize("part", ["train", "valid"])
    def test_changes_with_one_pixel(self, splits, noise, part):
        parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
        pixels = parts[part].pixels.clone()
        pixels[0, 0, 0, 0] ^= 1
        parts[part] = type(splits.train)(pixels)
        assert print_of(Splits(**parts)) != print_of(splits)

    def test_does_not_depend_on_the_test_images(self, splits, noise):
        assert print_of(Splits(splits.train, splits.valid, noise(5, 1, 4, 4, seed=9))) == print_of(splits)

    def test_changes_with_the_loss(self, splits):
        assert print_of(splits, loss=losses.mae) != print_of(splits)

    def test_is_the_same_in_every_process(self, python, splits, noise):
        code = (
            "import torch, aecore as ae; from aecore import losses; from aecore.data import Images, Splits\n"
            "from aecore.runs.fingerprint import fingerprint\n"
            "i = Images(torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4))\n"
            "print(fingerprint(ae.models.ConvAutoencoder((1, 4, 4), 3), Splits(i, i, i), ae.Plan(), losses.mse,"
            " 'seed'))"
        )
        assert python(code, PYTHONHASHSEED="1") == python(code, PYTHONHASHSEED="2")

    def test_is_what_it_was_when_the_first_runs_were_published(self):
        """If this fails, published runs are trained again: raise `fingerprints.FORMAT` on purpose, not by accident."""
        images = Images(torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4))
        data, model = Splits(images, images, images), ConvAutoencoder((1, 4, 4), 3)
        found = fingerprint(model, data, Plan(), losses.mse, "seed")
        assert found[:16] == "ec629b7156a3cd57"


OWN_LOSS = """
def loss(x, x_hat):
    return (x - x_hat).abs().mean()
"""
OWN_MODEL = """
from torch import nn
import aecore as ae

class Block(nn.Module):
    factor = 2

    def forward(self, x):
        return self.factor * x

encoder = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), Block())
model = ae.models.Autoencoder((1, 4, 4), encoder, nn.Upsample(scale_factor=2))
"""


class TestOwnCode:
    """Of functions and classes that a reader writes in a notebook."""

    def loss(self, in_a_cell, splits, source):
        return print_of(splits, loss=in_a_cell(source).loss)

    def model(self, in_a_cell, splits, source):
        return print_of(splits, in_a_cell(source).model)

    def test_a_comment_in_a_loss_changes_nothing(self, in_a_cell, splits):
        commented = OWN_LOSS.replace(".mean()", ".mean()  # over all")
        assert self.loss(in_a_cell, splits, commented) == self.loss(in_a_cell, splits, OWN_LOSS)

    def test_the_code_of_a_loss_counts(self, in_a_cell, splits):
        changed = OWN_LOSS.replace("mean", "sum")
        assert self.loss(in_a_cell, splits, changed) != self.loss(in_a_cell, splits, OWN_LOSS)

    def test_a_number_outside_a_loss_counts(self, in_a_cell, splits):
        source = "weight = {}\n" + OWN_LOSS.replace("return", "return weight *")
        assert self.loss(in_a_cell, splits, source.format(2)) != self.loss(in_a_cell, splits, source.format(3))

    def test_a_number_that_a_loss_encloses_counts(self, in_a_cell, splits):
        make = in_a_cell(
            "def make(weight):\n    def loss(x, x_hat):\n        return weight * (x - x_hat).mean()\n    return loss\n"
        ).make
        assert print_of(splits, loss=make(2)) != print_of(splits, loss=make(3))

    def test_the_weights_of_a_network_in_a_loss_count(self, in_a_cell, splits):
        source = (
            "from torch import nn\nnetwork = nn.Linear(1, 1)\nnn.init.constant_(network.weight, {0})\n"
            "nn.init.zeros_(network.bias)\ndef loss(x, x_hat):\n    return network(x - x_hat).mean()\n"
        )
        assert self.loss(in_a_cell, splits, source.format(2)) != self.loss(in_a_cell, splits, source.format(3))

    def test_a_function_that_a_loss_calls_counts(self, in_a_cell, splits):
        source = "def part(d):\n    return d{}\ndef loss(x, x_hat):\n    return part(x - x_hat).mean()\n"
        assert self.loss(in_a_cell, splits, source.format("**2")) != self.loss(in_a_cell, splits, source.format("**4"))

    def test_a_function_that_calls_itself_does_no_harm(self, in_a_cell, splits):
        source = "def loss(x, x_hat, n=1):\n    return loss(x, x_hat, n - 1) if n else (x - x_hat).abs().mean()\n"
        assert len(self.loss(in_a_cell, splits, source)) == 64

    def test_a_lambda_counts_with_its_code(self, in_a_cell, splits):
        source = "loss = lambda x, x_hat: (x - x_hat).abs().{}()\n"
        assert self.loss(in_a_cell, splits, source.format("mean")) != self.loss(in_a_cell, splits, source.format("sum"))

    def test_a_lambda_inside_a_longer_call_is_refused_with_the_way_out(self, in_a_cell, splits):
        cell = in_a_cell("loss = max(None,\n    lambda x, x_hat: (x - x_hat).mean(), key=lambda f: f is not None)\n")
        with pytest.raises(ValueError, match="its code is part of a longer statement; write it as a def"):
            print_of(splits, loss=cell.loss)

    def test_code_that_cannot_be_found_is_refused_with_the_way_out(self, splits):
        space = {"__name__": "nowhere"}
        exec("def loss(x, x_hat): return (x - x_hat).mean()", space)
        with pytest.raises(ValueError, match="loss: its code cannot be found; define it in a cell or file"):
            print_of(splits, loss=space["loss"])

    def test_a_class_from_a_notebook_has_a_fingerprint(self, in_a_cell, splits):
        assert len(self.model(in_a_cell, splits, OWN_MODEL)) == 64

    def test_a_comment_in_a_class_changes_nothing(self, in_a_cell, splits):
        commented = OWN_MODEL.replace("factor = 2", "factor = 2  # twice\n")
        assert self.model(in_a_cell, splits, commented) == self.model(in_a_cell, splits, OWN_MODEL)

    @pytest.mark.parametrize(("old", "new"), [("self.factor * x", "self.factor + x"), ("factor = 2", "factor = 3")])
    def test_the_code_of_a_class_counts(self, in_a_cell, splits, old, new):
        changed = OWN_MODEL.replace(old, new)
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, OWN_MODEL)

    def test_the_code_of_a_class_that_it_is_made_from_counts(self, in_a_cell, splits):
        derived = OWN_MODEL.replace("\nencoder =", "\nclass Late(Block):\n    pass\n\nencoder =")
        derived = derived.replace("Block())", "Late())")
        changed = derived.replace("factor = 2", "factor = 3")
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, derived)

    def test_a_class_of_settings_alone_counts(self, in_a_cell, splits):
        """Without a method, Python cannot tell which cell it was written in."""
        source = OWN_MODEL.replace("\nencoder =", "\nclass Late(Block):\n    factor = {}\n\nencoder =")
        source = source.replace("Block())", "Late())")
        assert self.model(in_a_cell, splits, source.format(4)) != self.model(in_a_cell, splits, source.format(5))

    @pytest.mark.parametrize(("old", "new"), [("0.2", "0.3"), ("[4, 2]", "[4, 3]"), ("[1.0]", "[2.0]"), ("eye", "tri")])
    def test_what_a_constructor_was_given_counts(self, in_a_cell, splits, old, new):
        """It comes from outside the class, so the code of the class does not show it."""
        constructor = """
    def __init__(self, factor, widths, mean, table):
        super().__init__()
        self.factor, self.widths, self.table = factor, widths, table
        self.register_buffer("mean", mean, persistent=False)
"""
        given = "0.2, [4, 2], torch.tensor([1.0]), numpy.eye(2)"
        source = "import numpy, torch\n" + OWN_MODEL.replace("    factor = 2\n", constructor)
        source = source.replace("Block()", f"Block({given})")
        changed = source.replace(given, given.replace(old, new))
        assert self.model(in_a_cell, splits, source) == self.model(in_a_cell, splits, source)
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, source)

    @pytest.mark.parametrize("inside", ["factor * x", "[factor * value for value in [x]][0]", "(lambda: factor * x)()"])
    def test_a_number_outside_a_class_counts(self, in_a_cell, splits, inside):
        source = "factor = {}\n" + OWN_MODEL.replace("self.factor * x", inside)
        assert self.model(in_a_cell, splits, source.format(2)) != self.model(in_a_cell, splits, source.format(3))

    def test_a_function_that_a_class_calls_counts(self, in_a_cell, splits):
        source = "def part(x):\n    return {} * x\n" + OWN_MODEL.replace("self.factor * x", "part(x)")
        assert self.model(in_a_cell, splits, source.format(2)) != self.model(in_a_cell, splits, source.format(3))

    def test_a_name_outside_that_is_only_an_attribute_inside_does_not_count(self, in_a_cell, splits):
        source = "factor = {}\n" + OWN_MODEL  # which reads self.factor, another thing
        assert self.model(in_a_cell, splits, source.format(2)) == self.model(in_a_cell, splits, source.format(3))

    def test_what_was_trained_under_the_name_of_an_attribute_does_not_count(self, in_a_cell, splits):
        """Else the same cell, run once more, would not find its own run."""
        source = OWN_MODEL.replace("factor = 2", "encoder = 2").replace("self.factor", "self.encoder")
        cell = in_a_cell(source)
        before = print_of(splits, cell.model)
        cell.encoder[0].weight.data += 1
        assert print_of(splits, cell.model) == before

    def test_functions_that_call_each_other_do_no_harm(self, in_a_cell, splits):
        source = (
            "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)\n"
            "def loss(x, x_hat):\n    return (x - x_hat).mean() * even(2)\n"
        )
        assert len(self.loss(in_a_cell, splits, source)) == 64

    def test_a_layer_that_knows_the_one_around_it_does_no_harm(self, in_a_cell, splits):
        source = OWN_MODEL + "object.__setattr__(encoder[1], 'around', encoder)\n"
        assert len(self.model(in_a_cell, splits, source)) == 64


class TestStore:
    def test_a_run_is_two_files_and_neither_is_a_pickle(self, folder):
        assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]

    def test_the_facts_are_json(self, folder):
        assert json.loads((folder / "run.json").read_text())["name"] == "00-a"

    def test_the_weights_are_safetensors(self, folder, run):
        found, wanted = load_file(folder / "weights.safetensors"), run.model.state_dict()
        assert found.keys() == wanted.keys()

    def test_loading_gives_bit_equal_weights(self, folder, run):
        model = ConvAutoencoder((1, 4, 4), 3)
        runs.load(folder, model)
        assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in model.state_dict().items())

    def test_weights_in_channels_last_come_back_bit_equal(self, run, tmp_path):
        run.model.to(memory_format=torch.channels_last)
        runs.save(run, tmp_path / "run")
        model = ConvAutoencoder((1, 4, 4), 3)
        runs.load(tmp_path / "run", model)
        assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in model.state_dict().items())

    def test_loading_gives_the_facts_back(self, folder, run):
        assert runs.load(folder, ConvAutoencoder((1, 4, 4), 3)).facts() == run.facts()

    def test_a_history_without_validation_comes_back(self, run, tmp_path):
        run.history = History([0.5], [math.nan], [1.0])
        runs.save(run, tmp_path / "run")
        assert math.isnan(runs.load(tmp_path / "run", run.model).history.valid_loss[0])

    def test_a_loaded_model_is_in_evaluation_mode(self, folder):
        assert not runs.load(folder, ConvAutoencoder((1, 4, 4), 3)).model.training

    def test_a_loaded_model_can_be_trained_on(self, folder):
        model = runs.load(folder, ConvAutoencoder((1, 4, 4), 3)).model
        assert all(weight.requires_grad for weight in model.parameters())

    def test_weights_that_two_layers_share_come_back(self, run, tmp_path):
        """safetensors refuses tensors that share their memory."""
        shared = nn.Linear(4, 4)
        run.model = nn.Sequential(shared, shared)
        runs.save(run, tmp_path / "run")
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        runs.load(tmp_path / "run", model)
        assert torch.equal(model[0].weight, model[1].weight)

    def test_the_facts_hold_no_word_that_json_does_not_know(self, run, tmp_path):
        """Python writes NaN and Infinity, which other readers of JSON refuse."""
        run.history = History([0.5], [math.nan], [1.0])
        runs.save(run, tmp_path / "run")

        def refused(word):
            raise AssertionError(word)

        facts = json.loads((tmp_path / "run" / "run.json").read_text(), parse_constant=refused)
        assert facts["history"]["valid_loss"] == [None]

    def test_what_a_killed_process_had_begun_to_write_is_removed(self, run, folder):
        (folder / ".weights.safetensors.abc.part").write_bytes(b"half")
        runs.save(run, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]

    def test_a_plan_of_before_the_later_settings_is_read(self, folder):
        """Runs that were published before `Plan` knew `validate_every` and `sizes` do not name them."""
        assert "sizes" not in store.read_facts(folder)["plan"]
        assert runs.load(folder, ConvAutoencoder((1, 4, 4), 3)).plan == Plan(epochs=2)

    def test_a_plan_with_the_later_settings_comes_back(self, run, tmp_path):
        run.plan = Plan(epochs=2, validate_every=2, sizes=((0, 2), (1, 4)))
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
        assert list((tmp_path / "run").iterdir()) == []

    def test_runs_lie_in_the_home_where_nothing_is_said(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AECORE_RUNS")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert config.runs_root() == tmp_path / ".cache" / "aecore" / "runs"


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def without_a_fact(path):
    facts = json.loads(path.read_text())
    del facts["fingerprint"]
    path.write_text(json.dumps(facts))


def of_another_format(path):
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))


DAMAGE = [
    pytest.param("weights.safetensors", lambda path: path.unlink(), "is missing", id="weights missing"),
    pytest.param("weights.safetensors", cut, "is damaged: its SHA-256", id="weights cut"),
    pytest.param("weights.safetensors", flip, "is damaged: its SHA-256", id="one bit of the weights"),
    pytest.param("run.json", cut, "cannot be read", id="json cut"),
    pytest.param("run.json", lambda path: path.write_bytes(b""), "cannot be read", id="json empty"),
    pytest.param("run.json", lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read", id="json no text"),
    pytest.param("run.json", lambda path: path.write_text("[]"), "is not a run", id="json a list"),
    pytest.param("run.json", without_a_fact, "is not a run", id="json without a fact"),
    pytest.param("run.json", of_another_format, "is not a run of format 1", id="json of another format"),
]


@pytest.mark.parametrize(("file", "damage", "words"), DAMAGE)
class TestDamage:
    def test_is_an_error_that_names_the_file(self, folder, file, damage, words):
        damage(folder / file)
        with pytest.raises(runs.DamagedRun, match=rf"{file} {words}"):
            runs.load(folder, ConvAutoencoder((1, 4, 4), 3))

    def test_leaves_the_model_as_it_was(self, folder, file, damage, words):
        damage(folder / file)
        model = ConvAutoencoder((1, 4, 4), 3)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(runs.DamagedRun):
            runs.load(folder, model)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_is_reported_and_passed_over_by_find(self, run, file, damage, words, caplog):
        place = runs.own_folder("00-a", run.fingerprint)
        runs.save(run, place)
        damage(place / file)
        found = runs.find("00-a", run.fingerprint, run.model)
        assert (found, "it is not used" in caplog.text) == (None, True)

    def test_is_not_deleted_by_find(self, run, file, damage, words):
        place = runs.own_folder("00-a", run.fingerprint)
        runs.save(run, place)
        damage(place / file)
        before = sorted(place.iterdir())
        runs.find("00-a", run.fingerprint, run.model)
        assert sorted(place.iterdir()) == before


class TestSeal:
    """`run.json` states the SHA-256 of what it says."""

    def test_any_flipped_bit_of_the_facts_is_found_or_says_the_same(self, folder):
        """The same: the E of 1e-05 may be large or small."""
        path = folder / "run.json"
        whole, facts = path.read_bytes(), store.read_facts(folder)
        unnoticed = []
        for place in range(8 * len(whole)):
            content = bytearray(whole)
            content[place // 8] ^= 1 << place % 8
            path.write_bytes(content)
            with contextlib.suppress(runs.DamagedRun):
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
        with pytest.raises(runs.DamagedRun, match=r"run.json is damaged: its SHA-256 is not the one that it states"):
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
        with pytest.raises(runs.DamagedRun, match="is not a run of format 1"):
            store.read_facts(folder)


PUBLISHED = sorted((Path(runs.__file__).parent / "published").glob("*/run.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
class TestEveryPublishedRun:
    def test_is_unchanged(self, path):
        assert store.read_facts(path.parent)["name"] == path.parent.name

    def test_has_a_history_that_comes_back_as_it_is(self, path):
        kept = store.read_facts(path.parent)["history"]
        assert History.from_dict(kept).as_dict() == kept


def test_weights_that_cannot_be_read_are_passed_over(run, monkeypatch, caplog):
    """As when a disk fails."""
    place = runs.own_folder("00-a", run.fingerprint)
    runs.save(run, place)
    read = Path.read_bytes

    def fails(path):
        if path.name == "weights.safetensors":
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fails)
    found = runs.find("00-a", run.fingerprint, run.model)
    assert (found, f"{place / 'weights.safetensors'} cannot be read: [Errno 5]" in caplog.text) == (None, True)


class TestFind:
    def test_finds_an_own_run(self, run):
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        assert runs.find("00-a", run.fingerprint, run.model).date == run.date

    def test_finds_a_published_run_first(self, run):
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        run.date = "published"
        runs.save(run, store.PUBLISHED / "00-a")
        assert runs.find("00-a", run.fingerprint, run.model).date == "published"

    def test_does_not_take_a_published_run_with_other_settings(self, run):
        runs.save(run, store.PUBLISHED / "00-a")
        assert runs.find("00-a", "e" * 64, run.model) is None

    def test_goes_on_to_the_own_run_where_the_published_one_is_damaged(self, run):
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        runs.save(run, store.PUBLISHED / "00-a")
        flip(store.PUBLISHED / "00-a" / "weights.safetensors")
        assert runs.find("00-a", run.fingerprint, run.model).date == run.date

    def test_finds_nothing_in_an_empty_store(self, run):
        assert runs.find("00-a", run.fingerprint, run.model) is None


def brightest(model, images):
    """What a chapter might measure: of each reconstruction the brightest pixel, and how many there are."""
    x_hat = model(images.floats())
    return {"each": x_hat.amax((1, 2, 3)).tolist(), "count": len(images)}


class TestMeasure:
    @pytest.fixture
    def stored(self, run):
        runs.save(run, runs.own_folder(run.name, run.fingerprint))
        return run

    @pytest.fixture
    def numbers(self, stored, noise):
        """The run as a reader has it, published without weights after something was measured on it."""
        stored.measure(brightest, noise(5, 1, 4, 4))
        runs.publish(stored.name, stored.fingerprint, weights=False)
        shutil.rmtree(runs.own_folder(stored.name, stored.fingerprint))
        return runs.find(stored.name, stored.fingerprint, ConvAutoencoder((1, 4, 4), 3), weights=False)

    def test_gives_what_the_function_gives(self, stored, noise):
        images = noise(5, 1, 4, 4)
        stored.model.eval()
        with torch.no_grad():
            assert stored.measure(brightest, images) == brightest(stored.model, images)

    def test_measures_in_evaluation_and_leaves_the_mode_as_it_was(self, stored, noise):
        stored.model.train()

        def mode(model, images):
            return [model.training, torch.is_grad_enabled()]

        assert (stored.measure(mode, noise(2, 1, 4, 4)), stored.model.training) == ([False, False], True)

    def test_is_not_repeated(self, stored, noise):
        images, calls = noise(5, 1, 4, 4), []

        def counted(model, images):
            calls.append(1)
            return len(calls)

        assert [stored.measure(counted, images) for _ in range(3)] == [1, 1, 1]

    def test_is_repeated_on_other_images(self, stored, noise):
        first = stored.measure(brightest, noise(5, 1, 4, 4, seed=1))
        assert stored.measure(brightest, noise(5, 1, 4, 4, seed=2)) != first

    def test_is_repeated_with_another_code_of_the_same_name(self, stored, noise):
        images = noise(5, 1, 4, 4)

        def first():
            def found(model, images):
                return 1

            return found

        def second():
            def found(model, images):
                return 2

            return found

        assert [stored.measure(f, images) for f in (first(), second())] == [1, 2]

    def test_of_a_run_without_a_name_is_not_kept(self, run, noise, tmp_path):
        run.name = None
        run.measure(brightest, noise(5, 1, 4, 4))
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_text("[]"), lambda path: path.unlink()])
    def test_is_repeated_where_its_file_is_damaged(self, stored, noise, damage):
        images = noise(5, 1, 4, 4)
        right = stored.measure(brightest, images)
        damage(runs.own_folder(stored.name, stored.fingerprint) / "measured.json")
        assert stored.measure(brightest, images) == right

    def test_of_an_earlier_training_does_not_count(self, stored, noise):
        images = noise(5, 1, 4, 4)
        before = stored.measure(brightest, images)
        with torch.no_grad():
            next(stored.model.parameters()).add_(1)
            for weight in stored.model.decoder.parameters():
                weight.add_(1)
        stored.date = "2026-11-23 08:00"
        runs.save(stored, runs.own_folder(stored.name, stored.fingerprint))
        assert stored.measure(brightest, images) != before

    def test_the_score_is_that_of_clipped_reconstructions(self, run, noise):
        images = noise(5, 1, 4, 4)
        found, wanted = run.score(images), evaluate(run.model, images, clip=True)
        assert (found.mse, found.psnr_db, found.count) == (wanted.mse, wanted.psnr_db, 5)

    def test_a_run_without_weights_knows_what_was_measured(self, numbers, stored, noise):
        images = noise(5, 1, 4, 4)
        with torch.no_grad():
            assert numbers.measure(brightest, images) == brightest(stored.model.eval(), images)

    def test_a_run_without_weights_has_its_history(self, numbers, run):
        assert numbers.facts() == run.facts()

    def test_a_run_without_weights_says_so_when_something_new_is_measured(self, numbers, noise):
        with pytest.raises(runs.WeightsNotPublished, match=r"'00-a' are not part of the book.*weights=False"):
            numbers.measure(brightest, noise(5, 1, 4, 4, seed=7))

    @pytest.mark.parametrize("use", [lambda m: m(torch.zeros(1, 1, 4, 4)), lambda m: m.encode, lambda m: m.cpu()])
    def test_a_run_without_weights_says_so_when_its_model_is_used(self, numbers, use):
        with pytest.raises(runs.WeightsNotPublished):
            use(numbers.model)

    def test_a_run_without_weights_is_no_answer_to_who_needs_them(self, numbers):
        assert runs.find("00-a", numbers.fingerprint, ConvAutoencoder((1, 4, 4), 3)) is None

    def test_nor_to_who_asks_for_another_training(self, numbers):
        assert runs.find("00-a", "e" * 64, ConvAutoencoder((1, 4, 4), 3), weights=False) is None

    def test_own_weights_are_preferred_to_published_numbers(self, numbers, stored):
        runs.save(stored, runs.own_folder(stored.name, stored.fingerprint))
        found = runs.find("00-a", stored.fingerprint, ConvAutoencoder((1, 4, 4), 3), weights=False)
        assert isinstance(found.model, ConvAutoencoder)

    def test_of_a_run_on_which_nothing_was_measured_the_history_is_published(self, stored):
        runs.publish("00-a", stored.fingerprint, weights=False)
        shutil.rmtree(runs.own_folder("00-a", stored.fingerprint))
        found = runs.find("00-a", stored.fingerprint, ConvAutoencoder((1, 4, 4), 3), weights=False)
        assert found.history == stored.history

    def test_publishing_numbers_removes_weights_that_were_published_before(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        runs.publish("00-a", stored.fingerprint)
        runs.publish("00-a", stored.fingerprint, weights=False)
        assert sorted(path.name for path in (store.PUBLISHED / "00-a").iterdir()) == ["measured.json", "run.json"]

    def test_publishing_with_weights_takes_the_numbers_along(self, stored, noise):
        stored.measure(brightest, noise(5, 1, 4, 4))
        runs.publish("00-a", stored.fingerprint)
        assert (store.PUBLISHED / "00-a" / "measured.json").exists()


class TestPublish:
    def test_copies_both_files_byte_for_byte(self, run):
        source = runs.own_folder("00-a", run.fingerprint)
        runs.save(run, source)
        target = runs.publish("00-a", run.fingerprint)
        assert {p.name: p.read_bytes() for p in target.iterdir()} == {p.name: p.read_bytes() for p in source.iterdir()}

    def test_a_published_run_is_listed(self, run):
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        runs.publish("00-a", run.fingerprint)
        assert [facts["name"] for facts in runs.published()] == ["00-a"]

    @pytest.fixture
    def large(self, run):
        """A run with one byte too much."""
        source = runs.own_folder("00-a", run.fingerprint)
        runs.save(run, source)
        path = source / "weights.safetensors"
        save_file({"w": torch.zeros(10, dtype=torch.uint8)}, path)
        overhead = path.stat().st_size - 10
        save_file({"w": torch.zeros(2 * 1024 * 1024 - overhead + 1 + 8, dtype=torch.uint8)}, path)
        return run

    def test_refuses_weights_above_2_mib(self, large):
        with pytest.raises(ValueError, match="00-a: its weights have .* bytes, more than 2,097,152"):
            runs.publish("00-a", large.fingerprint)

    def test_a_refused_run_leaves_nothing_behind(self, large):
        with pytest.raises(ValueError, match="more than"):
            runs.publish("00-a", large.fingerprint)
        assert not store.PUBLISHED.exists()

    def test_refuses_damaged_weights(self, run):
        runs.save(run, runs.own_folder("00-a", run.fingerprint))
        flip(runs.own_folder("00-a", run.fingerprint) / "weights.safetensors")
        with pytest.raises(runs.DamagedRun, match="is damaged"):
            runs.publish("00-a", run.fingerprint)

    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(runs.DamagedRun, match=r"run\.json cannot be read"):
            runs.publish("00-a", "f" * 64)


@pytest.mark.parametrize("word", ["00-a", "2 epochs", "validation mse 0.20000", "trained 2026-11-22 on CPU, 2 s"])
def test_a_run_says_what_it_is(run, word):
    assert word in repr(run)
