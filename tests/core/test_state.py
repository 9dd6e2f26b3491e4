"""`History` and `State`: what is kept, when a training is over, and which epoch was the best."""

import json
import math
import signal

import pytest
import torch

from aecore.models import LinearAutoencoder
from aecore.training import History, Plan
from aecore.training.optimizer import Adam
from aecore.training.state import State

CPU = torch.device("cpu")


class TestHistory:
    def test_has_none_in_json_where_there_is_no_number(self):
        history = History([0.5, 0.4], [math.nan, 0.3], [1.0, 1.0], 1)
        assert history.as_dict() == {
            "train_loss": [0.5, 0.4], "valid_loss": [None, 0.3], "seconds": [1.0, 1.0], "best_epoch": 1,
        }  # fmt: skip

    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
    def test_is_json_whatever_the_validation_loss(self, value):
        """One image for which a loss of one's own is infinite must not end an hour of training."""
        text = json.dumps(History([0.5], [value], [1.0]).as_dict(), allow_nan=False)
        assert json.loads(text)["valid_loss"] == [None]

    def test_is_json_though_the_mean_of_large_losses_is_infinite(self):
        text = json.dumps(History([math.inf], [0.5], [1.0]).as_dict(), allow_nan=False)
        assert json.loads(text)["train_loss"] == [None]

    def test_comes_back_from_json(self):
        history = History([0.5, 0.1 + 0.2], [0.25, 1 / 3], [1.0, 2.5], 0)
        assert History.from_dict(json.loads(json.dumps(history.as_dict()))) == history

    def test_of_one_that_was_not_measured_comes_back_as_nan(self):
        history = History.from_dict({"train_loss": [1.0], "valid_loss": [None], "seconds": [1.0]})
        assert math.isnan(history.valid_loss[0])

    def test_a_stored_one_was_never_interrupted(self):
        assert "interrupted" not in History(interrupted=signal.SIGINT).as_dict()

    def test_is_as_long_as_its_epochs(self):
        assert len(History([0.5, 0.4], [math.nan, 0.3], [1.0, 1.0])) == 2


def state(plan=None, steps=3):
    model = LinearAutoencoder((1, 4, 4), 3)
    return State(model, Adam(model.parameters()), plan or Plan(), steps, CPU)


def after(plan, valid_losses):
    """Return a state after epochs with these validation losses; its weights name the epoch they come from."""
    found = state(plan, steps=1)
    for epoch, value in enumerate(valid_losses):
        with torch.no_grad():
            found.model.encoder[1].bias.fill_(epoch)
        found.note_step(torch.tensor(0.5))
        found.end_epoch(value if plan.validates_after(epoch) else math.nan)
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
    found.note_step(torch.tensor(value))
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
    found.losses.fill_(math.nan)
    found.step = 0
    assert found.is_finite()


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
    found = State(model, Adam(model.parameters()), Plan(), 3, CPU)
    assert torch.equal(load(save(found.as_tensors()))["model.two.weight"], model["one"].weight)
