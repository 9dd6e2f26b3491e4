"""`metrics`: by hand on 4×4 images, and against scikit-image and torchmetrics on random ones."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.metrics
import torch
import torchmetrics.functional.image as reference
from torch import nn

from aecore import distributed, metrics
from aecore.data import Images, Splits, sample
from aecore.models import ConvAutoencoder, Frozen, LinearAutoencoder

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 11, 17), (1, 96, 60)]


@pytest.fixture(params=SHAPES, ids=str)
def pair(request):
    """Five random images and noisy copies: the SSIM of the pairs spreads from about .3 to .95."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, *request.param, generator=generator)
    strength = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.5]).reshape(5, 1, 1, 1)
    return x, x + strength * torch.randn(x.shape, generator=generator)


def one_pixel_off():
    """A black 4×4 image and its copy with one white pixel."""
    x = torch.zeros(1, 1, 4, 4)
    x_hat = x.clone()
    x_hat[0, 0, 1, 2] = 1
    return x, x_hat


def each(function, pair):
    """`function` of scikit-image, image by image, channels last and in double precision."""
    images = (batch.double().permute(0, 2, 3, 1).numpy() for batch in pair)
    return [function(x, x_hat) for x, x_hat in zip(*images, strict=True)]


def test_mse_by_hand():
    assert metrics.mse(*one_pixel_off()).item() == 1 / 16


def test_mae_by_hand():
    assert metrics.mae(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)).item() == 0.5


def test_psnr_by_hand():
    assert metrics.psnr(*one_pixel_off()).item() == pytest.approx(10 * math.log10(16), rel=1e-6)  # float32


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_gives_one_value_for_each_image(name, pair):
    assert metrics.METRICS[name](*pair).shape == (5,)


def test_mse_is_that_of_scikit_image(pair):
    # float32: 24 bits
    assert metrics.mse(*pair).tolist() == pytest.approx(each(skimage.metrics.mean_squared_error, pair), rel=1e-5)


def test_mae_is_that_of_numpy(pair):
    wanted = each(lambda x, x_hat: np.abs(x - x_hat).mean(), pair)
    assert metrics.mae(*pair).tolist() == pytest.approx(wanted, rel=1e-5)  # float32


def test_psnr_is_that_of_scikit_image(pair):
    wanted = each(lambda x, x_hat: skimage.metrics.peak_signal_noise_ratio(x, x_hat, data_range=1.0), pair)
    assert metrics.psnr(*pair).tolist() == pytest.approx(wanted, abs=1e-4)  # 1e-5 of the MSE is 4e-5 dB


def test_psnr_is_that_of_torchmetrics(pair):
    wanted = reference.peak_signal_noise_ratio(pair[1], pair[0], data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert metrics.psnr(*pair).tolist() == pytest.approx(wanted.tolist(), abs=1e-4)  # float32, in dB


def ssim_of_scikit_image(x, x_hat):
    return skimage.metrics.structural_similarity(
        x, x_hat, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
    )


def ssim_of_torchmetrics(x, x_hat):
    """torchmetrics' values at the places where the window lies inside the image."""
    _, places = reference.structural_similarity_index_measure(
        x_hat, x, data_range=1.0, reduction="none", return_full_image=True
    )
    return places[..., 5:-5, 5:-5].flatten(1).mean(1).tolist()


def test_ssim_is_that_of_scikit_image(pair):
    # float32: a square of a mean is taken from a mean of squares of up to 1, rounded to 6e-8
    assert metrics.ssim(*pair).tolist() == pytest.approx(each(ssim_of_scikit_image, pair), abs=5e-7)


def test_ssim_is_that_of_torchmetrics(pair):
    assert metrics.ssim(*pair).tolist() == pytest.approx(ssim_of_torchmetrics(*pair), abs=1e-6)  # two roundings


@pytest.mark.parametrize("name", ["mnist", "emnist"])
def test_ssim_of_digits_and_letters_is_that_of_scikit_image_and_of_torchmetrics(name):
    x = sample.build(name).test.floats()[:30]
    x_hat = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    found = metrics.ssim(x, x_hat).tolist()
    assert found == pytest.approx(each(ssim_of_scikit_image, (x, x_hat)), abs=5e-7)
    assert found == pytest.approx(ssim_of_torchmetrics(x, x_hat), abs=1e-6)  # two roundings


def test_ssim_of_photographs_is_that_of_scikit_image():
    """A bright, even sky is the hard case: its variance is what is left of two numbers near 1. With a window that was
    made in float32 and does not add up to 1, as that of torchmetrics, the same is 4e-5 off."""
    x = sample.build("cifar10").test.floats()[:40]
    x_hat = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    # float32: 6e-8 against C2 = 9e-4, the smallest that the error is divided by, is 7e-5 at one place, less in the mean
    assert metrics.ssim(x, x_hat).tolist() == pytest.approx(each(ssim_of_scikit_image, (x, x_hat)), abs=5e-6)


@pytest.fixture
def large_pair():
    """Two images of 200×190, of other sizes at every scale, and copies with noise and with less contrast."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(2, 3, 50, 48, generator=generator), size=(200, 190), mode="bilinear")
    noisy = x[:1] + 0.1 * torch.randn(x[:1].shape, generator=generator)
    return x, torch.cat([noisy, 0.5 + 0.3 * (x[1:] - 0.5)]).clamp(0, 1)


def test_ms_ssim_is_made_of_the_parts_that_torchmetrics_gives(large_pair):
    x, x_hat = large_pair
    wanted = torch.ones(2)
    for weight in (0.0448, 0.2856, 0.3001, 0.2363):
        _, structure = reference.structural_similarity_index_measure(
            x_hat, x, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        wanted *= structure**weight
        x, x_hat = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(x_hat, 2)
    wanted *= torch.tensor(ssim_of_torchmetrics(x, x_hat)) ** 0.1333
    assert metrics.ms_ssim(*large_pair).tolist() == pytest.approx(wanted.tolist(), abs=5e-5)  # its window, see above


def test_ms_ssim_is_about_that_of_torchmetrics(large_pair):
    x, x_hat = large_pair
    wanted = reference.multiscale_structural_similarity_index_measure(x_hat, x, data_range=1.0, reduction="none")
    found = metrics.ms_ssim(*large_pair).tolist()
    assert found == pytest.approx(wanted.tolist(), abs=0.01)  # at the last scale it takes in the border
    assert found[0] != pytest.approx(found[1], abs=0.05)


def test_ms_ssim_of_equal_images_is_one(large_pair):
    assert metrics.ms_ssim(large_pair[0], large_pair[0]).tolist() == pytest.approx([1, 1], abs=1e-6)  # float32


def test_ms_ssim_of_two_even_pictures_by_hand():
    """Only brightness differs, which counts at the last scale: the SSIM of the even pictures below, to .1333."""
    found = metrics.ms_ssim(torch.full((1, 1, 176, 176), 0.25), torch.full((1, 1, 176, 176), 0.5)).item()
    assert found == pytest.approx(((2 * 0.125 + 1e-4) / (0.0625 + 0.25 + 1e-4)) ** 0.1333, abs=1e-5)  # float32


def test_ms_ssim_of_a_negative_is_zero():
    x = torch.rand(1, 1, 176, 176, generator=torch.Generator().manual_seed(0))
    assert metrics.ms_ssim(x, 1 - x).item() == 0


def test_ms_ssim_of_images_that_are_too_small_is_refused():
    with pytest.raises(ValueError, match="x: MS-SSIM needs images of at least 176×176 pixels, got 176×175"):
        metrics.ms_ssim(torch.zeros(1, 1, 176, 175), torch.zeros(1, 1, 176, 175))


RATES, QUALITIES = [0.1, 0.25, 0.5, 1.0], [27.0, 30.0, 33.0, 36.5]


class TestBDRate:
    @pytest.mark.parametrize(("factor", "wanted"), [(0.5, -50), (1, 0), (2, 100)])
    def test_of_a_multiple_of_all_rates_is_that_multiple(self, factor, wanted):
        other = ([factor * rate for rate in RATES], QUALITIES)
        assert metrics.bd_rate((RATES, QUALITIES), other) == pytest.approx(wanted, abs=1e-9)

    def test_by_hand_where_the_saving_grows(self):
        # log₂ of the rates: 0, 1, 2 against 0, 0.5, 1 at the same qualities, straight lines; the mean difference is −½.
        found = metrics.bd_rate(([1, 2, 4], [30, 31, 32]), ([1, math.sqrt(2), 2], [30, 31, 32]))
        assert found == pytest.approx(100 * (2**-0.5 - 1), abs=1e-9)

    def test_counts_the_qualities_that_both_have(self):
        # Twice the rate from 31 to 32 dB, which is all that the other curve has.
        assert metrics.bd_rate(([1, 2, 4], [30, 31, 32]), ([4, 8], [31, 32])) == pytest.approx(100, abs=1e-9)

    def test_is_about_that_of_the_cubics_through_four_points(self):
        # As Bjøntegaard drew them; between smooth points both ways of drawing differ little.
        rates, qualities = [0.08, 0.2, 0.42, 0.9], [27.3, 30.1, 33.2, 36.9]
        low, high = 27.3, 36.5
        areas = []
        for rate, quality in ((RATES, QUALITIES), (rates, qualities)):
            integral = np.polyint(np.polyfit(quality, np.log(rate), 3))
            areas.append(np.polyval(integral, high) - np.polyval(integral, low))
        wanted = 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)
        assert metrics.bd_rate((RATES, QUALITIES), (rates, qualities)) == pytest.approx(wanted, abs=0.3)

    def test_does_not_ask_for_an_order(self):
        mixed = ([RATES[i] for i in (2, 0, 3, 1)], [QUALITIES[i] for i in (2, 0, 3, 1)])
        assert metrics.bd_rate((RATES, QUALITIES), mixed) == 0

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (([1], [30]), "other: wanted as many rates as qualities, two or more"),
            (([1, 2], [30]), "other: wanted as many"),
            (([0, 2], [30, 31]), "other: wanted positive rates"),
            (([1, 1], [30, 31]), "other: wanted positive rates, each once"),
            (([1, 2], [31, 30]), "qualities that rise with them"),
            (([1, 2], [30, math.nan]), "qualities that rise with them"),
            (([1, 2], [40, 41]), "wanted curves with qualities in common, got 27 to 36.5 and 40 to 41"),
        ],
    )
    def test_of_curves_that_are_none_is_refused(self, other, said):
        with pytest.raises(ValueError, match=said):
            metrics.bd_rate((RATES, QUALITIES), other)


def test_ssim_of_two_even_pictures_by_hand():
    """Without variance only the first factor is left: (2ab + C1) / (a² + b² + C1), C1 = 0.0001."""
    found = metrics.ssim(torch.full((1, 1, 11, 11), 0.25), torch.full((1, 1, 11, 11), 0.5)).item()
    assert found == pytest.approx((2 * 0.125 + 1e-4) / (0.0625 + 0.25 + 1e-4), abs=1e-6)  # float32


def test_ssim_of_an_even_picture_and_its_stripes_by_hand():
    """Stripes of a pixel, 0 and 1: the window's weights on odd and on even columns give mean and variance."""
    window = torch.exp(-((torch.arange(-5, 6).double() / 1.5) ** 2) / 2)
    mean = (window[::2].sum() / window.sum()).item()  # the middle pixel is an odd one, and dark
    x, x_hat = torch.zeros(1, 1, 11, 11), torch.zeros(1, 1, 11, 11)
    x_hat[..., ::2] = 1
    wanted = 1e-4 * 9e-4 / ((mean**2 + 1e-4) * (mean - mean**2 + 9e-4))
    assert metrics.ssim(x, x_hat).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_similarity_in_parts_is_that_of_all_images_at_once(name, monkeypatch):
    x, x_hat = torch.rand(2, 5, 1, 176, 176, generator=torch.Generator().manual_seed(0))
    whole, seen = getattr(metrics, name)(x, x_hat), []
    compared = metrics._compared
    monkeypatch.setattr(metrics, "_compared", lambda *pair: seen.append(len(pair[0])) or compared(*pair))
    monkeypatch.setattr(metrics, "VALUES", 2 * 176 * 176)
    assert torch.allclose(getattr(metrics, name)(x, x_hat), whole, atol=1e-6)
    assert max(seen) == 2


def test_ssim_needs_no_other_package(python):
    code = (
        "import sys, torch; from aecore import metrics; x = torch.rand(1, 1, 12, 12); metrics.ssim(x, x); "
        "print('torchmetrics' in sys.modules)"
    )
    assert python(code) == "False"


def test_ssim_of_an_image_with_itself_is_1(pair):
    assert metrics.ssim(pair[0], pair[0]).tolist() == pytest.approx([1] * 5, abs=1e-6)  # float32


def test_ssim_of_one_image_is_still_a_list(pair):
    assert metrics.ssim(pair[0][:1], pair[1][:1]).shape == (1,)


def test_psnr_of_an_image_with_itself_is_infinite():
    assert metrics.psnr(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).tolist() == [math.inf, math.inf]


@pytest.mark.parametrize(("mse", "db"), [(1, 0), (0.01, 20), (0.00317, 24.99), (0, math.inf)])
def test_psnr_of_a_number(mse, db):
    assert metrics.psnr_of(mse).item() == pytest.approx(db, abs=0.005)  # the third as the design rounds it


@pytest.mark.parametrize("name", metrics.METRICS)
class TestEveryMetricRefuses:
    def test_two_shapes(self, name):
        with pytest.raises(ValueError, match=r"one shape \(N, C, H, W\), got \(2, 1, 16, 16\) and \(2, 1, 16, 15\)"):
            metrics.METRICS[name](torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 15))

    def test_images_without_a_batch(self, name):
        with pytest.raises(ValueError, match="wanted one shape"):
            metrics.METRICS[name](torch.zeros(1, 16, 16), torch.zeros(1, 16, 16))

    def test_an_empty_batch(self, name):
        with pytest.raises(ValueError, match="wanted one shape"):
            metrics.METRICS[name](torch.zeros(0, 1, 16, 16), torch.zeros(0, 1, 16, 16))

    def test_bytes(self, name):
        x = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
        with pytest.raises(ValueError, match=r"x: wanted floats in \[0, 1\], got torch.uint8; for bytes divide by 255"):
            metrics.METRICS[name](x, x)

    def test_images_from_0_to_255(self, name):
        x = torch.full((2, 1, 16, 16), 255.0)
        with pytest.raises(ValueError, match=r"x: wanted values in \[0, 1\], got 255 to 255; divide"):
            metrics.METRICS[name](x, x)

    def test_negative_images(self, name):
        x = torch.full((2, 1, 16, 16), -0.5)
        with pytest.raises(ValueError, match=r"x: wanted values in \[0, 1\]"):
            metrics.METRICS[name](x, x)

    def test_reconstructions_from_0_to_255(self, name):
        x = torch.rand(2, 1, 16, 16)
        with pytest.raises(ValueError, match=r"x_hat: wanted values about \[0, 1\] like x, got .* divided by 255"):
            metrics.METRICS[name](x, x * 255)

    @pytest.mark.parametrize("place", ["x", "x_hat"])
    def test_nan(self, name, place):
        batches = {"x": torch.rand(2, 1, 16, 16), "x_hat": torch.rand(2, 1, 16, 16)}
        batches[place][1, 0, 3, 3] = math.nan
        with pytest.raises(ValueError, match=rf"^{place}: wanted values"):
            metrics.METRICS[name](**batches)


@pytest.mark.parametrize("name", [*metrics.METRICS, "checkerboard"])
@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.zeros((2, 1, 16, 16)), r"x: wanted a tensor \(N, C, H, W\), got ndarray; torch.from_numpy\(x\) makes one"),
        (Images(torch.zeros(2, 1, 16, 16, dtype=torch.uint8)), r"x: wanted a tensor .*, got Images; x.floats\(\)"),
        ([[0.5]], "x: wanted a tensor .*, got list$"),
        (None, "x: wanted a tensor .*, got NoneType$"),
    ],
    ids=["array", "Images", "list", "nothing"],
)
def test_what_is_no_tensor_is_refused_with_the_way_out(name, batch, words):
    with pytest.raises(TypeError, match=words):
        getattr(metrics, name)(batch, torch.zeros(2, 1, 16, 16))


def test_a_reconstruction_may_leave_the_range_a_little():
    assert metrics.mse(torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 1.5)).item() == 0.25


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="SSIM needs images of at least 11×11 pixels .* got 10×28"):
        metrics.ssim(torch.rand(1, 1, 10, 28), torch.rand(1, 1, 10, 28))


class TestEvaluate:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        return LinearAutoencoder((1, 12, 12), 5)

    @pytest.mark.parametrize("name", metrics.METRICS)
    def test_gives_the_values_of_the_plain_functions(self, name, model, noise):
        images = noise(7, 1, 12, 12)
        x = images.floats()
        with torch.no_grad():
            wanted = metrics.METRICS[name](x, model(x))
        assert metrics.evaluate(model, images).each[name].tolist() == pytest.approx(wanted.tolist(), rel=1e-6)

    @pytest.mark.parametrize(("field", "name"), [("mse", "mse"), ("mae", "mae"), ("psnr_db", "psnr"), ("ssim", "ssim")])
    def test_a_score_is_the_mean_over_images(self, field, name, model, noise):
        scores = metrics.evaluate(model, noise(7, 1, 12, 12), batch_size=3)
        assert getattr(scores, field) == pytest.approx(sum(scores.each[name].tolist()) / 7, rel=1e-12)  # double

    @pytest.mark.parametrize("size", [1, 3, 22, 23, 500])
    @pytest.mark.parametrize("field", ["mse", "mae", "psnr_db", "psnr_of_mse_db", "ssim"])
    def test_the_batch_size_changes_no_result(self, field, size, model, noise):
        images = noise(23, 1, 12, 12)
        whole = getattr(metrics.evaluate(model, images, batch_size=23), field)
        # A matrix product of another height may round its float32 sums otherwise.
        assert getattr(metrics.evaluate(model, images, batch_size=size), field) == pytest.approx(whole, rel=1e-6)

    @pytest.fixture
    def two(self):
        """Two black images; the "model" adds .1 to one and .01 to the other: MSE .01 and .0001, 20 and 40 dB."""
        images = Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
        return metrics.evaluate(lambda x: x + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1), images)

    def test_the_mean_psnr_of_20_and_40_db_is_30(self, two):
        assert two.psnr_db == pytest.approx(30, abs=1e-4)  # float32

    def test_the_psnr_of_the_mean_mse_is_lower(self, two):
        assert two.psnr_of_mse_db == pytest.approx(-10 * math.log10(0.00505), abs=1e-4)  # 22.97 dB; float32

    def test_a_perfect_image_has_no_part_in_the_mean_psnr(self):
        images = Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
        scores = metrics.evaluate(lambda x: x + torch.tensor([0, 0.1]).reshape(2, 1, 1, 1), images)
        assert scores.psnr_db == pytest.approx(20, abs=1e-4)  # float32

    def test_perfect_images_alone_have_an_infinite_psnr(self, noise):
        assert metrics.evaluate(lambda x: x, noise(3, 1, 4, 4)).psnr_db == math.inf

    def test_clip_brings_reconstructions_into_range_first(self):
        images = Images(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))
        scores = [metrics.evaluate(lambda x: x + 0.5, images, clip=clip).mse for clip in (False, True)]
        assert scores == [0.25, 0]

    def test_ssim_of_small_images_is_nan(self, noise):
        assert math.isnan(metrics.evaluate(lambda x: x, noise(3, 1, 10, 12)).ssim)

    def test_colour_is_scored(self, noise):
        assert metrics.evaluate(lambda x: x, noise(3, 3, 12, 12)).ssim == pytest.approx(1, abs=1e-6)  # float32

    def test_an_empty_set_is_refused_by_its_name(self, model, noise):
        with pytest.raises(ValueError, match="images: noise is empty"):
            metrics.evaluate(model, noise(3, 1, 12, 12)[:0])

    def test_a_model_for_other_images_is_refused(self, model, noise):
        with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, 1, 12, 12\), got \(3, 1, 16, 16\)"):
            metrics.evaluate(model, noise(3, 1, 16, 16))

    def test_a_model_that_gives_nan_is_refused(self, noise):
        with pytest.raises(ValueError, match="x_hat: .* training that broke down"):
            metrics.evaluate(lambda x: x * math.nan, noise(3, 1, 4, 4))

    @pytest.mark.parametrize("training", [True, False])
    def test_a_model_is_left_in_its_mode(self, training, noise):
        model = ConvAutoencoder((1, 12, 12), 9).train(training)
        metrics.evaluate(model, noise(3, 1, 12, 12))
        assert all(layer.training is training for layer in model.modules())

    def test_a_model_is_left_in_its_mode_after_an_error(self, model, noise):
        with pytest.raises(ValueError, match="x: wanted images"):
            metrics.evaluate(model.train(), noise(3, 1, 16, 16))
        assert model.training

    def test_a_model_is_evaluated_in_evaluation_mode(self, noise):
        assert metrics.evaluate(nn.Dropout(0.5).train(), noise(3, 1, 4, 4)).mse == 0

    def test_no_gradient_is_kept(self, model, noise):
        assert not metrics.evaluate(model, noise(3, 1, 12, 12)).each["mse"].requires_grad

    def test_the_scores_say_what_they_were_made_on(self, model, noise):
        assert repr(metrics.evaluate(model, noise(3, 1, 12, 12))).startswith("noise (3 images): MSE 0.")

    @pytest.mark.parametrize("size", [0, -1, 2.5, True, "all", None])
    def test_another_batch_size_is_refused(self, size, model, noise):
        """-1 scored no image and said so by a mean squared error of 0."""
        with pytest.raises(ValueError, match=f"batch_size: wanted a whole number from 1, got {size!r}"):
            metrics.evaluate(model, noise(3, 1, 12, 12), batch_size=size)

    def test_a_run_is_scored_by_its_model(self, model, noise):
        run = SimpleNamespace(model=model)
        assert metrics.evaluate(run, noise(3, 1, 12, 12)).mse == metrics.evaluate(model, noise(3, 1, 12, 12)).mse

    @pytest.mark.parametrize("what", [None, "linear", 3])
    def test_what_is_no_model_is_refused(self, what, noise):
        with pytest.raises(TypeError, match="model: wanted a model, a run or a function, got "):
            metrics.evaluate(what, noise(3, 1, 12, 12))

    def test_a_class_is_refused_with_the_way_out(self, noise):
        with pytest.raises(TypeError, match="got the class LinearAutoencoder; make one of it first, with brackets"):
            metrics.evaluate(LinearAutoencoder, noise(3, 1, 12, 12))

    def test_three_parts_are_refused_with_the_way_out(self, model, noise):
        with pytest.raises(TypeError, match="images: wanted Images, got Splits; choose a part of it, such as .test"):
            metrics.evaluate(model, Splits(*[noise(3, 1, 12, 12)] * 3))

    @pytest.mark.parametrize("batch", [torch.zeros(3, 1, 12, 12), np.zeros((3, 1, 12, 12))], ids=["tensor", "array"])
    def test_an_array_is_refused_with_the_way_out(self, model, batch):
        with pytest.raises(TypeError, match="images: wanted Images, got .*; ae.from_array makes them"):
            metrics.evaluate(model, batch)

    def test_a_model_that_gives_more_than_images_is_refused(self, noise):
        with pytest.raises(TypeError, match="model: wanted it to give a tensor for a batch of images, got tuple"):
            metrics.evaluate(lambda x: (x, x), noise(3, 1, 12, 12))

    @pytest.mark.parametrize(
        "spoil",
        [
            pytest.param(lambda x: x.mul_(0.5), id="in place"),
            pytest.param(lambda x: x.flatten(1).clamp_(0.4, 0.6).view(x.shape), id="through a view"),
            pytest.param(nn.Threshold(0.5, 0, inplace=True), id="by its first layer"),
        ],
    )
    def test_a_model_that_writes_into_its_images_is_refused_with_the_way_out(self, spoil, noise):
        """It would be compared with the changed images: MSE .088 where it was .225."""
        with pytest.raises(ValueError, match=r"model: .*: it writes into the images .* on a copy: x = x.clone\(\)"):
            metrics.evaluate(spoil, noise(3, 1, 12, 12))

    def test_a_model_that_writes_into_a_copy_is_scored(self, noise):
        assert metrics.evaluate(lambda x: x.clone().mul_(1.0), noise(3, 1, 12, 12)).mse == 0

    def test_it_works_where_nobody_counts_changes(self, model, noise):
        with torch.inference_mode():
            inside = metrics.evaluate(model, noise(3, 1, 12, 12)).mse
        assert inside == metrics.evaluate(model, noise(3, 1, 12, 12)).mse

    @pytest.mark.parametrize("name", metrics.METRICS)
    @pytest.mark.parametrize("count", [2, 3])
    def test_the_shares_of_several_processes_add_up_to_the_very_values_of_one(
        self, name, count, model, noise, monkeypatch
    ):
        """23 images in batches of 5: five batches, the last of three images, fall unevenly on two or three."""
        images = noise(23, 1, 12, 12)
        whole = metrics.evaluate(model, images, batch_size=5).each[name]
        shares = []
        monkeypatch.setattr(distributed, "world_size", lambda: count)
        monkeypatch.setattr(distributed, "all_reduce_sum_on_cpu", lambda values: values)  # each keeps its own
        for rank in range(count):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            shares.append(metrics.evaluate(model, images, batch_size=5).each[name])
        assert torch.equal(sum(shares), whole)


class Brightness(nn.Module):
    """A judge: class 1 for images that are more than half white, else class 0."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        white = self.scale * x.flatten(1).mean(1)
        return torch.stack([1 - white, white], 1)


class Raw:
    """A codec whose file of an image is its bytes, but for those of black pixels; it loses the lowest four bits."""

    def compress(self, x):
        kept = (x * 255).round().to(torch.uint8).flatten(1) // 16 * 16
        self.shape = x.shape[1:]
        return [bytes(image.tolist()).rstrip(b"\0") for image in kept]

    def decompress(self, files):
        side = math.prod(self.shape)
        whole = [list(file.ljust(side, b"\0")) for file in files]
        return torch.tensor(whole, dtype=torch.float32).unflatten(1, self.shape) / 255


def grey(*values, labels=None):
    """Images of 1×4×4 pixels, each of one grey."""
    pixels = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return Images(pixels, None if labels is None else torch.tensor(labels), name="grey")


def same(x):
    return x


class TestEvaluateWithAJudge:
    FOUR = grey(10, 100, 150, 250, labels=[0, 1, 0, 1])  # the judge says 0, 0, 1, 1: right, wrong, wrong, right

    @pytest.mark.parametrize("size", [1, 3, 500])
    def test_accuracy_by_hand(self, size):
        scores = metrics.evaluate(same, self.FOUR, judge=Brightness(), batch_size=size)
        assert (scores.accuracy, scores.each["accuracy"].tolist()) == (0.5, [1, 0, 0, 1])

    def test_the_judge_sees_the_reconstructions(self):
        scores = metrics.evaluate(lambda x: 1 - x, self.FOUR, judge=Brightness())
        assert scores.each["accuracy"].tolist() == [0, 1, 1, 0]

    def test_the_judge_sees_them_clipped_where_they_are(self):
        def glowing(x):  # three dark pixels to one of 10: bright on the whole, but not on a screen
            return torch.tensor([0.0, 0, 0, 10]).repeat(4).reshape(1, 1, 4, 4).expand_as(x)

        found = [metrics.evaluate(glowing, self.FOUR, judge=Brightness(), clip=clip) for clip in (False, True)]
        assert [scores.each["accuracy"].tolist() for scores in found] == [[0, 1, 0, 1], [1, 0, 1, 0]]

    @pytest.mark.parametrize("form", [Frozen, lambda judge: SimpleNamespace(model=judge), lambda judge: judge.forward])
    def test_the_judge_may_be_frozen_or_a_runs_or_a_function(self, form):
        assert metrics.evaluate(same, self.FOUR, judge=form(Brightness())).accuracy == 0.5

    @pytest.mark.parametrize("training", [True, False])
    def test_the_judge_is_used_in_evaluation_and_left_in_its_mode(self, training):
        judge = nn.Sequential(nn.Dropout(0.99), Brightness()).train(training)
        scores = metrics.evaluate(same, self.FOUR, judge=judge)
        assert (scores.each["accuracy"].tolist(), judge[0].training) == ([1, 0, 0, 1], training)

    def test_a_judge_with_a_part_called_model_is_used_whole(self):
        class Opposite(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = Brightness()

            def forward(self, x):
                return -self.model(x)

        assert metrics.evaluate(same, self.FOUR, judge=Opposite()).each["accuracy"].tolist() == [0, 1, 1, 0]

    def test_without_a_judge_there_is_no_accuracy(self):
        scores = metrics.evaluate(same, self.FOUR)
        assert (scores.accuracy, "accuracy" in scores.each) == (None, False)

    def test_the_scores_tell_it(self):
        assert repr(metrics.evaluate(same, self.FOUR, judge=Brightness())).endswith("SSIM nan  accuracy 0.5000")

    def test_images_without_labels_are_refused(self):
        with pytest.raises(ValueError, match="judge: grey has no labels to judge by"):
            metrics.evaluate(same, grey(1, 2), judge=Brightness())

    def test_a_label_that_the_judge_does_not_know_is_refused(self):
        with pytest.raises(ValueError, match="judge: knows 2 classes, but there is a label 2"):
            metrics.evaluate(same, grey(1, 2, 3, labels=[0, 1, 2]), judge=Brightness())

    def test_an_autoencoder_is_no_judge(self):
        with pytest.raises(ValueError, match=r"judge: wanted class scores of shape \(4, classes\), got \(4, 1, 4, 4\)"):
            metrics.evaluate(same, self.FOUR, judge=same)

    @pytest.mark.parametrize("judge", ["judge", 3, SimpleNamespace(model=None)])
    def test_what_is_no_classifier_is_refused(self, judge):
        with pytest.raises(TypeError, match=r"judge: wanted a model, a run or a function, got (str|int|None)"):
            metrics.evaluate(same, self.FOUR, judge=judge)

    @pytest.mark.parametrize("argument", ["model", "judge"])
    def test_a_run_whose_model_was_trained_again_is_refused(self, argument):
        def check_model(argument):
            raise ValueError(f"{argument}: the model was trained again")

        stale = SimpleNamespace(model=Brightness(), check_model=check_model)
        with pytest.raises(ValueError, match=f"{argument}: the model was trained again"):
            metrics.evaluate(**{"model": same, "judge": Brightness(), argument: stale}, images=self.FOUR)


class Dark(Brightness):
    """The opposite judge: class 0 for images that are more than half white."""

    def forward(self, x):
        return -super().forward(x)


class TestAccuracies:
    SIX = grey(10, 100, 150, 250, 20, 30, labels=[0, 1, 0, 1, 0, 0])  # brightness says 0, 0, 1, 1, 0, 0: 4 are right

    @pytest.mark.parametrize("size", [1, 4, 500])
    def test_each_judge_counts_for_itself(self, size):
        found = metrics.accuracies(same, self.SIX, [Brightness(), Dark()], batch_size=size)
        assert found == [4 / 6, 2 / 6]

    def test_one_judge_gives_the_accuracy_of_evaluate(self):
        def glowing(x):
            return 3 * x - 1  # clipped: 150 stays bright, 100 becomes darker

        scores = metrics.evaluate(glowing, self.SIX, judge=Brightness(), clip=True)
        assert metrics.accuracies(glowing, self.SIX, [Brightness()]) == [scores.accuracy]

    def test_images_are_reconstructed_once(self):
        seen = []

        def counting(x):
            seen.append(len(x))
            return x

        metrics.accuracies(counting, self.SIX, [Brightness(), Dark(), Brightness()], batch_size=4)
        assert seen == [4, 2]

    def test_judges_see_clipped_pictures(self):
        class Highest(nn.Module):
            def forward(self, x):
                brightest = x.amax((1, 2, 3))
                return torch.stack([brightest, torch.ones_like(brightest) * 1.5], 1)

        assert metrics.accuracies(lambda x: x + 2, self.SIX, [Highest()]) == [2 / 6]  # nothing above 1 was shown

    def test_judges_are_used_in_evaluation_and_left_in_their_mode(self):
        judge = nn.Sequential(nn.Dropout(0.99), Brightness()).train()
        assert metrics.accuracies(same, self.SIX, [judge]) == [4 / 6]
        assert judge.training

    @pytest.mark.parametrize(
        ("judges", "error", "words"),
        [
            ([], ValueError, "judges: the list is empty"),
            (Brightness(), TypeError, "judges: wanted a list of classifiers or of their runs, got Brightness"),
            ([3], TypeError, "judge: wanted a model, a run or a function, got int"),
            ([lambda x: x], ValueError, "judge: wanted class scores"),
        ],
    )
    def test_what_are_no_judges_is_refused(self, judges, error, words):
        with pytest.raises(error, match=words):
            metrics.accuracies(same, self.SIX, judges)

    def test_images_without_labels_are_refused(self):
        with pytest.raises(ValueError, match="has no labels to judge by"):
            metrics.accuracies(same, grey(1, 2), [Brightness()])


class TestEvaluateFromFiles:
    # Kept are 240, 240 and nothing: files of 16, 16 and 0 bytes for 16 pixels each; errors of 15, 0 and 15 steps.
    THREE = grey(255, 240, 15)

    def test_bytes_by_hand(self):
        scores = metrics.evaluate(Raw(), self.THREE, files=True)
        assert (scores.each["bytes"].tolist(), scores.bytes) == ([16, 16, 0], 32 / 3)

    def test_bits_per_pixel_by_hand(self):
        assert metrics.evaluate(Raw(), self.THREE, files=True).bpp == 8 * (32 / 3) / 16

    def test_a_pixel_is_one_whatever_its_channels(self, noise):
        scores = metrics.evaluate(Raw(), Images(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)), files=True)
        assert (scores.bytes, scores.bpp) == (48, 8 * 48 / 16)

    def test_what_the_files_give_back_is_scored(self):
        scores = metrics.evaluate(Raw(), self.THREE, files=True)
        assert scores.mae == pytest.approx((15 + 0 + 15) / 3 / 255, rel=1e-6)  # float32

    def test_and_judged(self):
        images = grey(255, 240, 15, labels=[1, 1, 1])
        assert metrics.evaluate(Raw(), images, files=True, judge=Brightness()).accuracy == pytest.approx(2 / 3)

    def test_the_codec_may_be_a_runs(self):
        assert metrics.evaluate(SimpleNamespace(model=Raw()), self.THREE, files=True).bytes == 32 / 3

    def test_without_files_there_are_no_bytes(self):
        scores = metrics.evaluate(same, self.THREE)
        assert (scores.bytes, scores.bpp, "bytes" in scores.each) == (None, None, False)

    def test_the_scores_tell_them(self):
        assert repr(metrics.evaluate(Raw(), self.THREE, files=True)).endswith("SSIM nan  10.7 bytes  5.333 bit/pixel")

    def test_a_model_without_files_is_refused(self):
        with pytest.raises(TypeError, match=r"model: files=True needs .* compress\(x\).* LinearAutoencoder has not"):
            metrics.evaluate(LinearAutoencoder((1, 4, 4), 2), self.THREE, files=True)

    @pytest.mark.parametrize(
        ("files", "got"),
        [([b"1", b"2"], "2 of bytes"), ([1, b"", 3], "3 of bytes, int"), (b"123", "bytes"), ({}, "dict"), ([], "list")],
    )
    def test_files_that_are_none_are_refused(self, files, got):
        codec = Raw()
        codec.compress = lambda x: files
        with pytest.raises(TypeError, match=rf"model: wanted compress\(x\) to give a bytes .* 3 images, got {got}$"):
            metrics.evaluate(codec, self.THREE, files=True)

    def test_a_codec_that_writes_into_the_images_is_refused(self):
        class Careless(Raw):
            def compress(self, x):
                return super().compress(x.mul_(0.5))

        with pytest.raises(ValueError, match="model: Careless: it writes into the images"):
            metrics.evaluate(Careless(), self.THREE, files=True)


@pytest.mark.parametrize("name", ["accuracy", "bytes"])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_what_the_judge_and_the_files_say_is_exact_on_uneven_shares(name, count, noise, monkeypatch):
    """23 images in batches of 5 fall unevenly on two or three processes; the sixth of six gets none."""
    images = Images(noise(23, 1, 4, 4).pixels, torch.arange(23) % 2)

    def scores():
        return metrics.evaluate(Raw(), images, judge=Brightness(), files=True, batch_size=5)

    whole, shares = scores(), []
    monkeypatch.setattr(distributed, "world_size", lambda: count)
    monkeypatch.setattr(distributed, "all_reduce_sum_on_cpu", lambda values: values)  # each keeps its own
    for rank in range(count):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(scores().each[name])
    assert torch.equal(sum(shares), whole.each[name])


def test_scores_from_before_there_were_judges_and_files_are_scores_still(noise):
    kept = dataclasses.asdict(metrics.evaluate(same, noise(2, 1, 4, 4)))
    old = {key: value for key, value in kept.items() if key not in ("accuracy", "bytes", "bpp", "each")}
    scores = metrics.Scores(**old, each={})
    assert (scores.accuracy, scores.bytes, scores.bpp) == (None, None, None)


class TestCheckerboard:
    """The expected values are worked by hand from the definition; the FFT is the independent reference."""

    @staticmethod
    def of(error):
        x = torch.full((1, 1, *error.shape), 0.5)
        return metrics.checkerboard(x, x + error).item()

    @pytest.mark.parametrize(
        "error",
        [[[1, -1], [-1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]]],
        ids=["chessboard", "columns", "rows"],
    )
    def test_a_pure_pattern_of_period_2_has_all_its_energy_there(self, error):
        assert self.of(torch.tensor(error).repeat(2, 2) * 0.1) == pytest.approx(16 / 3)

    def test_an_even_shift_of_brightness_has_none(self):
        assert self.of(torch.full((4, 4), 0.1)) == pytest.approx(0, abs=1e-6)

    def test_stripes_of_period_4_have_none(self):
        assert self.of(torch.tensor([0.1, 0.1, -0.1, -0.1]).repeat(4, 1)) == pytest.approx(0, abs=1e-6)

    def test_one_wrong_pixel_of_a_4_by_4_image_counts_as_noise(self):
        # Its spectrum is flat: three of 16 coefficients, against the three that noise has.
        error = torch.zeros(4, 4)
        error[1, 2] = 0.3
        assert self.of(error) == pytest.approx(1)

    def test_every_second_pixel_of_every_second_row_counts_four_coefficients_one_of_them_the_mean(self):
        error = torch.zeros(4, 4)
        error[::2, ::2] = 0.3
        assert self.of(error) == pytest.approx(0.75 * 16 / 3)

    def test_agrees_with_the_spectrum(self, pair):
        x, x_hat = (batch[..., : batch.shape[2] // 2 * 2, : batch.shape[3] // 2 * 2] for batch in pair)
        spectrum = torch.fft.fft2((x_hat - x).double()).abs().square().mean(1)
        height, width = spectrum.shape[1:]
        three = spectrum[:, height // 2, 0] + spectrum[:, 0, width // 2] + spectrum[:, height // 2, width // 2]
        expected = three / spectrum.sum((1, 2)) * height * width / 3
        assert torch.allclose(metrics.checkerboard(x, x_hat), expected.float(), rtol=1e-5)

    def test_is_about_1_for_noise(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.full((400, 1, 28, 28), 0.5)
        found = metrics.checkerboard(x, x + 0.1 * torch.randn(x.shape, generator=generator))
        # Each value is a mean of three squares of standard normals: deviation sqrt(2/3), over 400 images 0.04.
        assert found.mean().item() == pytest.approx(1, abs=0.13)

    def test_an_odd_width_is_refused(self):
        with pytest.raises(ValueError, match="x: wanted an even height and width, got 4×5"):
            metrics.checkerboard(torch.zeros(1, 1, 4, 5), torch.zeros(1, 1, 4, 5))
