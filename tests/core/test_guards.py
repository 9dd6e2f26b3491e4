"""`guards`: a training that is asked to stop, one whose loss is no longer a number, and state that nobody keeps."""

import itertools
import math
import random
import signal
import threading

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aecore import losses
from aecore.models import DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.objectives import Reconstruction
from aecore.training import Checkpoints, Observer, Plan, TrainingDiverged, guards, train
from aecore.training.guards import Watch, asked_to_stop
from aecore.training.state import State

CPU = torch.device("cpu")
PLAN = Plan(epochs=3, batch_size=10)  # of 24 images: three steps in an epoch


def linear():
    model = LinearAutoencoder((1, 4, 4), 3)
    init_weights(model, 0)
    return model


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def fitted(model, splits, plan=PLAN, loss=losses.mse, **observed):
    objective = loss if isinstance(loss, Reconstruction) else Reconstruction(loss)
    return train(model, splits, plan, objective, CPU, Observer(**observed))


def sends(number, *steps):
    """Return an `on_step` that sends a signal after those steps."""
    return lambda step: signal.raise_signal(number) if step in steps else None


@pytest.fixture(autouse=True)
def _own_handlers():
    """Whatever a test leaves, those of pytest come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class TestAskedToStop:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_training_ends_after_the_step_under_way(self, splits, number):
        calls = []
        fitted(linear(), splits, on_step=lambda step: calls.append(step) or sends(number, 4)(step))
        assert calls == [1, 2, 3, 4]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_history_names_the_signal(self, splits, number):
        assert fitted(linear(), splits, on_step=sends(number, 4)).interrupted == number

    def test_the_history_holds_the_epochs_that_were_finished(self, splits):
        history = fitted(linear(), splits, on_step=sends(signal.SIGINT, 4))
        assert history.train_loss == fitted(linear(), splits).train_loss[:1]

    def test_a_training_that_came_to_its_end_was_not_interrupted(self, splits):
        assert fitted(linear(), splits).interrupted is None

    def test_the_model_is_in_evaluation_mode(self, splits):
        model = linear()
        fitted(model, splits, on_step=sends(signal.SIGINT, 4))
        assert not any(layer.training for layer in model.modules())

    def test_without_a_patience_the_model_has_its_last_state(self, splits):
        model, snapshots = linear(), []
        fitted(model, splits, on_step=lambda step: snapshots.append(weights_of(model)) or sends(signal.SIGINT, 4)(step))
        assert equal(weights_of(model), snapshots[3])

    def test_with_a_patience_the_model_has_its_best_state(self, splits):
        """This training is best after epoch 1, and stops only after epoch 3; step 10 is the first of that one."""
        plan = Plan(epochs=12, batch_size=10, lr=0.03, patience=2)
        model = DenseAutoencoder((1, 4, 4), 8, hidden=(12,))
        init_weights(model, 0)
        snapshots = []
        history = fitted(
            model, splits, plan, on_step=sends(signal.SIGINT, 10),
            on_epoch=lambda history: snapshots.append(weights_of(model)),
        )  # fmt: skip
        assert (history.best_epoch, equal(weights_of(model), snapshots[1])) == (1, True)

    def test_a_second_ctrl_c_is_obeyed_at_once(self, splits):
        def twice(step):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            fitted(linear(), splits, on_step=twice)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("end", ["over", "interrupted", "an error"])
    def test_the_handlers_from_before_come_back(self, splits, number, end):
        def mine(number, frame):
            raise AssertionError("nobody sends this signal")

        def on_step(step):
            if end == "interrupted":
                signal.raise_signal(signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM)
            if end == "an error":
                raise ZeroDivisionError

        signal.signal(number, mine)
        try:
            fitted(linear(), splits, on_step=on_step)
        except ZeroDivisionError:
            assert end == "an error"
        assert signal.getsignal(number) is mine

    def test_while_it_trains_the_handlers_are_its_own(self, splits):
        seen = set()
        fitted(linear(), splits, on_step=lambda step: seen.add(type(signal.getsignal(signal.SIGINT)).__name__))
        assert seen == {"Stop"}

    def test_a_signal_that_is_ignored_stays_ignored(self, splits):
        """So it is with SIGINT in a job that a shell runs in the background."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert fitted(linear(), splits, on_step=sends(signal.SIGINT, 4)).interrupted is None

    def test_a_handler_that_python_does_not_know_is_replaced_by_the_usual_one(self, monkeypatch):
        """`signal.getsignal` and `signal.signal` give None for one that a C library has set."""
        seen = []
        monkeypatch.setattr(signal, "signal", lambda number, handler: seen.append((number, handler)))
        with asked_to_stop():
            seen.clear()
        assert seen == [(signal.SIGINT, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_DFL)]

    def test_outside_the_main_thread_training_works(self, splits):
        """There no handler may be set, as in a web server or in some notebooks."""
        ends = []
        thread = threading.Thread(target=lambda: ends.append(fitted(linear(), splits)))
        thread.start()
        thread.join()
        assert ends[0].train_loss == fitted(linear(), splits).train_loss


def breaks_at(step, value=math.nan, calls=None):
    """Return a loss that is no number in one step of training, counted from 0, and notes its calls."""
    steps = iter(range(10**6))

    def loss(x, x_hat):
        found = losses.mse(x, x_hat)
        if not torch.is_grad_enabled():  # validation
            return found
        now = next(steps)
        if calls is not None:
            calls.append(now)
        return found * value if now == step else found

    return loss


class TestDivergence:
    """Step 4 is the second one of epoch 1."""

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_on_a_cpu_no_step_follows(self, splits, value):
        calls = []
        with pytest.raises(TrainingDiverged):
            fitted(linear(), splits, loss=breaks_at(4, value, calls))
        assert calls == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_the_error_knows_the_value(self, splits, value):
        with pytest.raises(TrainingDiverged) as caught:
            fitted(linear(), splits, loss=breaks_at(4, value))
        assert str(caught.value.value) == str(value)

    @pytest.mark.parametrize(
        "words", ["became nan in step 4 (epoch 1)", "at learning rate 0.001;", "Try a learning rate of 1e-04"]
    )
    def test_the_message_says(self, splits, words):
        with pytest.raises(TrainingDiverged) as caught:
            fitted(linear(), splits, loss=breaks_at(4))
        assert words in str(caught.value)

    def test_the_model_is_that_of_before_the_epoch(self, splits):
        model, twin, snapshots = linear(), linear(), []
        fitted(twin, splits, on_epoch=lambda history: snapshots.append(weights_of(twin)))
        with pytest.raises(TrainingDiverged):
            fitted(model, splits, loss=breaks_at(4))
        assert equal(weights_of(model), snapshots[0])

    def test_after_a_resume_the_model_is_that_of_the_checkpoint(self, splits, tmp_path):
        """Interrupted after step 4 (number 3 from 0), so step number 4 is the first one after it."""
        interrupted, model = linear(), linear()
        fitted(interrupted, splits, checkpoints=Checkpoints(tmp_path, "f"), on_step=sends(signal.SIGINT, 4))
        with pytest.raises(TrainingDiverged):
            fitted(model, splits, loss=breaks_at(0), checkpoints=Checkpoints(tmp_path, "f"))
        assert equal(weights_of(model), weights_of(interrupted))

    def test_after_a_resume_the_step_counts_from_the_beginning(self, splits, tmp_path):
        fitted(linear(), splits, checkpoints=Checkpoints(tmp_path, "f"), on_step=sends(signal.SIGINT, 4))
        with pytest.raises(TrainingDiverged) as caught:
            fitted(linear(), splits, loss=breaks_at(0), checkpoints=Checkpoints(tmp_path, "f"))
        assert (caught.value.epoch, caught.value.step) == (1, 4)

    def test_a_state_that_diverged_is_in_no_checkpoint(self, splits, tmp_path):
        with pytest.raises(TrainingDiverged):
            fitted(linear(), splits, loss=breaks_at(4), checkpoints=Checkpoints(tmp_path, "f", 0))
        assert max(path.name[:13] for path in tmp_path.iterdir()) == "00001-0000001"  # after step number 3

    def test_the_handlers_from_before_come_back(self, splits):
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(TrainingDiverged):
            fitted(linear(), splits, loss=breaks_at(4))
        assert signal.getsignal(signal.SIGINT) is before


class Late:
    """A loss on its way from the device: nobody may read it before it has arrived."""

    def __init__(self, value, has_arrived):
        self.value, self.has_arrived = value, has_arrived

    def item(self):
        assert self.has_arrived(), "read before it had arrived: the device had to wait"
        return self.value.item()


def late_by(steps):
    """Return a `send` whose losses arrive so many steps after their own."""
    sent = []

    def send(value):
        sent.append(value)
        due = len(sent) + steps
        late = Late(value.clone(), lambda: len(sent) >= due)
        return late, late.has_arrived

    return send


class TestLateLosses:
    """As from a GPU: each value arrives some steps after it was sent."""

    @pytest.fixture
    def state(self):
        model = linear()
        return State(model, PLAN, 20)

    def seen(self, state, delay, bad, steps=20):
        """Look at losses of which number `bad` is NaN; return the error and the step at which it came."""
        watch = Watch(state, late_by(delay))
        for step in range(steps):
            value = torch.tensor([math.nan if step == bad else 0.5])
            state.note_step(("loss",), value)
            try:
                watch.look(value)
            except TrainingDiverged as error:
                return error, step
        return None, None

    @pytest.mark.parametrize(("delay", "bad"), [(0, 4), (1, 4), (3, 4), (5, 0)])
    def test_a_bad_one_is_found_when_it_arrives(self, state, delay, bad):
        assert self.seen(state, delay, bad)[1] == bad + delay

    @pytest.mark.parametrize(("delay", "bad"), [(0, 4), (1, 4), (3, 4), (5, 0)])
    def test_the_error_names_the_step_that_went_wrong(self, state, delay, bad):
        assert self.seen(state, delay, bad)[0].step == bad

    def test_good_ones_raise_nothing(self, state):
        assert self.seen(state, 3, None) == (None, None)

    def test_one_that_never_arrives_is_not_read(self, state):
        assert self.seen(state, 10**6, 4) == (None, None)

    def test_one_that_never_arrived_is_found_at_the_end_of_the_epoch(self, state):
        watch = Watch(state, late_by(10**6))
        for step in range(20):
            value = torch.tensor([math.nan if step == 4 else 0.5])
            state.note_step(("loss",), value)
            watch.look(value)
        with pytest.raises(TrainingDiverged) as caught:
            watch.end()
        assert caught.value.step == 4

    def test_at_the_end_of_an_epoch_nothing_is_under_way_any_more(self, state):
        watch = Watch(state, late_by(10**6))
        state.note_step(("loss",), torch.tensor([0.5]))
        watch.look(torch.tensor([0.5]))
        watch.end()
        assert len(watch.under_way) == 0

    @pytest.fixture
    def late(self, monkeypatch):
        monkeypatch.setattr(guards, "_send", late_by(2))

    def test_it_is_the_loss_that_is_sent_among_the_values(self, state):
        sent = []
        watch = Watch(state, lambda value: sent.append(value.item()) or (value, lambda: True))
        values = torch.tensor([math.nan, 0.5])
        state.note_step(("psnr", "loss"), values)
        watch.look(values)
        assert sent == [0.5]

    def test_training_ends_so_many_steps_later(self, splits, late):
        calls = []
        with pytest.raises(TrainingDiverged):
            fitted(linear(), splits, Plan(epochs=1, batch_size=2), breaks_at(4, calls=calls))
        assert calls == [0, 1, 2, 3, 4, 5, 6]

    def test_training_names_the_right_step(self, splits, late):
        with pytest.raises(TrainingDiverged) as caught:
            fitted(linear(), splits, Plan(epochs=1, batch_size=2), breaks_at(4))
        assert caught.value.step == 4

    def test_a_state_that_diverged_meanwhile_is_in_no_checkpoint(self, splits, late, tmp_path):
        with pytest.raises(TrainingDiverged):
            fitted(
                linear(), splits, Plan(epochs=1, batch_size=2), breaks_at(4),
                checkpoints=Checkpoints(tmp_path, "f", 0),
            )  # fmt: skip
        assert max(path.name[:13] for path in tmp_path.iterdir()) == "00000-0000004"  # after steps 0 to 3

    def test_ctrl_c_does_not_hide_a_divergence_that_is_under_way(self, splits, late, tmp_path):
        """Step number 4 goes wrong, and Ctrl-C comes in the same step, before its loss has arrived."""
        with pytest.raises(TrainingDiverged):
            fitted(
                linear(), splits, Plan(epochs=1, batch_size=2), breaks_at(4),
                checkpoints=Checkpoints(tmp_path, "f"), on_step=sends(signal.SIGINT, 5),
            )  # fmt: skip
        assert list(tmp_path.iterdir()) == []


class Reads(TorchDispatchMode):
    """Notes every number that is fetched out of a tensor, which a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.watching, self.found = False, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.watching and function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
            self.found.append(function.name())
        return function(*args, **(kwargs or {}))


@pytest.fixture
def reads(splits, monkeypatch):
    """What is read between the first step of an epoch and its end, when no loss has arrived on its own."""
    noted, end = Reads(), Watch.end

    def ends(self):
        noted.watching = False
        end(self)

    def on_step(step):
        noted.watching = True

    monkeypatch.setattr(guards, "_send", late_by(10**6))
    monkeypatch.setattr(Watch, "end", ends)
    with noted:
        fitted(linear(), splits, on_step=on_step)
        noted.watching = True
        torch.ones(()).item()  # shows that it would be noticed
    return noted.found


def test_between_the_steps_of_an_epoch_no_number_is_fetched_from_the_device(reads):
    assert reads == ["aten::_local_scalar_dense"]


class Counts(LinearAutoencoder):
    """Does something of its own in each forward pass, by default counting in a plain attribute."""

    def __init__(self, what=None, **attributes):
        super().__init__((1, 4, 4), 3)
        self.what = what or (lambda model: setattr(model, "calls", model.calls + 1))
        self.calls = 0
        for name, value in attributes.items():
            setattr(self, name, value)
        init_weights(self, 0)

    def forward(self, x):
        self.what(self)
        return super().forward(x)


class CountsItself(Reconstruction):
    """An objective that remembers its calls, in a plain attribute and in a buffer."""

    def __init__(self, name):
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.tensor(0))
        self.counter = name

    def forward(self, model, batch):
        if self.counter == "calls":
            self.calls += 1
        else:
            self.seen += 1
        return super().forward(model, batch)


HIDDEN = {
    "a number": ("its attribute calls", lambda: Counts()),
    "a tensor": ("its attribute seen", lambda: Counts(lambda model: model.seen.add_(1), seen=torch.zeros(2))),
    "a list": ("its attribute seen", lambda: Counts(lambda model: model.seen.append(1), seen=[])),
    "a tensor in a list": (
        "its attribute seen", lambda: Counts(lambda model: model.seen[0][5000].add_(1), seen=[torch.zeros(10_000)]),
    ),
    "a dict": ("its attribute seen", lambda: Counts(lambda model: model.seen.update(a=1), seen={})),
    "a set": ("its attribute seen", lambda: Counts(lambda model: model.seen.add(4), seen=set())),
    "an iterator": ("its attribute seen", lambda: Counts(lambda model: next(model.seen), seen=itertools.count())),
    "an array": ("its attribute seen", lambda: Counts(lambda model: model.seen.fill(1), seen=np.zeros(3))),
    "a generator": ("its attribute rng", lambda: Counts(lambda model: model.rng.random(), rng=random.Random(0))),
    "a generator of NumPy's": (
        "its attribute rng", lambda: Counts(lambda model: model.rng.random(), rng=np.random.default_rng(0)),
    ),
    "an old one of NumPy's": (
        "its attribute rng", lambda: Counts(lambda model: model.rng.rand(), rng=np.random.RandomState(0)),
    ),
    "one of PyTorch's": (
        "its attribute rng", lambda: Counts(lambda model: torch.rand(1, generator=model.rng), rng=torch.Generator()),
    ),
    "random": ("the state of random", lambda: Counts(lambda model: random.random())),
    "numpy.random": ("the state of numpy.random", lambda: Counts(lambda model: np.random.rand())),  # noqa: NPY002
}  # fmt: skip


class TestHiddenState:
    """What no checkpoint holds: after an interruption the training would not go on as it was."""

    def kept(self, tmp_path):
        return Checkpoints(tmp_path, "f", 0)

    @pytest.mark.parametrize(("name", "model"), HIDDEN.values(), ids=HIDDEN)
    def test_of_a_model_is_refused_by_name(self, splits, tmp_path, name, model):
        with pytest.raises(ValueError, match=f"^model: {name} changed in a training step, but a checkpoint holds"):
            fitted(model(), splits, checkpoints=self.kept(tmp_path))

    def test_of_a_layer_is_named_with_the_layer(self, splits, tmp_path):
        model = linear()
        model.encoder.append(torch.nn.Identity())
        model.encoder[2].calls = 0
        model.encoder[2].register_forward_hook(lambda layer, x, y: setattr(layer, "calls", layer.calls + 1))
        with pytest.raises(ValueError, match="^model: its attribute encoder.2.calls changed"):
            fitted(model, splits, checkpoints=self.kept(tmp_path))

    @pytest.mark.parametrize(("counter", "name"), [("calls", "attribute calls"), ("seen", "tensor seen")])
    def test_of_an_objective_is_refused_by_name(self, splits, tmp_path, counter, name):
        with pytest.raises(ValueError, match=f"^objective: its {name} changed in a training step"):
            fitted(linear(), splits, loss=CountsItself(counter), checkpoints=self.kept(tmp_path))

    def test_of_a_model_is_told_with_the_way_out(self, splits, tmp_path):
        words = r"Keep it in a buffer \(self.register_buffer\), draw random numbers with torch, or train with name=None"
        with pytest.raises(ValueError, match=words):
            fitted(Counts(), splits, checkpoints=self.kept(tmp_path))

    def test_of_an_objective_is_told_with_the_way_out(self, splits, tmp_path):
        words = "Make it from batch.progress, or keep it in a buffer of the model, or train with name=None"
        with pytest.raises(ValueError, match=words):
            fitted(linear(), splits, loss=CountsItself("calls"), checkpoints=self.kept(tmp_path))

    def test_is_refused_before_the_first_checkpoint(self, splits, tmp_path):
        with pytest.raises(ValueError, match="calls"):
            fitted(Counts(), splits, checkpoints=self.kept(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_is_refused_after_one_step(self, splits, tmp_path):
        model = Counts()
        with pytest.raises(ValueError, match="calls"):
            fitted(model, splits, checkpoints=self.kept(tmp_path))
        assert model.calls == 1

    def test_is_looked_at_once(self, splits, tmp_path):
        """An attribute that changes in validation alone, or every thousand steps, costs no look at every step."""
        model = Counts(lambda model: model.training or setattr(model, "calls", 1))
        assert len(fitted(model, splits, checkpoints=self.kept(tmp_path))) == 3

    @pytest.mark.parametrize(("name", "model"), HIDDEN.values(), ids=HIDDEN)
    def test_is_allowed_where_nothing_is_kept(self, splits, name, model):
        assert len(fitted(model(), splits)) == 3

    @pytest.mark.parametrize(
        "model",
        [
            Counts(lambda model: setattr(model, "last", torch.zeros(2)), last=None),
            Counts(lambda model: setattr(model, "last", torch.zeros(2))),
            Counts(lambda model: setattr(model, "low", math.nan), low=math.nan),
            Counts(lambda model: torch.rand(1)),
            Counts(lambda model: model.encoder[1].weight.data.mul_(1)),
        ],
        ids=["a cache that was None", "a cache that was not there", "NaN", "torch's random numbers", "weights"],
    )
    def test_is_not_seen_where_there_is_none(self, splits, tmp_path, model):
        assert len(fitted(model, splits, checkpoints=self.kept(tmp_path))) == 3
