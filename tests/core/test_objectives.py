"""`objectives`: each against a value worked by hand, what all of them must do, and one of a reader's own."""

import math

import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import aecore as ae
from aecore.data import Images, Splits
from aecore.models import CompressiveAutoencoder, Frozen, LinearAutoencoder, ResidualClassifier
from aecore.objectives import (
    ELBO,
    Batch,
    Classification,
    CodeMatching,
    DecoderTransfer,
    Distillation,
    FeatureLoss,
    FeatureRateDistortion,
    JointResolutions,
    Objective,
    RateDistortion,
    Reconstruction,
    VariableRate,
    resized,
)
from aecore.training import Plan
from aecore.training.step import evaluated

# One image of 2×2 pixels and a reconstruction: squared errors .25, .25, 0 and .0625, their mean .140625.
X = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
X_HAT = torch.tensor([0.5, 0.5, 0.0, 0.75]).reshape(1, 1, 2, 2)
MSE = 0.140625

# One image of 4×4 pixels; the means of its four quarters are .5, 0, 1 and .5, their first pixels 0, 0, 1 and 0.
LARGE = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1], [1, 1, 0, 1]]).reshape(1, 1, 4, 4)
MEANS, FIRSTS = [0.5, 0, 1, 0.5], [0, 0, 1, 0]


def of(objective, model, x=X, labels=None, progress=0.0):
    """What an objective gives for a batch, as plain numbers."""
    found = objective(model, Batch(x, labels, len(x), torch.tensor(progress)))
    return {name: value.item() for name, value in found.items()}


class Gives(nn.Module):
    """Answers every image with the same reconstruction."""

    def __init__(self, x_hat=X_HAT):
        super().__init__()
        self.x_hat = x_hat

    def forward(self, x):
        return self.x_hat


class Quarters(nn.Module):
    """Codes of four values: the means of an image's quarters, or with `first` their first pixels."""

    def __init__(self, first=False):
        super().__init__()
        self.first = first

    def encode(self, x):
        step = x.shape[-1] // 2
        return x[:, 0, ::step, ::step].flatten(1) if self.first else F.avg_pool2d(x, step).flatten(1)

    def decode(self, z, size=4):
        return z.reshape(-1, 1, 2, 2).repeat_interleave(size // 2, 2).repeat_interleave(size // 2, 3)


class TestReconstruction:
    @pytest.mark.parametrize(
        ("loss", "wanted"),
        [("mse", MSE), ("mae", 1.25 / 4), ("bce", -(2 * math.log(0.5) + math.log(0.75)) / 4)],
    )
    def test_by_hand(self, loss, wanted):
        assert of(Reconstruction(loss), Gives()) == {"loss": pytest.approx(wanted, rel=1e-6)}  # float32

    def test_takes_a_function(self):
        def largest(x, x_hat):
            return (x - x_hat).abs().max()

        assert of(Reconstruction(largest), Gives()) == {"loss": 0.5}

    def test_its_function_gets_float32_where_layers_compute_in_bfloat16(self):
        seen = []

        def mine(x, x_hat):
            seen.append(x_hat.dtype)
            return x_hat.mean()

        with torch.autocast("cpu", torch.bfloat16):
            of(Reconstruction(mine), Gives(X_HAT.bfloat16()))
        assert seen == [torch.float32]

    def test_is_called_after_its_loss(self):
        assert Reconstruction("mae").name == "mae"

    @pytest.mark.parametrize(
        ("value", "got"),
        [(0.5, "got float"), (None, "got NoneType"), (X, r"got a tensor of shape \(1, 1, 2, 2\); take its mean")],
    )
    def test_a_loss_that_returns_no_scalar_is_refused(self, value, got):
        def mine(x, x_hat):
            return value

        with pytest.raises(ValueError, match=r"loss: wanted mine\(x, x_hat\) to return one number as a tensor, " + got):
            of(Reconstruction(mine), Gives())

    @pytest.mark.parametrize(
        ("x_hat", "got"),
        [
            (X_HAT.flatten(1), r"a tensor of shape \(1, 4\)"),
            (X_HAT[..., :1], r"a tensor of shape \(1, 1, 2, 1\)"),  # would be broadcast
            ((X_HAT, X_HAT), "tuple"),
        ],
    )
    def test_reconstructions_of_another_shape_are_refused(self, x_hat, got):
        with pytest.raises(ValueError, match=rf"model: wanted reconstructions of shape \(1, 1, 2, 2\).*, got {got}"):
            of(Reconstruction(), Gives(x_hat))


class TestClassification:
    # Two images, two classes: the first has its label with probability 3/4, the second with 1/2.
    SCORES, LABELS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]), torch.tensor([0, 1])

    def test_by_hand(self):
        found = of(Classification(), Gives(self.SCORES), X.repeat(2, 1, 1, 1), self.LABELS)
        # Of two equal scores the first counts as the higher, so the second image is taken for class 0.
        assert found == {"loss": pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6), "accuracy": 0.5}

    def test_label_smoothing_by_hand(self):
        # Half of the probability is spread over two classes: .75 stays with the label, .25 goes to the other.
        wanted = -0.75 * math.log(3 / 4) - 0.25 * math.log(1 / 4)
        found = of(Classification(label_smoothing=0.5), Gives(self.SCORES[:1]), X, self.LABELS[:1])
        assert found["loss"] == pytest.approx(wanted, rel=1e-6)  # float32

    @pytest.fixture
    def many(self):
        generator = torch.Generator().manual_seed(0)
        scores = 3 * torch.randn(50, 7, generator=generator)
        return scores, torch.randint(0, 7, (50,), generator=generator)

    @pytest.mark.parametrize("smoothing", [0, 0.1])
    def test_is_the_cross_entropy_of_torch(self, smoothing, many):
        scores, labels = many
        wanted = F.cross_entropy(scores.double(), labels, label_smoothing=smoothing).item()
        found = of(Classification(smoothing), Gives(scores), torch.zeros(50, 1, 2, 2), labels)
        assert found["loss"] == pytest.approx(wanted, rel=1e-5)  # float32 against float64

    def test_is_the_log_loss_and_the_accuracy_of_scikit_learn(self, many):
        scores, labels = many
        wanted = {
            "loss": sklearn.metrics.log_loss(labels, scores.double().softmax(1)),
            "accuracy": sklearn.metrics.accuracy_score(labels, scores.argmax(1)),
        }
        found = of(Classification(), Gives(scores), torch.zeros(50, 1, 2, 2), labels)
        assert found == pytest.approx(wanted, rel=1e-5)  # float32 against float64

    def test_an_autoencoder_is_refused(self):
        with pytest.raises(ValueError, match=r"model: wanted class scores of shape \(1, classes\), .* \(1, 1, 2, 2\)"):
            of(Classification(), Gives(), X, torch.tensor([0]))

    def test_a_label_without_a_score_is_refused(self):
        with pytest.raises(ValueError, match="model: gives scores of 2 classes, but there are labels from 1 to 3"):
            of(Classification(), Gives(self.SCORES), X.repeat(2, 1, 1, 1), torch.tensor([3, 1]))

    @pytest.mark.parametrize("smoothing", [-0.1, 1, math.nan])
    def test_a_smoothing_outside_its_range_is_refused(self, smoothing):
        with pytest.raises(ValueError, match="label_smoothing: wanted a share from 0 to below 1, got"):
            Classification(smoothing)


class TestFeatureLoss:
    class Pixels(nn.Module):
        """Two stages: the pixels themselves, and their sum."""

        def features(self, x):
            return [x, x.flatten(1).sum(1, keepdim=True)]

    @pytest.fixture
    def network(self):
        return Frozen(self.Pixels())

    # ‖a − b‖² / ‖a‖² is .5625 / 2 for the pixels and (2 − 1.75)² / 2² for the sums.
    FEATURES = (0.28125 + 0.015625) / 2

    def test_by_hand(self, network):
        found = of(FeatureLoss(network, weight=2), Gives())
        assert found == pytest.approx({"loss": MSE + 2 * self.FEATURES, "pixels": MSE, "features": self.FEATURES})

    def test_every_image_counts_the_same_however_bright_it_is(self, network):
        # The second image is four times as bright and has no error: it halves the mean, whatever its features are.
        x, x_hat = torch.cat([X, 4 * X]), torch.cat([X_HAT, 4 * X])
        assert of(FeatureLoss(network, 2), Gives(x_hat), x)["features"] == pytest.approx(self.FEATURES / 2)

    def test_the_pixels_loss_can_be_another(self, network):
        assert of(FeatureLoss(network, 0, loss="mae"), Gives())["loss"] == 1.25 / 4

    def test_where_a_stage_is_silent_a_millionth_stands_for_its_mean_square(self, network):
        black, grey = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.001)
        # Stage 1: 1e-6 / 1e-6; stage 2: .004² / 1e-6.
        assert of(FeatureLoss(network, 1), Gives(grey), black)["features"] == pytest.approx((1 + 16) / 2)

    def test_a_network_that_is_trained_along_is_refused(self):
        with pytest.raises(TypeError, match=r"network: wanted Frozen\(run\) or Frozen\(network\), .* got Pixels"):
            FeatureLoss(self.Pixels(), 1)

    def test_a_network_without_features_is_refused(self):
        with pytest.raises(TypeError, match=r"network: wanted a network with features\(x\), Linear has none"):
            FeatureLoss(Frozen(nn.Linear(4, 4)), 1)

    def test_a_network_that_gives_no_list_is_refused(self):
        class One(nn.Module):
            def features(self, x):
                return x

        with pytest.raises(ValueError, match=r"network: wanted features\(x\) to return a list of tensors"):
            of(FeatureLoss(Frozen(One()), 1), Gives())


class Coded(nn.Module):
    """A variational autoencoder that answers with a given posterior, whatever it sees, and decodes to `X_HAT`."""

    def __init__(self, mean, deviation):
        super().__init__()
        self.normal = torch.distributions.Normal(torch.as_tensor(mean), torch.as_tensor(deviation))

    def posterior(self, x):
        return self.normal

    def decode(self, z):
        return X_HAT.expand(len(z), 1, 2, 2)


class TestELBO:
    # N(1, 1) is ½ nat away from N(0, 1), N(0, 4) is ½ (4 − 1) − log 2.
    MODEL, KL = Coded([[1.0, 0.0]], [[1.0, 2.0]]), 0.5 + 1.5 - math.log(2)

    def test_by_hand(self):
        wanted = {"loss": MSE + 8 * self.KL / 4, "mse": MSE, "kl": self.KL}  # four values in an image
        assert of(ELBO(beta=8), self.MODEL) == pytest.approx(wanted, rel=1e-6)  # float32

    def test_the_divergence_is_a_mean_over_images(self):
        two = Coded([[1.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [1.0, 1.0]])  # the second is the prior itself
        assert of(ELBO(1), two, X.repeat(2, 1, 1, 1))["kl"] == pytest.approx(self.KL / 2, rel=1e-6)

    def test_the_divergence_is_shared_by_the_values_of_all_channels(self):
        model = Coded([[1.0, 0.0]], [[1.0, 2.0]])
        model.decode = lambda z: X_HAT.repeat(1, 3, 1, 1)
        found = of(ELBO(beta=24), model, X.repeat(1, 3, 1, 1))
        assert found["loss"] == pytest.approx(MSE + 24 * self.KL / 12, rel=1e-6)  # float32

    def test_the_divergence_is_that_of_torch(self):
        generator = torch.Generator().manual_seed(0)
        mean, deviation = torch.randn(9, 5, generator=generator), torch.rand(9, 5, generator=generator) + 0.01
        prior = torch.distributions.Normal(torch.zeros(5).double(), torch.ones(5).double())
        posterior = torch.distributions.Normal(mean.double(), deviation.double())
        wanted = torch.distributions.kl_divergence(posterior, prior).sum(1).mean().item()
        assert of(ELBO(1), Coded(mean, deviation), X.repeat(9, 1, 1, 1))["kl"] == pytest.approx(wanted, rel=1e-5)

    def test_a_posterior_in_bfloat16_is_rounded_no_further(self):
        deviation = torch.tensor([[1.0078125]], dtype=torch.bfloat16)  # the next above 1; its square would be rounded
        wanted = (1.0078125**2 - 1) / 2 - math.log(1.0078125)
        found = of(ELBO(1), Coded(torch.zeros(1, 1, dtype=torch.bfloat16), deviation))["kl"]
        assert found == pytest.approx(wanted, abs=1e-7)  # float32's last digit of a difference of numbers about 1

    @pytest.mark.parametrize(("progress", "share"), [(0, 0), (0.25, 0.5), (0.5, 1), (1, 1)])
    def test_beta_rises_in_the_first_half(self, progress, share):
        found = of(ELBO(beta=8, warm_up=0.5), self.MODEL, progress=progress)
        assert found["loss"] == pytest.approx(MSE + share * 8 * self.KL / 4, rel=1e-6)  # float32

    @pytest.mark.parametrize(("progress", "share"), [(0, 0), (0.5, 0.5), (1, 1)])
    def test_beta_may_rise_to_the_end(self, progress, share):
        found = of(ELBO(beta=8, warm_up=1), self.MODEL, progress=progress)
        assert found["loss"] == pytest.approx(MSE + share * 8 * self.KL / 4, rel=1e-6)  # float32

    def test_the_code_is_sampled_from_the_posterior(self):
        class Shows(Coded):
            def decode(self, z):
                return z.reshape(1, 1, 2, 2)

        normal = Shows([[1.0, 2, 3, 4]], [[0.5, 0.5, 0.5, 0.5]])
        torch.manual_seed(0)
        z = normal.normal.rsample().reshape(1, 1, 2, 2)
        torch.manual_seed(0)
        assert of(ELBO(1), normal)["mse"] == pytest.approx((z - X).square().mean().item(), rel=1e-6)  # float32

    @pytest.mark.parametrize("warm_up", [-0.1, 1.1, math.nan])
    def test_a_warm_up_outside_its_range_is_refused(self, warm_up):
        with pytest.raises(ValueError, match="warm_up: wanted a share of the training from 0 to 1"):
            ELBO(1, warm_up)

    def test_a_model_without_a_posterior_is_refused(self):
        with pytest.raises(TypeError, match=r"model: ELBO needs a model with posterior, decode; Linear\w* has no post"):
            of(ELBO(1), LinearAutoencoder((1, 2, 2), 2))


class TestRateDistortion:
    class Codec(nn.Module):
        """Answers with given likelihoods, and decodes to `X_HAT`."""

        def __init__(self, *likelihoods):
            super().__init__()
            self.likelihoods, self.seen = torch.tensor([likelihoods]), None

        def encode(self, x):
            return x

        def entropy_model(self, y):
            self.seen = y.dtype
            return y, self.likelihoods

        def decode(self, y_hat):
            return X_HAT.repeat(len(y_hat), y_hat.shape[1], 1, 1)

    def test_by_hand(self):
        # 1, 2, 3 and 1 bits on four pixels.
        found = of(RateDistortion(lmbda=0.01), self.Codec(1 / 2, 1 / 4, 1 / 8, 1 / 2))
        wanted = {"loss": 0.01 * 65025 * MSE + 7 / 4, "mse": MSE, "bpp": 7 / 4}
        assert found == pytest.approx(wanted, rel=1e-6)  # float32

    def test_a_pixel_is_one_whatever_its_channels(self):
        assert of(RateDistortion(1), self.Codec(1 / 4, 1 / 4), X.repeat(1, 3, 1, 1))["bpp"] == 4 / 4

    def test_bits_are_shared_by_the_pixels_of_all_images(self):
        assert of(RateDistortion(1), self.Codec(1 / 4, 1 / 4), X.repeat(2, 1, 1, 1))["bpp"] == 4 / 8

    def test_the_entropy_model_computes_in_float32(self):
        codec = self.Codec(1 / 2)
        codec.encode = lambda x: x.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            of(RateDistortion(1), codec)
        assert codec.seen == torch.float32

    @pytest.mark.parametrize("lmbda", [0, -1, math.nan, math.inf, None, "much"])
    def test_a_price_that_is_not_positive_is_refused(self, lmbda):
        with pytest.raises(ValueError, match="lmbda: wanted a"):
            RateDistortion(lmbda)


class TestFeatureRateDistortion:
    @pytest.fixture
    def network(self):
        return Frozen(TestFeatureLoss.Pixels())

    def test_by_hand(self, network):
        found = of(FeatureRateDistortion(network, 2, lmbda=0.01), TestRateDistortion.Codec(1 / 2, 1 / 4, 1 / 8, 1 / 2))
        distance = TestFeatureLoss.FEATURES
        wanted = {"loss": 0.01 * 65025 * (MSE + 2 * distance) + 7 / 4, "mse": MSE, "features": distance, "bpp": 7 / 4}
        assert found == pytest.approx(wanted, rel=1e-6)  # float32

    def test_without_weight_is_rate_distortion(self, network):
        codec = TestRateDistortion.Codec(1 / 2)
        found = of(FeatureRateDistortion(network, 0, lmbda=0.3), codec)
        assert found["loss"] == of(RateDistortion(0.3), codec)["loss"]

    @pytest.mark.parametrize(("settings", "said"), [((-1, 1), "weight: wanted"), ((1, 0), "lmbda: wanted")])
    def test_other_settings_are_refused(self, network, settings, said):
        with pytest.raises(ValueError, match=said):
            FeatureRateDistortion(network, *settings)

    def test_a_network_that_is_trained_along_is_refused(self):
        with pytest.raises(TypeError, match="network: wanted Frozen"):
            FeatureRateDistortion(TestFeatureLoss.Pixels(), 1, 1)

    def test_a_model_without_an_entropy_model_is_refused(self):
        with pytest.raises(TypeError, match=r"model: RateDistortion needs .*; LinearAutoencoder has no entropy_model"):
            of(RateDistortion(1), LinearAutoencoder((1, 2, 2), 2))


class TestVariableRate:
    class Codec(nn.Module):
        """Knows two qualities; decodes to `X_HAT`, and has 1, 2, 3 and 1 bits for every image."""

        lmbdas = (0.01, 0.04)

        def __init__(self):
            super().__init__()
            self.seen = []

        def encode(self, x):
            return x

        def entropy_model(self, y, quality):
            self.seen += quality.tolist()
            return y, torch.tensor([[1 / 2, 1 / 4, 1 / 8, 1 / 2]]).repeat(len(y), 1)

        def decode(self, y_hat):
            return X_HAT.repeat(len(y_hat), 1, 1, 1)

    def test_by_hand(self):
        # 0.02 is the geometric mean of the prices.
        found = of(VariableRate(), self.Codec().eval())
        each = [math.sqrt(0.02 / lmbda) * (lmbda * 65025 * MSE + 7 / 4) for lmbda in (0.01, 0.04)]
        assert found == pytest.approx({"loss": sum(each) / 2, "mse": MSE, "bpp": 7 / 4}, rel=1e-6)  # float32

    def test_in_evaluation_every_image_has_every_quality(self):
        model = self.Codec().eval()
        of(VariableRate(), model, X.repeat(3, 1, 1, 1))
        assert model.seen == [1, 1, 1, 2, 2, 2]

    def test_in_training_every_image_has_one_of_its_own(self):
        torch.manual_seed(0)
        model = self.Codec()
        of(VariableRate(ends=0.3), model, X.repeat(1000, 1, 1, 1))
        ends = sum(quality in (1, 2) for quality in model.seen)
        assert (len(model.seen), min(model.seen), max(model.seen)) == (1000, 1, 2)
        assert 240 < ends < 360  # four standard deviations of a share of .3
        assert sum(model.seen) / 1000 == pytest.approx(1.5, abs=0.05)

    def test_a_price_between_two_is_their_geometric_mean(self, monkeypatch):
        monkeypatch.setattr(torch, "rand", lambda count, device: torch.full((count,), 0.5))
        found = of(VariableRate(), self.Codec())
        assert found["loss"] == pytest.approx(0.02 * 65025 * MSE + 7 / 4, rel=1e-6)  # float32

    def test_between_two_of_three_prices_the_third_does_not_count(self, monkeypatch):
        # A draw of .3 is a quarter of the way from the first to the last, where a fifth of the draws is at the ends.
        monkeypatch.setattr(torch, "rand", lambda count, device: torch.full((count,), 0.3))
        monkeypatch.setattr(self.Codec, "lmbdas", (0.01, 0.04, 2.56))
        found = of(VariableRate(ends=0.2), self.Codec())
        # √(.01 · .04) is the price, and (.01 · .04 · 2.56)^⅓ the mean of all three.
        wanted = math.sqrt(0.001024 ** (1 / 3) / 0.02) * (0.02 * 65025 * MSE + 7 / 4)
        assert found["loss"] == pytest.approx(wanted, rel=1e-5)  # float32

    def test_copies_no_numbers_to_the_device(self, monkeypatch):
        # A recorded step of a GPU cannot take them from there.
        monkeypatch.setattr(torch, "tensor", lambda *given, **more: pytest.fail(f"torch.tensor({given})"))
        for model in (self.Codec(), self.Codec().eval()):
            monkeypatch.setattr(model, "entropy_model", lambda y, quality: (y, y.flatten(1).clamp(min=0.1)))
            VariableRate()(model, Batch(X, None, len(X), torch.zeros(())))

    @pytest.mark.parametrize("ends", [-0.1, 1.1, math.nan, "all"])
    def test_a_share_that_is_none_is_refused(self, ends):
        with pytest.raises(ValueError, match="ends: wanted a"):
            VariableRate(ends)

    def test_a_model_of_one_rate_is_refused(self):
        model = TestRateDistortion.Codec(1 / 2)
        with pytest.raises(TypeError, match="model: VariableRate needs a model with lmbdas; Codec has none"):
            of(VariableRate(), model)


class TestDistillation:
    def test_by_hand(self):
        # The model's code is the first pixels, the teacher's the means: two of four values are .5 apart. Drawn at 4×4
        # the model's code differs from the picture in two pixels of the first quarter and two of the last.
        found = of(Distillation(Frozen(Quarters()), weight=2), Quarters(first=True), LARGE)
        assert found == {"loss": 0.25 + 2 * 0.125, "mse": 0.25, "code": 0.125}

    def test_the_teacher_may_see_smaller_images(self):
        # At 2×2 pixels the quarters are pixels, so that their first is their mean.
        found = of(Distillation(Frozen(Quarters(first=True)), 2, teacher_size=2), Quarters(), LARGE)
        assert found["code"] == 0

    def test_the_model_may_see_smaller_images(self):
        model = Quarters(first=True)
        model.decode = lambda z: z.reshape(-1, 1, 2, 2)
        assert of(Distillation(Frozen(Quarters()), 2, size=2), model, LARGE) == {"loss": 0, "mse": 0, "code": 0}

    def test_codes_of_different_shapes_are_refused(self):
        teacher = Frozen(LinearAutoencoder((1, 4, 4), 3))
        with pytest.raises(ValueError, match=r"teacher: its codes have shape \(N, 3\), those of the model \(N, 4\)"):
            of(Distillation(teacher, 1), Quarters(), LARGE)

    def test_a_teacher_that_is_not_frozen_is_refused(self):
        with pytest.raises(TypeError, match=r"teacher: wanted Frozen\(run\)"):
            Distillation(Quarters(), 1)


class TestCodeMatching:
    def double(self, z):
        return 2 * z

    def test_by_hand(self):
        # Twice the means is 1, 0, 2, 1; wanted is 0, 0, 1, 0.
        objective = CodeMatching(Frozen(Quarters()), Frozen(Quarters(first=True)))
        assert of(objective, self.double, LARGE) == {"loss": 0.75}

    def test_the_source_may_see_smaller_images(self):
        # At 2×2 pixels the first pixels are the means.
        objective = CodeMatching(Frozen(Quarters(first=True)), Frozen(Quarters()), source_size=2)
        assert of(objective, nn.Identity(), LARGE) == {"loss": 0}

    def test_the_target_may_see_smaller_images(self):
        objective = CodeMatching(Frozen(Quarters()), Frozen(Quarters(first=True)), target_size=2)
        assert of(objective, self.double, LARGE) == {"loss": 1.5 / 4}

    def test_codes_of_another_shape_are_refused(self):
        objective = CodeMatching(Frozen(Quarters()), Frozen(Quarters()))
        with pytest.raises(ValueError, match=r"model: gives codes of shape \(N, 3\), wanted \(N, 4\) like the"):
            of(objective, lambda z: z[:, :3], LARGE)

    @pytest.mark.parametrize("argument", ["source", "target"])
    def test_a_network_that_is_not_frozen_is_refused(self, argument):
        networks = {"source": Frozen(Quarters()), "target": Frozen(Quarters()), argument: Quarters()}
        with pytest.raises(TypeError, match=rf"{argument}: wanted Frozen\(run\)"):
            CodeMatching(**networks)


class TestDecoderTransfer:
    def test_by_hand(self):
        # The means, each drawn as a quarter: eight of sixteen pixels are .5 off.
        assert of(DecoderTransfer(Frozen(Quarters())), Quarters(), LARGE) == {"loss": 0.125}

    def test_the_source_may_see_smaller_images(self):
        # At 2×2 pixels the first pixels are the means.
        objective = DecoderTransfer(Frozen(Quarters(first=True)), source_size=2)
        assert of(objective, Quarters(), LARGE) == {"loss": 0.125}

    def test_the_model_may_draw_smaller_images(self):
        model = Quarters()
        model.decode = lambda z: z.reshape(-1, 1, 2, 2)
        assert of(DecoderTransfer(Frozen(Quarters()), size=2), model, LARGE) == {"loss": 0}

    def test_the_code_is_that_of_the_source(self):
        # First pixels for the means: two of four pixels are .5 off at 2×2.
        model = Quarters()
        model.decode = lambda z: z.reshape(-1, 1, 2, 2)
        assert of(DecoderTransfer(Frozen(Quarters(first=True)), size=2), model, LARGE) == {"loss": 0.125}

    def test_a_model_without_a_decoder_is_refused(self):
        with pytest.raises(TypeError, match=r"DecoderTransfer needs a model with decode; Identity has no decode"):
            of(DecoderTransfer(Frozen(Quarters())), nn.Identity(), LARGE)

    def test_images_of_another_size_are_refused(self):
        with pytest.raises(ValueError, match=r"model: wanted reconstructions of shape \(1, 1, 2, 2\)"):
            of(DecoderTransfer(Frozen(Quarters()), size=2), Quarters(), LARGE)

    def test_a_source_that_is_not_frozen_is_refused(self):
        with pytest.raises(TypeError, match=r"source: wanted Frozen\(run\)"):
            DecoderTransfer(Quarters())

    @pytest.mark.parametrize("argument", ["source_size", "size"])
    @pytest.mark.parametrize("size", [0, 2.0, "2", True])
    def test_a_size_that_is_no_number_of_pixels_is_refused(self, argument, size):
        with pytest.raises(ValueError, match=rf"^{argument}: wanted a whole number of pixels, or None, got {size!r}"):
            DecoderTransfer(Frozen(Quarters()), **{argument: size})

    def test_a_frozen_encoder_of_the_model_stays_as_it_is(self, labelled):
        model = linear()
        ae.models.freeze(model.encoder)
        first = ae.fit(model, labelled, PLAN.replace(epochs=1), objective=DecoderTransfer(Frozen(linear())))
        before = {name: value.clone() for name, value in first.model.state_dict().items()}
        model = linear()
        ae.models.freeze(model.encoder)
        more = ae.fit(model, labelled, PLAN, objective=DecoderTransfer(Frozen(linear())), init_from=first)
        same = [name for name, value in more.model.state_dict().items() if torch.equal(value, before[name])]
        assert same == [name for name in before if name.startswith("encoder.")]


class TestJointResolutions:
    def test_by_hand(self):
        # At 2×2 the means are the picture; at 4×4 eight of sixteen pixels are .5 off.
        assert of(JointResolutions((2, 4)), Quarters(), LARGE) == {"loss": 0.0625, "mse_2": 0, "mse_4": 0.125}

    def test_the_sizes_may_be_a_list(self):
        assert JointResolutions([2, 4]).sizes == (2, 4)

    @pytest.mark.parametrize("sizes", [(), (2, 2), (2, 0), (2, 4.0), (2, None), (True,), 4, "24", [[2]]])
    def test_other_sizes_are_refused(self, sizes):
        with pytest.raises(ValueError, match="sizes: wanted whole numbers of pixels, each once"):
            JointResolutions(sizes)

    def test_images_of_another_size_are_refused(self):
        model = Quarters()
        model.decode = lambda z, size: torch.zeros(len(z), 1, 4, 4)
        with pytest.raises(ValueError, match=r"model: wanted reconstructions of shape \(1, 1, 2, 2\)"):
            of(JointResolutions((2, 4)), model, LARGE)


class TestResized:
    def test_each_pixel_is_the_mean_of_its_area(self):
        assert resized(LARGE, 2).flatten().tolist() == MEANS

    def test_areas_that_do_not_divide_the_image_overlap(self):
        x = torch.tensor([0.0, 1, 2, 0, 1, 2, 0, 1, 2]).reshape(1, 1, 3, 3)  # columns 0 to 2
        assert resized(x, 2).flatten().tolist() == [0.5, 1.5, 0.5, 1.5]

    @pytest.mark.parametrize("size", [None, 4])
    def test_nothing_is_done_where_nothing_is_to_do(self, size):
        assert resized(LARGE, size) is LARGE

    def test_no_images_stay_no_images(self):
        assert len(resized(LARGE[:0], 2)) == 0


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", True])
@pytest.mark.parametrize("argument", ["teacher_size", "size", "source_size", "target_size"])
def test_a_size_that_is_no_number_of_pixels_is_refused(argument, size):
    frozen = Frozen(Quarters())
    with pytest.raises(ValueError, match=rf"^{argument}: wanted a whole number of pixels, or None, got {size!r}"):
        if argument in ("teacher_size", "size"):
            Distillation(frozen, 1, **{argument: size})
        else:
            CodeMatching(frozen, frozen, **{argument: size})


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "much", None])
def test_a_weight_that_is_no_number_from_0_is_refused(weight):
    with pytest.raises(ValueError, match=rf"weight: wanted a number from 0, such as 0.01, got {weight!r}"):
        Distillation(Frozen(Quarters()), weight)


def test_one_and_one_point_zero_are_one_setting():
    assert repr(Distillation(Frozen(Quarters()), 1).weight) == "1.0"


# ---- what every objective does: small models on images of 1×8×8 with three labels ----


class Variational(nn.Module):
    """Two dense layers: the first gives four means and four logarithms of deviations."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(4, 64)

    def posterior(self, x):
        mean, log = self.first(x.flatten(1)).chunk(2, 1)
        return torch.distributions.Normal(mean, log.exp(), validate_args=False)

    def decode(self, z):
        return self.last(z).unflatten(1, (1, 8, 8))

    def forward(self, x):
        return self.decode(self.posterior(x).mean)


class Compressive(nn.Module):
    """A strided convolution and back; its entropy model is a logistic distribution with one trained scale."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Conv2d(1, 2, 4, 4), nn.ConvTranspose2d(2, 1, 4, 4)
        self.scale = nn.Linear(1, 1)

    def entropy_model(self, y):
        y_hat = y + torch.rand_like(y) - 0.5 if self.training else y.round()
        scale = F.softplus(self.scale(torch.ones(1, 1, device=y.device))).flatten() + 0.1
        return y_hat, (torch.sigmoid((y_hat + 0.5) / scale) - torch.sigmoid((y_hat - 0.5) / scale)).clamp(min=1e-9)

    def forward(self, x):
        return self.decode(self.encode(x).round())


class Sized(nn.Module):
    """A dense encoder, and a dense decoder whose images are made smaller."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 4), nn.Linear(4, 64)

    def encode(self, x):
        return self.first(x.flatten(1))

    def decode(self, z, size=8):
        return F.adaptive_avg_pool2d(self.last(z).unflatten(1, (1, 8, 8)), size)

    def forward(self, x):
        return self.decode(self.encode(x))


class Draws(nn.Module):
    """A dense decoder alone."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 64)

    def decode(self, z):
        return self.last(z).unflatten(1, (1, 8, 8))


def drawn(network):
    """The network with other BatchNorm statistics than it is made with, frozen."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
    return Frozen(network)


def linear(size=8):
    return LinearAutoencoder((1, size, size), 4)


def compressive():
    return CompressiveAutoencoder((1, 8, 8), 4, 4, (2, 2))


def classifier():
    return ResidualClassifier((1, 8, 8), 3, width=2)


CASES = {
    "Reconstruction": (lambda: Reconstruction(), linear),
    "Classification": (lambda: Classification(), classifier),
    "FeatureLoss": (lambda: FeatureLoss(drawn(classifier()), 0.1), linear),
    "ELBO": (lambda: ELBO(0.1, warm_up=0.5), Variational),
    "RateDistortion": (lambda: RateDistortion(0.01), Compressive),
    "VariableRate": (lambda: VariableRate(), compressive),
    "Distillation": (lambda: Distillation(Frozen(linear(4)), 0.1, teacher_size=4), linear),
    "CodeMatching": (lambda: CodeMatching(Frozen(linear()), Frozen(linear(4)), target_size=4), lambda: nn.Linear(4, 4)),
    "DecoderTransfer": (lambda: DecoderTransfer(Frozen(linear(4)), source_size=4), Draws),
    "JointResolutions": (lambda: JointResolutions((4, 8)), Sized),
}
NAMES = {
    "Reconstruction": ["loss"],
    "Classification": ["loss", "accuracy"],
    "FeatureLoss": ["loss", "pixels", "features"],
    "ELBO": ["loss", "mse", "kl"],
    "RateDistortion": ["loss", "mse", "bpp"],
    "VariableRate": ["loss", "mse", "bpp"],
    "Distillation": ["loss", "mse", "code"],
    "CodeMatching": ["loss"],
    "DecoderTransfer": ["loss"],
    "JointResolutions": ["loss", "mse_4", "mse_8"],
}
WITH_NETWORKS = ["FeatureLoss", "Distillation", "CodeMatching", "DecoderTransfer"]


@pytest.fixture
def case(request):
    """An objective and a model for it, drawn from seed 0."""
    torch.manual_seed(0)
    objective, model = CASES[request.param]
    return objective(), model()


@pytest.fixture
def labelled(noise):
    """24 / 8 / 8 random images of 1×8×8 with labels 0, 1, 2."""

    def part(count, seed):
        return Images(noise(count, 1, 8, 8, seed=seed).pixels, torch.arange(count) % 3, name=f"noise-{seed}")

    return Splits(part(24, 0), part(8, 1), part(8, 2))


def batch_of(images, progress=0.25, place=slice(None)):
    part = images[place]
    return Batch(part.floats(), part.labels, len(part), torch.tensor(progress))


PLAN = Plan(epochs=2, batch_size=8, lr=1e-2)


@pytest.mark.parametrize("case", CASES, indirect=True)
class TestEveryObjective:
    def test_gives_scalars_in_float32(self, case, labelled):
        objective, model = case
        found = objective(model, batch_of(labelled.train))
        assert {(value.dtype, value.shape) for value in found.values()} == {(torch.float32, ())}

    def test_gives_float32_where_layers_compute_in_bfloat16(self, case, labelled):
        objective, model = case
        with torch.autocast("cpu", torch.bfloat16):
            found = objective(model, batch_of(labelled.train))
        assert {value.dtype for value in found.values()} == {torch.float32}

    def test_bfloat16_changes_the_loss_by_its_digits_alone(self, case, labelled, monkeypatch):
        objective, model = case
        monkeypatch.setattr(torch.distributions.Normal, "rsample", lambda normal: normal.mean)
        model.eval()
        exact = objective(model, batch_of(labelled.train))["loss"].item()
        with torch.autocast("cpu", torch.bfloat16):
            found = objective(model, batch_of(labelled.train))["loss"].item()
        assert found == pytest.approx(exact, rel=0.05)  # bfloat16 keeps 8 bits, 0.4 %, and errors add up over layers

    def test_its_gradient_reaches_every_weight_of_the_model(self, case, labelled):
        objective, model = case
        objective(model, batch_of(labelled.train))["loss"].backward()
        assert [name for name, weight in model.named_parameters() if not weight.grad.count_nonzero()] == []

    def test_the_mean_over_parts_of_a_batch_is_that_of_the_whole(self, case, labelled, monkeypatch):
        objective, model = case
        monkeypatch.setattr(torch.distributions.Normal, "rsample", lambda normal: normal.mean)
        model.eval()
        whole = objective(model, batch_of(labelled.train))
        parts = [objective(model, batch_of(labelled.train, place=place)) for place in (slice(0, 17), slice(17, 24))]
        for name, value in whole.items():
            mean = (17 * parts[0][name] + 7 * parts[1][name]) / 24
            assert mean.item() == pytest.approx(value.item(), rel=1e-5)  # float32

    def test_a_recorded_step_follows_images_labels_and_progress(self, case, labelled):
        """Recorded once and played back on other values, as a CUDA graph is: no number of the first step stays in it.

        A value that is read on the way (`.item()`, `if`) is an error here, as it is there.
        """
        objective, model = case

        def step(x, labels, progress):
            return objective(model, Batch(x, labels, len(x), progress))

        first, second = batch_of(labelled.train, 0.0, slice(0, 8)), batch_of(labelled.train, 0.375, slice(8, 16))
        recorded = make_fx(step)(first.x, first.labels, first.progress)
        torch.manual_seed(1)
        wanted = step(second.x, second.labels, second.progress)
        torch.manual_seed(1)
        found = recorded(second.x, second.labels, second.progress)
        assert {n: v.item() for n, v in found.items()} == {n: pytest.approx(v.item()) for n, v in wanted.items()}

    def test_is_trained_with_and_its_values_are_in_the_history(self, case, labelled, request):
        objective, model = case
        history = ae.fit(model, labelled, PLAN, objective=objective).history
        wanted = NAMES[request.node.callspec.params["case"]]
        assert (list(history.train), list(history.valid)) == (wanted, wanted)

    def test_training_makes_its_loss_smaller(self, case, labelled):
        objective, model = case
        history = ae.fit(model, labelled, PLAN.replace(epochs=6), objective=objective).history
        assert history.train_loss[-1] < history.train_loss[0]

    def test_its_run_is_stored_and_found_again(self, case, labelled):
        objective, model = case
        first = ae.fit(model, labelled, PLAN, objective=objective, name="one")
        again = ae.fit(model, labelled, PLAN, objective=objective, name="one")
        assert (again.date, again.history.train, again.seconds) == (first.date, first.history.train, first.seconds)


@pytest.mark.parametrize("case", WITH_NETWORKS, indirect=True)
class TestNetworksInAnObjective:
    def test_keep_every_weight_and_statistic(self, case, labelled):
        objective, model = case
        before = {name: value.clone() for name, value in objective.state_dict().items()}
        ae.fit(model, labelled, PLAN, objective=objective)
        assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())

    def test_get_no_gradient(self, case, labelled):
        objective, model = case
        objective(model, batch_of(labelled.train))["loss"].backward()
        assert {weight.grad for weight in objective.parameters()} == {None}

    def test_stay_in_evaluation(self, case):
        objective, _ = case
        objective.train()
        assert not any(layer.training for network in objective.children() for layer in network.modules())

    def test_go_where_the_objective_goes(self, case):
        objective, _ = case
        objective.to("meta")
        assert {value.device.type for value in objective.state_dict().values()} == {"meta"}

    def test_tell_one_training_from_another(self, case, labelled):
        objective, model = case
        first = ae.fit(model, labelled, PLAN, objective=objective).fingerprint
        with torch.no_grad():
            next(objective.parameters()).add_(0.01)
        assert ae.fit(model, labelled, PLAN, objective=objective).fingerprint != first


def test_a_training_is_found_without_the_weights_of_the_network_it_used(labelled):
    """The network is told by its run, so that a published run without weights will do."""
    pretrained = ae.fit(classifier(), labelled, PLAN, objective=Classification(), name="judge")
    first = ae.fit(linear(), labelled, PLAN, objective=FeatureLoss(Frozen(pretrained), 0.1), name="one")
    pretrained.model = ae.runs.NoWeights("judge")
    again = ae.fit(linear(), labelled, PLAN, objective=FeatureLoss(Frozen(pretrained), 0.1), name="one")
    assert again.fingerprint == first.fingerprint


def test_a_network_without_weights_says_so_when_it_is_used(labelled):
    pretrained = ae.fit(classifier(), labelled, PLAN, objective=Classification(), name="judge")
    pretrained.model = ae.runs.NoWeights("judge")
    with pytest.raises(ae.runs.WeightsNotPublished, match="the weights of 'judge' are not part of the book"):
        ae.fit(linear(), labelled, PLAN, objective=FeatureLoss(Frozen(pretrained), 0.1))


# ---- an objective of a reader's own ----

EDGES = """
from aecore.objectives import Objective

class EdgeLoss(Objective):
    def __init__(self, weight=0.5):
        super().__init__()
        self.weight = weight

    def forward(self, model, batch):
        x_hat = model(batch.x)
        pixels = (x_hat - batch.x).square().mean()
        edges = (x_hat.diff(dim=3) - batch.x.diff(dim=3)).square().mean()
        return {"loss": pixels + self.weight * edges, "pixels": pixels, "edges": edges}
"""


class TestAReadersOwn:
    def fit(self, objective, splits, name="mine"):
        return ae.fit(LinearAutoencoder((1, 4, 4), 2), splits, PLAN, objective=objective, name=name)

    def test_is_the_one_in_the_docstring_of_the_module(self):
        told = ae.objectives.__doc__.replace("    class EdgeLoss", "class EdgeLoss")
        assert all(line.strip() in told for line in EDGES.splitlines()[3:])

    def test_by_hand(self, in_a_cell):
        # Across the columns the picture rises by 1 in both rows, the reconstruction by 0 and .75.
        edges = (1 + 0.0625) / 2
        found = of(in_a_cell(EDGES).EdgeLoss(2), Gives())
        assert found == pytest.approx({"loss": MSE + 2 * edges, "pixels": MSE, "edges": edges})

    def test_is_called_by_its_class(self, in_a_cell, splits):
        assert self.fit(in_a_cell(EDGES).EdgeLoss(), splits).objective == "EdgeLoss"

    def test_has_its_values_in_the_history(self, in_a_cell, splits):
        history = self.fit(in_a_cell(EDGES).EdgeLoss(), splits).history
        assert list(history.valid) == ["loss", "pixels", "edges"]

    def test_is_stored_and_found_again_from_the_same_code(self, in_a_cell, splits):
        first = self.fit(in_a_cell(EDGES).EdgeLoss(), splits)
        again = self.fit(in_a_cell("# The cell is run once more.\n" + EDGES).EdgeLoss(), splits)
        assert (again.fingerprint, again.history.seconds) == (first.fingerprint, first.history.seconds)

    @pytest.mark.parametrize(
        ("old", "new"), [("weight=0.5", "weight=0.6"), ("dim=3", "dim=2"), ("square", "abs")], ids=str
    )
    def test_is_another_after_a_change(self, in_a_cell, splits, old, new):
        first = self.fit(in_a_cell(EDGES).EdgeLoss(), splits, name=None)
        changed = self.fit(in_a_cell(EDGES.replace(old, new)).EdgeLoss(), splits, name=None)
        assert changed.fingerprint != first.fingerprint

    def test_is_told_by_the_classes_that_it_is_made_from(self, in_a_cell, splits):
        source = EDGES + "\nclass Mine(EdgeLoss):\n    needs_labels = False\n"
        first = self.fit(in_a_cell(source).Mine(), splits, name=None)
        changed = self.fit(in_a_cell(source.replace("dim=3", "dim=2")).Mine(), splits, name=None)
        assert changed.fingerprint != first.fingerprint

    def test_without_forward_is_refused(self):
        class Lazy(Objective):
            pass

        with pytest.raises(TypeError, match=r"Lazy: an objective needs a method forward\(self, model, batch\) -> dict"):
            of(Lazy(), Gives())

    def test_that_forgets_to_begin_as_a_module_is_told_so(self, splits):
        class Hasty(Objective):
            def __init__(self):
                self.weight = 0.5

        with pytest.raises(TypeError, match=r"objective: Hasty.__init__ must begin with super\(\).__init__\(\)"):
            self.fit(Hasty(), splits)

    def test_that_wants_labels_of_images_without_is_told_so(self, splits):
        with pytest.raises(ValueError, match="data: this objective needs labels, and noise has none"):
            self.fit(Classification(), splits)


class Returns(Objective):
    def __init__(self, *found):
        super().__init__()
        self.found = list(found)

    def forward(self, model, batch):
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


HALF = torch.tensor(0.5)


@pytest.mark.parametrize(
    ("found", "got"),
    [
        (HALF, "got Tensor"),
        (None, "got NoneType"),
        ({}, "got an empty dict"),
        ({"mse": HALF, "kl": HALF}, r"got 'mse' of shape \(\), 'kl' of shape \(\)"),
        ({"loss": 0.5}, "got 'loss' float"),
        ({"loss": HALF, "accuracy": 0.5}, "'accuracy' float"),
        ({"loss": HALF, "mse": X}, r"'mse' of shape \(1, 1, 2, 2\)"),
    ],
    ids=["tensor", "None", "empty", "no loss", "float", "one float", "one image"],
)
def test_an_objective_that_returns_something_else_is_refused(found, got):
    wanted = "objective: wanted Returns to return scalar tensors in a dict, one called 'loss', "
    with pytest.raises(ValueError, match=wanted + f".*{got}"):
        evaluated(Returns(found), Gives(), Batch(X, None, 1, HALF))


def test_an_objective_whose_loss_depends_on_no_weight_is_refused(splits):
    with pytest.raises(ValueError, match="objective: the loss of Returns depends on no weight that is trained"):
        ae.fit(LinearAutoencoder((1, 4, 4), 2), splits, PLAN, objective=Returns({"loss": HALF}))


def test_an_objective_that_changes_its_names_is_refused(splits):
    class Fickle(Objective):
        def forward(self, model, batch):
            loss = model(batch.x).square().mean()
            return {"loss": loss, "early" if batch.progress < 0.4 else "late": loss}

    with pytest.raises(ValueError, match=r"objective: wanted Fickle to give \('loss', 'early'\) at every"):
        ae.fit(LinearAutoencoder((1, 4, 4), 2), splits, PLAN, objective=Fickle())
