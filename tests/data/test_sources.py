"""`load`: where a set is looked for, in which order, and what is said when it is not there."""

import pickle
import tempfile
from hashlib import md5

import numpy as np
import pytest
import torch
import torchvision.datasets

from aecore import journal
from aecore.data import DamagedData, DataNotFound, StandInRefused, available, load

PARTS = ("train", "valid", "test")


# The ordinary folders


def test_mnist_from_its_folder_has_the_exact_pixels_and_labels(mnist):
    (pixels, labels), (test_pixels, test_labels) = mnist
    splits = load("mnist")
    assert np.array_equal(splits.train.pixels[:, 0].numpy(), pixels[:22])
    assert np.array_equal(splits.train.labels.numpy(), labels[:22])
    assert np.array_equal(splits.test.pixels[:, 0].numpy(), test_pixels)
    assert np.array_equal(splits.test.labels.numpy(), test_labels)


def test_the_last_images_of_the_training_file_validate(mnist):
    (pixels, labels), _ = mnist
    valid = load("mnist").valid
    assert np.array_equal(valid.pixels[:, 0].numpy(), pixels[22:])
    assert np.array_equal(valid.labels.numpy(), labels[22:])


@pytest.mark.parametrize(("name", "train", "valid"), [("mnist", 55_000, 5_000), ("cifar10", 45_000, 5_000)])
def test_five_thousand_official_images_validate(name, train, valid):
    from aecore.data.catalogue import CATALOGUE

    assert (CATALOGUE[name].counts[0] - CATALOGUE[name].counts[1], CATALOGUE[name].counts[1]) == (train, valid)


def test_a_training_file_sorted_by_class_is_shuffled_before_the_cut(root, write_emnist, official_counts):
    official_counts("emnist", 470, 47, 47)
    labels = np.arange(470) // 10
    pixels = np.repeat(labels.astype(np.uint8), 784).reshape(470, 28, 28)
    write_emnist((pixels, labels), (pixels[:47], labels[:47]))
    splits = load("emnist")
    assert len(splits.valid.labels.unique()) > 20
    assert torch.equal(splits.valid.pixels[:, 0, 0, 0].long(), splits.valid.labels)
    # Nothing is lost and nothing is in both parts.
    assert torch.cat([splits.train.labels, splits.valid.labels]).bincount().tolist() == [10] * 47


def test_emnist_letters_stand_upright(write_emnist, official_counts):
    official_counts("emnist", 4, 1, 4)
    upright = np.zeros((28, 28), np.uint8)
    upright[2:26, 5] = 255  # an L: a stem down the left …
    upright[25, 5:20] = 255  # … and a foot to the right
    stored = np.stack([upright.T] * 4)  # as the official files have it
    labels = np.array([21, 20, 21, 20])
    write_emnist((stored, labels), (stored, labels))
    splits = load("emnist")
    assert np.array_equal(splits.test.pixels[0, 0].numpy(), upright)
    assert splits.test.classes[splits.test.labels[0]] == "L"


def test_cifar10_from_its_folder_has_channels_first(root, monkeypatch, official_counts):
    rows = np.arange(4 * 3072).reshape(4, 3072).astype(np.uint8)
    content = pickle.dumps({"data": rows, "labels": [3, 1, 2, 0]})
    meta = pickle.dumps({"label_names": ["a", "b", "c", "d"]})
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, data in (("batch", content), ("batches.meta", meta)):
        (folder / name).write_bytes(data)
    sums = {"filename": "batches.meta", "key": "label_names", "md5": md5(meta).hexdigest()}
    for attribute, value in (("train_list", [["batch", md5(content).hexdigest()]]),
                             ("test_list", [["batch", md5(content).hexdigest()]]), ("meta", sums)):  # fmt: skip
        monkeypatch.setattr(torchvision.datasets.CIFAR10, attribute, value)
    official_counts("cifar10", 4, 1, 4)
    test = load("cifar10").test
    # The file holds 1,024 red values, then green, then blue, row by row.
    assert np.array_equal(test.pixels.numpy().reshape(4, 3072), rows)
    assert test.labels.tolist() == [3, 1, 2, 0]


def test_a_cifar10_pickle_with_another_checksum_is_never_opened(root):
    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    (root / "cifar-10-batches-py").mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Harm()))
    with pytest.raises(DamagedData, match="cifar10 cannot be read"):
        load("cifar10", stand_in=True)


def test_kodak_is_for_measuring_only_and_portraits_lie_down(write_photos, official_counts):
    official_counts("kodak", 0, 0, 3)
    write_photos("photos/kodak", [(768, 512), (512, 768), (768, 512)])
    splits = load("kodak")
    assert [tuple(part.pixels.shape) for part in vars(splits).values()] == [
        (0, 3, 512, 768), (0, 3, 512, 768), (3, 3, 512, 768),
    ]  # fmt: skip
    assert "1 portrait pictures turned by 90°" in splits.provenance.note


def test_kodak_pictures_of_another_size_are_refused(write_photos):
    write_photos("kodak", [(100, 100)] * 24)
    with pytest.raises(DamagedData, match="wanted pictures of 768×512 pixels, found 100×100"):
        load("kodak")


def test_a_torn_idx_file_is_explained_and_left_where_it_is(mnist, root):
    file = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DamagedData, match=r"MNIST/raw is there, but mnist cannot be read"):
        load("mnist")
    assert file.stat().st_size == 5000


def test_labels_that_do_not_fit_the_images_are_refused(root, write_emnist, official_counts):
    pixels = np.zeros((4, 28, 28), np.uint8)
    write_emnist((pixels, np.zeros(3)), (pixels, np.zeros(4)))
    with pytest.raises(DamagedData, match=r"labels: wanted shape \(4,\)"):
        load("emnist")


# Nothing there


@pytest.mark.parametrize("name", ["mnist", "emnist", "cifar10", "stl10", "div2k", "kodak"])
def test_without_data_and_network_the_error_names_what_was_tried_and_both_ways_out(name, root):
    with pytest.raises(DataNotFound) as caught:
        load(name)
    message = str(caught.value)
    for words in (
        "1. the tensor cache",
        "2. the ordinary folder",
        "3. a download: ",
        "AECORE_DATA",
        "AECORE_PROFILE=quick",
    ):
        assert words in message
    assert f"{name}-train.npz" in message


def test_without_data_and_network_nothing_half_written_is_left(root):
    with pytest.raises(DataNotFound):
        load("cifar10")
    assert list(root.iterdir()) == []


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(ValueError, match=r"'minst'\. Did you mean 'mnist'\? There are mnist, emnist, .* photos\."):
        load("minst")


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ValueError, match=r"'xyzzy'\. There are mnist"):
        load("xyzzy")


@pytest.mark.parametrize("profile_name", ["quick", "full"])
def test_an_unknown_name_is_refused_under_both_profiles(monkeypatch, profile_name):
    monkeypatch.setenv("AECORE_PROFILE", profile_name)
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        load("CIFAR-10")


# Stand-ins


@pytest.fixture
def stl10(write_stl10):
    (write_stl10() / "README-SUBSTITUTE.md").write_text("# A title\n\nThese are **other\nthings**.\n\nMore.\n")


def test_other_images_in_stl10s_folder_are_refused_unless_named_a_stand_in(stl10):
    with pytest.raises(StandInRefused, match=r"stl10_binary is not the official STL-10: .*stand_in=True"):
        load("stl10")


def test_as_many_other_images_are_not_taken_for_mnist(write_idx, mnist, root):
    pixels, labels = mnist[0]
    changed = pixels.copy()
    changed[23, 27, 27] ^= 1
    write_idx(root / "MNIST" / "raw", "train", changed, labels)
    with pytest.raises(StandInRefused, match=r"it holds as many images, but their checksums differ"):
        load("mnist")


def test_as_many_other_images_are_accepted_as_a_stand_in_for_mnist(write_idx, mnist, root):
    pixels, labels = mnist[0]
    write_idx(root / "MNIST" / "raw", "train", pixels, (labels + 1) % 10)
    assert load("mnist", stand_in=True).provenance.stand_in


def test_24_other_pictures_are_not_taken_for_kodak(write_photos):
    write_photos("kodak", [(768, 512)] * 24)
    with pytest.raises(StandInRefused, match=r"their checksums differ .*kodim01\.png to kodim24\.png"):
        load("kodak")


def test_a_processed_folder_does_not_hide_the_raw_files_of_mnist(mnist, root):
    processed = root / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5)), processed / name)
    assert len(load("mnist").train) == 22


def test_emnist_says_that_only_its_number_of_images_was_checked(write_emnist, official_counts):
    official_counts("emnist", 4, 1, 4)
    pixels = np.zeros((4, 28, 28), np.uint8)
    write_emnist((pixels, np.zeros(4)), (pixels, np.zeros(4)))
    assert load("emnist").provenance.source == "EMNIST Balanced, official files by count, not by checksum"


def test_labels_beyond_the_classes_are_refused(write_emnist):
    pixels = np.zeros((4, 28, 28), np.uint8)
    write_emnist((pixels, np.array([0, 46, 47, 1])), (pixels, np.zeros(4)))
    with pytest.raises(DamagedData, match="labels: wanted 0 to 46, found 0 to 47"):
        load("emnist", stand_in=True)


def test_images_of_another_size_are_refused(write_emnist):
    pixels = np.zeros((4, 32, 32), np.uint8)
    write_emnist((pixels, np.zeros(4)), (pixels, np.zeros(4)))
    with pytest.raises(DamagedData, match=r"wanted images of shape \(1, 28, 28\), found \(1, 32, 32\)"):
        load("emnist", stand_in=True)


def test_a_smaller_emnist_is_refused_by_its_numbers(write_emnist):
    pixels, labels = np.zeros((47, 28, 28), np.uint8), np.arange(47)[::-1]
    write_emnist((pixels, labels), (pixels, labels))
    with pytest.raises(StandInRefused, match=r"47 training and 47 test images where that has 112,800 and 18,800"):
        load("emnist")


def test_a_refused_stand_in_writes_no_cache(stl10, root):
    with pytest.raises(StandInRefused):
        load("stl10")
    assert not list(root.glob("*.npz"))


def test_a_stand_in_says_so_in_provenance_name_and_journal(stl10):
    splits = load("stl10", stand_in=True)
    assert splits.provenance.stand_in
    assert splits.provenance.source == "10 balanced classes, 30 images (a stand-in for STL-10)"
    assert splits.provenance.note == "These are other things."
    assert splits.test.name == "stl10-standin-test"
    assert journal.entries()[0]["stand_in"] is True


def test_a_stand_in_from_the_cache_still_says_so(stl10):
    assert load("stl10", stand_in=True).provenance == load("stl10", stand_in=True).provenance


def test_a_smaller_emnist_is_called_emnist_but_not_balanced_split(write_emnist):
    pixels, labels = np.zeros((94, 28, 28), np.uint8), np.arange(94)[::-1] % 47
    write_emnist((pixels, labels), (pixels[:47], labels[:47]))
    source = load("emnist", stand_in=True).provenance.source
    assert source == "EMNIST, 47 balanced classes, 141 images (a stand-in for EMNIST Balanced)"


def test_the_cache_of_a_stand_in_does_not_open_the_door_to_it(stl10):
    load("stl10", stand_in=True)
    with pytest.raises(StandInRefused):
        load("stl10")


def test_the_official_cache_comes_before_a_stand_in(stl10, official_counts, write_cache):
    load("stl10", stand_in=True)
    official_counts("stl10", 6, 3, 3)
    write_cache("stl10", value=9, shape=(3, 96, 96))
    splits = load("stl10", stand_in=True)
    assert (splits.train.pixels.unique().tolist(), splits.provenance.stand_in) == ([9], False)


def test_a_stand_in_is_divided_in_the_official_proportion(stl10):
    splits = load("stl10", stand_in=True)
    assert [len(part) for part in vars(splits).values()] == [18, 2, 10]


def test_stl10_is_read_column_by_column_with_labels_from_0(write_stl10):
    folder = write_stl10()
    stored = np.frombuffer((folder / "test_X.bin").read_bytes(), np.uint8)
    test = load("stl10", stand_in=True).test
    # Value 1 of the file is row 1 of column 0.
    assert (test.pixels[0, 0, 1, 0], test.pixels[0, 0, 0, 1]) == (stored[1], stored[96])
    assert test.labels.tolist() == list(range(10))


def test_stl10_with_the_right_checksums_is_official(write_stl10, monkeypatch):
    folder = write_stl10()
    for attribute, part in (("train_list", "train"), ("test_list", "test")):
        sums = [[f"{part}_{kind}.bin", md5((folder / f"{part}_{kind}.bin").read_bytes()).hexdigest()] for kind in "Xy"]
        monkeypatch.setattr(torchvision.datasets.STL10, attribute, sums)
    splits = load("stl10", stand_in=True)
    assert (splits.provenance.stand_in, splits.test.name) == (False, "stl10-test")


# Photographs


def test_photographs_are_divided_80_10_10(write_photos):
    write_photos("photos/mine", [(40, 30)] * 20)
    splits = load("photos", folder="photos/mine", size=16)
    assert [len(part) for part in vars(splits).values()] == [16, 2, 2]


def test_no_photograph_is_in_two_parts_and_the_order_is_always_the_same(write_photos):
    write_photos("mine", [(40, 30)] * 20)
    first, second = (load("photos", folder="mine", size=16) for _ in range(2))
    numbers = torch.cat([part.pixels[:, 0, 0, 0] for part in vars(first).values()])
    assert sorted(numbers.tolist()) == list(range(20))
    assert first.test.fingerprint == second.test.fingerprint


def test_a_crop_is_the_centre_of_the_photograph(root):
    from PIL import Image

    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    (root / "mine").mkdir()
    for number in range(3):
        Image.fromarray(pixels).save(root / "mine" / f"{number}.png")
    crop = load("photos", folder="mine", size=4).test.pixels[0]
    assert np.array_equal(crop.permute(1, 2, 0).numpy(), pixels[1:5, 2:6])


def test_photographs_that_are_too_small_are_counted_in_the_note(write_photos):
    write_photos("mine", [(40, 30)] * 4 + [(40, 15), (15, 40)])
    splits = load("photos", folder="mine", size=16)
    assert "2 photographs smaller than 16×16 left out" in splits.provenance.note
    assert sum(len(part) for part in vars(splits).values()) == 4


def test_too_few_photographs_are_refused_with_both_counts(write_photos):
    write_photos("mine", [(40, 30)] * 2 + [(10, 10)] * 5)
    with pytest.raises(DataNotFound, match=r"wanted at least 3 .* found 2, and 5 smaller ones"):
        load("photos", folder="mine", size=16)


def test_several_folders_of_photographs_make_one_set(write_photos):
    write_photos("one", [(40, 30)] * 6)
    write_photos("two", [(40, 30)] * 6)
    splits = load("photos", folder=["one", "two"], size=16, stand_in=True)
    assert splits.provenance.source == "12 photographs from one, two, centre crops of 16×16"
    assert splits.provenance.stand_in
    assert splits.provenance.note == "a stand-in for DIV2K"


def test_a_file_that_is_no_photograph_is_named(write_photos, root):
    write_photos("mine", [(40, 30)] * 3)
    (root / "mine" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DamagedData, match=r"broken\.png is not a photograph"):
        load("photos", folder="mine", size=16)


def test_a_missing_folder_of_photographs_is_named():
    with pytest.raises(DataNotFound, match=r"no folder .*nowhere"):
        load("photos", folder="nowhere")


def test_photos_need_a_folder():
    with pytest.raises(ValueError, match=r"folder=… goes with 'photos' and only there; got folder=None"):
        load("photos")


def test_a_folder_goes_with_photos_only():
    with pytest.raises(ValueError, match="got folder='mine'"):
        load("mnist", folder="mine")


def test_a_size_goes_with_photographs_only():
    with pytest.raises(ValueError, match="size=… goes with 'photos' and 'div2k' only; got size=32"):
        load("mnist", size=32)


@pytest.mark.parametrize("size", [0, -1, 16.0, "16"])
def test_a_size_that_is_no_number_of_pixels_is_refused(size):
    with pytest.raises(ValueError, match="size: wanted a number of pixels"):
        load("div2k", size=size)


def test_a_div2k_folder_with_other_counts_is_not_taken_for_div2k(write_photos):
    write_photos("DIV2K_train_HR", [(40, 30)] * 3)
    write_photos("DIV2K_valid_HR", [(40, 30)] * 2)
    with pytest.raises(StandInRefused, match="not the official DIV2K: it holds 3 training and 2 test"):
        load("div2k", size=16)


# What is here


def test_available_says_where_each_set_is(mnist, stl10, official_counts, write_cache):
    official_counts("cifar10", 6, 3, 3)
    write_cache("cifar10", shape=(3, 32, 32))
    where = {entry["name"]: entry["where"] for entry in available()}
    assert where == {
        "mnist": "folder",
        "emnist": "not here (download 562 MB)",
        "cifar10": "cache",
        "stl10": "folder (stand-in)",
        "div2k": "not here (download 1,043 MB)",
        "kodak": "not here (no download)",
    }


def test_available_counts_the_bytes_on_the_disk(mnist):
    entry = next(entry for entry in available() if entry["name"] == "mnist")
    # Two image files with 16 bytes of header, two label files with 8, and 28 images of 784 + 1 bytes.
    assert entry["bytes"] == 2 * 16 + 2 * 8 + 28 * 785


def test_available_needs_no_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AECORE_DATA", str(tmp_path / "not there"))
    assert all(entry["bytes"] == 0 for entry in available())


def test_the_default_data_folder_is_in_the_home_cache(monkeypatch):
    from aecore.config import data_root

    monkeypatch.delenv("AECORE_DATA")
    monkeypatch.setenv("HOME", tempfile.gettempdir())
    assert str(data_root()) == f"{tempfile.gettempdir()}/.cache/aecore"


def test_each_load_is_recorded_once_with_its_fingerprint(mnist):
    splits = load("mnist")
    load("mnist")
    assert journal.entries() == [
        {
            "kind": "data",
            "name": "mnist",
            "source": "MNIST, official files",
            "note": "",
            "stand_in": False,
            "sample": False,
            "fingerprint": splits.train.fingerprint[:12],
        }
    ]


# What nothing downloads


@pytest.mark.parametrize(("name", "options"), [("kodak", {}), ("photos", {"folder": "photos/none"})])
class TestWithoutPhotographs:
    def test_the_sample_stands_in_where_that_is_allowed(self, name, options):
        assert load(name, stand_in=True, **options).provenance.sample

    def test_a_warning_says_what_was_not_there(self, name, options, caplog):
        load(name, stand_in=True, **options)
        assert f"{name}: the built-in sample stands in for it, as stand_in=True allows. " in caplog.text

    def test_nothing_stands_in_unasked(self, name, options):
        with pytest.raises(DataNotFound):
            load(name, **options)


def test_the_sample_stands_in_for_no_set_that_can_be_downloaded():
    with pytest.raises(DataNotFound):
        load("mnist", stand_in=True)
