"""`Checkpoints`: a training that was interrupted anywhere ends as if it had not been, and damage is found."""

import errno
import functools
import hashlib
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import nn

from aecore import distributed, objectives
from aecore.models import Autoencoder, ConvAutoencoder, DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.objectives import Reconstruction
from aecore.training import Checkpoints, Observer, Plan, train
from aecore.training.step import TrainStep

pytestmark = pytest.mark.usefixtures("precision_as_planned")

CPU = torch.device("cpu")


# tests/campaigns is no package: its scripts are started by themselves.
_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "campaigns" / "tiny.py")
tiny = sys.modules["tiny"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def linear():
    return LinearAutoencoder((1, 4, 4), 3)


def dense():
    return DenseAutoencoder((1, 4, 4), 8, hidden=(12,))


def conv():
    return ConvAutoencoder((1, 8, 8), 8, width=4, any_size=True)


def with_dropout():
    decoder = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)))
    return Autoencoder((1, 4, 4), nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), decoder)


def with_batch_norm():
    """Its running means are no weights, and count the steps that they have seen."""
    encoder = nn.Sequential(nn.Conv2d(1, 2, 2, stride=2), nn.BatchNorm2d(2))
    return Autoencoder((1, 4, 4), encoder, nn.ConvTranspose2d(2, 1, 2, stride=2))


class WithMemory(nn.Module):
    """Adds to the codes what it has seen: a mean in a buffer that no state_dict holds, and so in no stored run."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(3), persistent=False)

    def forward(self, z):
        if self.training:
            self.seen += z.detach().mean(0)
        return z + self.seen


def with_hidden_buffer():
    model = linear()
    model.encoder.append(WithMemory())
    return model


def with_all():
    model = conv()
    model.encoder.append(nn.Dropout(0.2))
    return model


@dataclass(frozen=True)
class Case:
    """A training of 24 images, and how many steps it makes until it is over."""

    model: object
    plan: Plan
    steps: int
    edge: int = 4
    objective: object = Reconstruction


PLAN = Plan(epochs=2, batch_size=10)
PATIENT = Plan(epochs=12, batch_size=10, lr=0.03, patience=2)
# 24 images in batches of 10: three steps in an epoch, of 10, 10 and 4 images.
CASES = {
    "constant": Case(linear, PLAN, 6),
    "batches of equal size": Case(linear, PLAN.replace(batch_size=8), 6),
    "cosine": Case(linear, PLAN.replace(schedule="cosine"), 6),
    "one cycle": Case(linear, PLAN.replace(schedule="onecycle"), 6),
    # best after epoch 1 of 12, stopped after epoch 3
    "patience": Case(dense, PATIENT, 12),
    # looks after epochs 1, 3, …; best after epoch 1, stopped after epoch 3
    "validation at intervals": Case(dense, PATIENT.replace(validate_every=2), 12),
    "sizes": Case(conv, PLAN.replace(sizes=((0, 4), (1, 8))), 6, edge=8),
    "crop and flip": Case(conv, PLAN.replace(crop=4, flip=True), 6, edge=8),
    "weight decay and clipping": Case(linear, PLAN.replace(weight_decay=0.1, clip_norm=0.01), 6),
    "dropout": Case(with_dropout, PLAN, 6),
    "batch norm": Case(with_batch_norm, PLAN, 6),
    "average": Case(with_batch_norm, PLAN.replace(ema=0.75), 6),
    "hidden buffer": Case(with_hidden_buffer, PLAN, 6),
    "average of a hidden buffer": Case(with_hidden_buffer, PLAN.replace(ema=0.75), 6),
    # best after epoch 1 of 12, stopped after epoch 3, by the validation loss of the average
    "patience with an average": Case(dense, PATIENT.replace(ema=0.5), 12),
    "bfloat16": Case(conv, PLAN.replace(precision="bfloat16"), 6, edge=8),
    # of 9 epochs: the first at 4×4; best after epoch 3, stopped after epoch 5
    "all of these": Case(
        with_all,
        Plan(
            epochs=9,
            batch_size=10,
            lr=1.0,
            schedule="cosine",
            patience=2,
            validate_every=2,
            sizes=((0, 4), (1, 8)),
            seed=3,
        ),
        18,
        edge=8,
    ),
}
OBJECTIVES = {name: Case(case.model, PLAN, 6, 8, case.objective) for name, case in tiny.OBJECTIVES.items()}
ANYWHERE = [
    pytest.param(name, step, id=f"{name}-{step}") for name, case in CASES.items() for step in range(1, case.steps + 1)
]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Nobody pulls the plug here; that files are flushed is shown in test_files."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


class Killed(Exception):
    """Stands for whatever ends a training without asking."""


def result(model, history):
    """Return all that a training leaves, but how long it took."""
    facts = {**history.as_dict(), "interrupted": history.interrupted}
    del facts["seconds"]
    tensors = {**model.state_dict(), **dict(model.named_buffers())}
    return facts, {name: (value.dtype, value.tolist()) for name, value in tensors.items()}


def drawn(case):
    model = case.model()
    init_weights(model, 0)
    return model


def trained_by(case, checkpoints, **observed):
    """Train as the case says, from these checkpoints if there are any; return the model and its history."""
    model = drawn(case)
    data, observer = tiny.splits(24, case.edge), Observer(checkpoints, **observed)
    return model, train(model, data, case.plan, case.objective(), CPU, observer)


def trained(case, folder=None, seconds=3600.0, **observed):
    """Train as the case says, from its checkpoints if there are any; return what it leaves."""
    return result(*trained_by(case, Checkpoints(folder, "f", seconds), **observed))


@functools.cache
def uninterrupted(name):
    return trained((CASES | OBJECTIVES)[name])


def interrupted_at(*steps):
    """Return an `on_step` that presses Ctrl-C after those steps."""
    return lambda step: signal.raise_signal(signal.SIGINT) if step in steps else None


def killed_at(last):
    def on_step(step):
        if step == last:
            raise Killed

    return on_step


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def files_in(folder):
    return sorted(folder.glob("*.safetensors"))


def places(folder):
    """Return epoch and step of each checkpoint, by its name."""
    return [tuple(map(int, path.name.split("-")[:2])) for path in files_in(folder)]


class TestCases:
    """The cases are what they say, or the tests below would show nothing."""

    def test_every_objective_is_among_them(self):
        kinds = [kind for kind in vars(objectives).values() if isinstance(kind, type)]
        own = {kind.__name__ for kind in kinds if issubclass(kind, objectives.Objective)} - {"Objective"}
        assert own == tiny.OBJECTIVES.keys()

    @pytest.mark.parametrize("name", tiny.OBJECTIVES)
    def test_every_weight_is_moved(self, name):
        """A model that nothing is asked of would go on from anywhere."""
        first, last = drawn(OBJECTIVES[name]), trained_by(OBJECTIVES[name], Checkpoints())[0]
        assert not any(map(torch.equal, first.parameters(), last.parameters()))

    @pytest.mark.parametrize("name", CASES)
    def test_has_so_many_steps(self, name):
        calls = []
        trained(CASES[name], on_step=calls.append)
        assert calls == list(range(1, CASES[name].steps + 1))

    @pytest.mark.parametrize(
        ("name", "best", "epochs"),
        [
            ("patience", 1, 4), ("validation at intervals", 1, 4), ("patience with an average", 1, 4),
            ("all of these", 3, 6),
        ],
    )  # fmt: skip
    def test_is_best_in_the_middle_and_stops_early(self, name, best, epochs):
        facts, _ = uninterrupted(name)
        assert (facts["best_epoch"], len(facts["train"]["loss"])) == (best, epochs)

    def test_validation_at_intervals_has_gaps(self):
        assert [value is None for value in uninterrupted("validation at intervals")[0]["valid"]["loss"]] == [
            True, False, True, False,
        ]  # fmt: skip


class TestResume:
    @pytest.mark.parametrize(("name", "step"), ANYWHERE)
    def test_after_ctrl_c_at_any_step_it_ends_with_the_same_weights_and_losses(self, name, step, folder):
        trained(CASES[name], folder, on_step=interrupted_at(step))
        assert trained(CASES[name], folder) == uninterrupted(name)

    @pytest.mark.parametrize(("name", "step"), ANYWHERE)
    def test_after_an_end_without_warning_at_any_step_it_does_too(self, name, step, folder):
        with pytest.raises(Killed):
            trained(CASES[name], folder, seconds=0, on_step=killed_at(step))
        assert trained(CASES[name], folder) == uninterrupted(name)

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_after_an_end_without_warning_at_any_step_every_objective_does_too(self, name, tmp_path):
        for step in range(1, 7):
            with pytest.raises(Killed):
                trained(OBJECTIVES[name], tmp_path / str(step), seconds=0, on_step=killed_at(step))
            assert trained(OBJECTIVES[name], tmp_path / str(step)) == uninterrupted(name)

    @pytest.mark.parametrize("name", CASES)
    def test_goes_on_with_the_step_after_the_last(self, name, folder):
        """Were it trained from the beginning again, the weights would be the same as well."""
        for step in range(1, CASES[name].steps):
            assert self.steps_until_ctrl_c(name, folder, step) == [step]

    def steps_until_ctrl_c(self, name, folder, last):
        """Train until step number `last` and return the numbers of the steps that were made."""
        calls, stop = [], interrupted_at(last)
        trained(CASES[name], folder, on_step=lambda step: calls.append(step) or stop(step))
        return calls

    @pytest.mark.parametrize("name", CASES)
    def test_stopped_after_every_single_step_it_ends_with_the_same(self, name, folder):
        every = interrupted_at(*range(CASES[name].steps + 1))
        ends = [trained(CASES[name], folder, on_step=every) for _ in range(CASES[name].steps)]
        assert {facts["interrupted"] for facts, _ in ends} == {signal.SIGINT}
        assert trained(CASES[name], folder) == uninterrupted(name)

    @pytest.mark.parametrize("name", CASES)
    def test_ctrl_c_between_any_two_epochs_changes_nothing(self, name, folder):
        """`on_epoch` comes after validation, as the progress bar's numbers do."""
        for epoch in range(1, len(uninterrupted(name)[0]["train"]["loss"]) + 1):
            place = folder / str(epoch)
            stop = lambda history, last=epoch: len(history) == last and signal.raise_signal(signal.SIGINT)  # noqa: E731
            facts, _ = trained(CASES[name], place, on_epoch=stop)
            assert facts["interrupted"] == signal.SIGINT
            assert trained(CASES[name], place) == uninterrupted(name)

    def test_a_signal_in_the_last_validation_is_not_swallowed(self, folder):
        """A scheduler's SIGTERM comes once; who lets it pass is killed some seconds later."""
        last = lambda history: len(history) == 2 and signal.raise_signal(signal.SIGTERM)  # noqa: E731
        assert trained(CASES["constant"], folder, on_epoch=last)[0]["interrupted"] == signal.SIGTERM

    def test_a_signal_between_two_looks_at_it_still_leaves_a_checkpoint(self, folder, monkeypatch):
        """It may come when the loop has just found none: then the training ends one step later, but not unsaved."""
        count = iter(range(10**6))

        def due(self):
            if next(count) == 1:  # in the second step
                signal.raise_signal(signal.SIGINT)
            return False

        monkeypatch.setattr(Checkpoints, "is_due", due)
        trained(CASES["constant"], folder)
        assert places(folder) == [(0, 3)]

    def test_a_training_that_was_over_has_nothing_left_to_do(self, folder):
        last = lambda history: len(history) == 2 and signal.raise_signal(signal.SIGINT)  # noqa: E731
        trained(CASES["constant"], folder, on_epoch=last)
        calls = []
        trained(CASES["constant"], folder, on_step=calls.append)
        assert calls == []

    def test_when_another_process_is_lost_the_steps_that_were_finished_are_kept(self, folder, monkeypatch):
        """The gradients of step 5 of 6 could not be added up: it has changed nothing."""
        steps, call = iter(range(1, 10)), TrainStep.__call__

        def lost(*arguments):
            if next(steps) == 5:
                raise distributed.ProcessLost("another process of this training has ended")
            return call(*arguments)

        with monkeypatch.context() as patch, pytest.raises(distributed.ProcessLost):
            patch.setattr(TrainStep, "__call__", lost)
            trained(CASES["constant"], folder)
        assert places(folder) == [(1, 1)]
        assert trained(CASES["constant"], folder) == uninterrupted("constant")

    def test_the_time_before_an_interruption_counts(self, folder, monkeypatch):
        """By a clock that is one second on at each look, and was set back to zero between the two parts."""

        def clock():
            ticks = iter(range(10**6))
            monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))

        def seconds(**calls):
            clock()
            return trained_by(CASES["constant"], Checkpoints(folder, "f", 3600), **calls)[1].seconds

        seconds(on_step=interrupted_at(3))
        before = json.loads(json.loads(header_of(files_in(folder)[-1]))["__metadata__"]["facts"])["seconds"]
        assert before > 0
        assert seconds()[0] > before


def header_of(path):
    content = path.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


class TestFiles:
    @pytest.fixture
    def kept(self, folder):
        """Interrupted after step 5 with a checkpoint after each step."""
        trained(CASES["constant"], folder, seconds=0, on_step=interrupted_at(5))
        return files_in(folder)

    def test_the_last_two_are_kept(self, kept, folder):
        assert places(folder) == [(1, 1), (1, 2)]  # three steps in an epoch: steps 4 and 5

    def test_nothing_else_is_left_in_the_folder(self, kept, folder):
        assert sorted(folder.iterdir()) == kept

    def test_the_name_ends_in_the_sha256_of_what_is_in_it(self, kept):
        assert kept[0].stem.split("-")[-1] == hashlib.sha256(kept[0].read_bytes()).hexdigest()[:16]

    def test_is_safetensors_with_the_weights_under_their_names(self, kept):
        names = load(kept[0].read_bytes()).keys()
        assert {f"model.{name}" for name in linear().state_dict()} <= names

    def test_the_first_comes_after_so_many_seconds_and_not_at_once(self, folder):
        trained(CASES["constant"], folder, seconds=3600)
        assert not folder.exists()

    def test_without_a_folder_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trained(CASES["constant"], None, seconds=0)
        assert list(tmp_path.iterdir()) == []

    def test_those_of_another_run_are_not_taken(self, kept, folder):
        told, calls = [], []
        trained_by(CASES["constant"], Checkpoints(folder, "another", tell=told.append), on_step=calls.append)
        assert (calls[0], "belongs to another run" in told[0]) == (1, True)

    def test_those_that_cannot_be_used_do_not_push_out_new_ones(self, folder):
        """They were made at later steps, so that their names are the last in order."""
        trained(CASES["patience"], folder, seconds=0, on_step=interrupted_at(9))
        trained_by(CASES["patience"], Checkpoints(folder, "another", 0), on_step=interrupted_at(2))
        assert places(folder) == [(0, 1), (0, 2)]

    def test_clear_removes_them_all(self, kept, folder):
        Checkpoints(folder, "f").clear()
        assert not folder.exists()

    def test_what_a_killed_process_had_begun_to_write_is_removed(self, kept, folder):
        """The name holds the process's number; this one is larger than any that Linux gives."""
        (folder / ".00001-0000003-0123456789abcdef.safetensors.9999999.abc.part").write_bytes(b"half")
        trained(CASES["constant"], folder, on_step=interrupted_at(6))
        assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []

    def test_says_where_it_goes_on(self, kept, folder):
        told = []
        trained_by(CASES["constant"], Checkpoints(folder, "f", tell=told.append))
        assert told == ["going on from epoch 1, step 2"]


def flip(place):
    """Return what turns over one bit, at a share of the file's length."""

    def damage(path):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 0b100
        path.write_bytes(content)

    return damage


def change_the_step(path):
    """One digit of a number in the JSON: the file stays readable, and would go on from another step."""
    content = path.read_bytes()
    changed = re.sub(rb'(\\"step\\": )(\d)', lambda found: found[1] + b"%d" % (1 - int(found[2]) % 2), content)
    assert changed != content
    path.write_bytes(changed)


def cut(rest):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: rest(len(content))])

    return damage


DAMAGE = {
    **{f"a bit at {place:.0%}": flip(place) for place in (0, 0.01, 0.1, 0.3, 0.5, 0.9, 1)},
    "a digit of a number": change_the_step,
    "cut to nothing": cut(lambda length: 0),
    "cut to half": cut(lambda length: length // 2),
    "cut by one byte": cut(lambda length: length - 1),
}


class TestDamage:
    """After step 5 of 6, with checkpoints after steps 4 and 5."""

    @pytest.fixture
    def kept(self, folder):
        trained(CASES["patience"], folder, seconds=0, on_step=interrupted_at(5))
        return files_in(folder)

    def again(self, folder):
        """Go on; return what the training leaves, the steps that it made, and what was told."""
        told, calls = [], []
        kept = Checkpoints(folder, "f", tell=told.append)
        return result(*trained_by(CASES["patience"], kept, on_step=calls.append)), calls, told

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_of_the_newest_costs_one_step_and_changes_nothing(self, kept, folder, damage):
        DAMAGE[damage](kept[1])
        end, calls, _ = self.again(folder)
        assert (end, calls[0]) == (uninterrupted("patience"), 5)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_of_both_begins_anew_and_changes_nothing(self, kept, folder, damage):
        for path in kept:
            DAMAGE[damage](path)
        end, calls, _ = self.again(folder)
        assert (end, calls[0]) == (uninterrupted("patience"), 1)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_of_the_older_one_does_not_matter(self, kept, folder, damage):
        DAMAGE[damage](kept[0])
        end, calls, _ = self.again(folder)
        assert (end, calls[0]) == (uninterrupted("patience"), 6)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_is_told_with_the_file_and_what_is_done(self, kept, folder, damage):
        DAMAGE[damage](kept[1])
        _, _, told = self.again(folder)
        assert told == [
            f"the checkpoint {kept[1]} is damaged: its SHA-256 is not the one in its name; it is not used",
            "going on from epoch 1, step 1",
        ]

    def test_of_both_is_told_with_what_is_done(self, kept, folder):
        for path in kept:
            DAMAGE["cut to half"](path)
        assert self.again(folder)[2][-1] == "no checkpoint can be used; training begins anew"

    def test_a_damaged_file_is_removed(self, kept, folder):
        DAMAGE["cut to half"](kept[1])
        self.again(folder)
        assert not kept[1].exists()

    def test_a_file_that_cannot_be_read_is_passed_over(self, kept, folder, monkeypatch):
        """As when a disk fails: what lies there may be whole, so it is not removed."""
        read = Path.read_bytes

        def fails(path):
            if path == kept[1]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", fails)
        end, calls, told = self.again(folder)
        assert (end, calls[0]) == (uninterrupted("patience"), 5)
        assert f"{kept[1]} cannot be read: [Errno 5]" in told[0]


class TestDiskThatFails:
    """From the fourth checkpoint on nothing can be written."""

    @pytest.fixture(params=["full", "read-only"])
    def failing(self, request, monkeypatch):
        write, made = Path.write_bytes, tempfile.mkstemp
        count = iter(range(100))

        def full(path, content):
            if next(count) < 3:
                return write(path, content)
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def read_only(*args, **options):
            if next(count) < 3:
                return made(*args, **options)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        if request.param == "full":
            monkeypatch.setattr(Path, "write_bytes", full)
        else:
            monkeypatch.setattr(tempfile, "mkstemp", read_only)
        return {"full": "No space left on device", "read-only": "Read-only file system"}[request.param]

    def test_does_not_end_the_training(self, failing, folder):
        assert trained(CASES["constant"], folder, seconds=0) == uninterrupted("constant")

    def test_leaves_the_checkpoints_from_before(self, failing, folder):
        trained(CASES["constant"], folder, seconds=0)
        assert places(folder) == [(0, 2), (0, 3)]

    def test_leaves_no_half_file(self, failing, folder):
        trained(CASES["constant"], folder, seconds=0)
        assert [path.suffix for path in folder.iterdir()] == [".safetensors"] * 2

    def test_is_told_with_the_step_and_the_reason(self, failing, folder):
        told = []
        trained_by(CASES["constant"], Checkpoints(folder, "f", 0, told.append))
        start = f"the checkpoint of epoch 1, step 0 could not be written to {folder}: "
        assert (told[0].startswith(start), failing in told[0]) == (True, True)

    def test_goes_on_later_from_what_was_written(self, failing, folder, monkeypatch):
        with pytest.raises(Killed):
            trained(CASES["constant"], folder, seconds=0, on_step=killed_at(6))
        monkeypatch.undo()
        calls = []
        assert trained(CASES["constant"], folder, on_step=calls.append) == uninterrupted("constant")
        assert calls == [4, 5, 6]

    def test_an_old_checkpoint_that_cannot_be_removed_does_not_end_the_training(self, folder, monkeypatch):
        def refused(path, missing_ok=False):
            if path.suffix == ".safetensors":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "unlink", refused)
        assert trained(CASES["constant"], folder, seconds=0) == uninterrupted("constant")
