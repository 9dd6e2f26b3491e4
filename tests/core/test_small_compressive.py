"""`models.small_compressive` and what it is made of: a masked prior, the same in whole numbers, albums of pictures."""

import hashlib
import math
from decimal import Decimal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

import aecore as ae
from aecore.codec import CodecError, album
from aecore.codec.tables import PRECISION, TOTAL
from aecore.data import Splits
from aecore.data.warping import with_warped_copies
from aecore.models import (
    AlbumCodec,
    SmallCompressiveAutoencoder,
    init_weights,
    nested_components,
    principal_components,
)
from aecore.models import integer_mixture as integers
from aecore.models.code_search import searched
from aecore.models.compressive import step_of
from aecore.models.hyperprior import SCALE_STEP, SMALLEST
from aecore.models.masked_prior import FLOOR, PER_OUTPUT, MaskedPrior
from aecore.models.small_compressive import LEAST, PriorSizes
from aecore.models.small_transform import Clamp
from aecore.objectives import RateDistortion

GREY, COLOUR, SIZE, LMBDA = (1, 8, 8), (3, 16, 16), 12, 0.01
PRIOR = PriorSizes(group=3, hidden=4, mixture=2)


def smooth(count, shape, seed=0):
    """Images of which neighbouring pixels are alike, in the shades of a file."""
    small = torch.rand(count, shape[0], shape[1] // 2, shape[2] // 2, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(small, size=shape[1:], mode="bilinear") * 255).round() / 255


@pytest.fixture(scope="module")
def images():
    return smooth(300, GREY)


@pytest.fixture(scope="module")
def principal(images):
    return principal_components(images, SIZE)


@pytest.fixture(scope="module")
def nested():
    return nested_components(smooth(300, COLOUR), SIZE, 20, (4, 4))


def small_model(principal, shape=GREY):
    torch.manual_seed(0)
    return SmallCompressiveAutoencoder(shape, SIZE, principal, LMBDA, (10, 8), PRIOR)


@pytest.fixture(scope="module")
def model(principal):
    """It starts as PCA; its dense networks and its prior are drawn, so that all of them count."""
    made = small_model(principal)
    with torch.no_grad():
        for branch in (made.encoder[-1].network, made.decoder[0].network):
            branch[-1].weight.normal_(std=0.05)
        made.prior.head.normal_(std=0.5)
    return made.eval()


@pytest.fixture(scope="module")
def codec(model, images):
    return model.codec(images)


@pytest.fixture
def prior():
    torch.manual_seed(0)
    made = MaskedPrior(SIZE, *PRIOR)
    made.reset_parameters(torch.linspace(6, 0.5, SIZE))
    with torch.no_grad():
        made.head.normal_(std=0.5)
    return made.eval()


@pytest.fixture
def values():
    torch.manual_seed(1)
    return (torch.randn(50, SIZE) * torch.linspace(6, 0.5, SIZE)).round()


def exact_of(prior, reach=30):
    ends = torch.full((prior.size,), reach)
    return integers.integers_of(prior, -ends, ends)


def rows_by_value(mixture, values):
    """The rows of frequencies of all values of codes, by value, as a decoder goes through them."""
    passage, found = mixture.begin(len(values)), {}
    for number in range(mixture.groups):
        found |= dict(passage.rows())
        passage.fill(values.numpy().astype(np.int64)[:, list(mixture.values_of(number))])
    return found


def rows_of_python(arrays, code):
    """The rows of one code, for groups of one value, in Python's integers: what `IntegerMixture` computes."""

    limit = 1 << 19

    def clamped(x, low, high):
        return min(max(x, low), high)

    def layer(name, inputs, unit):
        weights = arrays[f"{name}.weight"][unit][: len(inputs)]
        total = arrays[f"{name}.bias"][unit] + sum(w * x for w, x in zip(weights, inputs, strict=True))
        shift = arrays[f"{name}.shift"][unit]
        return clamped((total + (1 << shift - 1)) >> shift, 0, limit)

    known, hidden, rows = [], [], []
    for value, now in enumerate(code):
        hidden += [layer("first", known, unit) for unit in (2 * value, 2 * value + 1)]
        above = [layer("second", hidden, unit) for unit in (2 * value, 2 * value + 1)]
        outputs = []
        for column, shift in enumerate(arrays["head_shift"][value]):
            total = sum(x * w[column] for x, w in zip(above, arrays["head"][value], strict=True))
            outputs.append((total + (1 << shift - 1)) >> shift)
        biases = [bias for kind in arrays["head_bias"][value] for bias in kind]
        outputs = [clamped(x + bias, -limit, limit) for x, bias in zip(outputs, biases, strict=True)]
        shares = [round(4096 * math.exp(-min(max(outputs[:2]) - x, 2048) / 256)) for x in outputs[:2]]
        means = [clamped(x * arrays["unit"][value] >> 12, -(1 << 22), 1 << 22) for x in outputs[2:4]]
        rungs = [clamped((16 * x + 256) >> 9, 0, 63) for x in outputs[4:]]
        row = []
        for symbol in range(42):
            mass = 0
            for share, mean, rung in zip(shares, means, rungs, strict=True):
                per_unit = round(2**15 / (SMALLEST * math.exp(SCALE_STEP * rung)))
                argument = clamped(((symbol - 20) * 256 - 128 - mean) * per_unit >> 16, -1536, 1536)
                mass += share * round(2**20 / (1 + math.exp(-argument / 128)))
            mass = {0: 0, 41: 1 << 20}.get(symbol, mass // sum(shares))
            row.append(symbol + ((TOTAL - 41) * mass >> 20))
        rows.append(row)
        known.append(clamped(now * arrays["inverse"][value] >> 12, -limit, limit))
    return rows


class TestTransform:
    def test_starts_as_pca(self, images, principal):
        rows = images.flatten(1).double().numpy()
        pca = PCA(SIZE).fit(rows)
        wanted = pca.inverse_transform(pca.transform(rows)).clip(0, 1)
        with torch.no_grad():
            found = small_model(principal).eval()(images).flatten(1).numpy()
        assert np.abs(found - wanted).max() < 1e-4  # float32

    def test_starts_as_pca_of_a_grid_of_components(self, nested):
        x = smooth(20, COLOUR)
        made = small_model(nested, COLOUR).eval()
        with torch.no_grad():
            for network in (made.encoder, made.decoder):
                for block in network.modules():
                    if hasattr(block, "second"):
                        block.second.weight.zero_()
            found = made(x)
        inner, outer = nested
        blocks = F.pixel_unshuffle(x, 4).permute(0, 2, 3, 1) - inner.mean
        grid = (blocks @ inner.components.T).permute(0, 3, 1, 2).flatten(1)
        grid = (grid - outer.mean) @ outer.components.T @ outer.components + outer.mean
        blocks = grid.unflatten(1, (20, 4, 4)).permute(0, 2, 3, 1) @ inner.components + inner.mean
        wanted = F.pixel_shuffle(blocks.permute(0, 3, 1, 2), 4).clamp(0, 1)
        assert torch.allclose(found, wanted, atol=1e-4)  # float32

    def test_codes_begin_with_variance_one(self, images, principal):
        with torch.no_grad():
            z = small_model(principal).encode(images)
        assert torch.allclose(z.std(0, correction=0), torch.ones(SIZE), atol=1e-3)  # float32, small components

    def test_begins_with_gains_for_the_best_step(self, principal):
        made = small_model(principal)
        wanted = (principal.deviations / step_of(LMBDA, 1)).clamp(min=LEAST)
        assert torch.allclose(made.log_gain.exp(), wanted, rtol=1e-5)
        assert torch.equal(made.log_gain, made.log_back)
        assert torch.equal(made.prior.unit, wanted)

    def test_weights_follow_from_the_seed(self, principal):
        first, second = small_model(principal), small_model(principal)
        init_weights(first, 1)
        torch.manual_seed(5)
        init_weights(second, 1)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    def test_another_seed_gives_other_weights(self, principal):
        first, second = small_model(principal), small_model(principal)
        init_weights(first, 1)
        init_weights(second, 2)
        assert not torch.equal(first.prior.first.weight, second.prior.first.weight)

    def test_clamp_has_a_gradient_of_one(self):
        x = torch.tensor([-1.0, 0.25, 3.0], requires_grad=True)
        y = Clamp()(x)
        y.sum().backward()
        assert (y.tolist(), x.grad.tolist()) == ([0, 0.25, 1], [1, 1, 1])

    def test_tells_its_price_and_its_components(self, principal):
        assert "lmbda=0.01, starts as PCA, standard deviations from " in repr(small_model(principal))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"code_size": 65}, "code_size: 65 values are more than the image's 64"),
            ({"code_size": 13}, "principal: wanted 13 components or more of 64 values"),
            ({"image_shape": (1, 8, 12)}, "principal: wanted 12 components or more of 96 values"),
            ({"principal": None}, "principal: wanted what principal_components"),
            ({"lmbda": 0}, "lmbda: wanted a positive number"),
            ({"lmbda": math.nan}, "lmbda: wanted a positive number"),
            ({"hidden": (0,)}, "hidden: wanted whole numbers"),
            ({"prior": PriorSizes(group=5)}, "group: wanted a divisor of the code's 12 values, got 5"),
            ({"prior": PriorSizes(mixture=0)}, "mixture: wanted a whole number"),
        ],
    )
    def test_settings_that_do_not_fit_are_refused(self, principal, changes, said):
        settings = {"image_shape": GREY, "code_size": SIZE, "principal": principal, "lmbda": LMBDA} | changes
        with pytest.raises(ValueError, match=said):
            SmallCompressiveAutoencoder(**settings)

    def test_nested_components_that_do_not_cover_the_image_are_refused(self):
        parts = nested_components(smooth(100, COLOUR), SIZE, 20, (4, 2))
        with pytest.raises(ValueError, match=r"of 320 values, those of a whole image, got 12 of 80"):
            small_model(parts, COLOUR)

    def test_blocks_that_do_not_divide_the_image_are_refused(self, nested):
        with pytest.raises(ValueError, match="principal: wanted components of blocks that divide"):
            small_model(nested, (3, 18, 16))


class TestMaskedPrior:
    @pytest.mark.parametrize("place", [0, 4, 11])
    def test_no_value_depends_on_its_own_group_or_on_later_ones(self, prior, values, place):
        changed = values.clone()
        changed[:, place] += 3
        first, second = prior.distributions(values), prior.distributions(changed)
        same = [torch.isclose(a, b).all(2).all(0) for a, b in zip(first, second, strict=True)]
        after = 3 * (place // 3 + 1)
        assert torch.stack(same).all(0)[:after].all()
        # All that may depend on it do, in some of the 50 codes.
        assert not torch.stack(same).all(0)[after:].any()

    def test_probabilities_add_up_to_one(self, prior, values):
        seen = values[:1].expand(2001, -1)
        every = torch.arange(-1000, 1001)[:, None].expand(-1, SIZE).float()
        total = prior.likelihoods(every, seen).sum(0)
        assert torch.allclose(total, torch.tensor(1 + 2001 * FLOOR), atol=1e-3)  # float32 sums, tails beyond

    def test_of_one_logistic_has_its_closed_form(self):
        prior = MaskedPrior(2, mixture=1)
        prior.reset_parameters(torch.ones(2))
        with torch.no_grad():
            prior.head.zero_()
        scale = SMALLEST * math.exp(SCALE_STEP * PER_OUTPUT * prior.head_bias[0, 2, 0].item())
        assert scale == pytest.approx(math.sqrt(3) / math.pi, rel=1e-4)
        found = prior.likelihoods(torch.zeros(1, 2), torch.zeros(1, 2))[0, 0].item()
        assert found == pytest.approx(math.tanh(1 / (4 * scale)), abs=3 * FLOOR)

    def test_noise_stands_for_rounding_in_training_alone(self, prior, values):
        y = values + 0.3
        assert torch.equal(prior(y)[1], prior(y)[1])
        prior.train()
        assert not torch.equal(prior(y)[1], prior(y)[1])
        assert torch.equal(prior(y)[0], values)

    @pytest.mark.parametrize("drawn", [0.0, 0.25])
    def test_noise_begins_at_minus_a_half(self, prior, values, monkeypatch, drawn):
        y = values + 0.3
        monkeypatch.setattr(torch, "rand_like", lambda given: torch.full_like(given, drawn))
        found = prior.train()(y)[1]
        assert torch.equal(found, prior.likelihoods(y + (drawn - 0.5), values))

    def test_gradients_go_straight_through_the_rounding(self, prior):
        y = torch.randn(2, SIZE, requires_grad=True)
        prior(y)[0].sum().backward()
        assert torch.equal(y.grad, torch.ones(2, SIZE))

    def test_tells_apart_what_its_layers_do_not_show(self):
        # 12 groups of 2 units and 6 groups of 4 have the same layers.
        told = {repr(MaskedPrior(12, *sizes)) for sizes in ((1, 2, 3), (2, 4, 3), (1, 2, 1), (2, 4, 1))}
        assert len(told) == 4

    @pytest.mark.parametrize("bias", [-50.0, 0.0, 50.0])
    def test_scales_beyond_the_ladder_can_come_back(self, prior, bias):
        with torch.no_grad():
            prior.head_bias[:, 2] = bias
        prior.distributions(torch.zeros(1, SIZE))[2].log().sum().backward()
        assert (prior.head_bias.grad[:, 2] > 0).all()

    def test_hidden_layers_are_computed_in_bfloat16_where_the_training_is(self, model, images):
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            model.encode(images[:2])
        assert model.prior.reduced
        coarse = model.prior.distributions(torch.ones(1, SIZE))
        model.eval().encode(images[:2])
        assert not model.prior.reduced
        fine = model.prior.distributions(torch.ones(1, SIZE))
        assert coarse[0].dtype == torch.float32
        assert 0 < (coarse[1] - fine[1]).abs().max() < 0.5  # 8 binary digits of values of some units


class TestWholeNumbers:
    def test_rows_are_the_prior_s_own_probabilities(self, prior, values):
        mixture = integers.IntegerMixture(exact_of(prior))
        share, mean, scale = (part.detach().double().numpy() for part in prior.distributions(values))
        for value, rows in rows_by_value(mixture, values).items():
            edges = np.arange(-30, 32)[None, :, None] - 0.5
            below = 1 / (1 + np.exp(-(edges - mean[:, value, None]) / scale[:, value, None]))
            wanted = (share[:, value, None] * below).sum(2)
            # Weights of 8 bits and rungs of a ladder of 11 % move the distribution.
            assert np.abs(rows[:, 1:-1] / TOTAL - wanted[:, 1:-1]).max() < 0.06

    def test_rows_are_possible_frequencies(self, prior, values):
        for rows in rows_by_value(integers.IntegerMixture(exact_of(prior)), values).values():
            assert rows.shape == (50, 62)
            assert (rows[:, 0] == 0).all()
            assert (rows[:, -1] == TOTAL).all()
            assert (np.diff(rows) >= 1).all()

    def test_ranges_are_those_of_the_rows(self, prior, values):
        mixture = integers.IntegerMixture(exact_of(prior))
        codes = values.numpy().astype(np.int64)
        passage, found = mixture.begin(len(codes)), []
        for number in range(mixture.groups):
            found += passage.ranges(codes)
            passage.fill(codes[:, list(mixture.values_of(number))])
        for value, rows in rows_by_value(mixture, values).items():
            places, symbols = np.arange(50), codes[:, value] + 30
            assert found[value][0].tolist() == rows[places, symbols].tolist()
            assert found[value][1].tolist() == (rows[places, symbols + 1] - rows[places, symbols]).tolist()

    def test_are_the_same_for_one_code_as_for_many(self, prior, values):
        mixture = integers.IntegerMixture(exact_of(prior))
        many, one = rows_by_value(mixture, values), rows_by_value(mixture, values[7:8])
        assert all(np.array_equal(many[value][7:8], one[value]) for value in one)

    def test_sums_stay_where_float64_is_exact(self, prior):
        # The most that a sum can be: every input at its limit, weights of 127, 2,048 inputs.
        assert integers.LIMIT * 127 * 2048 + (1 << 31) < 1 << 53
        arrays = exact_of(prior)
        assert {arrays[name].dtype for name in ("first.weight", "second.weight", "head")} == {torch.int8}

    def test_values_between_layers_are_whole(self, prior, values):
        passage = integers.IntegerMixture(exact_of(prior)).begin(len(values))
        list(passage.rows())
        passage.fill(values.numpy().astype(np.int64)[:, :3])
        list(passage.rows())
        for part in (passage.known, passage.hidden):
            assert torch.equal(part, part.round())
        assert passage.hidden.max() > 0

    def test_tables_hold_the_functions(self):
        t = np.arange(-12 * 128, 12 * 128 + 1) / 128
        assert np.abs(integers._logistic() / 2**20 - 1 / (1 + np.exp(-t))).max() <= 0.5001 / 2**20
        t = np.arange(8 * 256 + 1) / 256
        assert np.abs(integers._exponentials() / 2**12 - np.exp(-t)).max() <= 0.5001 / 2**12
        assert integers._exponentials().min() >= 1

    def test_scales_are_those_of_the_ladder(self):
        ladder = SMALLEST * np.exp(SCALE_STEP * np.arange(64))
        assert np.allclose(integers._inverse_scales(), 2**16 * 128 / 256 / ladder, rtol=0, atol=0.501)

    def test_tables_do_not_depend_on_the_precision_of_decimals(self):
        import decimal

        wanted = integers._logistic.__wrapped__()
        with decimal.localcontext(prec=5):
            assert np.array_equal(integers._logistic.__wrapped__(), wanted)
            assert Decimal(1) / 3 == Decimal("0.33333")

    @staticmethod
    def by_rule(*shape, most=127, dtype=torch.int8):
        """Numbers that depend on no random generator, whose numbers may be others in another version."""
        return (torch.arange(math.prod(shape)) * 37 % (2 * most + 1) - most).reshape(shape).to(dtype)

    @pytest.fixture
    def fixed(self):
        """A prior of 4 values in groups of 1, with 2 units each and mixtures of 2, and 10 codes."""
        rule, long = self.by_rule, torch.int32
        arrays = {
            "first.weight": rule(8, 4), "first.shift": rule(8, most=1) + 5, "first.bias": rule(8, dtype=long),
            "second.weight": rule(8, 8), "second.shift": rule(8, most=1) + 6, "second.bias": rule(8, dtype=long),
            "head": rule(4, 2, 6), "head_shift": rule(4, 6, most=1) + 6, "head_bias": rule(4, 3, 2, dtype=long),
            "inverse": torch.full((4,), 300_000), "unit": torch.full((4,), 14_000),
            "low": torch.full((4,), -20), "high": torch.full((4,), 20),
        }  # fmt: skip
        return arrays, rule(10, 4, most=9, dtype=torch.float32)

    def test_rows_are_those_of_python_s_own_integers(self, fixed):
        arrays, values = fixed
        found = rows_by_value(integers.IntegerMixture(arrays), values)
        lists = {name: array.tolist() for name, array in arrays.items()}
        for code, wanted in enumerate(values.int().tolist()):
            for value, row in enumerate(rows_of_python(lists, wanted)):
                assert found[value][code].tolist() == row

    def test_rows_stay_what_files_of_this_version_hold(self, fixed):
        # Every change of these rows makes files unreadable, and needs another VERSION in `album_codec`.
        rows = rows_by_value(integers.IntegerMixture(fixed[0]), fixed[1])
        found = hashlib.sha256(np.stack([rows[value] for value in range(4)]).astype("<i4").tobytes()).hexdigest()
        assert found[:16] == "b1800278809b1b4f"

    def test_go_back_to_floats(self, prior, values):
        again = integers.floats_of(exact_of(prior))
        for found, wanted in zip(again.distributions(values), prior.distributions(values), strict=True):
            assert torch.allclose(found, wanted, rtol=0.05, atol=0.1)  # weights of 8 bits


class TestAlbums:
    def test_codes_come_back(self, codec, images):
        assert torch.equal(codec.codes_in(codec.compress(images)), codec.codes(images))

    def test_codes_are_the_encoder_s(self, model, codec, images):
        with torch.no_grad():
            wanted = (model.encode(images) * model.log_gain.exp()).round()
        difference = (codec.codes(images) - wanted).abs()
        assert difference.max() <= 1  # weights of 8 bits
        assert difference.mean() < 0.05

    def test_images_are_the_model_s(self, model, codec, images):
        with torch.no_grad():
            wanted = model.decode(model.entropy_model(model.encode(images))[0])
        difference = codec.decompress(codec.compress(images)) - wanted
        assert difference.square().mean() < 1e-3  # weights of 8 bits

    def test_images_have_the_shades_of_a_file(self, codec, images):
        shades = codec.decompress(codec.compress(images)) * 255
        assert torch.allclose(shades, shades.round(), atol=1e-4)
        assert shades.min() >= 0
        assert shades.max() <= 255

    def test_length_is_the_information_and_the_overhead(self, codec, images):
        _, frequencies = codec._ranges(codec.codes(images))
        bits = (PRECISION - np.log2(frequencies)).sum()
        # The state of 40 bits holds 24 that it began with, and up to 16 that are not written out yet.
        assert 24 <= 8 * (len(codec.compress(images)) - album.OVERHEAD) - bits <= 41

    def test_information_is_what_the_model_says(self, model, codec, images):
        with torch.no_grad():
            wanted = -model.entropy_model(model.encode(images))[1].log2().sum().item()
        found = 8 * len(codec.compress(images))
        assert found == pytest.approx(wanted, rel=0.03)  # weights of 8 bits, rungs of a ladder, the overhead

    def test_of_many_parts_come_back(self, monkeypatch, codec, images):
        whole = codec.codes(images)
        monkeypatch.setattr("aecore.models.album_codec.PART", 70)
        assert torch.equal(codec.codes_in(codec.compress(images)), whole)

    @pytest.mark.parametrize("count", [0, 1])
    def test_of_few_pictures_come_back(self, codec, images, count):
        found = codec.decompress(codec.compress(images[:count]))
        assert torch.equal(found, codec.images(codec.codes(images[:count])))
        assert found.shape == (count, *GREY)

    def test_are_the_same_on_two_threads(self, codec, images):
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            file = codec.compress(images)
            one = codec.decompress(file)
            torch.set_num_threads(2)
            assert torch.equal(codec.decompress(file), one)
        finally:
            torch.set_num_threads(threads)

    def test_pictures_unlike_all_others_come_back_as_something(self, codec):
        x = torch.rand(20, *GREY, generator=torch.Generator().manual_seed(3)).round()
        codes = codec.codes(x)
        assert (codes >= torch.from_numpy(codec.prior.low)).all()
        assert (codes <= torch.from_numpy(codec.prior.high)).all()
        assert torch.equal(codec.codes_in(codec.compress(x)), codes)

    def test_tables_reach_beyond_what_occurred(self, codec, model, images):
        with torch.no_grad():
            codes = (model.encode(images) * model.log_gain.exp()).round()
        assert codec.prior.low.tolist() == (codes.amin(0) - 2).int().tolist()
        assert codec.prior.high.tolist() == (codes.amax(0) + 2).int().tolist()

    def test_bytes_of_pixels_tell_the_same_reach(self, codec, model, images):
        assert model.codec((images * 255).round().byte()).fingerprint == codec.fingerprint

    def test_without_images_tables_reach_as_far_as_the_gains_say(self, model):
        wanted = (8 * model.log_gain.exp()).ceil() + 2
        assert model.codec().prior.high.tolist() == wanted.int().tolist()

    @pytest.mark.parametrize("with_images", [True, False])
    def test_tables_have_an_end(self, principal, images, with_images):
        made = small_model(principal)
        with torch.no_grad():
            made.log_gain.fill_(math.log(1e5))
        codec = made.codec(images if with_images else None)
        assert (codec.prior.low.min(), codec.prior.high.max()) == (-1000, 1000)
        assert torch.equal(codec.codes_in(codec.compress(images[:3])), codec.codes(images[:3]))

    @pytest.mark.parametrize(
        "x",
        [torch.zeros(2, 1, 8, 9), torch.zeros(1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), None,
         torch.full((1, 1, 8, 8), 1.5), torch.full((1, 1, 8, 8), math.nan)],
    )  # fmt: skip
    def test_other_images_are_refused(self, codec, x):
        with pytest.raises(ValueError, match="x: wanted "):
            codec.compress(x)

    def test_of_another_model_is_refused(self, model, codec, images):
        other = model.codec(images, bits=6)
        with pytest.raises(CodecError, match="made with another model"):
            other.decompress(codec.compress(images))

    def test_colour_comes_back(self, nested):
        x = smooth(40, COLOUR)
        codec = small_model(nested, COLOUR).eval().codec(x)
        found = codec.decompress(codec.compress(x))
        assert found.shape == x.shape
        assert torch.equal(codec.codes_in(codec.compress(x)), codec.codes(x))


class TestFilesOfOnePicture:
    def test_come_back(self, codec, images):
        wanted = codec.images(codec.codes(images[:20]))
        found = [codec.decompress_one(file) for file in codec.compress_each(images[:20])]
        assert torch.equal(torch.stack(found), wanted)

    def test_have_four_bytes_and_the_information(self, codec, images):
        _, frequencies = codec._ranges(codec.codes(images), by_picture=True)
        bits = (PRECISION - np.log2(frequencies)).sum(1)
        lengths = np.array([len(file) for file in codec.compress_each(images)])
        assert (lengths - 4 <= np.ceil(bits / 8)).all()
        assert (lengths - 4 >= np.ceil(bits / 8) - 2).all()  # a shorter fraction may lie in the interval by chance

    def test_of_another_model_are_refused(self, model, codec, images):
        with pytest.raises(CodecError, match="another model"):
            model.codec(images, bits=6).decompress_one(codec.compress_each(images[:1])[0])


class TestDamage:
    """Always an error that says so, or the exact codes."""

    @staticmethod
    def changed(rng, data):
        """The file with one to four bits flipped, or cut, or with bytes put in, taken out or exchanged."""
        kind, place, data = rng.integers(5), int(rng.integers(len(data))), bytearray(data)
        if kind == 0:
            for bit in rng.integers(8 * len(data), size=rng.integers(1, 5)):
                data[bit // 8] ^= 1 << bit % 8
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            del data[place : place + int(rng.integers(1, 9))]
        else:
            data[place : place + 4] = rng.bytes(4)
        return bytes(data)

    def test_of_albums_is_found(self, codec, images):
        rng, data = np.random.default_rng(0), codec.compress(images[:30])
        for _ in range(2000):
            damaged = self.changed(rng, data)
            if damaged != data:
                with pytest.raises(CodecError):
                    codec.codes_in(damaged)

    def test_of_single_pictures_is_found(self, codec, images):
        rng, files = np.random.default_rng(0), codec.compress_each(images[:50])
        for number in range(5000):
            damaged = self.changed(rng, files[number % 50])
            if damaged != files[number % 50]:
                with pytest.raises(CodecError):
                    codec.decompress_one(damaged)

    def test_behind_a_right_checksum_is_found_or_decoded(self, codec, images):
        # What only a forger makes: any payload, with the checksum of an album. It must end, with codes or an error.
        rng, refused = np.random.default_rng(0), 0
        payload = album.unpack(codec.compress(images[:3])).payload
        for _ in range(300):
            content = album.Album(codec.fingerprint, 3, self.changed(rng, payload))
            try:
                codes = codec.codes_in(album.pack(content))
            except CodecError:
                refused += 1
            else:
                assert album.unpack(codec.album_of(codes)).payload == content.payload
        assert refused > 200

    def test_behind_a_right_check_of_one_picture_is_found_or_decoded(self, codec, images):
        rng, refused = np.random.default_rng(0), 0
        payload = album.unpack_alone(codec.compress_each(images[:1])[0], codec.fingerprint)
        for _ in range(300):
            changed = self.changed(rng, payload)
            try:
                codec.decompress_one(album.pack_alone(codec.fingerprint, changed))
            except CodecError:
                refused += 1
        assert refused > 50

    def test_an_album_of_too_many_pictures_for_its_bytes_is_refused_early(self, codec):
        with pytest.raises(CodecError, match="end too early|do not end"):
            codec.codes_in(album.pack(album.Album(codec.fingerprint, 5000, b"")))


class TestWeights:
    def test_come_back(self, codec, images):
        again = AlbumCodec.from_bytes(codec.to_bytes())
        assert again.fingerprint == codec.fingerprint
        assert torch.equal(again.decompress(codec.compress(images)), codec.decompress(codec.compress(images)))

    @pytest.mark.parametrize("bits", [4, 8])
    def test_have_so_many_bits(self, model, bits):
        arrays = model.codec(bits=bits).arrays
        largest = max(values.abs().max().item() for name, values in arrays.items() if name.startswith("analysis")
                      and values.dtype == torch.int8)  # fmt: skip
        assert largest == 2 ** (bits - 1) - 1

    def test_are_near_the_model_s(self, model, codec):
        wanted = model.decoder[0].linear.weight
        found = codec.synthesis[0].linear.weight
        step = wanted.abs().amax(1, keepdim=True) / 127
        assert ((found - wanted).abs() <= 0.501 * step).all()

    @pytest.mark.parametrize("bits", [3, 9, 8.0, None])
    def test_of_other_bits_are_refused(self, model, bits):
        with pytest.raises(ValueError, match="bits: wanted 4 to 8"):
            model.codec(bits=bits)

    @pytest.mark.parametrize("data", [b"", b"abc", bytes(100)])
    def test_that_are_none_are_refused(self, data):
        with pytest.raises(ValueError, match="these are no weights of a codec"):
            AlbumCodec.from_bytes(data)

    def test_of_the_other_codec_are_refused(self, codec):
        with pytest.raises(ValueError, match="the weights are of None, version 1; wanted 'small pictures', version 1"):
            AlbumCodec(codec.arrays, {"version": 1, "sizes": codec.facts["sizes"]})


class TestSearch:
    def test_finds_the_least_cost_of_separate_values(self):
        wanted = torch.tensor([[3.0, -2.0, 0.0], [0.0, 1.0, 5.0]])

        def cost(codes, which):
            return (codes - wanted[which]).square().sum(1)

        ends = torch.full((3,), -4.0), torch.full((3,), 4.0)
        found = searched(torch.zeros(2, 3), cost, 20, ends)
        assert found.tolist() == [[3, -2, 0], [0, 1, 4]]  # 5 lies beyond the end

    ENDS = (torch.full((3,), -9.0), torch.full((3,), 9.0))

    def test_makes_all_changes_that_help_each_other(self):
        def cost(codes, which):
            return (codes - 2.0).square().sum(1)

        assert searched(torch.zeros(1, 3), cost, 1, self.ENDS).tolist() == [[1, 1, 1]]

    def test_makes_the_best_change_alone_where_they_exclude_each_other(self):
        def cost(codes, which):
            total = codes.sum(1)  # one change of 1 is right, three are worse than none
            return 10 * (total - 1).square() - codes @ torch.tensor([0.1, 0.3, 0.2])

        assert searched(torch.zeros(1, 3), cost, 5, self.ENDS).tolist() == [[0, 1, 0]]

    def test_tries_those_first_that_promise_most(self, monkeypatch):
        def cost(codes, which):
            return codes @ torch.tensor([1.0, 5.0, 2.0])

        monkeypatch.setattr("aecore.models.code_search.TRIED", 1)
        assert searched(torch.zeros(1, 3), cost, 1, self.ENDS).tolist() == [[0, -1, 0]]

    def test_leaves_alone_what_has_become_no_better(self):
        wanted, asked = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), []

        def cost(codes, which):
            asked.append(which.tolist())
            return (codes - wanted[which]).square().sum(1)

        assert torch.equal(searched(torch.zeros(2, 3), cost, 10, self.ENDS), wanted)
        assert asked[0] == [0, 1]
        assert asked[-1] == [1]

    def test_never_raises_the_cost(self, codec, images):
        before, after = codec.codes(images), codec.codes(images, rounds=5)
        cost = codec._cost(images)
        every = torch.arange(len(images))
        lowered = cost(before.float(), every) - cost(after.float(), every)
        assert (lowered >= 0).all()
        assert lowered.mean() > 0

    def test_cost_is_bits_and_error(self, codec, images):
        codes = codec.codes(images)
        error = (codec.images(codes) - images).square().mean((1, 2, 3)).numpy()
        _, frequencies = codec._ranges(codes, by_picture=True)
        wanted = LMBDA * 255**2 * 64 * error + (PRECISION - np.log2(frequencies)).sum(1)
        found = codec._cost(images)(codes.float(), torch.arange(len(images))).numpy()
        # The search computes in float32, without the ends of tables and the rungs of scales.
        assert np.allclose(found, wanted, rtol=0.02, atol=1)

    def test_makes_files_that_any_codec_of_the_model_reads(self, codec, images):
        file = codec.compress(images, rounds=3)
        assert torch.equal(codec.codes_in(file), codec.codes(images, rounds=3))


class TestTraining:
    def test_lowers_the_loss(self, principal, images):
        pixels = (images * 255).byte()
        part = ae.data.Images(pixels)
        data = Splits(part, part, part)
        made = small_model(principal)
        plan = ae.Plan(epochs=6, batch_size=50, lr=3e-3)
        run = ae.fit(made, data, plan, objective=RateDistortion(LMBDA))
        assert run.history.valid["loss"][-1] < run.history.valid["loss"][0]


class TestWarping:
    @pytest.fixture
    def digits(self):
        """A bright square in the middle of a dark image, twice, with labels."""
        pixels = torch.zeros(2, 1, 20, 20, dtype=torch.uint8)
        pixels[:, :, 6:14, 6:14] = 200
        return ae.data.Images(pixels, torch.tensor([3, 5]), "squares-train")

    def test_keeps_the_images_and_adds_copies(self, digits):
        found = with_warped_copies(digits, 3)
        assert found.pixels.shape == (8, 1, 20, 20)
        assert torch.equal(found.pixels[:2], digits.pixels)
        assert found.labels.tolist() == [3, 5] * 4
        assert found.name == "squares-train with 3 warped copies"

    def test_copies_are_near_and_all_different(self, digits):
        copies = with_warped_copies(digits, 3).pixels[2:].float()
        assert len(copies.flatten(1).unique(dim=0)) == 6
        overlap = (copies * digits.pixels[0].float()).sum((1, 2, 3)) / digits.pixels[0].float().square().sum()
        assert (overlap > 0.8).all()

    def test_centre_stays(self, digits):
        copies = with_warped_copies(digits, 3).pixels.double()
        places = torch.arange(20) - 9.5
        for axis in (2, 3):
            sums = copies.sum((1, 5 - axis))
            assert ((sums @ places.double()) / sums.sum(1)).abs().max() < 0.1  # of a pixel

    def test_follows_from_the_seed(self, digits):
        first, again, other = (with_warped_copies(digits, 1, seed) for seed in (0, 0, 1))
        assert torch.equal(first.pixels, again.pixels)
        assert not torch.equal(first.pixels, other.pixels)

    @pytest.mark.parametrize("copies", [0, 1.0, True])
    def test_other_numbers_of_copies_are_refused(self, digits, copies):
        with pytest.raises(ValueError, match="copies: wanted a whole number from 1"):
            with_warped_copies(digits, copies)
