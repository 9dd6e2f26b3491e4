"""`interactive`: the page holds what the model decodes, is small, and a kernel adds no more than it should."""

import base64
import functools
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
from aecore.interactive import live, sprite
from aecore.interactive.flat import FlatAutoencoder
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


@pytest.fixture(scope="module")
def images():
    """60 grey images of 8×8 in 3 classes."""
    pixels = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(pixels, torch.arange(60) % 3, "noise", classes=("ant", "bee", "cat"))


def run_of(model):
    return ae.runs.Run(
        name="00-a", fingerprint="f" * 64, model=model, plan=Plan(), objective="mse",
        history=History({"loss": [0.5]}, {"loss": [0.4]}, [1.0]), data={},
        date="2026-11-22", seconds=1.0, machine="CPU", versions={},
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
    """Cut the sprite of a figure into its pictures, as the script does."""
    data = data_of(figure)
    whole, w, h = pixels(data["sprite"]), data["width"], data["height"]
    return [whole[y : y + h, x : x + w] for y in range(0, whole.shape[0], h) for x in range(0, whole.shape[1], w)]


def at(figure, position, combination=0):
    """Return the pictures that a slider figure shows at a position, row by row."""
    cut = pictures(figure)
    return [cut[i] for i in data_of(figure)["views"][combination][position]]


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


def code(images, code_size, **options):
    return INTERACTIVE.code(make(code_size), images, **options)


def sizes(images, **options):
    few = INTERACTIVE.one_of_each(images)
    copies = INTERACTIVE.reconstructions({1: make(1), 4: make(4)}, few)
    return INTERACTIVE.slider(copies, value_name="values in the code", originals=few, **options)


def walk(images, **options):
    steps = INTERACTIVE.walks(make(4), INTERACTIVE.one_of_each(images), steps=5)
    return INTERACTIVE.slider(steps, value_name="share of the second image", **options)


FIGURES = {
    "one value": lambda images, **options: code(images, 1, **options),
    "two values": lambda images, **options: code(images, 2, **options),
    "more values": lambda images, **options: code(images, 5, **options),
    "sizes": sizes,
    "walk": walk,
}
made = functools.cache(lambda name, images: FIGURES[name](images))


@pytest.fixture(params=FIGURES)
def figure(request, images):
    """Each figure in turn."""
    return made(request.param, images)


@pytest.fixture
def line(images):
    """The figure of one code value."""
    return made("one value", images)


@pytest.fixture
def plane(images):
    """The figure of two code values."""
    return made("two values", images)


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
        assert FIGURES[name](images).html == made(name, images).html

    def test_two_figures_have_places_of_their_own(self, images):
        keys = [re.search('data-aecore="(\\w+)"', made(name, images).html)[1] for name in FIGURES]
        assert len(set(keys)) == len(FIGURES)

    @pytest.mark.parametrize("name", ["one value", "sizes"])
    def test_says_the_given_words(self, images, name):
        figure = FIGURES[name](images, alt='Digits & "codes"', caption="Nearby codes < nearby images.")
        assert still(figure)[2] == "Digits &amp; &quot;codes&quot;"
        assert "<figcaption>Nearby codes &lt; nearby images.</figcaption>" in figure.html

    def test_has_no_caption_that_was_not_given(self, figure):
        assert "<figcaption" not in figure.html

    @pytest.mark.parametrize("name", ["one value", "sizes", "walk"])
    def test_no_class_name_can_end_the_script(self, images, name):
        wicked = Images(images.pixels, images.labels, classes=("</script><b>", "<!--", "c"))
        html = FIGURES[name](wicked).html
        assert html.count("</script") == 1
        assert "<!--" not in html


class TestModel:
    """What the figures ask of a model, and what they leave as it was."""

    def test_stays_in_the_mode_that_it_had(self, images):
        model = make(1).train()
        INTERACTIVE.reconstructions({1: model}, images)
        assert model.training

    def test_decodes_in_evaluation_mode(self, images):
        plain, noisy = make(2), make(2)
        noisy.decoder = nn.Sequential(nn.Dropout(0.9), noisy.decoder)
        copies = INTERACTIVE.reconstructions({"plain": plain, "noisy": noisy.train()}, images)
        assert torch.equal(copies["noisy"], copies["plain"])

    def test_keeps_no_gradients(self, images):
        copies = INTERACTIVE.reconstructions({1: make(1)}, images)
        assert not copies["1"].requires_grad

    def test_may_be_a_run(self, images, line):
        assert INTERACTIVE.code(run_of(make(1)), images).html == line.html


class TestCode:
    def test_of_one_value_has_the_models_picture_at_each_step(self, line):
        (axis,) = data_of(line)["axes"]
        assert len(axis["values"]) == 121
        for picture, x_hat in zip(pictures(line), make(1).decode(torch.tensor(axis["values"])[:, None]), strict=False):
            assert_same_picture(picture, x_hat)

    def test_of_two_values_has_the_models_picture_at_each_place_of_the_plane(self, plane):
        model = make(2)
        first, second = (axis["values"] for axis in data_of(plane)["axes"])
        cut = pictures(plane)
        for j in (0, 3, len(second) - 1):
            for i in (0, 5, len(first) - 1):
                # As the script finds it: the first value runs fastest.
                assert_same_picture(cut[i + j * len(first)], model.decode(torch.tensor([[first[i], second[j]]]))[0])

    def test_pictures_of_different_codes_differ(self, plane):
        cut = pictures(plane)
        assert not np.array_equal(cut[0], cut[30])

    def test_of_colour_images_is_in_colour(self, noise):
        model = make(1, (3, 6, 6))
        figure = INTERACTIVE.code(model, noise(20, 3, 6, 6))
        value = data_of(figure)["axes"][0]["values"][7]
        assert_same_picture(pictures(figure)[7], model.decode(torch.tensor([[value]]))[0])

    def test_reaches_from_the_first_to_the_99th_percentile_of_the_codes(self, images, line):
        codes = make(1).encode(images.floats()).flatten().detach().numpy()
        values = data_of(line)["axes"][0]["values"]
        assert (values[0], values[-1]) == pytest.approx(tuple(np.percentile(codes, [1, 99])), abs=1e-3)

    def test_shows_the_values_that_were_decoded(self, plane):
        for axis in data_of(plane)["axes"]:
            assert [round(value, axis["digits"]) for value in axis["values"]] == axis["values"]
            assert len(set(axis["values"])) == len(axis["values"])

    def test_marks_images_at_their_codes(self, images, plane):
        data = data_of(plane)
        codes = make(2).encode(images.floats()).detach().numpy()
        for x, y, label in data["points"]:
            nearest = np.abs(codes - [x, y]).sum(1).argmin()
            assert (x, y) == pytest.approx(tuple(codes[nearest]), rel=1e-3)
            assert label == images.labels[nearest]
        assert len(data["points"]) > 50  # of 60; those beyond the percentiles are outside

    def test_names_each_class_at_its_mean_code(self, images, plane):
        means = {one["name"]: one["mean"] for one in data_of(plane)["classes"]}
        codes = make(2).encode(images.floats()).detach().numpy()
        assert means.keys() == {"ant", "bee", "cat"}
        assert means["bee"] == pytest.approx(codes[1::3].mean(0), rel=1e-3)

    def test_begins_near_the_first_image(self, images, line):
        data = data_of(line)
        values = np.array(data["axes"][0]["values"])
        code = make(1).encode(images[:1].floats()).item()
        assert data["start"] == [np.abs(values - code).argmin()]

    def test_needs_no_labels(self, images):
        assert data_of(INTERACTIVE.code(make(1), Images(images.pixels)))["classes"] == []

    def test_says_what_the_axes_are(self, plane):
        labels = [axis["label"] for axis in data_of(plane)["axes"]]
        assert labels == ["code value z₁ (left to right)", "code value z₂ (down to up)"]

    def test_of_more_values_goes_along_the_principal_directions_through_the_mean(self, images):
        model = make(5)
        figure = made("more values", images)
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


class TestSlider:
    def steps(self, count=3, width=4, seed=0, size=3):
        """Return noise at `size` positions."""
        generator = torch.Generator().manual_seed(seed)
        return {f"{i} %": torch.rand(count, 1, width, width, generator=generator) for i in range(size)}

    def test_shows_the_pictures_of_each_position(self):
        steps = self.steps()
        figure = INTERACTIVE.slider(steps, value_name="share")
        assert data_of(figure)["labels"] == list(steps)
        for position, batch in enumerate(steps.values()):
            for found, picture in zip(at(figure, position), batch, strict=True):
                assert_same_picture(found, picture)

    def test_clips_what_lies_outside_the_range(self):
        x = torch.tensor([-1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 2, 2)
        figure = INTERACTIVE.slider({"a": x, "b": 1 - x}, value_name="share")
        assert at(figure, 0)[0].tolist() == [[0, 0], [255, 255]]

    def test_stores_equal_pictures_once(self):
        x = torch.rand(2, 1, 4, 4)
        figure = INTERACTIVE.slider(dict.fromkeys(range(8), x), value_name="share")
        assert data_of(figure)["views"][0] == [[0, 1]] * 8
        assert len(pictures(figure)) == 2

    def test_shows_rows_one_below_the_other(self):
        a, b = self.steps().values(), self.steps(seed=1).values()
        rows = {i: {"JPEG": x, "ours": y} for i, (x, y) in enumerate(zip(a, b, strict=True))}
        figure = INTERACTIVE.slider(rows, value_name="bits per pixel")
        assert data_of(figure)["rows"] == ["JPEG", "ours"]
        for found, picture in zip(at(figure, 1), torch.cat(list(rows[1].values())), strict=True):
            assert_same_picture(found, picture)

    def test_keeps_the_originals_above(self, images):
        figure, x = made("sizes", images), images[:3].floats()  # one of each class
        cut, data = pictures(figure), data_of(figure)
        assert data["names"] == ["ant", "bee", "cat"]
        for i, original in zip(data["originals"], x, strict=True):
            assert_same_picture(cut[i], original)
        for position, size in enumerate((1, 4)):
            for found, x_hat in zip(at(figure, position), make(size)(x), strict=True):
                assert_same_picture(found, x_hat)

    def test_says_the_error_of_what_is_shown(self, images):
        x = images[:3].floats()
        error = (make(4)(x).clamp(0, 1) - x).square().mean().item()
        notes = data_of(made("sizes", images))["notes"]
        assert notes[0][1] == f"Mean squared error on these pictures: {error:.4f}."

    def test_says_a_given_note_in_place_of_the_error(self):
        a, b = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
        given = {"a": INTERACTIVE.Position(a, "PSNR 31 dB."), "b": b}
        (notes,) = data_of(INTERACTIVE.slider(given, value_name="rate", originals=a))["notes"]
        assert notes == ["PSNR 31 dB.", "Mean squared error on these pictures: 0.2500."]

    def test_without_originals_says_no_error(self):
        assert data_of(INTERACTIVE.slider(self.steps(), value_name="share"))["notes"] == [["", "", ""]]

    @pytest.mark.parametrize(("count", "start"), [(1, 2), (3, 0)])
    def test_begins_in_the_middle_where_one_picture_changes_and_else_at_the_start(self, count, start):
        assert data_of(INTERACTIVE.slider(self.steps(count, size=5), value_name="share"))["start"] == start

    def test_pictures_are_chosen_by_menus_too(self):
        views = {pair: self.steps(1, seed=i) for i, pair in enumerate([("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")])}
        menus = INTERACTIVE.Menus(("from", "to"), views, start=("b", "x"))
        figure = INTERACTIVE.slider(menus, value_name="share")
        data = data_of(figure)
        assert data["menus"] == [
            {"name": "from", "options": ["a", "b"], "start": 1},
            {"name": "to", "options": ["x", "y"], "start": 0},
        ]
        for i, pair in enumerate([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]):  # the last menu runs fastest
            assert_same_picture(at(figure, 2, i)[0], views[pair]["2 %"][0])

    @pytest.mark.parametrize(
        ("views", "message"),
        [
            ({("a", "x"): {}, ("b", "y"): {}}, r"pictures for each combination of choices, got none for \('a', 'y'\)"),
            ({"a": {}}, "a tuple of choices for the menus .*, got 'a'"),
        ],
    )
    def test_refuses_menus_with_gaps(self, views, message):
        with pytest.raises(ValueError, match=f"views: wanted {message}"):
            INTERACTIVE.Menus(("from", "to"), views)

    @pytest.mark.parametrize(
        ("given", "kind", "message"),
        [
            ([1, 2], TypeError, r"pictures: wanted a mapping {label: pictures}, got list"),
            ({1: torch.rand(1, 1, 4, 4)}, ValueError, "pictures: wanted at least two positions for a slider, got 1"),
            ({1: 1, 2: 2}, TypeError, r"pictures\['1'\]: wanted a tensor of pictures \(N, C, H, W\), got int"),
            (
                {1: torch.rand(1, 1, 4, 4), 2: torch.rand(2, 1, 4, 4)}, ValueError,
                r"pictures\['2'\]: wanted floats of shape \(1, 1, 4, 4\), got torch.float32 of shape \(2, 1, 4, 4\)",
            ),
            (
                {1: torch.zeros(1, 1, 4, 4).byte(), 2: torch.zeros(1, 1, 4, 4)}, ValueError,
                r"pictures\['1'\]: wanted floats of shape .*, got torch.uint8",
            ),
            ({1: torch.full((1, 1, 4, 4), float("nan")), 2: torch.zeros(1, 1, 4, 4)}, ValueError, "finite numbers"),
            (
                {1: {"a": torch.zeros(1, 1, 4, 4)}, 2: {"b": torch.zeros(1, 1, 4, 4)}}, ValueError,
                r"pictures\['2'\]: wanted the rows \['a'\], got \['b'\]",
            ),
        ],
    )  # fmt: skip
    def test_refuses_pictures_that_do_not_fit_each_other(self, given, kind, message):
        with pytest.raises(kind, match=message):
            INTERACTIVE.slider(given, value_name="share")

    def test_refuses_originals_of_another_shape(self):
        with pytest.raises(ValueError, match=r"originals: wanted floats of shape \(3, 1, 4, 4\), got .*\(2, 1, 4, 4\)"):
            INTERACTIVE.slider(self.steps(), value_name="share", originals=torch.zeros(2, 1, 4, 4))


class TestReconstructions:
    def test_come_by_the_label_of_their_model(self, images):
        copies = INTERACTIVE.reconstructions({4: make(4), 1: make(1)}, images[:5])
        assert list(copies) == ["4", "1"]
        assert torch.allclose(copies["4"], make(4)(images[:5].floats()), atol=1e-6)

    def test_refuses_what_is_no_mapping(self, images):
        with pytest.raises(TypeError, match="models: wanted a mapping {label: model}, got list"):
            INTERACTIVE.reconstructions([make(1)], images)

    def test_names_the_model_that_does_not_fit(self, images):
        with pytest.raises(TypeError, match=r"models\[2\]: wanted an autoencoder .*, got Linear"):
            INTERACTIVE.reconstructions({1: make(1), 2: nn.Linear(2, 2)}, images)


@pytest.fixture(scope="module")
def walks(images):
    """Walks of 5 steps between 3 images."""
    return INTERACTIVE.walks(make(4), images[:3], steps=5)


class TestWalks:
    @pytest.mark.parametrize(("a", "b"), [(0, 1), (0, 2), (1, 2), (2, 0), (1, 1)])
    def test_go_straight_from_code_to_code_and_mix_pixels(self, images, walks, a, b):
        model, x = make(4), images[:3].floats()
        z = model.encode(x)
        walk = walks.views[images.classes[a], images.classes[b]]
        assert list(walk) == ["0 %", "25 %", "50 %", "75 %", "100 %"]
        for step, rows in enumerate(walk.values()):
            share = step / 4
            decoded, faded = rows.values()
            mixed = model.decode((1 - share) * z[a : a + 1] + share * z[b : b + 1])
            assert torch.allclose(decoded, mixed, atol=1e-5)
            assert torch.allclose(faded[0], (1 - share) * x[a] + share * x[b], atol=1e-6)

    def test_begin_with_the_first_image_and_the_second(self, walks):
        assert walks.first() == ("ant", "bee")
        assert walks.options() == [["ant", "bee", "cat"]] * 2

    def test_back_and_forth_share_their_pictures(self, images):
        data = data_of(made("walk", images))
        assert [position[0] for position in data["views"][1]] == [position[0] for position in data["views"][3]][::-1]

    def test_tell_images_of_one_class_apart(self, images):
        walks = INTERACTIVE.walks(make(2), images[[0, 3, 1]], steps=2)
        assert walks.options()[0] == ["ant (image 1)", "ant (image 2)", "bee"]

    def test_refuse_a_single_image(self, images):
        with pytest.raises(ValueError, match="images: wanted at least two to walk between, got 1"):
            INTERACTIVE.walks(make(2), images[:1])

    @pytest.mark.parametrize("steps", [1, 2.5, 102])
    def test_refuse_another_number_of_steps(self, images, steps):
        with pytest.raises(ValueError, match=f"steps: wanted a whole number from 2 to 101, got {steps}"):
            INTERACTIVE.walks(make(2), images, steps=steps)


class TestOneOfEach:
    def test_takes_the_first_image_of_each_class(self, images):
        assert INTERACTIVE.one_of_each(images).labels.tolist() == [0, 1, 2]

    def test_takes_all_images_of_a_small_set(self, images):
        assert len(INTERACTIVE.one_of_each(images[:7])) == 7

    def test_takes_the_first_images_where_there_are_no_labels(self, images):
        assert torch.equal(INTERACTIVE.one_of_each(Images(images.pixels), 4).pixels, images.pixels[:4])


class TestSize:
    def test_grid_is_as_fine_as_fits(self, images, plane):
        coarse = code(images, 2, max_bytes=60_000)
        steps = [len(data_of(one)["axes"][0]["values"]) for one in (plane, coarse)]
        assert len(coarse.html.encode()) <= 60_000
        assert steps[0] == 31 > steps[1] >= 9

    def test_pictures_are_halved_only_where_the_coarsest_grid_is_too_large(self, noise):
        figure = INTERACTIVE.code(make(1, (3, 24, 24)), noise(20, 3, 24, 24), max_bytes=60_000)
        data = data_of(figure)
        assert len(figure.html.encode()) <= 60_000
        assert (data["width"], data["height"]) == (12, 12)

    def test_pictures_of_a_slider_are_halved_where_they_are_too_large(self, images):
        data = data_of(walk(images, max_bytes=len(made("walk", images).html.encode()) - 1))
        assert (data["width"], data["height"]) == (4, 4)

    def test_refuses_what_cannot_fit(self, images):
        with pytest.raises(ValueError, match=r"max_bytes: the smallest figure of these images has .* more than 9,000"):
            walk(images, max_bytes=9000)

    @pytest.mark.parametrize("limit", range(10, 80, 7))
    def test_the_largest_number_of_steps_that_fits_is_taken(self, limit):
        counts = (10, 20, 30, 40, 50, 60)
        page = sprite.finest(lambda steps, shrink: "x" * (steps // shrink), counts, limit)
        assert len(page) == max(count for count in counts if count <= limit)

    def test_halving_takes_the_mean_of_four_pixels(self):
        image = torch.tensor([[0.0, 1.0], [1.0, 1.0]])[None, None]
        assert sprite.to_bytes(image, 2).tolist() == [[[[191]]]]  # .75 · 255 = 191.25

    def test_bytes_are_rounded_and_kept_in_range(self):
        values = torch.tensor([-1.0, 0.0, 0.501 / 255, 1.0, 2.0]).reshape(1, 1, 1, 5)
        assert sprite.to_bytes(values).flatten().tolist() == [0, 0, 1, 255, 255]

    @pytest.mark.parametrize("count", [1, 2, 7, 9])
    def test_sprite_holds_the_pictures_row_by_row(self, count):
        given = torch.arange(count * 6, dtype=torch.uint8).reshape(count, 1, 2, 3)
        data = sprite.sprite(given)
        whole = torch.tensor(pixels(data["sprite"]))
        for i in range(count):
            y, x = 2 * (i // data["columns"]), 3 * (i % data["columns"])
            assert torch.equal(whole[y : y + 2, x : x + 3], given[i, 0])


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


class TestPanel:
    """The controls of a live kernel; they work without a browser, which only shows them."""

    def panel(self, images, code_size=2):
        self.model = make(code_size)
        return live.Panel(FlatAutoencoder(self.model, images), images)

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
        panel.start.value = 2
        code = self.model.encode(images[1:2].floats())
        assert [slider.value for slider in panel.sliders] == pytest.approx(code[0].tolist(), rel=1e-6)
        assert_same_picture(self.shown(panel), self.model.decode(code)[0])

    def test_names_its_examples(self, images):
        assert [name for name, _ in self.panel(images).start.options][1:] == [
            "mean code", "ant", "bee", "cat",
        ]  # fmt: skip

    def test_an_example_can_be_chosen_again_after_a_slider_was_moved(self, images):
        panel = self.panel(images)
        panel.start.value = 2
        before = panel.picture.value
        panel.sliders[0].value = panel.sliders[0].max
        panel.start.value = 2
        assert panel.picture.value == before

    def test_goes_back_to_the_mean_code(self, images):
        panel = self.panel(images)
        before = panel.picture.value
        panel.start.value = 2
        assert panel.picture.value != before
        panel.start.value = 0
        assert panel.picture.value == before

    def test_draws_once_when_all_values_change(self, images, monkeypatch):
        panel, drawn = self.panel(images, 10), []
        monkeypatch.setattr(panel.model, "decode", lambda code: drawn.append(1) or self.model.decode(code).detach())
        panel.start.value = 1
        assert len(drawn) == 1

    def test_of_a_code_too_long_for_sliders_still_shows_examples(self, noise):
        model = ConvAutoencoder((1, 8, 8), 64)
        wide = DenseAutoencoder((1, 16, 16), 65)
        assert len(live.Panel(FlatAutoencoder(model, noise(9, 1, 8, 8)), noise(9, 1, 8, 8)).sliders) == model.code_size
        panel = live.Panel(FlatAutoencoder(wide, noise(9, 1, 16, 16)), noise(9, 1, 16, 16))
        before = panel.picture.value
        panel.start.value = 1
        assert panel.sliders == []
        assert panel.picture.value != before


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
    def test_a_live_kernel_adds_the_controls(self, shown, line):
        assert shown(line) == ["dict", "VBox"]

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_prepared_pictures_have_no_model_to_ask(self, shown, images):
        assert shown(made("sizes", images)) == ["dict"]

    @pytest.mark.usefixtures("_reader")
    def test_without_a_kernel_there_are_none(self, shown, line):
        assert shown(line) == ["dict"]

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_a_notebook_that_is_published_keeps_none(self, shown, line, monkeypatch):
        monkeypatch.setenv("AECORE_JOURNAL", "somewhere")
        assert shown(line) == ["dict"]

    @pytest.mark.usefixtures("_kernel")
    def test_under_test_they_are_made_and_drawn_but_not_shown(self, shown, line, monkeypatch):
        called = []
        monkeypatch.setattr(line, "panel", lambda: called.append(1))
        assert shown(line) == ["dict"]
        assert called == [1]

    @pytest.mark.usefixtures("_kernel", "_reader")
    def test_without_ipywidgets_there_are_none(self, shown, line, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert shown(line) == ["dict"]

    @pytest.mark.parametrize(("said", "kinds"), [("1", ["dict", "VBox"]), ("0", ["dict"])])
    def test_the_environment_overrules(self, shown, line, monkeypatch, said, kinds):
        monkeypatch.setenv("AECORE_WIDGETS", said)
        assert shown(line) == kinds

    def test_refuses_another_word_in_the_environment(self, monkeypatch):
        monkeypatch.setenv("AECORE_WIDGETS", "yes")
        with pytest.raises(ValueError, match="AECORE_WIDGETS: wanted 1 .* or 0 .*, got 'yes'"):
            live.wanted()


CELLS = (
    """
    import os, sys, torch, aecore as ae
    from aecore.data import Images
    x = Images(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8), torch.arange(20) % 2)
    ae.interactive.code(ae.models.DenseAutoencoder((1, 4, 4), 1, (8,)), x)
    """,
    "print({'ipywidgets', 'matplotlib.pyplot'} & set(sys.modules))",
    "del os.environ['AECORE_JOURNAL']; ae.interactive.code(ae.models.DenseAutoencoder((1, 4, 4), 1, (8,)), x)",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of the cells in a kernel that publishes; the last cell ends that."""
    import nbformat
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("notebook")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in CELLS])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AECORE_WIDGETS"))}
    client = NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute(env=env | {"AECORE_JOURNAL": str(folder / "journal")})
    return [cell.outputs for cell in book.cells]


class TestNotebook:
    """A real kernel, as `aecore publish` and a reader's Jupyter start it; one for all, since it takes seconds."""

    def test_a_published_cell_holds_the_figure_and_nothing_of_widgets(self, outputs):
        (output,) = outputs[0]
        assert output.data.keys() == {"text/html", "text/plain"}

    def test_making_a_figure_imports_no_widgets(self, outputs):
        assert outputs[1][0].text == "set()\n"

    def test_in_jupyter_the_controls_stand_below_the_figure(self, outputs):
        first, second = outputs[2]
        assert first.data.keys() == {"text/html", "text/plain"}
        assert "application/vnd.jupyter.widget-view+json" in second.data
