"""`interactive`: the page holds what the model decodes, is small, and a kernel adds no more than it should."""

import base64
import io
import json
import os
import re
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aecore as ae
from aecore.data import Images
from aecore.interactive import coder, live, sheet
from aecore.models import ConvAutoencoder, DenseAutoencoder, init_weights
from aecore.training import History, Plan

INTERACTIVE = ae.interactive


@pytest.fixture(autouse=True)
def _outside_of_pytest(monkeypatch):
    """The environment of a reader: no test runs, nothing overrules."""
    monkeypatch.delenv("AECORE_WIDGETS", raising=False)


def make(code_size, shape=(1, 8, 8), seed=0):
    """Return an untrained model whose pictures are mostly inside the range and differ between codes."""
    model = DenseAutoencoder(shape, code_size, (16,))
    init_weights(model, seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 2
        model.decoder[-2].bias += 0.5
    return model


@pytest.fixture
def images(noise):
    """60 grey images of 8×8 in 3 classes."""
    drawn = noise(60, 1, 8, 8)
    return Images(drawn.pixels, torch.arange(60) % 3, "noise", classes=("ant", "bee", "cat"))


def run_of(model):
    return ae.runs.Run(
        name="00-a", fingerprint="f" * 64, model=model, plan=Plan(), loss="mse",
        history=History([0.5], [0.4], [1.0]), data={}, date="2026-11-22", seconds=1.0, machine="CPU", versions={},
    )  # fmt: skip


def data_of(figure):
    """Return what the script of a figure is given."""
    start = re.search(r'^aecoreFigure\("\w+", ', figure.html, re.M).end()
    return json.JSONDecoder().raw_decode(figure.html, start)[0]


def pixels(uri):
    """Return the bytes of a PNG in an address as an array (H, W) or (H, W, C)."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


def pictures(figure):
    """Cut the sheet of a figure into its pictures, as the script does."""
    data = data_of(figure)
    whole, w, h = pixels(data["sheet"]), data["width"], data["height"]
    return [whole[y : y + h, x : x + w] for y in range(0, whole.shape[0], h) for x in range(0, whole.shape[1], w)]


def as_bytes(x_hat):
    """Return what a picture should be as bytes, worked out with NumPy: (C, H, W) to (H, W) or (H, W, C)."""
    array = np.clip(x_hat.detach().numpy().transpose(1, 2, 0), 0, 1) * 255
    return np.rint(array).astype(np.uint8).squeeze()


def assert_same_picture(found, x_hat):
    # One grey level: a batch of another size may be summed in another order and round the other way.
    assert found.shape == as_bytes(x_hat).shape
    assert np.abs(found.astype(int) - as_bytes(x_hat)).max() <= 1


def still(figure):
    return re.search(r'<img src="([^"]+)" alt="([^"]*)"', figure.html)


FIGURES = {
    "one value": lambda images: INTERACTIVE.code(make(1), images),
    "two values": lambda images: INTERACTIVE.code(make(2), images),
    "more values": lambda images: INTERACTIVE.code(make(5), images),
    "sizes": lambda images: INTERACTIVE.sizes({1: make(1), 4: make(4)}, images),
    "walk": lambda images: INTERACTIVE.walk(make(4), images),
}


@pytest.fixture(params=FIGURES)
def figure(request, images):
    """Each figure in turn."""
    return FIGURES[request.param](images)


class TestEveryFigure:
    def test_names_no_address_of_another_host(self, figure):
        assert re.findall(r"https?:|//\w+\.\w+|\burl\(|@import|\bfetch\b|XMLHttp", figure.html) == []

    def test_is_at_most_400_kilobytes(self, figure):
        assert len(figure.html.encode()) <= 400_000

    def test_has_a_still_picture_with_words_for_it(self, figure):
        image = pixels(still(figure)[1])
        assert image.shape[0] > 60
        assert image.std() > 5
        assert len(still(figure)[2]) > 40

    def test_shows_the_still_picture_before_any_script(self, figure):
        assert figure.html.index("<img ") < figure.html.index("<script>")

    def test_has_one_script_that_ends_where_it_should(self, figure):
        assert figure.html.count("<script>") == figure.html.count("</script") == 1

    def test_stores_the_page_and_a_short_text(self, figure):
        bundle = figure._repr_mimebundle_()
        assert bundle.keys() == {"text/html", "text/plain"}
        assert bundle["text/html"] == figure._repr_html_() == figure.html
        assert bundle["text/plain"] == f"Interactive figure: {figure.alt}"

    @pytest.mark.parametrize("name", FIGURES)
    def test_same_input_gives_the_same_bytes(self, images, name):
        assert FIGURES[name](images).html == FIGURES[name](images).html

    def test_leaves_the_model_in_the_mode_that_it_had(self, images):
        model = make(2).train()
        INTERACTIVE.code(model, images)
        assert model.training

    def test_decodes_in_evaluation_mode(self, images):
        plain = make(2)
        noisy = make(2)
        noisy.decoder = nn.Sequential(nn.Dropout(0.9), plain.decoder)
        noisy.train()
        noisy.encoder = plain.encoder
        assert data_of(INTERACTIVE.code(noisy, images))["sheet"] == data_of(INTERACTIVE.code(plain, images))["sheet"]

    def test_keeps_no_gradients(self, images):
        model = make(2)
        INTERACTIVE.code(model, images)
        assert all(weight.grad is None for weight in model.parameters())

    def test_two_figures_have_places_of_their_own(self, images):
        keys = [re.search('data-aecore="(\\w+)"', FIGURES[name](images).html)[1] for name in FIGURES]
        assert len(set(keys)) == len(FIGURES)

    def test_takes_a_run_as_it_takes_its_model(self, images):
        assert INTERACTIVE.code(run_of(make(2)), images).html == INTERACTIVE.code(make(2), images).html

    def test_says_the_given_words(self, images):
        figure = INTERACTIVE.code(make(2), images, alt='Digits & "codes"', caption="Nearby codes < nearby images.")
        assert still(figure)[2] == "Digits &amp; &quot;codes&quot;"
        assert "<figcaption>Nearby codes &lt; nearby images.</figcaption>" in figure.html

    def test_has_no_caption_that_was_not_given(self, figure):
        assert "<figcaption" not in figure.html

    def test_no_class_name_can_end_the_script(self, images):
        wicked = Images(images.pixels, images.labels, classes=("</script><b>", "<!--", "c"))
        html = INTERACTIVE.code(make(1), wicked).html
        assert html.count("</script") == 1
        assert "<!--" not in html


class TestCode:
    def test_of_one_value_has_the_models_picture_at_each_step(self, images):
        model = make(1)
        figure = INTERACTIVE.code(model, images)
        (axis,) = data_of(figure)["axes"]
        assert len(axis["values"]) == 121
        for picture, x_hat in zip(pictures(figure), model.decode(torch.tensor(axis["values"])[:, None]), strict=False):
            assert_same_picture(picture, x_hat)

    def test_of_two_values_has_the_models_picture_at_each_place_of_the_plane(self, images):
        model = make(2)
        figure = INTERACTIVE.code(model, images)
        first, second = (axis["values"] for axis in data_of(figure)["axes"])
        cut = pictures(figure)
        for j in (0, 3, len(second) - 1):
            for i in (0, 5, len(first) - 1):
                # As the script finds it: the first value runs fastest.
                assert_same_picture(cut[i + j * len(first)], model.decode(torch.tensor([[first[i], second[j]]]))[0])

    def test_pictures_of_different_codes_differ(self, images):
        cut = pictures(INTERACTIVE.code(make(2), images))
        assert not np.array_equal(cut[0], cut[30])

    def test_of_colour_images_is_in_colour(self, noise):
        model = make(1, (3, 6, 6))
        figure = INTERACTIVE.code(model, noise(20, 3, 6, 6))
        value = data_of(figure)["axes"][0]["values"][7]
        assert_same_picture(pictures(figure)[7], model.decode(torch.tensor([[value]]))[0])

    def test_reaches_from_the_first_to_the_99th_percentile_of_the_codes(self, images):
        model = make(1)
        codes = model.encode(images.floats()).flatten().detach().numpy()
        values = data_of(INTERACTIVE.code(model, images))["axes"][0]["values"]
        assert (values[0], values[-1]) == pytest.approx(tuple(np.percentile(codes, [1, 99])), abs=1e-3)

    def test_shows_the_values_that_were_decoded(self, images):
        for axis in data_of(INTERACTIVE.code(make(2), images))["axes"]:
            assert [round(value, axis["digits"]) for value in axis["values"]] == axis["values"]
            assert len(set(axis["values"])) == len(axis["values"])

    def test_marks_images_at_their_codes(self, images):
        model = make(2)
        data = data_of(INTERACTIVE.code(model, images))
        codes = model.encode(images.floats()).detach().numpy()
        for x, y, label in data["points"]:
            nearest = np.abs(codes - [x, y]).sum(1).argmin()
            assert (x, y) == pytest.approx(tuple(codes[nearest]), rel=1e-3)
            assert label == images.labels[nearest]
        assert len(data["points"]) > 50  # of 60; those beyond the percentiles are outside

    def test_names_each_class_at_its_mean_code(self, images):
        model = make(2)
        means = {one["name"]: one["mean"] for one in data_of(INTERACTIVE.code(model, images))["classes"]}
        codes = model.encode(images.floats()).detach().numpy()
        assert means.keys() == {"ant", "bee", "cat"}
        assert means["bee"] == pytest.approx(codes[1::3].mean(0), rel=1e-3)

    def test_begins_near_the_first_image(self, images):
        model = make(1)
        data = data_of(INTERACTIVE.code(model, images))
        values = np.array(data["axes"][0]["values"])
        code = model.encode(images[:1].floats()).item()
        assert data["start"] == [np.abs(values - code).argmin()]

    def test_needs_no_labels(self, images):
        assert data_of(INTERACTIVE.code(make(2), Images(images.pixels)))["classes"] == []

    def test_says_what_the_axes_are(self, images):
        labels = [axis["label"] for axis in data_of(INTERACTIVE.code(make(2), images))["axes"]]
        assert labels == ["code value z₁ (left to right)", "code value z₂ (down to up)"]

    def test_of_more_values_goes_along_the_principal_directions_through_the_mean(self, images):
        model = make(5)
        figure = INTERACTIVE.code(model, images)
        codes = model.encode(images.floats()).detach()
        variances, vectors = np.linalg.eigh(np.cov(codes.numpy().T))
        first, second = (axis["values"] for axis in data_of(figure)["axes"])
        signs = [np.sign(v[np.abs(v).argmax()]) for v in (vectors[:, -1], vectors[:, -2])]
        place = first[4] * signs[0] * vectors[:, -1] + second[7] * signs[1] * vectors[:, -2]
        x_hat = model.decode(codes.mean(0, keepdim=True) + torch.tensor(place, dtype=torch.float32))
        assert_same_picture(pictures(figure)[4 + 7 * len(first)], x_hat[0])
        share = variances[-2:].sum() / variances.sum()
        assert f"which hold {share:.0%} of the codes’ variance" in data_of(figure)["hint"]
        assert data_of(figure)["hint"].startswith("This model’s code has 5 values. The figure shows one plane of them")

    def test_takes_codes_that_are_no_vectors(self, noise):
        model = ConvAutoencoder((1, 8, 8), 16)
        assert len(data_of(INTERACTIVE.code(model, noise(20, 1, 8, 8)))["axes"]) == 2


class TestSizes:
    def test_has_the_originals_and_each_models_reconstructions(self, images):
        models = {4: make(4), 1: make(1)}
        figure = INTERACTIVE.sizes(models, images)
        data, cut = data_of(figure), pictures(figure)
        x = images[:3].floats()  # one of each class
        assert data["sizes"] == [1, 4]
        for i in range(3):
            assert_same_picture(cut[i], x[i])
            assert_same_picture(cut[3 + i], models[1](x)[i])
            assert_same_picture(cut[6 + i], models[4](x)[i])

    def test_says_the_error_of_what_is_shown(self, images):
        model, x = make(4), images[:3].floats()
        error = (model(x).clamp(0, 1) - x).square().mean().item()
        said = data_of(INTERACTIVE.sizes({1: make(1), 4: model}, images))["said"]
        assert said[1] == f"4 code values: mean squared error {error:.4f} on these images."

    def test_refuses_a_model_under_another_size(self, images):
        with pytest.raises(ValueError, match="models: the model for code size 3 has a code of 4 values"):
            INTERACTIVE.sizes({3: make(4), 1: make(1)}, images)

    def test_refuses_a_single_size(self, images):
        with pytest.raises(ValueError, match="models: wanted at least two code sizes to choose from, got 1"):
            INTERACTIVE.sizes({1: make(1)}, images)

    def test_refuses_what_is_no_mapping(self, images):
        with pytest.raises(TypeError, match="models: wanted a mapping {code size: model}, got list"):
            INTERACTIVE.sizes([make(1), make(2)], images)


class TestWalk:
    def test_has_the_ends_decoded_and_as_they_are(self, images):
        model = make(4)
        cut, x = pictures(INTERACTIVE.walk(model, images)), images[:3].floats()
        for i in range(3):
            assert_same_picture(cut[i], model(x)[i])
            assert_same_picture(cut[3 + i], x[i])

    @pytest.mark.parametrize(("a", "b", "pair"), [(0, 1, 0), (0, 2, 1), (1, 2, 2)])
    def test_goes_straight_from_code_to_code(self, images, a, b, pair):
        model = make(4)
        figure = INTERACTIVE.walk(model, images)
        steps = data_of(figure)["steps"]
        z = model.encode(images[:3].floats())
        for step in range(1, steps - 1):
            share = step / (steps - 1)
            mixed = model.decode((1 - share) * z[a : a + 1] + share * z[b : b + 1])[0]
            assert_same_picture(pictures(figure)[6 + pair * (steps - 2) + step - 1], mixed)

    def test_offers_one_image_of_each_class(self, images):
        assert data_of(INTERACTIVE.walk(make(2), images))["names"] == ["ant", "bee", "cat"]

    def test_offers_all_images_of_a_small_set(self, images):
        names = data_of(INTERACTIVE.walk(make(2), images[[0, 3, 1]]))["names"]
        assert names == ["ant (image 1)", "ant (image 2)", "bee"]

    def test_begins_with_the_given_images(self, images):
        data = data_of(INTERACTIVE.walk(make(2), images, start=2, end=0))
        assert (data["start"], data["end"]) == (2, 0)

    @pytest.mark.parametrize(("argument", "place"), [("start", 3), ("end", -1)])
    def test_refuses_a_position_that_is_not_there(self, images, argument, place):
        with pytest.raises(ValueError, match=f"{argument}: wanted a position from 0 to 2, got {place}"):
            INTERACTIVE.walk(make(2), images, **{argument: place})

    def test_refuses_a_single_image(self, images):
        with pytest.raises(ValueError, match="images: wanted at least two to walk between, got 1"):
            INTERACTIVE.walk(make(2), images[:1])


class TestSize:
    def test_grid_is_as_fine_as_fits(self, images):
        fine = INTERACTIVE.code(make(2), images)
        coarse = INTERACTIVE.code(make(2), images, max_bytes=80_000)
        steps = [len(data_of(one)["axes"][0]["values"]) for one in (fine, coarse)]
        assert len(coarse.html.encode()) <= 80_000
        assert steps[0] == 31 > steps[1] >= 9

    def test_pictures_are_halved_only_where_the_coarsest_grid_is_too_large(self, noise):
        figure = INTERACTIVE.code(make(2, (3, 40, 40)), noise(20, 3, 40, 40))
        data = data_of(figure)
        assert len(figure.html.encode()) <= 400_000
        assert (data["width"], data["height"]) == (20, 20)

    def test_refuses_what_cannot_fit(self, images):
        with pytest.raises(ValueError, match=r"max_bytes: the smallest figure of these images has .* more than 9,000"):
            INTERACTIVE.walk(make(2), images, max_bytes=9000)

    @pytest.mark.parametrize("limit", range(10, 80, 7))
    def test_the_largest_number_of_steps_that_fits_is_taken(self, limit):
        counts = (10, 20, 30, 40, 50, 60)
        page = sheet.fitted(lambda steps, shrink: "x" * (steps // shrink), counts, limit)
        assert len(page) == max(count for count in counts if count <= limit)

    def test_halving_takes_the_mean_of_four_pixels(self):
        image = torch.tensor([[0.0, 1.0], [1.0, 1.0]])[None, None]
        assert sheet.to_bytes(image, 2).tolist() == [[[[191]]]]  # .75 · 255 = 191.25

    def test_bytes_are_rounded_and_kept_in_range(self):
        values = torch.tensor([-1.0, 0.0, 0.501 / 255, 1.0, 2.0]).reshape(1, 1, 1, 5)
        assert sheet.to_bytes(values).flatten().tolist() == [0, 0, 1, 255, 255]

    @pytest.mark.parametrize("count", [1, 2, 7, 9])
    def test_sheet_holds_the_pictures_row_by_row(self, count):
        given = torch.arange(count * 6, dtype=torch.uint8).reshape(count, 1, 2, 3)
        whole, columns = sheet.sheet(given)
        for i in range(count):
            y, x = 2 * (i // columns), 3 * (i % columns)
            assert torch.equal(whole[:, y : y + 2, x : x + 3], given[i])


class TestRefusals:
    def test_refuses_what_is_no_autoencoder(self, images):
        with pytest.raises(TypeError, match="model: wanted an autoencoder with encode and decode, or the Run .*Linear"):
            INTERACTIVE.code(nn.Linear(2, 2), images)

    def test_refuses_a_bare_tensor_of_images(self, images):
        with pytest.raises(TypeError, match=r"images: wanted ae.Images, such as mnist.test, got Tensor. ae.from_array"):
            INTERACTIVE.code(make(2), images.floats())

    def test_refuses_no_images(self, images):
        with pytest.raises(ValueError, match="images: wanted at least one, got none"):
            INTERACTIVE.code(make(2), images[:0])

    def test_refuses_images_of_another_shape(self, noise):
        with pytest.raises(ValueError, match=r"images: their shape \(1, 4, 4\) does not fit the model.*\(1, 8, 8\)"):
            INTERACTIVE.code(make(2), noise(9, 1, 4, 4))

    def test_refuses_codes_that_are_all_the_same(self, images):
        model = make(2)
        nn.init.zeros_(model.encoder[-1].weight)
        with pytest.raises(ValueError, match="images: their codes are all the same"):
            INTERACTIVE.code(model, images)

    def test_refuses_codes_that_are_not_finite(self, images):
        model = make(2)
        nn.init.constant_(model.encoder[-1].bias, float("nan"))
        with pytest.raises(ValueError, match="model: some codes of the images are not finite"):
            INTERACTIVE.code(model, images)

    @pytest.mark.parametrize("count", [0, 1.5])
    def test_refuses_a_count_that_is_none(self, images, count):
        with pytest.raises(ValueError, match=f"count: wanted .* got {count}"):
            INTERACTIVE.walk(make(2), images, count=count)


class TestPanel:
    """The controls of a live kernel; they work without a browser, which only shows them."""

    def panel(self, images, code_size=2):
        self.model = make(code_size)
        return live.Panel(coder.Coder(self.model, images), images)

    def shown(self, panel):
        """Return the picture that the controls show."""
        return pixels(re.search('src="([^"]+)" alt="the image that the model', panel.picture.value)[1])

    @pytest.mark.parametrize("code_size", [1, 2, 10, 32])
    def test_has_a_slider_for_every_code_value(self, images, code_size):
        assert len(self.panel(images, code_size).sliders) == code_size

    def test_draws_once_with_its_defaults_the_mean_code(self, images):
        panel = self.panel(images)
        assert_same_picture(self.shown(panel), self.model.decode(self.model.encode(images.floats()).mean(0)[None])[0])

    @pytest.mark.parametrize("code_size", [1, 2, 10])
    def test_moving_a_slider_shows_exactly_what_the_model_decodes(self, images, code_size):
        panel = self.panel(images, code_size)
        panel.sliders[-1].value = panel.sliders[-1].max
        code = torch.tensor([[slider.value for slider in panel.sliders]])
        assert code[0, -1] == pytest.approx(panel.sliders[-1].max)
        assert np.array_equal(self.shown(panel), as_bytes(self.model.decode(code)[0]))

    def test_begins_anew_from_the_code_of_an_example(self, images):
        panel = self.panel(images, 10)
        panel.example.value = 1
        code = self.model.encode(images[1:2].floats())
        assert [slider.value for slider in panel.sliders] == pytest.approx(code[0].tolist(), rel=1e-6)
        assert_same_picture(self.shown(panel), self.model.decode(code)[0])

    def test_names_its_examples(self, images):
        assert [name for name, _ in self.panel(images).example.options][1:] == [
            "image of class ant", "image of class bee", "image of class cat",
        ]  # fmt: skip

    def test_an_example_can_be_chosen_again_after_a_slider_was_moved(self, images):
        panel = self.panel(images)
        panel.example.value = 1
        before = panel.picture.value
        panel.sliders[0].value = panel.sliders[0].max
        panel.example.value = 1
        assert panel.picture.value == before

    def test_goes_back_to_the_mean_code(self, images):
        panel = self.panel(images)
        before = panel.picture.value
        panel.example.value = 2
        assert panel.picture.value != before
        panel.back.click()
        assert (panel.picture.value, panel.example.value) == (before, None)

    def test_draws_once_when_all_values_change(self, images, monkeypatch):
        panel, drawn = self.panel(images, 10), []
        monkeypatch.setattr(panel.coder, "decode", lambda code: drawn.append(1) or self.model.decode(code).detach())
        panel.example.value = 0
        assert len(drawn) == 1

    def test_of_a_code_too_long_for_sliders_still_shows_examples(self, noise):
        model = ConvAutoencoder((1, 8, 8), 64)
        wide = DenseAutoencoder((1, 16, 16), 65)
        assert len(live.Panel(coder.Coder(model, noise(9, 1, 8, 8)), noise(9, 1, 8, 8)).sliders) == model.code_size
        panel = live.Panel(coder.Coder(wide, noise(9, 1, 16, 16)), noise(9, 1, 16, 16))
        before = panel.picture.value
        panel.example.value = 0
        assert panel.sliders == []
        assert panel.picture.value != before

    def test_of_sizes_changes_with_the_chosen_size(self, images):
        coders = {size: coder.Coder(make(size), images) for size in (1, 4)}
        choice, stack = live.panels(coders, images).children
        sliders = lambda: len(stack.children[0].children[1].children[1].children)  # noqa: E731
        assert sliders() == 1
        choice.value = 1
        assert sliders() == 4


class TestDisplay:
    """What a cell shows: the figure always, the controls only where a kernel answers and nobody publishes."""

    @pytest.fixture
    def shown(self, monkeypatch):
        """Show a figure and return the kinds of things that were displayed."""
        seen = []
        monkeypatch.setattr("IPython.display.display", lambda thing, **_how: seen.append(thing))

        def show(figure):
            figure._ipython_display_()
            return [type(thing).__name__ for thing in seen]

        return show

    @pytest.fixture
    def _kernel(self, monkeypatch):
        monkeypatch.setattr(live, "_has_kernel", lambda: True)  # TestNotebook has a real one

    @pytest.fixture
    def _reader(self, monkeypatch):
        """A reader's kernel is no child of pytest."""
        monkeypatch.setattr(live, "_is_under_test", lambda: False)

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_a_live_kernel_adds_the_controls(self, shown, images):
        assert shown(INTERACTIVE.code(make(2), images)) == ["dict", "VBox"]

    @pytest.mark.usefixtures("_kernel", "_reader")
    @pytest.mark.parametrize("name", FIGURES)
    def test_every_figure_has_controls(self, shown, images, name):
        assert shown(FIGURES[name](images)) == ["dict", "VBox"]

    @pytest.mark.usefixtures("_reader")
    def test_without_a_kernel_there_are_none(self, shown, images):
        assert shown(INTERACTIVE.code(make(2), images)) == ["dict"]

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_a_notebook_that_is_published_keeps_none(self, shown, images, monkeypatch):
        monkeypatch.setenv("AECORE_JOURNAL", "somewhere")
        assert shown(INTERACTIVE.code(make(2), images)) == ["dict"]

    @pytest.mark.usefixtures("_kernel")
    def test_under_test_they_are_made_and_drawn_but_not_shown(self, shown, images, monkeypatch):
        figure, made = INTERACTIVE.code(make(2), images), []
        monkeypatch.setattr(figure, "panel", lambda: made.append(1))
        assert shown(figure) == ["dict"]
        assert made == [1]

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_without_ipywidgets_there_are_none(self, shown, images, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert shown(INTERACTIVE.code(make(2), images)) == ["dict"]

    @pytest.mark.parametrize(("said", "kinds"), [("1", ["dict", "VBox"]), ("0", ["dict"])])
    def test_the_environment_overrules(self, shown, images, monkeypatch, said, kinds):
        monkeypatch.setenv("AECORE_WIDGETS", said)
        assert shown(INTERACTIVE.code(make(2), images)) == kinds

    def test_refuses_another_word_in_the_environment(self, monkeypatch):
        monkeypatch.setenv("AECORE_WIDGETS", "yes")
        with pytest.raises(ValueError, match="AECORE_WIDGETS: wanted 1 .* or 0 .*, got 'yes'"):
            live.wanted()

    def test_making_a_figure_imports_no_widgets(self, python):
        code = (
            "import sys, torch, aecore as ae; from aecore.data import Images;"
            "x = Images(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8));"
            "ae.interactive.code(ae.models.DenseAutoencoder((1, 4, 4), 2, (8,)), x);"
            "print({'ipywidgets', 'IPython', 'matplotlib.pyplot'} & set(sys.modules))"
        )
        assert python(code) == "set()"


class TestNotebook:
    """A real kernel, as a reader's Jupyter and as `aecore publish` start it."""

    CELL = """\
        import torch, aecore as ae
        from aecore.data import Images
        x = Images(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8), torch.arange(20) % 2)
        ae.interactive.code(ae.models.DenseAutoencoder((1, 4, 4), 2, (8,)), x)
    """

    def executed(self, folder, **environment):
        """Return the notebook with its outputs."""
        import nbformat
        from nbclient import NotebookClient

        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(self.CELL))])
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | environment
        NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": folder}}).execute(env=env)
        return book

    def test_in_jupyter_the_controls_stand_below_the_figure(self, tmp_path):
        first, second = self.executed(tmp_path).cells[0].outputs
        assert first.data.keys() == {"text/html", "text/plain"}
        assert "application/vnd.jupyter.widget-view+json" in second.data

    def test_a_published_notebook_holds_the_figure_and_nothing_of_widgets(self, tmp_path):
        book = self.executed(tmp_path, AECORE_JOURNAL=str(tmp_path / "journal"))
        (output,) = book.cells[0].outputs
        assert output.data.keys() == {"text/html", "text/plain"}
        assert "widgets" not in book.metadata
