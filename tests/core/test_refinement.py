"""`models.refinement`: latents optimised for one picture, and what a codec makes of them."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aecore.codec import Tables, encode, logistic_table, table_of
from aecore.models import CompressiveAutoencoder, PictureCodec, nested_components, refinement
from aecore.models.integer_prior import UNIT, IntegerPrior, floats_of, integers_of
from aecore.models.refinement import bits_in, bits_of, rounded_by_chance

SHAPE, CHANNELS, LMBDAS = (3, 16, 24), 20, (0.002, 0.05)


def picture(height, width, channels=3, seed=0):
    """A smooth random picture (1, channels, height, width) in the shades of a file."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, channels, -(-height // 3), -(-width // 3), generator=generator)
    return (F.interpolate(small, size=(height, width), mode="bilinear") * 255).round() / 255


@pytest.fixture(scope="module")
def model():
    """It starts as PCA; its entropy model is drawn, larger than usual, so that means and scales differ."""
    photos = torch.cat([picture(*SHAPE[1:], seed=seed) for seed in range(30)])
    principal = nested_components(photos, CHANNELS, 12, (2, 2))
    torch.manual_seed(0)
    made = CompressiveAutoencoder(SHAPE, CHANNELS, 12, (2, 2), LMBDAS, principal)
    with torch.no_grad():
        made.prior.head.weight.mul_(10)
        made.prior.level_hidden.normal_(std=0.3)
        made.prior.second_hidden.normal_(std=0.3)
    return made.eval()


@pytest.fixture(scope="module")
def codec(model):
    return model.codec()


def cost_of(codec, file, x, quality):
    """λ · 255² · MSE + bits per pixel, of what is read from a file."""
    error = (codec.decompress([file]) - x).square().mean().item()
    return LMBDAS[quality - 1] * 255**2 * error + 8 * len(file) / x[0, 0].numel()


class TestRoundingByChance:
    def test_goes_up_as_often_as_it_should(self):
        # The two numbers have the logits −artanh(.3)/.5 and −artanh(.7)/.5; a sample is nearer to the larger.
        chance = torch.rand(20_000, generator=torch.Generator().manual_seed(0)).logit()
        found = rounded_by_chance(torch.full((20_000,), 4.3), chance, 0.5)
        wanted = 1 / (1 + math.exp((math.atanh(0.7) - math.atanh(0.3)) / 0.5))
        assert (found > 4.5).float().mean().item() == pytest.approx(wanted, abs=0.012)  # four standard deviations

    @pytest.mark.parametrize("value", [-1.7, -1.2, 0.0, 0.45, 2.51])
    def test_is_rounding_where_it_is_cold(self, value):
        found = rounded_by_chance(torch.tensor([value]), torch.zeros(1), 0.01)
        assert found.item() == pytest.approx(round(value), abs=1e-3)

    def test_stays_between_the_two_numbers(self):
        values = torch.linspace(-2, 1.99, 1000)
        chance = torch.rand(1000, generator=torch.Generator().manual_seed(0)).logit()
        found = rounded_by_chance(values, chance, 0.5)
        assert ((found >= values.floor()) & (found <= values.floor() + 1)).all()

    def test_has_a_gradient_even_at_whole_numbers(self):
        values = torch.tensor([0.0, 0.5, 3.0], requires_grad=True)
        rounded_by_chance(values, torch.zeros(3), 0.5).sum().backward()
        assert (values.grad[1] > 0, values.grad.isfinite().all()) == (True, True)


class TestBits:
    def test_lie_on_lines_between_whole_numbers(self):
        table = torch.tensor([[3.0, 1.0, 2.0], [8.0, 8.0, 4.0]])
        values = torch.tensor([[0.25, -1.0], [5.0, 0.0]]).reshape(1, 2, 1, 2)
        assert bits_of(values, table).item() == 1.25 + 3 + 4 + 8

    def test_have_the_slope_of_their_line(self):
        values = torch.tensor([-0.5, 0.5]).reshape(1, 1, 1, 2).requires_grad_()
        bits_of(values, torch.tensor([[3.0, 1.0, 2.0]])).backward()
        assert values.grad.flatten().tolist() == [-2, 1]

    @pytest.mark.parametrize("value", [0, 2, -3, 4, 5, 9, -7])
    def test_of_whole_numbers_are_what_the_coder_writes(self, value):
        table = table_of([0.1, 0.2, 0.3, 0.2, 0.1, 0.05], -2)  # −2 … 3; all else is an escape
        wanted = len(encode(np.full(4000, value), np.zeros(4000, int), Tables([table]))) * 8 / 4000
        assert bits_in([table], 10)[0, value + 10].item() == pytest.approx(wanted, abs=0.02)  # the coder's state

    def test_have_a_row_for_each_table(self):
        found = bits_in([logistic_table(1.0), logistic_table(5.0)], 3)
        assert found.shape == (2, 7)
        assert found[0, 3] < found[1, 3]


class TestFloats:
    def test_give_the_means_and_rungs_of_the_whole_numbers(self, model):
        whole = IntegerPrior(integers_of(model.prior))
        z, seen = torch.randn(CHANNELS // 4, 2, 2).mul(3).round(), torch.randn(CHANNELS, 8, 8).mul(4).round()
        floats = floats_of(whole)
        mean, rung = floats.means_and_rungs(z[None], seen[None], torch.tensor([0.5]), lambda values: values)
        features = whole.features(z, (8, 8))
        for known, where in ((None, floats_board()), (seen.double() * UNIT * floats_board(), ~floats_board())):
            wanted, rungs = whole.distributions(features, 32, known)
            # Values are rounded to 1/64 after each of five layers, which a rung's eightfold output makes larger.
            assert (mean[0] - wanted / UNIT)[:, where].abs().max() < 0.1
            assert (rung[0].clamp(0, 63) - rungs.float())[:, where].abs().max() < 1.2

    def test_take_no_gradient(self, codec):
        assert not any(weight.requires_grad for weight in floats_of(codec.prior).parameters())


def floats_board():
    return (torch.arange(8)[:, None] + torch.arange(8)) % 2 == 0


class TestCost:
    def test_of_a_file_by_hand(self, codec):
        cost = codec._cost(torch.zeros(3, 4, 5), 0)
        assert cost.of(bytes(10), torch.full((1, 3, 4, 5), 0.1)) == pytest.approx(0.002 * 65025 * 0.01 + 80 / 20)

    def test_between_two_qualities_has_their_geometric_mean_as_price(self, codec):
        assert codec._cost(torch.zeros(3, 4, 4), 32).lmbda == pytest.approx(0.01)  # √(.002 · .05)

    @pytest.mark.parametrize("shape", [(3, 75, 50), (1, 75, 50)])
    def test_gradients_in_bands_are_those_of_the_whole(self, codec, shape, monkeypatch):
        x = picture(*shape[1:], channels=shape[0])
        found = []
        for band in (4, 1000):
            monkeypatch.setattr(refinement, "BAND", band)
            latents = codec._latents_of(F.pad(x.expand(-1, 3, -1, -1), (0, 2, 0, 1)), 64)
            latents = refinement.Latents(*(values.clone().requires_grad_() for values in latents))
            codec._cost(x[0], 64).backward(latents, 0.3, torch.Generator().manual_seed(0))
            found.append(latents)
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)  # float32, sums of 4,000 pixels

    @pytest.mark.parametrize("channels", [1, 3])
    def test_gradient_is_the_slope_of_the_cost(self, codec, channels):
        """Where all is soft: the same chance and temperature, and a cost that is computed here."""
        x = picture(12, 16, channels)
        colours = x.expand(-1, 3, -1, -1)
        latents = refinement.Latents(*(v.clone().requires_grad_() for v in codec._latents_of(colours, 0)))
        cost = codec._cost(x[0], 0)
        cost.backward(latents, 0.5, torch.Generator().manual_seed(3))

        def soft_cost(y):
            generator = torch.Generator().manual_seed(3)
            chance = [torch.rand(v.shape, generator=generator).clamp(1e-6, 1 - 1e-6).logit() for v in latents]
            z = rounded_by_chance(latents.z, chance[1], 0.5)
            mean, rung = cost.prior.means_and_rungs(z, y, cost.position, lambda v: rounded_by_chance(v, chance[0], 0.5))
            difference = rounded_by_chance(y - mean, chance[0], 0.5)
            scale = 0.06 * torch.exp(rung * math.log(64 / 0.06) / 63)
            mass = torch.sigmoid((0.5 - difference.abs()) / scale) - torch.sigmoid((-0.5 - difference.abs()) / scale)
            mass = (1 - 1e-6) * mass + 1e-6 / (1 + difference.square())
            bits = -(mass.log2() * (rung >= 0.5)).sum() + bits_of(z, cost.hyper_bits)
            y_hat = torch.where(rung >= 0.5, difference, 0) + mean
            x_hat = codec.synthesis(y_hat / cost.back)
            x_hat = x_hat.mean(1, keepdim=True) if channels == 1 else x_hat
            error = (x_hat.clamp(0, 1) - x).square().mean()
            return 0.002 * 255**2 * error + bits / (12 * 16)

        y = latents.y.detach().clone().requires_grad_()
        soft_cost(y).backward()
        torch.testing.assert_close(latents.y.grad, y.grad, rtol=1e-3, atol=1e-5)  # float32


    @pytest.mark.parametrize(("level_scale", "moves"), [(3 / UNIT, False), (5 / UNIT, True)])
    def test_values_on_the_lowest_rung_are_their_means(self, model, level_scale, moves):
        """Eight rungs for 1: .375 of a rung is rounded to the lowest, which is not coded, and .625 is not."""
        flat, x = copy.deepcopy(model), picture(12, 16)
        for weight in (flat.prior.head.weight, flat.prior.head.bias):
            torch.nn.init.zeros_(weight)
        flat.prior.level_scale.data.fill_(level_scale)
        codec = flat.codec()
        latents = refinement.Latents(*(v.clone().requires_grad_() for v in codec._latents_of(x, 0)))
        codec._cost(x[0], 0).backward(latents, 0.5, torch.Generator().manual_seed(0))
        assert bool(latents.y.grad.count_nonzero()) == moves


class TestRefinedFiles:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("quality", [1, 2])
    def test_cost_less(self, codec, channels, quality):
        x = picture(42, 61, channels)
        plain, better = (codec.compress(x, quality, refine=steps)[0] for steps in (0, 40))
        assert cost_of(codec, better, x, quality) < 0.995 * cost_of(codec, plain, x, quality)

    def test_never_cost_more(self, codec, monkeypatch):
        monkeypatch.setattr(refinement, "RATE", 30.0)  # which ruins the latents at once
        x = picture(24, 24)
        assert codec.compress(x, 1, refine=5) == codec.compress(x, 1)

    def test_the_best_on_the_way_is_kept(self, codec, monkeypatch):
        x, good = picture(24, 24), codec.compress(picture(24, 24), 2, refine=20)[0]
        look = refinement.refined

        def ruined_at_last(*given):
            *before, last = look(*given)
            yield from (*before, last, refinement.Latents(last.y + 100, last.z))

        monkeypatch.setattr("aecore.models.picture_codec.refined", ruined_at_last)
        assert codec.compress(x, 2, refine=20)[0] == good

    def test_what_was_seen_on_the_way_stays(self, codec):
        x = picture(24, 24)
        looks = list(refinement.refined(codec._latents_of(x, 0), codec._cost(x[0], 0), 10))
        assert len(looks) == refinement.LOOKS
        assert not any(torch.equal(one.y, other.y) for one, other in pairwise(looks))

    def test_are_the_same_each_time_and_draw_nothing(self, codec):
        torch.manual_seed(0)
        first = codec.compress(picture(24, 24), 1, refine=10)
        drawn = torch.rand(1)
        torch.manual_seed(0)
        assert torch.equal(torch.rand(1), drawn)
        torch.manual_seed(5)
        assert codec.compress(picture(24, 24), 1, refine=10) == first

    def test_are_read_by_a_codec_that_knows_nothing_of_it(self, codec):
        x = picture(24, 40)
        again = PictureCodec.from_bytes(codec.to_bytes())
        file = codec.compress(x, 2, refine=20)
        assert torch.equal(again.decompress(file), codec.decompress(file))
        assert again.fingerprint == codec.fingerprint

    def test_change_no_weight(self, codec):
        before = codec.to_bytes()
        weights = [weight.clone() for weight in codec.synthesis.parameters()]
        codec.compress(picture(16, 16), 1, refine=5)
        assert codec.to_bytes() == before
        assert all(torch.equal(a, b) for a, b in zip(weights, codec.synthesis.parameters(), strict=True))

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_are_made_in_every_mode(self, codec, mode):
        wanted = codec.compress(picture(16, 16), 1, refine=5)
        with mode():
            before = torch.is_grad_enabled()
            assert codec.compress(picture(16, 16), 1, refine=5) == wanted
            assert torch.is_grad_enabled() == before

    @pytest.mark.parametrize("size", [(1, 1), (1, 33), (37, 2)])
    def test_may_have_any_size(self, codec, size):
        x = picture(*size)
        assert codec.decompress(codec.compress(x, 2, refine=3)).shape == x.shape

    def test_several_are_those_of_each_alone(self, codec):
        x = torch.cat([picture(12, 12, seed=seed) for seed in range(2)])
        assert codec.compress(x, 2, refine=5) == [codec.compress(one[None], 2, refine=5)[0] for one in x]

    @pytest.mark.parametrize("refine", [-1, 1.5, True, "10", None])
    def test_steps_that_are_none_are_refused(self, codec, refine):
        with pytest.raises(ValueError, match="refine: wanted a number of steps, such as 100, or 0 for none, got"):
            codec.compress(picture(8, 8), 1, refine=refine)


class TestProgress:
    @pytest.mark.parametrize("refine", [0, 7])
    def test_of_encoding_rises_to_one(self, codec, refine):
        told = []
        codec.compress(torch.cat([picture(300, 8)] * 2), 1, refine, told.append)
        assert told == sorted(told)
        assert (len(told) >= 6 + 2 * refine, 0 < told[0] < 0.5, told[-1]) == (True, True, 1)

    def test_of_decoding_rises_to_one(self, codec):
        told = []
        codec.decompress(codec.compress(torch.cat([picture(300, 8)] * 2), 2), told.append)
        assert told == sorted(told)
        # The first word comes when half of the first file's values are read.
        assert (len(told) >= 6, 0 < told[0] < 0.2, told[-1]) == (True, True, 1)
