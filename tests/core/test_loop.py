"""`training.train`: against PCA in closed form, bit for bit, and when things go wrong."""

import math

import pytest
import torch
from torch import nn

from aecore import losses
from aecore.data import Images, Splits
from aecore.models import Autoencoder, ConvAutoencoder, DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.models.frozen import freeze, unfreeze
from aecore.objectives import Classification, Objective, Reconstruction
from aecore.training import Batches, Observer, Plan, TrainingDiverged, train, validate
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


def fitted(model, splits, plan, loss="mse", **observed):
    """Train; `loss` may be an objective."""
    objective = loss if isinstance(loss, Objective) else Reconstruction(loss)
    return train(model, splits, plan, objective, CPU, Observer(**observed))


def trained_on(images, model, plan):
    """Train and validate on the same images."""
    return fitted(model, Splits(images, images, images[:0]), plan)


class TestAgainstPCA:
    def test_images_in_a_subspace_of_4_are_rebuilt_by_a_code_of_4(self):
        """4×4 images of four 2×2 blocks, each of one value: a subspace of dimension 4."""
        blocks = torch.randint(0, 256, (256, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        images = Images(blocks.repeat_interleave(2, 2).repeat_interleave(2, 3))
        plan = Plan(epochs=100, batch_size=32, lr=3e-2, schedule="cosine")
        history = trained_on(images, linear(4), plan)
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
    history = trained_on(images, linear(3), plan)
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
        x = next(Batches(splits.train, Plan(batch_size=24), CPU).shuffled(0)).x
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
        history = fitted(linear(), Splits(splits.train, splits.valid[:0], splits.test), Plan(epochs=1))
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


class Pixels(Objective):
    """Three means over the images, each a number that can be worked by hand."""

    def forward(self, model, batch):
        x_hat = model(batch.x)
        apart = x_hat - batch.x
        return {"bright": batch.x.mean(), "loss": apart.square().mean(), "progress": batch.progress}


def constant(value):
    """Return an autoencoder that gives one grey for all, its decoder's bias; nothing of it but that can be trained."""
    model = Autoencoder((1, 4, 4), nn.Flatten(), nn.Sequential(nn.Linear(16, 16), nn.Unflatten(1, (1, 4, 4))))
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        model.decoder[0].bias.fill_(value)
    freeze(model).decoder[0].bias.requires_grad_()
    return model


def grey(*values):
    """Return images of 4×4 pixels, each of one value."""
    return Images(torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, -1, 4, 4).contiguous())


class TestNamedValues:
    """Images of one grey each, and a model that gives 0 for all; the rate is so small that it stays so."""

    @pytest.fixture
    def history(self):
        """Training images of 0, 51, 102, 153 and 204 of 255, in batches of 2, 2 and 1; validation: 51 and 255."""
        data = Splits(grey(0, 51, 102, 153, 204), grey(51, 255), grey())
        return fitted(constant(0.0), data, Plan(epochs=2, batch_size=2, lr=1e-12), Pixels())

    def test_keep_the_order_that_the_objective_gives_them(self, history):
        assert (list(history.train), list(history.valid)) == (["bright", "loss", "progress"],) * 2

    def test_of_training_are_means_over_the_steps(self, history):
        """Each step counts the same, the last one with a single image as well."""
        for epoch in range(2):
            order = next(Batches(grey(0, 1, 2, 3, 4), Plan(batch_size=5), CPU).shuffled(epoch)).x[:, 0, 0, 0] * 255 / 5
            a, b, c, d, e = order.tolist()
            wanted = ((a + b) / 2 + (c + d) / 2 + e) / 3
            assert history.train["bright"][epoch] == pytest.approx(wanted, rel=1e-6)  # float32

    def test_of_validation_are_means_over_the_images(self, history):
        """(.2 + 1) / 2, and (.04 + 1) / 2."""
        assert [history.valid[name][1] for name in ("bright", "loss")] == [pytest.approx(0.6), pytest.approx(0.52)]

    def test_of_training_see_the_progress(self, history):
        """Six steps: 0, 1/6, 2/6 and 3/6, 4/6, 5/6."""
        assert history.train["progress"] == [pytest.approx(1 / 6), pytest.approx(4 / 6)]

    def test_of_validation_see_that_all_is_done(self, history):
        assert history.valid["progress"] == [1, 1]

    def test_of_validation_are_nan_where_there_is_none(self):
        data = Splits(grey(0, 51), grey(51), grey())
        history = fitted(constant(0.0), data, Plan(epochs=2, validate_every=2), Pixels())
        assert [math.isnan(history.valid["bright"][epoch]) for epoch in range(2)] == [True, False]


class Spread(Objective):
    """Two values with gradients: only the one that is called "loss" is followed."""

    def forward(self, model, batch):
        x_hat = model(batch.x)
        return {"away": -x_hat.mean(), "loss": x_hat.mean()}


def test_the_loss_is_told_by_its_name_and_not_by_its_place():
    model = constant(0.5)
    fitted(model, Splits(grey(0), grey(0), grey()), Plan(epochs=1, lr=0.01), Spread())
    # Adam's first step is the rate against the sign of the gradient, and the gradient of the mean is positive
    assert model.decoder[0].bias.tolist() == pytest.approx([0.49] * 16)


class TestLabels:
    def test_reach_the_objective_in_training_and_in_validation(self, splits):
        """Two classes that the first pixel tells apart: after training all are known."""
        pixels = torch.zeros(40, 1, 2, 2, dtype=torch.uint8)
        labels = torch.arange(40) % 2
        pixels[:, 0, 0, 0] = 255 * labels
        images = Images(pixels, labels)
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        init_weights(model, 0)
        history = fitted(model, Splits(images, images[:10], images), Plan(epochs=20, lr=0.1), Classification())
        assert (history.train["accuracy"][-1], history.valid["accuracy"][-1]) == (1, 1)

    @pytest.mark.parametrize("part", ["train", "valid"])
    def test_that_are_missing_are_asked_for_before_the_first_step(self, splits, part):
        labelled = Images(splits.train.pixels, torch.zeros(24, dtype=torch.int64))
        data = Splits(splits.train, labelled, labelled) if part == "train" else Splits(labelled, splits.valid, labelled)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        calls = []
        with pytest.raises(ValueError, match="^data: this objective needs labels, and noise has none$"):
            fitted(model, data, Plan(epochs=1), Classification(), on_step=calls.append)
        assert calls == []


class Gives(Objective):
    """Returns what it is told, made of the loss."""

    def __init__(self, make):
        super().__init__()
        self.make, self.calls = make, 0

    def forward(self, model, batch):
        self.calls += 1
        return self.make((model(batch.x) - batch.x).square().mean(), self.calls)


class TestObjectivesThatCannotBeTrained:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda loss, call: loss, "got Tensor"),
            (lambda loss, call: {}, "got an empty dict"),
            (lambda loss, call: {"mse": loss}, r"got 'mse' of shape \(\)"),
            (lambda loss, call: {"loss": 0.5}, "got 'loss' float"),
            (lambda loss, call: {"loss": loss.expand(3)}, r"got 'loss' of shape \(3,\)"),
            (lambda loss, call: {"loss": loss, "mse": loss.item()}, r"got 'loss' of shape \(\), 'mse' float"),
            (lambda loss, call: {"loss": loss, "mse": loss.expand(2)}, r"'mse' of shape \(2,\)"),
        ],
    )
    def test_are_told_what_was_wanted(self, splits, make, words):
        start = "^objective: wanted Gives to return scalar tensors in a dict, one called 'loss', .*"
        with pytest.raises(ValueError, match=start + words):
            fitted(linear(), splits, Plan(epochs=1), Gives(make))

    def test_are_told_that_their_loss_has_no_gradient(self, splits):
        words = "^objective: the loss of Gives depends on no weight that is trained, .* Look for .detach()"
        with pytest.raises(ValueError, match=words):
            fitted(linear(), splits, Plan(epochs=1), Gives(lambda loss, call: {"loss": loss.detach()}))

    def test_are_told_that_their_names_change(self, splits):
        words = r"^objective: wanted Gives to give \('loss',\) at every step, got \('loss', 'mse'\)$"
        with pytest.raises(ValueError, match=words):
            fitted(
                linear(), splits, Plan(epochs=1, batch_size=10),
                Gives(lambda loss, call: {"loss": loss, "mse": loss} if call == 3 else {"loss": loss}),
            )  # fmt: skip


class Writes(LinearAutoencoder):
    """Changes the images that it is given, in training or in validation."""

    def __init__(self, while_training):
        super().__init__((1, 4, 4), 3)
        self.while_training = while_training

    def forward(self, x):
        if self.training is self.while_training:
            x.clamp_(0.25, 0.75)
        return super().forward(x)


class TestAModelThatWritesIntoItsInput:
    words = "^model: Writes: it writes into the images that it is given, .* x = x.clone()"

    @pytest.mark.parametrize("while_training", [True, False])
    def test_is_refused(self, splits, while_training):
        with pytest.raises(ValueError, match=self.words):
            fitted(Writes(while_training), splits, Plan(epochs=1))

    def test_is_refused_in_the_first_step(self, splits):
        calls = []
        with pytest.raises(ValueError, match=self.words):
            fitted(Writes(True), splits, Plan(epochs=1), on_step=calls.append)
        assert calls == []

    @pytest.mark.parametrize("augmented", [{"flip": True}, {"crop": 4}, {"sizes": ((0, 2),)}])
    def test_is_refused_however_the_images_are_made(self, splits, augmented):
        model = Autoencoder((1, 4, 4), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1)), nn.Conv2d(1, 1, 1))
        model.any_size = True
        with pytest.raises(ValueError, match="^model: Autoencoder: it writes into"):
            fitted(model, splits, Plan(epochs=1, **augmented))


def validation_loss(model, images, loss="mse"):
    return validate(model, images, Reconstruction(loss), Plan(), CPU)["loss"]


class TestValidate:
    @pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2345])
    def test_gives_the_mean_over_all_images_whatever_the_batches(self, noise, count):
        images, model = noise(count, 1, 2, 2), linear(2, (1, 2, 2))
        x = images.floats()
        with torch.no_grad():
            wanted = (model(x).double() - x.double()).square().mean().item()
        assert validation_loss(model, images) == pytest.approx(wanted, rel=1e-6)  # float32 in each batch

    def test_gives_every_value_under_its_name(self):
        """Of greys .2 and 1 against a constant .6: a squared distance of .16 from each."""
        found = validate(constant(0.6), grey(51, 255), Pixels(), Plan(), CPU)
        wanted = {"bright": 0.6, "loss": 0.16, "progress": 1}
        assert found == {name: pytest.approx(value) for name, value in wanted.items()}

    def test_gives_nothing_of_no_images(self):
        assert validate(constant(0.6), grey(), Pixels(), Plan(), CPU) == {}

    def test_sees_the_centre_under_a_plan_with_a_crop(self):
        """A frame of 0 around 2×2 pixels of 255, against a constant 0."""
        pixels = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
        pixels[:, :, 1:3, 1:3] = 255
        found = validate(lambda x: torch.zeros_like(x), Images(pixels), Reconstruction(), Plan(crop=2), CPU)
        assert found == {"loss": 1}

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_the_model_in_its_mode(self, noise, training):
        model = linear().train(training)
        validation_loss(model, noise(3, 1, 4, 4))
        assert all(layer.training is training for layer in model.modules())

    def test_is_taken_in_evaluation_mode(self, noise):
        model = Autoencoder((1, 4, 4), nn.Dropout(0.5), nn.Identity()).train()
        assert validation_loss(model, noise(3, 1, 4, 4)) == 0


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
            return model, fitted(model, Splits(white, black, black), plan)

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
        history = trained_on(splits.train, linear(), Plan(epochs=5, patience=1, lr=1e-3))
        assert len(history) == 5


class TestAverage:
    """`Plan(ema=…)`: what is validated and returned is the average of the weights after each step."""

    def averages(self, splits, plan):
        """Return by hand the averages after each step of a training without one."""
        model, found = linear(), []

        def on_step(step):
            if not found:
                found.append(state(model))
            else:
                found.append({name: value.lerp(state(model)[name], 1 - plan.ema) for name, value in found[-1].items()})

        fitted(model, splits, plan.replace(ema=None), on_step=on_step)
        return found

    plan = Plan(epochs=3, batch_size=10, lr=0.01, ema=0.75)

    def test_is_the_result(self, splits):
        model = linear()
        fitted(model, splits, self.plan)
        assert equal(state(model), self.averages(splits, self.plan)[-1])

    def test_is_what_validation_sees(self, splits):
        history = fitted(linear(), splits, self.plan)
        twin = linear()
        twin.load_state_dict(self.averages(splits, self.plan)[5])  # after the second epoch of three steps each
        assert history.valid_loss[1] == validation_loss(twin, splits.valid)

    def test_changes_nothing_in_what_is_trained(self, splits):
        histories = [fitted(linear(), splits, plan) for plan in (self.plan, self.plan.replace(ema=None))]
        assert histories[0].train_loss == histories[1].train_loss

    def test_of_the_best_epoch_is_kept_where_there_is_a_patience(self):
        """Watched on black images and trained on white ones: the first epoch is the best."""
        data = Splits(grey(*[255] * 24), grey(0), grey())
        model, plan = linear(), self.plan.replace(patience=1)
        history = fitted(model, data, plan)
        assert (history.best_epoch, len(history)) == (0, 2)
        assert equal(state(model), self.averages(data, plan)[2])


class Normalised(Autoencoder):
    """An encoder and a decoder, both with batch normalisation and dropout."""

    def __init__(self):
        encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.MaxPool2d(2))
        decoder = nn.Sequential(nn.ConvTranspose2d(2, 1, 2, stride=2), nn.BatchNorm2d(1))
        super().__init__((1, 4, 4), encoder, decoder)
        init_weights(self, 0)


class TestFrozenParts:
    def trained(self, splits, model, **plan):
        before = state(model)
        fitted(model, splits, Plan(epochs=2, batch_size=10, **plan))
        return {name for name, value in state(model).items() if not torch.equal(value, before[name])}

    def test_keep_weights_and_running_statistics(self, splits):
        model = Normalised()
        freeze(model.encoder)
        changed = self.trained(splits, model)
        assert not any(name.startswith("encoder") for name in changed)

    def test_leave_the_others_to_be_trained(self, splits):
        model = Normalised()
        freeze(model.encoder)
        changed = self.trained(splits, model)
        assert {"decoder.0.weight", "decoder.1.running_mean", "decoder.1.num_batches_tracked"} <= changed

    def test_are_in_evaluation_mode_at_every_step(self, splits):
        model, seen = Normalised(), set()
        freeze(model.encoder)
        model.encoder.register_forward_hook(lambda part, x, y: seen.update(layer.training for layer in part.modules()))
        fitted(model, splits, Plan(epochs=2, batch_size=10))
        assert seen == {False}

    def test_a_layer_without_weights_is_trained_with_its_model(self, splits):
        """Dropout between frozen layers belongs to a part that is frozen; alone it has nothing to freeze."""
        model, seen = Normalised(), []
        model.encoder[2].register_forward_hook(lambda layer, x, y: seen.append(layer.training))
        fitted(model, splits, Plan(epochs=1))
        assert seen == [True, False]  # one step, and one batch of validation

    def test_can_be_released(self, splits):
        model = Normalised()
        unfreeze(freeze(model.encoder))
        assert {"encoder.0.weight", "encoder.1.running_mean"} <= self.trained(splits, model)

    def test_stay_what_they_are_in_the_average(self, splits):
        model = Normalised()
        freeze(model.encoder)
        assert not any(name.startswith("encoder") for name in self.trained(splits, model, ema=0.9))


class TestPlanReachesTheOptimiser:
    """One step with all images, against torch's own."""

    def after_one_step(self, splits, **plan):
        model = linear()
        fitted(model, splits, Plan(epochs=1, batch_size=24, lr=0.01, **plan))
        return [weight.detach() for weight in model.parameters()]

    def by_torch(self, splits, kind, clip=None, **options):
        twin = linear()
        x = next(Batches(splits.train, Plan(batch_size=24), CPU).shuffled(0)).x
        (twin(x) - x).square().mean().backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(twin.parameters(), clip)
        kind(twin.parameters(), lr=0.01, fused=True, **options).step()
        return [weight.detach() for weight in twin.parameters()]

    def test_weight_decay(self, splits):
        wanted = self.by_torch(splits, torch.optim.AdamW, weight_decay=0.5)
        assert all(map(torch.equal, self.after_one_step(splits, weight_decay=0.5), wanted))

    def test_clip_norm(self, splits):
        """So small that Adam's ε counts: without it a first step would not depend on a gradient's length."""
        wanted = self.by_torch(splits, torch.optim.Adam, clip=1e-8)
        assert all(map(torch.equal, self.after_one_step(splits, clip_norm=1e-8), wanted))
        assert not all(map(torch.equal, wanted, self.after_one_step(splits)))

    def test_crop_and_flip(self, splits):
        """The model sees windows of 2×2 pixels."""
        seen = set()
        model = linear(2, (1, 2, 2))
        model.encoder.register_forward_hook(lambda layer, x, y: seen.add(tuple(x[0].shape)))
        fitted(model, splits, Plan(epochs=1, batch_size=10, crop=2, flip=True))
        assert seen == {(10, 1, 2, 2), (4, 1, 2, 2), (8, 1, 2, 2)}  # batches of 10, 10 and 4; 8 to validate


class TestLayout:
    """Inside, convolutional networks lie channels-last; outside, as everybody expects."""

    def conv(self):
        model = ConvAutoencoder((1, 8, 8), 8, width=4)
        init_weights(model, 0)
        return model

    @pytest.fixture
    def pictures(self, noise):
        return Splits(noise(24, 1, 8, 8), noise(8, 1, 8, 8, seed=1), noise(0, 1, 8, 8))

    def kernels(self, model):
        return [weight for weight in model.parameters() if weight.ndim == 4 and weight.shape[1] > 1]

    def test_of_the_kernels_while_it_trains_is_channels_last(self, pictures):
        model, seen = self.conv(), []
        fitted(
            model, pictures, Plan(epochs=1),
            on_step=lambda step: seen.extend(
                weight.is_contiguous(memory_format=torch.channels_last) for weight in self.kernels(model)
            ),
        )  # fmt: skip
        assert (bool(seen), all(seen)) == (True, True)

    @pytest.mark.parametrize("plan", [Plan(epochs=1), Plan(epochs=2, patience=1), Plan(epochs=1, ema=0.9)])
    def test_of_a_trained_model_is_contiguous(self, pictures, plan):
        model = self.conv()
        fitted(model, pictures, plan)
        assert all(weight.is_contiguous() for weight in model.parameters())

    def test_two_trainings_of_one_model_object_are_the_same(self, pictures):
        model, ends = self.conv(), []
        for _ in range(2):
            init_weights(model, 3)
            fitted(model, pictures, Plan(epochs=1))
            ends.append(state(model))
        assert equal(*ends)

    def test_that_a_training_left_does_not_change_the_weights_that_are_drawn(self):
        """Under torch 2.11 a kernel that lies channels-last is filled in another order."""
        model, fresh = self.conv(), self.conv()
        init_weights(fresh, 3)
        model.to(memory_format=torch.channels_last)
        assert not all(weight.is_contiguous() for weight in self.kernels(model))
        init_weights(model, 3)
        assert equal(state(model), state(fresh))

    def test_of_drawn_weights_is_contiguous_while_they_are_drawn(self):
        """Whatever this version of torch makes of another one."""
        seen = []

        class Watched(nn.Conv2d):
            def reset_parameters(self):
                seen.append(self.weight.is_contiguous())
                super().reset_parameters()

        layer = nn.Sequential(Watched(4, 4, 3)).to(memory_format=torch.channels_last)
        seen.clear()
        init_weights(layer, 0)
        assert seen == [True]


class TestBfloat16:
    """`precision_as_planned`: whatever this processor finds faster."""

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
