"""The built-in sample, which the profile quick uses."""

import subprocess
import sys

import pytest
import torch

from aecore import journal
from aecore.data import load, sample

FOLDER = {"photos": "anything"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "quick")


def quick_load(name, **options):
    return load(name, folder=FOLDER.get(name), **options)


@pytest.mark.parametrize(
    ("name", "shape", "counts", "classes"),
    [
        ("mnist", (1, 28, 28), [1050, 50, 25], 10),
        ("emnist", (1, 28, 28), [1034, 141, 141], 47),
        ("cifar10", (3, 32, 32), [1050, 25, 25], 10),
        ("stl10", (3, 96, 96), [200, 40, 40], 10),
        ("div2k", (3, 128, 128), [32, 8, 8], 0),
        ("photos", (3, 128, 128), [32, 8, 8], 0),
        ("kodak", (3, 176, 192), [0, 0, 2], 0),
    ],
)
def test_the_sample_has_the_shape_and_classes_of_the_set(name, shape, counts, classes):
    splits = quick_load(name)
    assert splits.shape == shape
    assert [len(part) for part in vars(splits).values()] == counts
    assert len(splits.train.classes) == classes
    if classes:
        assert all(len(part.labels.unique()) == classes for part in vars(splits).values())


@pytest.mark.parametrize("name", ["mnist", "emnist", "cifar10", "kodak"])
def test_the_sample_is_the_same_on_every_call(name):
    first, second = quick_load(name), quick_load(name)
    assert first.train.fingerprint == second.train.fingerprint
    assert first.test.fingerprint == second.test.fingerprint


def test_it_does_not_touch_the_random_generator_of_the_reader():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    quick_load("emnist")
    assert torch.rand(1) == expected


@pytest.mark.parametrize("name", ["mnist", "emnist", "stl10", "div2k", "kodak", "photos"])
def test_its_name_and_provenance_say_that_it_is_a_sample(name):
    splits = quick_load(name)
    assert splits.provenance.sample
    assert splits.provenance.source.startswith("built-in sample: ")
    assert splits.test.name == f"{name}-sample-test"


def test_it_is_not_called_a_stand_in_even_where_one_would_be_accepted():
    assert not quick_load("stl10", stand_in=True).provenance.stand_in


def test_quick_does_not_touch_the_data_folder(root, monkeypatch):
    monkeypatch.setenv("AECORE_DATA", str(root / "not" / "there"))
    quick_load("cifar10")
    assert not (root / "not").exists()


def test_the_journal_says_sample():
    quick_load("mnist")
    (fact,) = journal.entries()
    assert (fact["kind"], fact["name"], fact["sample"]) == ("data", "mnist", True)


def test_a_digit_keeps_the_empty_border_of_mnist():
    pixels = quick_load("mnist").train.pixels
    border = torch.ones(28, 28, dtype=torch.bool)
    border[4:-4, 4:-4] = False
    assert pixels[:, 0, border].max() == 0
    assert pixels.max() == 255


def test_no_two_glyphs_are_the_same_picture():
    pixels = quick_load("emnist").train.pixels
    assert len(pixels.flatten(1).unique(dim=0)) == len(pixels)


def test_every_glyph_shows_something():
    # A font without the character would draw nothing, or the same empty box for all.
    assert (quick_load("emnist").train.pixels.flatten(1).max(1).values > 128).all()


def test_smaller_crops_can_be_had_and_larger_ones_are_128():
    assert (quick_load("div2k", size=32).shape, quick_load("div2k", size=172).shape) == ((3, 32, 32), (3, 128, 128))


@pytest.mark.parametrize("key", sample.PHOTOGRAPHS)
def test_each_photograph_is_a_colour_file_inside_a_wheel(key):
    picture = sample._photograph(key)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 300


def test_importing_the_data_package_imports_nothing_heavy():
    code = (
        "import sys, aecore.data; print({'torchvision', 'sklearn', 'skimage', 'matplotlib', 'PIL'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_making_the_sample_does_not_import_scikit_learn():
    # Its import takes longer than the whole sample.
    code = "import sys; from aecore.data.sample import build; build('mnist'), build('div2k'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sklearn" not in run.stdout
