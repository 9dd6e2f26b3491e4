"""`History` and `State`: what is kept, when a training is over, and which epoch was the best."""

import json
import math
import signal

import pytest
import torch

from aecore.models import LinearAutoencoder
from aecore.training import History, Plan
from aecore.training.state import State, copy_of, put_back


def two_epochs(**changes):
    return History({"loss": [0.5, 0.4]}, {"loss": [math.nan, 0.3]}, [1.0, 1.0], **changes)


class TestHistory:
    def test_has_none_in_json_where_there_is_no_number(self):
        assert two_epochs(best_epoch=1, precision="float32").as_dict() == {
            "train": {"loss": [0.5, 0.4]}, "valid": {"loss": [None, 0.3]}, "seconds": [1.0, 1.0], "best_epoch": 1,
            "precision": "float32",
        }  # fmt: skip

    @pytest.mark.parametrize("part", ["train", "valid"])
    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
    def test_is_json_whatever_the_values(self, part, value):
        """One image for which a loss of one's own is infinite must not end an hour of training."""
        history = History({"loss": [0.5]}, {"loss": [0.5]}, [1.0])
        getattr(history, part)["loss"] = [value]
        text = json.dumps(history.as_dict(), allow_nan=False)
        assert json.loads(text)[part] == {"loss": [None]}

    def test_comes_back_from_json(self):
        train, valid = {"loss": [0.5, 0.1 + 0.2], "bpp": [1e-9, 3.0]}, {"loss": [0.25, 1 / 3], "bpp": [1.0, 0.0]}
        history = History(train, valid, [1.0, 2.5], 0, "bfloat16")
        assert History.from_dict(json.loads(json.dumps(history.as_dict()))) == history

    def test_of_one_that_was_not_measured_comes_back_as_nan(self):
        history = History.from_dict(json.loads(json.dumps(two_epochs().as_dict())))
        assert math.isnan(history.valid_loss[0])

    def test_a_stored_one_was_never_interrupted(self):
        assert "interrupted" not in History(interrupted=signal.SIGINT).as_dict()

    def test_is_as_long_as_its_epochs(self):
        assert len(two_epochs()) == 2

    def test_the_losses_are_the_values_of_that_name(self):
        assert (two_epochs().train_loss, two_epochs().valid_loss[1]) == ([0.5, 0.4], 0.3)

    def test_before_the_first_epoch_there_are_none(self):
        assert (History().train_loss, History().valid_loss, len(History())) == ([], [], 0)

    def test_an_epoch_adds_one_value_to_each_list(self):
        history = History()
        for number in range(2):
            history.add({"loss": 0.5 + number, "mse": 0.1}, {"loss": 0.25 + number, "mse": 0.2}, seconds=3.0)
        assert (history.train, history.valid, history.seconds) == (
            {"loss": [0.5, 1.5], "mse": [0.1, 0.1]}, {"loss": [0.25, 1.25], "mse": [0.2, 0.2]}, [3.0, 3.0],
        )  # fmt: skip

    def test_what_validation_did_not_give_is_nan(self):
        history = History()
        history.add({"loss": 0.5, "mse": 0.1}, {}, seconds=3.0)
        assert [math.isnan(history.valid[name][0]) for name in ("loss", "mse")] == [True, True]


def state(plan=None, steps=3):
    return State(LinearAutoencoder((1, 4, 4), 3), plan or Plan(), steps)


def after(plan, valid_losses):
    """Return a state after epochs with these validation losses; its weights name the epoch they come from."""
    found = state(plan, steps=1)
    for epoch, value in enumerate(valid_losses):
        with torch.no_grad():
            found.model.encoder[1].bias.fill_(epoch)
        found.note_step(("loss",), torch.tensor([0.5]))
        found.end_epoch({"loss": value} if plan.validates_after(epoch) else {})
    return found


EACH = Plan(epochs=9, patience=2)
SECOND = Plan(epochs=9, patience=2, validate_every=2)
GROWING = Plan(epochs=9, patience=2, sizes=((0, 2), (3, 4)))


@pytest.mark.parametrize(
    ("plan", "losses", "best"),
    [
        (EACH, [3, 2, 4], 1),
        (EACH, [3, 3], 0),  # the first of equal ones
        (EACH, [math.nan, 2], 1),
        (EACH, [math.inf, math.inf], None),
        (SECOND, [0, 2, 0, 1, 0, 3], 3),  # epochs 0, 2 and 4 are not looked at
        (GROWING, [1, 1, 1, 9, 8], 4),  # small images are easier: they do not count
        (GROWING, [1, 1, 1], None),
        (Plan(epochs=9), [3, 2, 4], None),  # without a patience there is no choice
    ],
)
def test_the_best_epoch_is_that_of_the_lowest_loss_that_counts(plan, losses, best):
    assert after(plan, losses).history.best_epoch == best


@pytest.mark.parametrize(("plan", "losses", "best"), [(EACH, [3, 2, 4], 1), (SECOND, [0, 2, 0, 1, 0, 3], 3)])
def test_the_best_state_is_that_of_the_best_epoch(plan, losses, best):
    found = after(plan, losses)
    found.restore_best()
    assert found.model.encoder[1].bias.tolist() == [best] * 3


def test_without_a_best_state_the_last_one_stays():
    found = after(Plan(epochs=9), [3, 2, 4])
    found.restore_best()
    assert found.model.encoder[1].bias.tolist() == [2] * 3


@pytest.mark.parametrize(
    ("plan", "losses", "over"),
    [
        (EACH, [], False),
        (EACH, [3, 4], False),  # one epoch without a better one
        (EACH, [3, 4, 4], True),  # two
        (EACH, [3, 4, 2, 4], False),
        (EACH, [3, 3, 3], True),  # equal is not better
        (EACH, [9, 8, 7, 6, 5, 4, 3, 2], False),
        (EACH, [9, 8, 7, 6, 5, 4, 3, 2, 1], True),  # all nine
        (SECOND, [0, 2, 0], False),  # only epoch 1 was looked at
        (SECOND, [0, 2, 0, 3], True),  # two epochs later
        (SECOND, [0, 2, 0, 1], False),
        (GROWING, [1, 2, 3], False),  # patience has not begun
        (GROWING, [1, 2, 3, 9, 9], False),
        (GROWING, [1, 2, 3, 9, 9, 9], True),  # two epochs after the first one at the last size
        (Plan(epochs=3), [1, 2], False),
        (Plan(epochs=3), [1, 2, 3], True),
    ],
)
def test_a_training_is_over_after_its_epochs_or_its_patience(plan, losses, over):
    assert after(plan, losses).is_over() is over


def test_the_rate_is_the_plans_over_all_epochs():
    plan = Plan(epochs=4, schedule="cosine")
    found = after(plan, [1, 1])
    assert (found.lr, found.lr_of(0)) == (plan.lr_at(2, 4),) * 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_seen(value):
    found = state()
    found.note_step(("loss",), torch.tensor([value]))
    assert not found.is_finite()


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_weight_that_is_no_number_is_seen(value):
    found = state()
    with torch.no_grad():
        found.model.decoder[0].weight[3, 1] = value
    assert not found.is_finite()


def test_losses_of_the_epoch_before_are_not_looked_at():
    """They lie in the same place, behind the steps of this epoch."""
    found = state()
    for _ in range(3):
        found.note_step(("loss",), torch.tensor([math.nan]))
    found.step = 0
    assert found.is_finite()


def test_only_the_loss_must_be_a_number():
    """A value that is only looked at may be anything: what is trained is not spoiled by it."""
    found = state()
    found.note_step(("psnr", "loss"), torch.tensor([math.inf, 0.5]))
    assert found.is_finite()


def test_the_losses_are_those_of_the_steps_of_this_epoch_that_are_done():
    found = state(steps=2)
    for value in (1.0, 2.0):
        found.note_step(("mse", "loss"), torch.tensor([9.0, value]))
    found.end_epoch({})
    found.note_step(("mse", "loss"), torch.tensor([9.0, 3.0]))
    assert found.losses.tolist() == [3.0]


def test_an_epochs_values_are_the_means_over_its_steps():
    found = state(steps=2)
    found.note_step(("loss", "mse"), torch.tensor([1.0, 0.25]))
    found.note_step(("loss", "mse"), torch.tensor([2.0, 0.75]))
    found.end_epoch({})
    assert found.history.train == {"loss": [1.5], "mse": [0.5]}


def test_what_is_kept_does_not_change_with_the_training():
    found = state()
    kept = found.as_tensors()
    before = kept["model.encoder.1.weight"].clone()
    with torch.no_grad():
        found.model.encoder[1].weight.fill_(9)
    assert torch.equal(kept["model.encoder.1.weight"], before)


def test_weights_that_two_layers_share_are_kept():
    """safetensors refuses tensors that share their memory."""
    from safetensors.torch import load, save

    model = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 2)})
    model["two"] = model["one"]
    found = State(model, Plan(), 3)
    assert torch.equal(load(save(found.as_tensors()))["model.two.weight"], model["one"].weight)


class Counting(torch.nn.Module):
    """A weight, a buffer that a state_dict holds, and one that it leaves out."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def set(self, value):
        with torch.no_grad():
            for tensor in (self.weight, self.seen, self.hidden):
                tensor.fill_(value)
        return self

    def values(self):
        return self.weight.tolist(), self.seen.item(), self.hidden.tolist()


class TestCopies:
    def test_hold_buffers_that_a_state_dict_leaves_out(self):
        kept, model = copy_of(Counting().set(3)), Counting()
        put_back(model, kept)
        assert model.values() == ([3, 3], 3, [3, 3])

    def test_do_not_change_with_the_model(self):
        model = Counting().set(3)
        kept = copy_of(model)
        put_back(model.set(4), kept)
        assert model.values() == ([3, 3], 3, [3, 3])

    def test_that_do_not_fit_are_refused(self):
        kept = copy_of(Counting())
        del kept["seen"]
        with pytest.raises(RuntimeError, match="seen"):
            put_back(Counting(), kept)


class TestBest:
    """Of a model with buffers, after epochs whose numbers its weights and buffers hold."""

    def after(self, ema=None):
        found = State(Counting(), Plan(epochs=9, patience=2, ema=ema), 1)
        for epoch, loss in enumerate([3, 2, 4], start=1):
            found.model.set(epoch)
            found.note_step(("loss",), torch.tensor([0.5]))
            found.end_epoch({"loss": loss})
        return found

    def test_has_its_buffers_too(self):
        found = self.after()
        found.restore_best()
        assert found.model.values() == ([2, 2], 2, [2, 2])

    def test_of_averages_is_the_average_of_that_epoch(self):
        """By a decay of one half: 1, then (1 + 2) / 2; whole numbers are taken as they are."""
        found = self.after(ema=0.5)
        found.restore_best()
        assert found.model.values() == ([1.5, 1.5], 2, [1.5, 1.5])


class TestAverage:
    """The first step's weights, then a share of the new ones at each step: by hand, with a decay of three quarters."""

    def averaged(self, *values):
        found = State(Counting(), Plan(epochs=9, ema=0.75), 9)
        for value in values:
            found.model.set(value)
            found.note_step(("loss",), torch.tensor([0.5]))
        return found

    def test_begins_with_the_weights_after_the_first_step(self):
        assert self.averaged(4).result.weight.tolist() == [4, 4]

    def test_follows_by_the_rest_of_the_decay(self):
        """4, then 4 · 3/4 + 8 / 4 = 5, then 5 · 3/4 + 1 / 4 = 4."""
        assert self.averaged(4, 8).result.weight.tolist() == [5, 5]
        assert self.averaged(4, 8, 1).result.weight.tolist() == [4, 4]

    def test_takes_in_buffers_of_real_numbers(self):
        assert self.averaged(4, 8).result.hidden.tolist() == [5, 5]

    def test_copies_whole_numbers(self):
        """Averaged by a decay of .9, which float32 cannot hold, 280 of the numbers below 1000 would lose one."""
        assert self.averaged(4, 8).result.seen.item() == 8

    def test_leaves_the_weights_that_are_trained_alone(self):
        assert self.averaged(4, 8).model.weight.tolist() == [8, 8]

    def test_is_what_a_training_returns(self):
        found = self.averaged(4, 8)
        found.restore_best()
        assert found.model.values() == ([5, 5], 8, [5, 5])

    def test_before_the_first_step_the_weights_stay(self):
        found = State(Counting().set(7), Plan(ema=0.75), 9)
        found.restore_best()
        assert found.model.values() == ([7, 7], 7, [7, 7])

    @pytest.mark.parametrize("steps", [1, 2])
    def test_goes_on_from_what_was_kept(self, steps):
        values, other = (4, 8, 1), State(Counting(), Plan(epochs=9, ema=0.75), 9)
        found = self.averaged(*values[:steps])
        other.restore(found.as_tensors(), found.as_facts())
        for value in values[steps:]:
            other.model.set(value)
            other.note_step(("loss",), torch.tensor([0.5]))
        assert other.result.values() == self.averaged(*values).result.values()
