"""`models.compressive` and what it is made of: a start that is PCA, an entropy model in whole numbers, files."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

import aecore as ae
from aecore.codec import CodecError, container
from aecore.data import Splits
from aecore.models import CompressiveAutoencoder, PictureCodec, blocks_of, init_weights, nested_components
from aecore.models import picture_codec as picture_codec_module
from aecore.models.compressive import PRIORS, step_of
from aecore.models.factorised import FactorisedPrior
from aecore.models.hyperprior import (
    SCALE_STEP,
    SCALES,
    SMALLEST,
    HyperPrior,
    between,
    checkerboard,
    filled_up,
    logistic_mass,
    noisy,
)
from aecore.models.integer_prior import LIMIT, UNIT, IntegerConv, IntegerPrior, integers_of
from aecore.models.transform import Block, in_bands
from aecore.objectives import RateDistortion, VariableRate
from aecore.runs.describe import describe

SHAPE, STRIDES, LMBDAS = (3, 16, 24), (2, 2), (0.002, 0.05)
WIDTH, CHANNELS = 12, 20  # 12 values are all of a block of 2×2 in colour, 20 of the 48 of one of 4×4


@pytest.fixture(scope="module")
def photos():
    """Images of which neighbouring pixels are alike."""
    small = torch.rand(30, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(small, size=SHAPE[1:], mode="bilinear")


@pytest.fixture(scope="module")
def principal(photos):
    return nested_components(photos, CHANNELS, WIDTH, STRIDES)


def small_model(principal=None):
    torch.manual_seed(0)
    return CompressiveAutoencoder(SHAPE, CHANNELS, WIDTH, STRIDES, LMBDAS, principal)


@pytest.fixture
def model(principal):
    """It starts as PCA; its entropy model is drawn, larger than usual, so that means and scales differ."""
    made = small_model(principal)
    with torch.no_grad():
        made.prior.head.weight.mul_(10)
        made.prior.level_hidden.normal_(std=0.3)
        made.prior.second_hidden.normal_(std=0.3)
        made.prior.mixture_mean.normal_()
    return made.eval()


@pytest.fixture
def codec(model):
    return model.codec()


def picture(height, width, channels=3, seed=0):
    """A smooth random picture (1, channels, height, width) in the shades of a file."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, channels, -(-height // 3), -(-width // 3), generator=generator)
    return (F.interpolate(small, size=(height, width), mode="bilinear") * 255).round() / 255


def psnr(x, x_hat):
    return -10 * math.log10((x - x_hat).square().mean().item())


class TestTransform:
    def test_has_the_grid_of_its_stride(self, model):
        assert model.code_shape == (CHANNELS, 4, 6)
        assert model.encode(torch.rand(2, 3, 8, 32)).shape == (2, CHANNELS, 2, 8)
        assert model.decode(torch.rand(2, CHANNELS, 2, 8)).shape == (2, 3, 8, 32)

    def test_starts_as_pca_of_whole_blocks(self, photos, principal):
        # All components of the inner blocks are kept, so that those of blocks of them are those of the outer blocks.
        model = small_model(principal)
        for block in model.modules():
            if isinstance(block, Block):
                torch.nn.init.zeros_(block.second.weight)
        rows = blocks_of(photos, 4).flatten(1).double().numpy()
        pca = PCA(CHANNELS).fit(rows)
        wanted = pca.inverse_transform(pca.transform(rows))
        with torch.no_grad():
            found = blocks_of(model(photos), 4).flatten(1).numpy()
        assert np.abs(found - wanted).max() < 1e-4  # float32, divided and multiplied by roots of deviations

    def test_blocks_begin_near_the_identity(self):
        torch.manual_seed(0)
        x = torch.randn(1, 12, 8, 8)
        block = Block(12, 6)
        block.reset_parameters()
        assert 0 < (block(x) - x).abs().max() < 0.1

    def test_begins_with_gains_for_the_best_step(self, principal):
        # A channel of the code is its component's value, divided by the root of its deviation.
        model, deviations = small_model(principal), principal.outer.deviations
        wanted = deviations.sqrt() / step_of(LMBDAS[1], 3)
        assert torch.allclose(model.log_gain[1].exp(), wanted, rtol=1e-5)  # float32
        assert torch.equal(model.log_gain, model.log_back)

    @pytest.mark.parametrize(("lmbda", "colours"), [(0.001, 1), (0.01, 3)])
    def test_best_step_makes_the_cost_least(self, lmbda, colours):
        # The error is Δ²/12, and a pixel has as many values as colours, each with a constant less log₂ Δ bits.
        steps = np.geomspace(0.001, 10, 100_001)
        cost = lmbda * 255**2 * steps**2 / 12 - colours * np.log2(steps)
        assert step_of(lmbda, colours) == pytest.approx(steps[cost.argmin()], rel=1e-4)  # the spacing of the steps

    def test_in_bands_is_what_it_is_at_once(self, model):
        for block in model.modules():
            if isinstance(block, Block):
                torch.nn.init.normal_(block.second.weight, std=0.3)  # so that neighbours count
        x = picture(120, 24)
        y = model.encode(x)
        assert torch.allclose(in_bands(model.encoder, x, (4, 1), band=5), y, rtol=1e-4, atol=1e-4)  # float32
        assert torch.allclose(in_bands(model.decoder, y, (1, 4), band=5), model.decode(y), rtol=1e-4, atol=1e-4)

    def test_weights_follow_from_the_seed(self, principal):
        first, second = small_model(principal), small_model(principal)
        init_weights(first, 1)
        torch.manual_seed(5)
        init_weights(second, 1)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    def test_tells_its_prices_and_its_components(self, principal):
        assert "lmbdas=(0.002, 0.05), starts as PCA, standard deviations from " in repr(small_model(principal))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"image_shape": (3, 18, 24)}, "image_shape: height and width must be divisible by 4"),
            ({"channels": 0}, "channels: wanted a whole number"),
            ({"width": 2}, "width: wanted a whole number of at least 3"),
            ({"strides": (2,)}, "strides: wanted two whole numbers"),
            ({"strides": (0, 2)}, "strides: wanted a whole number"),
            ({"lmbdas": (0.1, 0.1)}, "lmbdas: wanted positive numbers that rise"),
            ({"lmbdas": ()}, "lmbdas: wanted positive numbers that rise"),
            ({"lmbdas": (-1, 1)}, "lmbdas: wanted positive numbers that rise"),
        ],
    )
    def test_settings_that_do_not_fit_are_refused(self, changes, said):
        settings = {"image_shape": SHAPE, "channels": 8, "width": 6, "strides": STRIDES} | changes
        with pytest.raises(ValueError, match=said):
            CompressiveAutoencoder(**settings)

    def test_components_for_other_sizes_are_refused(self, principal):
        with pytest.raises(ValueError, match=r"principal: wanted nested_components .* got \(\(12, 12\), \(20, 48\)\)"):
            CompressiveAutoencoder(SHAPE, 8, WIDTH, STRIDES, principal=principal)


class TestEntropyModel:
    @pytest.mark.parametrize("scale", [0.06, 1.0, 20.0])
    def test_mass_at_the_mean_has_its_closed_form(self, scale):
        found = logistic_mass(torch.zeros(1), torch.tensor([scale])).item()
        assert found == pytest.approx(math.tanh(1 / (4 * scale)), abs=2e-6)  # the share of the tail

    @pytest.mark.parametrize("scale", [0.06, 1.0, 20.0])
    def test_mass_adds_up_to_one(self, scale):
        distances = torch.arange(-3000, 3001).double() + 0.3
        assert logistic_mass(distances, torch.tensor(scale)).sum().item() == pytest.approx(1, abs=1e-5)

    def test_mass_far_away_is_that_of_the_tail(self):
        found = logistic_mass(torch.tensor(100.0), torch.tensor(1.0)).item()
        assert found == pytest.approx(1e-6 / (1 + 100**2), rel=1e-5)  # e^-100 is nothing

    def test_noise_is_even_from_minus_a_half_to_a_half(self):
        torch.manual_seed(0)
        noise = noisy(torch.zeros(10_000), training=True)
        assert noise.min() >= -0.5
        assert noise.max() <= 0.5
        assert noise.mean().abs() < 0.012  # four standard deviations of the mean, √(1/12)/100
        assert noise.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.005)

    @pytest.mark.parametrize(("bias", "slope"), [(-50.0, 0.1), (0.0, 1), (50.0, 0.1)])
    def test_scales_beyond_the_ladder_can_come_back(self, model, bias, slope):
        shift = torch.full((1, CHANNELS, 1, 1), 30.0 + 8 * bias, requires_grad=True)
        model.prior.head.weight.data.zero_()
        model.prior._distributions(torch.zeros(1, 16, 1, 1), shift)[1].sum().backward()
        assert torch.allclose(shift.grad, torch.tensor(float(slope)))

    def test_hyper_latents_have_the_prior_of_the_nearest_quality(self, model):
        model.prior.mixture_mean.data[:] = torch.tensor([0.0, 9.0]).reshape(2, 1, 1)
        z, positions = torch.zeros(4, CHANNELS // 4, 1, 1), torch.tensor([0.0, 0.4, 0.6, 1.0])
        found = model.prior._of_hyper(z, positions)[:, 0, 0, 0]
        assert found[0] == found[1] > 100 * found[2] == 100 * found[3]

    def test_every_value_of_a_file_has_a_probability(self, model, photos):
        _, likelihoods = model.entropy_model(model.encode(photos))
        # The code has 4×6 places, and 1×2 hyper-latents cover them.
        assert likelihoods.shape == (len(photos), CHANNELS * 24 + CHANNELS // 4 * 2)
        assert (likelihoods > 0).all()
        assert (likelihoods <= 1).all()

    def test_codes_are_whole_steps_from_their_means(self, model, photos):
        prior, y = model.prior, torch.randn(2, CHANNELS, 4, 6) * 5
        prior.head.weight.data.zero_()
        prior.head.bias.data.fill_(0.25)  # all means
        assert torch.allclose((prior(y, torch.zeros(2))[0] - 0.25) % 1, torch.zeros(1))

    def test_gradients_go_straight_through_the_rounding(self, model):
        model.prior.head.weight.data.zero_()  # no means that depend on the code
        y = torch.randn(1, CHANNELS, 4, 6, requires_grad=True)
        model.entropy_model(y, 1.0)[0].sum().backward()
        assert torch.allclose(y.grad, torch.ones(1), atol=1e-6)  # gain and its inverse begin as the same

    def test_noise_stands_for_rounding_in_training_alone(self, model, photos):
        y = model.encode(photos)
        model.train()
        assert not torch.equal(model.entropy_model(y)[1], model.entropy_model(y)[1])
        model.eval()
        assert torch.equal(model.entropy_model(y)[1], model.entropy_model(y)[1])

    def test_between_two_qualities_lies_their_geometric_mean(self, model, monkeypatch):
        model.log_gain.data[:] = torch.tensor([[2.0], [8.0]]).log()
        model.log_back.data.zero_()
        monkeypatch.setattr(HyperPrior, "forward", lambda prior, y, position: (y, y))
        assert model.entropy_model(torch.ones(1, CHANNELS, 1, 1), 1.5)[0].flatten()[0].item() == pytest.approx(4)

    def test_between_two_of_three_the_third_does_not_count(self):
        assert between(torch.tensor([[1.0], [3.0], [100.0]]), torch.tensor([0.5, 1.0])).tolist() == [[2], [3]]

    def test_each_image_may_have_its_own_quality(self, model, photos):
        y = model.encode(photos[:2])
        both = model.entropy_model(y, torch.tensor([1.0, 2.0]))
        for number, quality in enumerate((1, 2)):
            alone = model.entropy_model(y[number : number + 1], quality)
            for found, wanted in zip(both, alone, strict=True):
                assert torch.allclose(found[number], wanted[0], atol=1e-5)  # float32

    def test_a_finer_quality_costs_more_and_shows_more(self, model, photos):
        y = model.encode(photos)
        (coarse, few), (fine, many) = (model.entropy_model(y, quality) for quality in (1, 2))
        assert many.log2().sum() < few.log2().sum()
        assert (fine - y).square().mean() < (coarse - y).square().mean()

    @pytest.mark.parametrize("quality", [0.99, 2.01, math.nan, "2", True])
    def test_a_quality_that_is_not_there_is_refused(self, model, quality):
        with pytest.raises(ValueError, match="quality: wanted a number from 1 to 2, got"):
            model.entropy_model(torch.zeros(1, CHANNELS, 4, 6), quality)

    def test_each_half_has_means_and_scales_of_its_own(self, model, monkeypatch):
        # First mean 0 and rung 10, then mean 1 and rung 30: a code of zeros is at the one mean and 1 off the other.
        answers = iter([(torch.zeros(1), 10.0), (torch.ones(1), 30.0)])
        monkeypatch.setattr(HyperPrior, "_distributions", lambda prior, hidden, shift: _spread(next(answers), shift))
        y_hat, likelihoods = model.prior(torch.zeros(1, CHANNELS, 2, 2), torch.zeros(1))
        scales = [SMALLEST * math.exp(SCALE_STEP * rung) for rung in (10, 30)]
        wanted = [logistic_mass(torch.tensor(float(off)), torch.tensor(scales[off])).item() for off in (0, 1)]
        assert likelihoods[0, :4].tolist() == pytest.approx([wanted[0], wanted[1], wanted[1], wanted[0]], rel=1e-5)
        assert y_hat.count_nonzero() == 0

    def test_checkerboard_by_hand(self):
        assert checkerboard(2, 3).tolist() == [[True, False, True], [False, True, False]]

    def test_a_code_is_filled_up_to_whole_hyper_latents(self):
        y = torch.arange(6.0).reshape(1, 1, 2, 3)
        assert filled_up(y)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]

    @pytest.mark.parametrize(("changed", "moved"), [((1, 2), 0), ((2, 2), 4)])
    def test_a_value_moves_the_probabilities_of_its_second_half_neighbours_alone(self, model, changed, moved):
        prior, y = model.prior, torch.randn(1, CHANNELS, 4, 6)
        torch.nn.init.zeros_(prior.analysis[-1].weight)  # else hyper-latents would hear of all values
        other = y.clone()
        other[0, :, changed[0], changed[1]] += 3
        found = [prior(code, torch.zeros(1))[1][0, : CHANNELS * 24].reshape(CHANNELS, 24) for code in (y, other)]
        different = (found[0] != found[1]).any(0).reshape(4, 6)
        different[changed] = False
        row, column = changed
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        assert sorted(map(tuple, different.nonzero().tolist())) == sorted(around[:moved])


def _spread(answer, shift):
    """A mean and a rung for every value of a code of 2×2 places."""
    return tuple(torch.as_tensor(part).expand(1, CHANNELS, 2, 2) for part in answer)


def with_prior(name, principal=None):
    torch.manual_seed(0)
    return CompressiveAutoencoder(SHAPE, CHANNELS, WIDTH, STRIDES, LMBDAS, principal, prior=name)


class TestPriors:
    def test_with_context_is_the_usual_one_and_told_as_before(self, principal):
        assert describe(with_prior("context", principal)) == describe(small_model(principal))

    def test_are_told_apart(self):
        assert len({describe(with_prior(name)) for name in PRIORS}) == len(PRIORS) == 3

    def test_that_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="prior: wanted one of 'factorised', 'hyperprior', 'context', got 'hyper'"):
            with_prior("hyper")

    @pytest.mark.parametrize("name", PRIORS)
    def test_begin_near_the_best_they_can_do_without_training(self, principal, photos, name):
        # PCA's values rounded in the best step, each channel at the entropy of its own histogram.
        model = with_prior(name, principal).eval()
        y = model.encode(photos)
        bits = -model.entropy_model(y, 2)[1].log2().sum().item() / len(photos)
        symbols = (y * model.log_gain[1].exp()[:, None, None]).round().movedim(1, 0).flatten(1)
        counts = [torch.unique(row, return_counts=True)[1] / row.numel() for row in symbols]
        wanted = sum(-(share * share.log2()).sum().item() for share in counts) * 24
        assert wanted < bits < 1.6 * wanted

    def test_a_factorised_one_has_a_probability_for_each_value_of_the_code_alone(self, photos):
        model = with_prior("factorised").eval()
        y_hat, likelihoods = model.entropy_model(model.encode(photos), 1)
        assert (y_hat.shape, likelihoods.shape) == ((len(photos), CHANNELS, 4, 6), (len(photos), CHANNELS * 24))

    def test_a_factorised_one_by_hand(self):
        prior = FactorisedPrior(1, 1).eval()
        with torch.no_grad():
            prior.mixture_share[:] = torch.tensor([0.0, math.log(2), math.log(5)])  # an eighth, a quarter, the rest
            prior.mixture_mean[:] = torch.tensor([0.0, 1.0, -2.0])
            prior.mixture_scale[:] = (torch.tensor([0.5, 2.0, 4.0]) - SMALLEST).log()
        y = torch.tensor([0.3, 2.0, -7.6, 40.0]).reshape(1, 1, 2, 2)
        y_hat, found = prior(y, torch.zeros(1))
        assert y_hat.flatten().tolist() == [0, 2, -8, 40]
        for value, mass in zip((0, 2, -8, 40), found[0].tolist(), strict=True):
            parts = ((1 / 8, 0, 0.5), (1 / 4, 2, 2), (5 / 8, -8, 4))
            wanted = sum(share * mass_of(value - mean, scale) for share, mean, scale in parts)
            assert mass == pytest.approx(wanted, rel=1e-3)  # the tail's share, of the one that is far away

    def test_a_factorised_one_begins_with_the_deviations_it_is_given(self):
        prior, relative = FactorisedPrior(2, 2), torch.tensor([[0.5, 4.0], [1.0, 30.0]])
        prior.reset_parameters(relative)
        narrow, middle, wide = (prior.mixture_scale[..., part].exp() * math.pi / math.sqrt(3) for part in range(3))
        torch.testing.assert_close(torch.stack([3 * narrow, middle, wide / 3]), relative.expand(3, 2, 2))

    def test_a_factorised_one_lies_between_two_qualities(self):
        prior = FactorisedPrior(1, 2).eval()
        prior.mixture_scale.data[:] = torch.tensor([1.0, 4.0]).log()[:, None, None]
        found = prior(torch.zeros(1, 1, 1, 1), torch.tensor([0.5]))[1].item()
        assert found == pytest.approx(mass_of(0, SMALLEST + 2), rel=1e-4)  # the tail's share

    def test_a_factorised_one_sees_no_neighbours(self, photos):
        model = with_prior("factorised").eval()
        y = model.encode(photos[:1])
        other = y.clone()
        other[0, 3, 1, 2] += 5
        different = model.entropy_model(y, 2)[1] != model.entropy_model(other, 2)[1]
        assert different.nonzero().tolist() == [[0, 3 * 24 + 6 + 2]]

    def test_a_factorised_one_writes_no_files_and_says_which_do(self, photos):
        with pytest.raises(ValueError, match="prior: 'factorised' has no tables .*'hyperprior' or 'context' writes"):
            with_prior("factorised").compress(photos)

    def test_a_hyperprior_is_the_one_with_context_where_that_weighs_nothing(self, principal, photos):
        plain, usual = with_prior("hyperprior", principal).eval(), small_model(principal).eval()
        usual.load_state_dict(plain.state_dict(), strict=False)
        for weight in (usual.prior.context.weight, usual.prior.second_hidden):
            torch.nn.init.zeros_(weight)
        y = usual.encode(photos)
        for found, wanted in zip(plain.entropy_model(y, 1.5), usual.entropy_model(y, 1.5), strict=True):
            assert torch.equal(found, wanted)
        assert plain.codec().fingerprint == usual.codec().fingerprint

    def test_a_hyperprior_sees_no_neighbours(self):
        prior, y = with_prior("hyperprior").eval().prior, torch.randn(1, CHANNELS, 4, 6)
        torch.nn.init.zeros_(prior.analysis[-1].weight)  # else hyper-latents would hear of all values
        other = y.clone()
        other[0, 3, 1, 2] += 5
        different = (prior(y, torch.zeros(1))[1] != prior(other, torch.zeros(1))[1]).nonzero()
        assert different.tolist() == [[0, 3 * 24 + 6 + 2]]

    def test_files_of_a_hyperprior_come_back(self, principal):
        codec, x = with_prior("hyperprior", principal).codec(), picture(33, 47)
        again = PictureCodec.from_bytes(codec.to_bytes())
        assert torch.equal(again.decompress(codec.compress(x, 2)), codec.decompress(codec.compress(x, 2)))
        assert psnr(x, codec.decompress(codec.compress(x, 2))) > 20

    def test_a_file_of_a_hyperprior_is_as_long_as_the_model_says(self, principal):
        model, x = with_prior("hyperprior", principal).eval(), picture(96, 128)
        model.prior.level_scale.data += 3  # 24 rungs: no value is on the lowest, which is not coded
        wanted = -model.entropy_model(model.encode(x), 2)[1].log2().sum().item()
        found = 8 * (len(model.codec(bits=16).compress(x, 2)[0]) - container.OVERHEAD)
        assert abs(found - wanted) < 0.02 * wanted + 64  # rounded scales and weights, and the coder's state

    def test_to_make_files_draws_no_random_numbers(self):
        model = with_prior("hyperprior")
        torch.manual_seed(1)
        integers_of(model.prior)
        found = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), found)

    @pytest.mark.parametrize("name", ["factorised", "hyperprior"])
    def test_training_makes_the_loss_small_and_moves_all_weights(self, principal, photos, name):
        images = ae.from_array((photos * 255).byte().numpy())
        data = Splits(images[:24], images[24:27], images[27:])
        model = with_prior(name, principal)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        plan = ae.Plan(epochs=12, batch_size=6, lr=5e-3)
        run = ae.fit(model, data, plan, objective=VariableRate())
        assert run.history.train["loss"][-1] < 0.95 * run.history.train["loss"][0]
        assert [key for key, value in run.model.state_dict().items() if torch.equal(value, before[key])] == []


def mass_of(distance, scale):
    """What a logistic distribution gives to the interval of length 1 around a distance from its mean."""

    def below(x):
        return 1 / (1 + math.exp(-x / scale))

    return below(0.5 - abs(distance)) - below(-0.5 - abs(distance))


class TestIntegers:
    @pytest.fixture
    def arrays(self, model):
        return integers_of(model.prior)

    def test_convolution_is_exact(self, arrays, rng):
        values = rng.integers(-LIMIT, LIMIT, (WIDTH, 5, 7))
        found = IntegerConv(arrays, "mix")(torch.from_numpy(values).double())
        weight = arrays["mix.weight"].numpy().astype(object)  # Python's own whole numbers, which have no limit
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1))).astype(object)
        for row, column in ((0, 0), (2, 3), (4, 6)):
            window = padded[:, row : row + 3, column : column + 3].reshape(WIDTH, 9)
            for out in range(WIDTH):
                total = int((weight[:, out].T * window).sum()) + int(arrays["mix.bias"][out])
                divisor = 1 << int(arrays["mix.shift"][out])
                assert found[out, row, column] == (2 * total + divisor) // (2 * divisor)

    def test_weights_use_their_seven_bits(self, arrays):
        largest = arrays["mix.weight"].abs().amax((0, 2))
        assert ((largest >= 64) & (largest <= 127)).all()

    def test_sums_stay_where_float64_holds_every_integer(self):
        # The largest model that the book uses, with weights, values and symbols as large as they can be.
        prior = HyperPrior(channels=192, width=96, levels=4)
        symbol = (1 << 16) * UNIT  # a table, an escape of 15 bits and a mean go no farther
        for layer, most in ((prior.spread, symbol), (prior.mix, LIMIT), (prior.context, symbol), (prior.head, LIMIT)):
            assert 127 * most * layer.weight[0].numel() + 2**31 < 2**53

    def test_agree_with_the_floats_that_were_trained(self, model):
        prior = model.prior
        z, y = torch.randn(1, CHANNELS // 4, 2, 2).mul(3).round(), torch.randn(1, CHANNELS, 8, 8).mul(4).round()
        seen = y * checkerboard(8, 8)
        hidden = prior.features(z, (8, 8)) + 0.5 * (prior.level_hidden[0] + prior.level_hidden[1])[:, None, None]
        shift = 4 * (prior.level_scale[0] + prior.level_scale[1])[:, None, None]
        wanted = prior._distributions(hidden, shift)
        wanted_later = prior._distributions(hidden + prior.second_hidden[:, None, None] + prior.context(seen), shift)
        whole = IntegerPrior(integers_of(prior))
        features = whole.features(z[0], (8, 8))
        later = ~checkerboard(8, 8)  # elsewhere the floats see what is not known
        for (mean, index), known, where in (
            (wanted, None, slice(None)),
            (wanted_later, seen[0].double() * UNIT, (slice(None), later)),
        ):
            found_mean, found_index = whole.distributions(features, 32, known)
            # Weights have 7 bits, and a value depends on some dozens of them; a rung is a tenth of a scale.
            assert (found_mean / UNIT - mean[0])[where].abs().max() < 0.3
            assert (found_index.float() - index[0].clamp(0, SCALES - 1))[where].abs().max() < 2.5

    def test_give_whole_numbers(self, arrays):
        whole = IntegerPrior(arrays)
        mean, index = whole.distributions(whole.features(torch.ones(CHANNELS // 4, 1, 2), (3, 5)), 17)
        assert torch.equal(mean, mean.round())
        assert (index.dtype, index.min() >= 0, index.max() < SCALES) == (torch.uint8, True, True)

    def test_between_two_qualities_round_in_whole_numbers(self, arrays):
        arrays["level_scale"][:] = torch.tensor([[0], [UNIT]], dtype=torch.int32)
        arrays["head.weight"].zero_()
        arrays["head.bias"].zero_()
        whole = IntegerPrior(arrays)
        features = whole.features(torch.ones(CHANNELS // 4, 1, 1), (1, 1))
        rungs = [whole.distributions(features, steps)[1].flatten()[0].item() for steps in (0, 11, 12, 32, 64)]
        assert rungs == [0, 1, 2, 4, 8]  # from 0 to 1 output, which is eight rungs, in 64 steps

    @pytest.fixture
    def rng(self):
        return np.random.default_rng(0)


class TestFiles:
    @pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (4, 4), (5, 3), (33, 47), (64, 16)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_pictures_of_any_size_come_back(self, codec, size, channels):
        x = picture(*size, channels)
        x_hat = codec.decompress(codec.compress(x, 2))
        assert x_hat.shape == x.shape
        assert psnr(x, x_hat) > 20  # PCA with 20 of 48 values and steps of a few shades

    def test_codes_come_back_exactly(self, codec, monkeypatch):
        seen = []
        fill = picture_codec_module._Halves.fill

        def watched(halves, half, symbols):
            fill(halves, half, symbols)
            seen.append(halves.code.clone())

        monkeypatch.setattr(picture_codec_module._Halves, "fill", watched)
        codec.decompress(codec.compress(picture(40, 56), 1.7))
        assert len(seen) == 4
        assert torch.equal(seen[0], seen[2])
        assert torch.equal(seen[1], seen[3])
        assert seen[1].count_nonzero() > 100

    def test_a_file_is_as_long_as_the_model_says(self, model):
        x = picture(96, 128)
        model.prior.level_scale.data += 3  # 24 rungs: no value is on the lowest, which is not coded
        codec = model.codec(bits=16)
        for quality in (1, 2):
            likelihoods = model.entropy_model(model.encode(x), quality)[1]
            wanted = -likelihoods.log2().sum().item()
            found = 8 * (len(codec.compress(x, quality)[0]) - container.OVERHEAD)
            # Scales are rounded to a rung, and weights to 8 bits: a per cent of the length, and the coder's state.
            assert abs(found - wanted) < 0.02 * wanted + 64

    def test_a_picture_is_what_the_model_shows(self, model):
        x = picture(32, 48)
        wanted = model.decode(model.entropy_model(model.encode(x), 2.0)[0]).clamp(0, 1)
        found = model.codec(bits=16).decompress(model.codec(bits=16).compress(x, 2))
        # Some values are rounded to the other side, since means are not the same to the last digit.
        assert (found - wanted).square().mean() < 0.1 * (x - wanted).square().mean()

    def test_a_finer_quality_makes_longer_files_and_better_pictures(self, codec):
        x = picture(64, 64)
        files = [codec.compress(x, quality)[0] for quality in (1, 1.5, 2)]
        assert sorted(map(len, files)) == list(map(len, files))
        errors = [psnr(x, codec.decompress([file])) for file in files]
        assert sorted(errors) == errors

    def test_pixels_have_the_shades_of_a_png(self, codec):
        shades = codec.decompress(codec.compress(picture(9, 9), 1)) * 255
        assert torch.equal(shades, shades.round())

    @pytest.mark.parametrize(("steps", "level"), [(0, 0), (31, 0), (32, 1), (64, 1)])
    def test_hyper_latents_have_the_tables_of_the_nearest_quality(self, codec, steps, level):
        hyper = CHANNELS // 4
        wanted = [SCALES + level * hyper + channel for channel in range(hyper) for _ in range(2)]
        assert codec._hyper_which((hyper, 1, 2), steps).tolist() == wanted

    def test_values_on_the_lowest_rung_are_not_coded(self, model):
        model.prior.level_scale.data -= 1000
        codec = model.codec()
        symbols, which, _ = codec._symbols_of(codec._latents_of(picture(16, 16), 0), 0)
        assert len(symbols) == len(which) == CHANNELS // 4  # one hyper-latent for each channel

    def test_a_grey_picture_stays_grey(self, codec):
        assert codec.decompress(codec.compress(picture(8, 8, channels=1), 1)).shape == (1, 1, 8, 8)

    def test_several_pictures_make_several_files(self, codec):
        x = torch.cat([picture(8, 12, seed=seed) for seed in range(3)])
        files = codec.compress(x, 2)
        alone = [codec.compress(one[None], 2)[0] for one in x]
        assert files == alone
        assert codec.decompress(files).shape == x.shape

    def test_two_threads_make_and_read_the_same_files(self, codec):
        x, files = picture(80, 80), []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            try:
                files += codec.compress(x, 2)
                read = codec._code_of(container.unpack(files[0]).payload, (20, 20), 64)
            finally:
                torch.set_num_threads(1)
        assert torch.equal(read, codec._code_of(container.unpack(files[0]).payload, (20, 20), 64))

    def test_values_far_beyond_any_table_come_back(self, codec):
        codec.log_gain += 12  # 160,000 times as fine: all is cut off at the farthest that can be written
        file = codec.compress(picture(8, 8), 2)[0]
        code = codec._code_of(container.unpack(file).payload, (2, 2), 64)
        assert code.abs().max() > 10_000 * UNIT

    @pytest.mark.parametrize(
        ("x", "said"),
        [
            (torch.zeros(3, 8, 8), "x: wanted floats of shape"),
            (torch.zeros(1, 2, 8, 8), "x: wanted floats of shape"),
            (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "x: wanted floats of shape"),
            (torch.full((1, 3, 8, 8), 2.0), "x: wanted values in"),
            (torch.full((1, 3, 8, 8), math.nan), "x: wanted values in"),
            (torch.zeros(1, 3, 1, 16385), "height and width: wanted 1 to 16,384"),
        ],
    )
    def test_what_is_no_picture_is_refused(self, codec, x, said):
        with pytest.raises(ValueError, match=said):
            codec.compress(x, 1)

    def test_pictures_of_two_sizes_are_not_put_together(self, codec):
        files = codec.compress(picture(8, 8), 1) + codec.compress(picture(8, 9), 1)
        with pytest.raises(ValueError, match="files: wanted pictures of one size"):
            codec.decompress(files)


class TestDamagedFiles:
    def test_flips_and_cuts_are_found_out(self, codec):
        file = codec.compress(picture(24, 24), 1)[0]
        rng = np.random.default_rng(0)
        for number in range(1500):
            damaged = bytearray(file)
            if number % 3:
                for place in rng.integers(0, len(file), 1 + number % 4):
                    damaged[place] ^= 1 << rng.integers(0, 8)
            else:
                del damaged[rng.integers(0, len(file)) :]
            if damaged != file:  # two flips of one bit
                with pytest.raises(CodecError):
                    codec.decompress([bytes(damaged)])

    def test_damage_with_a_right_checksum_is_an_error_or_a_picture(self, codec):
        """As of somebody who means it: the header is right, the coded values are not."""
        content = container.unpack(codec.compress(picture(24, 24), 1)[0])
        rng, errors = np.random.default_rng(0), 0
        for _ in range(100):
            payload = bytearray(content.payload)
            payload[rng.integers(0, len(payload))] ^= 1 << rng.integers(0, 8)
            try:
                found = codec.decompress([container.pack(content._replace(payload=bytes(payload)))])
                assert found.shape == (1, 3, 24, 24)
            except CodecError:
                errors += 1
        assert errors >= 99  # the coder's own end is a check of 24 bits

    def test_random_values_are_an_error(self, codec):
        content, rng = empty(codec), np.random.default_rng(0)
        for length in (0, 5, 7, 105, 2005):
            with pytest.raises(CodecError):
                codec.decompress([container.pack(content._replace(payload=rng.bytes(length)))])

    def test_of_another_model_are_refused_with_both_fingerprints(self, codec, model):
        model.log_gain.data[0, 0] += 0.01
        file = model.codec().compress(picture(8, 8), 1)[0]
        with pytest.raises(CodecError, match=f"made with another model: .* this model's is {codec.fingerprint.hex()}"):
            codec.decompress([file])

    @pytest.mark.parametrize("quality", [0.5, 2.5, 900])
    def test_a_quality_that_the_model_has_not_is_refused(self, codec, quality):
        with pytest.raises(CodecError, match="quality is .*, where the model has 1 to 2"):
            codec.decompress([container.pack(empty(codec)._replace(quality=quality))])

    def test_colours_that_the_model_has_not_are_refused(self):
        torch.manual_seed(0)
        codec = CompressiveAutoencoder((1, 8, 8), 4, 4, (2, 2)).codec()
        with pytest.raises(CodecError, match="3 channels, where the model has 1"):
            codec.decompress([container.pack(empty(codec))])


class TestBitsOfPlaces:
    @pytest.mark.parametrize("size", [(64, 64), (40, 72), (9, 200)])
    def test_add_up_to_the_payload_but_for_the_state_of_the_coder(self, codec, size):
        x = picture(*size)
        [file] = codec.compress(x, 1.5)
        spare = 8 * (len(file) - container.OVERHEAD) - codec.bits(x, 1.5).sum().item()
        assert 0 <= spare <= 48 + 8 * size[0] * size[1] / 1000  # five bytes of state, and what rounding to words costs

    def test_there_is_one_for_each_place_of_the_code(self, codec):
        stride = codec.stride
        assert codec.bits(picture(3 * stride, 5 * stride - 1), 1).shape == (3, 5)

    def test_an_even_half_costs_less_than_a_busy_one(self, codec):
        x = picture(64, 128)
        x[:, :, :, :64] = 0.5
        left, right = codec.bits(x, 2).chunk(2, 1)
        assert left.sum() < 0.8 * right.sum()

    def test_more_than_one_image_is_refused(self, codec):
        with pytest.raises(ValueError, match="x: wanted one image"):
            codec.bits(picture(16, 16).repeat(2, 1, 1, 1), 1)

    def test_of_hyper_latents_are_shared_out_among_the_places_that_there_are(self):
        values = torch.tensor([[16.0, 16.0], [8.0, 6.0]])  # for 4 + 1 rows and 4 + 2 columns
        shared = picture_codec_module._shared_out(values, (5, 6))
        assert shared.tolist() == [[1, 1, 1, 1, 2, 2]] * 4 + [[2, 2, 2, 2, 3, 3]]


def empty(codec):
    """What a file of 24×24 pixels holds, without its coded values."""
    return container.Container(codec.fingerprint, 3, 1.0, 24, 24, b"")


class TestStoredCodec:
    def test_makes_and_reads_the_same_files(self, codec):
        again, x = PictureCodec.from_bytes(codec.to_bytes()), picture(20, 28)
        assert again.fingerprint == codec.fingerprint
        assert again.compress(x, 1.25) == codec.compress(x, 1.25)
        assert torch.equal(again.decompress(codec.compress(x, 2)), codec.decompress(codec.compress(x, 2)))

    def test_kernels_of_residual_blocks_have_eight_bits_and_those_between_them_sixteen(self, codec):
        kinds = {name: codec.arrays[f"synthesis.{name}.weight"].dtype for name in ("0", "1.first", "1.second", "7")}
        assert kinds == {"0": torch.half, "1.first": torch.int8, "1.second": torch.int8, "7": torch.half}

    def test_eight_bits_cost_little(self, model):
        x = picture(48, 48)
        errors = [psnr(x, codec.decompress(codec.compress(x, 2))) for codec in (model.codec(8), model.codec(16))]
        assert errors[0] == pytest.approx(errors[1], abs=0.1)

    def test_training_on_changes_no_codec(self, model):
        codec = model.codec()
        before = codec.compress(picture(8, 8), 1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1)
        assert codec.compress(picture(8, 8), 1) == before

    @pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 100), slice(0, -1), slice(8, None)])
    def test_bytes_that_are_none_are_refused(self, codec, cut):
        with pytest.raises(ValueError, match="these are no weights of a codec"):
            PictureCodec.from_bytes(codec.to_bytes()[cut])

    def test_another_version_is_named(self, codec):
        codec.facts["version"] = 7
        with pytest.raises(ValueError, match="the weights are of version 7; this aecore reads version 1"):
            PictureCodec.from_bytes(codec.to_bytes())

    def test_bits_that_are_none_are_refused(self, model):
        with pytest.raises(ValueError, match="bits: wanted 8 or 16, got 4"):
            model.codec(bits=4)


class TestTraining:
    @pytest.mark.parametrize("objective", [lambda: RateDistortion(0.01), VariableRate], ids=["one rate", "all rates"])
    def test_makes_the_loss_small(self, principal, objective, photos):
        images = ae.from_array((photos * 255).byte().numpy())
        data = Splits(images[:24], images[24:27], images[27:])
        plan = ae.Plan(epochs=12, batch_size=6, lr=5e-3)
        history = ae.fit(small_model(principal), data, plan, objective=objective()).history
        assert history.train["loss"][-1] < 0.95 * history.train["loss"][0]

    def test_is_evaluated_by_its_files(self, model, noise):
        scores = ae.evaluate(model, noise(2, 3, 16, 24), files=True)
        assert scores.bpp == pytest.approx(8 * scores.bytes / (16 * 24))
        assert scores.bytes > container.OVERHEAD
