"""`training.train`: against PCA in closed form, bit for bit, and when things go wrong."""

import math

import pytest
import torch
from torch import nn

from aecore import losses
from aecore.data import Images
from aecore.models import Autoencoder, ConvAutoencoder, DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.training import Batches, Plan, TrainingDiverged, train, validation_loss
from aecore.training.optimizer import Adam

pytestmark = pytest.mark.usefixtures("precision_as_planned")

CPU = torch.device("cpu")


def linear(code_size=3, shape=(1, 4, 4), seed=0):
    model = LinearAutoencoder(shape, code_size)
    init_weights(model, seed)
    return model


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def fitted(model, splits, plan, loss=losses.mse, **calls):
    return train(model, splits.train, splits.valid, plan, loss, CPU, **calls)


class TestAgainstPCA:
    def test_images_in_a_subspace_of_4_are_rebuilt_by_a_code_of_4(self):
        """4×4 images of four 2×2 blocks, each of one value: a subspace of dimension 4."""
        blocks = torch.randint(0, 256, (256, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        images = Images(blocks.repeat_interleave(2, 2).repeat_interleave(2, 3))
        plan = Plan(epochs=100, batch_size=32, lr=3e-2, schedule="cosine")
        history = train(linear(4), images, images, plan, losses.mse, CPU)
        assert history.valid_loss[-1] < 1e-6  # of a variance of 1/12; 800 steps leave about 1e-10

    def test_a_linear_autoencoder_comes_within_one_per_cent(self, error_and_bound):
        assert error_and_bound[0] < 1.01 * error_and_bound[1]

    def test_a_linear_autoencoder_cannot_do_better(self, error_and_bound):
        assert error_and_bound[0] > (1 - 1e-5) * error_and_bound[1]  # 1e-5: float32


@pytest.fixture(scope="module")
def error_and_bound():
    """A trained model's error on 512 images of 4×4 whose spectrum falls by .7 each time, and that of PCA."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    spread = 0.8 * 0.7 ** torch.arange(16)
    flat = (0.5 + torch.randn(512, 16, generator=generator) * spread @ axes.T).clamp(0, 1)
    images = Images((flat * 255).round().to(torch.uint8).reshape(512, 1, 4, 4))
    plan = Plan(epochs=100, batch_size=32, lr=3e-2, schedule="cosine")
    history = train(linear(3), images, images, plan, losses.mse, CPU)
    x = images.floats().flatten(1).double()
    singular = torch.linalg.svdvals(x - x.mean(0))
    return history.valid_loss[-1], (singular[3:].square().sum() / x.numel()).item()  # Eckart and Young, 1936


class TestSameAgain:
    @pytest.mark.parametrize("model", [LinearAutoencoder, DenseAutoencoder, ConvAutoencoder])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_two_runs_with_one_seed_have_the_same_weights(self, splits, model, precision):
        states = []
        for _ in range(2):
            one = model((1, 4, 4), 3)
            init_weights(one, 1)
            fitted(one, splits, Plan(epochs=2, batch_size=10, precision=precision, seed=1))
            states.append(state(one))
            torch.rand(7)  # the notebook goes on
        assert equal(*states)

    def test_two_runs_with_one_seed_have_the_same_history(self, splits):
        histories = [fitted(linear(), splits, Plan(epochs=2, batch_size=10)) for _ in range(2)]
        assert histories[0].train_loss == histories[1].train_loss

    def test_another_seed_draws_the_batches_in_another_order(self, splits):
        models = [linear(), linear()]
        for seed, model in enumerate(models):
            fitted(model, splits, Plan(epochs=1, batch_size=10, seed=seed))
        assert not equal(*map(state, models))

    def test_one_step_is_one_step_of_adam(self, splits):
        """Written out: one batch that holds all images, one step."""
        model, twin = linear(), linear()
        fitted(model, splits, Plan(epochs=1, batch_size=24, lr=0.01))
        x = next(Batches(splits.train, 24, CPU).shuffled(0))
        optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
        (twin(x) - x).square().mean().backward()
        optimizer.step()
        # the fused Adam of the loop may round its last bit otherwise
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), twin.parameters(), strict=True))

    def test_the_rate_of_each_step_is_the_plans(self, splits, monkeypatch):
        seen, step = [], Adam.step
        monkeypatch.setattr(Adam, "step", lambda self, gradients, lr: (seen.append(lr), step(self, gradients, lr))[1])
        plan = Plan(epochs=2, batch_size=10, schedule="cosine")
        fitted(linear(), splits, plan)
        assert seen == [plan.lr_at(i, 6) for i in range(6)]


class TestHistory:
    def test_has_one_entry_for_each_epoch(self, splits):
        history = fitted(linear(), splits, Plan(epochs=3))
        assert [len(values) for values in (history.train_loss, history.valid_loss, history.seconds)] == [3, 3, 3]

    def test_the_training_loss_is_the_mean_over_steps(self, splits):
        seen = []

        def loss(x, x_hat):
            value = losses.mse(x, x_hat)
            if torch.is_grad_enabled():  # not in validation
                seen.append(value.item())
            return value

        history = fitted(linear(), splits, Plan(epochs=1, batch_size=8), loss)
        assert history.train_loss == [pytest.approx(sum(seen) / 3, rel=1e-6)]  # float32

    def test_the_last_validation_loss_is_that_of_the_model(self, splits):
        model = linear()
        history = fitted(model, splits, Plan(epochs=2))
        x = splits.valid.floats()
        with torch.no_grad():
            assert history.valid_loss[-1] == pytest.approx(losses.mse(x, model(x)).item(), rel=1e-6)  # float32

    def test_without_validation_images_the_loss_is_nan(self, splits):
        history = train(linear(), splits.train, splits.valid[:0], Plan(epochs=1), losses.mse, CPU)
        assert math.isnan(history.valid_loss[0])

    def test_on_step_is_called_once_for_each_step(self, splits):
        calls = []
        fitted(linear(), splits, Plan(epochs=3, batch_size=10), on_step=calls.append)
        assert calls == list(range(1, 10))  # 24 images: 10, 10 and 4, three times

    def test_on_epoch_is_called_once_for_each_epoch(self, splits):
        lengths = []
        fitted(linear(), splits, Plan(epochs=3), on_epoch=lambda history: lengths.append(len(history)))
        assert lengths == [1, 2, 3]

    def test_the_model_comes_back_in_evaluation_mode(self, splits):
        model = linear()
        fitted(model, splits, Plan(epochs=1))
        assert not any(layer.training for layer in model.modules())


class TestValidationLoss:
    @pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2345])
    def test_is_the_mean_over_all_images_whatever_the_batches(self, noise, count):
        images, model = noise(count, 1, 2, 2), linear(2, (1, 2, 2))
        x = images.floats()
        with torch.no_grad():
            wanted = (model(x).double() - x.double()).square().mean().item()
        found = validation_loss(model, images, losses.mse, Plan(), CPU)
        assert found == pytest.approx(wanted, rel=1e-6)  # float32 in each batch

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_the_model_in_its_mode(self, noise, training):
        model = linear().train(training)
        validation_loss(model, noise(3, 1, 4, 4), losses.mse, Plan(), CPU)
        assert all(layer.training is training for layer in model.modules())

    def test_is_taken_in_evaluation_mode(self, noise):
        model = Autoencoder((1, 4, 4), nn.Dropout(0.5), nn.Identity()).train()
        assert validation_loss(model, noise(3, 1, 4, 4), losses.mse, Plan(), CPU) == 0


def breaks_at(step):
    """Return a loss that is NaN in one step of training, counted from 0."""
    steps = iter(range(10**6))

    def loss(x, x_hat):
        value = losses.mse(x, x_hat)
        return value * math.nan if torch.is_grad_enabled() and next(steps) == step else value

    return loss


class TestDivergence:
    """24 images in batches of 10: three steps in an epoch. Step 4 is the second one of epoch 1."""

    plan = Plan(epochs=3, batch_size=10, lr=1e-3, schedule="cosine")

    @pytest.fixture
    def broken(self, splits):
        model = linear()
        with pytest.raises(TrainingDiverged) as caught:
            fitted(model, splits, self.plan, breaks_at(4))
        return model, caught.value

    def test_names_the_step(self, broken):
        assert broken[1].step == 4

    def test_names_the_epoch(self, broken):
        assert broken[1].epoch == 1

    def test_names_the_learning_rate_of_that_step(self, broken):
        assert broken[1].lr == self.plan.lr_at(4, 9)

    def test_says_it_in_words_with_what_to_try(self, broken):
        assert "the loss became nan in step 4 (epoch 1)" in str(broken[1])

    def test_gives_the_model_its_state_from_before_that_epoch_back(self, broken, splits):
        twin, snapshots = linear(), []
        fitted(twin, splits, self.plan, on_epoch=lambda history: snapshots.append(state(twin)))
        assert equal(state(broken[0]), snapshots[0])

    def test_in_the_first_epoch_gives_the_start_back(self, splits):
        model, start = linear(), state(linear())
        with pytest.raises(TrainingDiverged):
            fitted(model, splits, self.plan, breaks_at(0))
        assert equal(state(model), start)

    def test_in_the_last_step_of_an_epoch_is_found_there(self, splits):
        with pytest.raises(TrainingDiverged) as caught:
            fitted(linear(), splits, self.plan, breaks_at(5))
        assert (caught.value.epoch, caught.value.step) == (1, 5)

    def test_a_learning_rate_beyond_all_bounds_diverges(self, splits):
        with pytest.raises(TrainingDiverged):
            fitted(linear(), splits, Plan(epochs=3, batch_size=10, lr=1e30))


def finite_but_without_a_gradient(x, x_hat):
    """Zero, and its gradient is ∞ · 0: the root of a sum of squares that are all zero."""
    return (x_hat - x_hat.detach()).square().sum().sqrt()


def test_weights_spoiled_by_the_last_step_are_found_though_every_loss_was_finite(splits):
    with pytest.raises(TrainingDiverged):
        fitted(linear(), splits, Plan(epochs=1, batch_size=24), finite_but_without_a_gradient)


def test_weights_spoiled_by_the_last_step_are_not_kept(splits):
    model, start = linear(), state(linear())
    with pytest.raises(TrainingDiverged):
        fitted(model, splits, Plan(epochs=3, batch_size=24), finite_but_without_a_gradient)
    assert equal(state(model), start)


class TestPatience:
    """Trained on white images and watched on black ones: every epoch makes the validation loss worse."""

    @pytest.fixture
    def worse(self):
        white, black = (Images(torch.full((16, 1, 4, 4), value, dtype=torch.uint8)) for value in (255, 0))

        def run(plan):
            model = linear()
            return model, train(model, white, black, plan, losses.mse, CPU)

        return run

    def test_the_case_is_what_it_says(self, worse):
        losses_by_epoch = worse(Plan(epochs=4))[1].valid_loss
        assert losses_by_epoch == sorted(set(losses_by_epoch))

    @pytest.mark.parametrize("patience", [1, 3])
    def test_training_stops_so_many_epochs_after_the_best(self, worse, patience):
        assert len(worse(Plan(epochs=9, patience=patience))[1]) == 1 + patience

    def test_the_best_epoch_is_noted(self, worse):
        assert worse(Plan(epochs=9, patience=2))[1].best_epoch == 0

    def test_the_best_state_comes_back(self, worse):
        assert equal(state(worse(Plan(epochs=9, patience=2))[0]), state(worse(Plan(epochs=1))[0]))

    def test_without_patience_the_last_state_stays(self, worse):
        assert not equal(state(worse(Plan(epochs=3))[0]), state(worse(Plan(epochs=1))[0]))

    def test_the_best_state_comes_back_though_the_epochs_ran_out(self, worse):
        assert equal(state(worse(Plan(epochs=3, patience=5))[0]), state(worse(Plan(epochs=1))[0]))

    def test_while_the_loss_falls_training_goes_on(self, splits):
        history = train(linear(), splits.train, splits.train, Plan(epochs=5, patience=1, lr=1e-3), losses.mse, CPU)
        assert len(history) == 5


class TestBfloat16:
    def test_leaves_the_weights_in_float32(self, splits):
        model = ConvAutoencoder((1, 4, 4), 3)
        fitted(model, splits, Plan(epochs=1, precision="bfloat16"))
        assert {value.dtype for value in model.parameters()} == {torch.float32}

    def test_computes_the_layers_in_bfloat16(self, splits):
        seen = set()
        model = linear()
        model.encoder[1].register_forward_hook(lambda module, x, y: seen.add(y.dtype))
        fitted(model, splits, Plan(epochs=1, precision="bfloat16"))
        assert seen == {torch.bfloat16}

    def test_takes_the_loss_in_float32(self, splits):
        seen = set()
        fitted(
            linear(), splits, Plan(epochs=1, precision="bfloat16"),
            lambda x, x_hat: (seen.add(x_hat.dtype), losses.mse(x, x_hat))[1],
        )  # fmt: skip
        assert seen == {torch.float32}

    def test_makes_the_loss_smaller(self, splits):
        history = fitted(linear(), splits, Plan(epochs=20, precision="bfloat16", lr=1e-2))
        assert history.train_loss[-1] < 0.8 * history.train_loss[0]
