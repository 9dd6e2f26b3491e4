"""The tensor cache: what it holds is said in it and checked, and damage is found."""

import logging
import random
import zipfile

import numpy as np
import pytest

from aecore import config, files
from aecore.data import DamagedData, StandInRefused, cache, load
from aecore.data.cache import Key
from aecore.data.pictures import Crop


@pytest.fixture
def small_mnist(official_counts):
    """Declare that MNIST has 3 images in each part."""
    official_counts("mnist", 6, 3, 3)


# What is in the cache, and when it is used


def test_the_cache_comes_before_the_folder(write_mnist, small_mnist, write_cache):
    write_mnist()
    write_cache("mnist")
    assert load("mnist").train.pixels.unique().tolist() == [7]


def test_a_cache_written_by_hand_carries_its_source_licence_and_note(small_mnist, write_cache):
    write_cache("mnist")
    where = load("mnist").provenance
    assert (where.source, where.licence, where.note, where.stand_in) == ("by hand, 7", "free", "a note", False)


def test_a_cache_without_labels_loads(small_mnist, write_cache):
    write_cache("mnist", labels=None)
    assert load("mnist").train.labels is None


def test_the_first_load_writes_a_cache_that_gives_the_same(mnist, root):
    first = load("mnist")
    (root / "MNIST").rename(root / "elsewhere")
    second = load("mnist")
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert one.fingerprint == other.fingerprint
        assert (one.name, one.classes, one.provenance) == (other.name, other.classes, other.provenance)


def test_an_incomplete_cache_is_not_used(mnist, write_cache, root):
    write_cache("mnist")
    (root / "mnist-valid.npz").unlink()
    assert len(load("mnist").train) == 22


def test_a_data_folder_that_cannot_be_written_still_loads(mnist, root, monkeypatch, caplog):
    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # Not chmod: the tests may run as root, whom no mode stops.
    monkeypatch.setattr(files.tempfile, "mkstemp", deny)
    with caplog.at_level(logging.INFO, "aecore"):
        monkeypatch.setattr(config.log, "propagate", True)
        assert len(load("mnist").train) == 22
    assert "mnist: no cache written" in caplog.text
    assert not list(root.glob("*.npz"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"pixels": np.zeros((3, 28, 28), np.uint8)},
            r"wanted uint8 of shape \(N, 1, 28, 28\), found .* \(3, 28, 28\)",
        ),
        ({"pixels": np.zeros((3, 1, 28, 28))}, "wanted uint8 .* found float64"),
        ({"pixels": np.zeros((3, 3, 32, 32), np.uint8)}, r"found uint8 of shape \(3, 3, 32, 32\)"),
        ({"pixels": None}, "an entry is missing .*pixels"),
        ({"meta": None}, "an entry is missing .*meta"),
        ({"meta": np.array("[]")}, "meta: wanted a JSON object, found list"),
        ({"other": np.zeros(3)}, "there is an unknown entry .other."),
        ({"meta": np.array("no json")}, "JSONDecodeError"),
        ({"labels": np.arange(2)}, r"labels: wanted shape \(3,\)"),
        ({"labels": np.zeros(3)}, "labels: wanted int64, found float64"),
        ({"labels": np.array([{}, {}, {}], dtype=object)}, "allow_pickle=False"),
    ],
)
def test_a_wrong_cache_file_is_named_with_its_problem(small_mnist, write_cache, changes, problem):
    write_cache("mnist", **changes)
    with pytest.raises(DamagedData, match=rf"mnist-train\.npz is damaged: .*{problem}.*Delete it and load again"):
        load("mnist")


@pytest.mark.parametrize("kept", [0, 100, 2000])
def test_a_torn_cache_file_is_explained_and_left_where_it_is(small_mnist, write_cache, root, kept):
    write_cache("mnist")
    file = root / "mnist-test.npz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DamagedData, match=r"mnist-test\.npz is damaged: .*Delete it and load again"):
        load("mnist")
    assert file.stat().st_size == kept


def test_one_changed_byte_in_the_pixels_of_a_cache_is_found(small_mnist, write_cache, root):
    write_cache("mnist")
    file = root / "mnist-train.npz"
    content = bytearray(file.read_bytes())
    content[content.index(b"\x07" * 100) + 50] = 8
    file.write_bytes(content)
    with pytest.raises(DamagedData, match="CRC"):
        load("mnist")


# It says what it holds


def test_swapped_files_of_a_cache_are_refused(mnist, root):
    load("mnist")
    train, test = root / "mnist-train.npz", root / "mnist-test.npz"
    train.rename(root / "between")
    test.rename(train)
    (root / "between").rename(test)
    with pytest.raises(DamagedData, match=r"mnist-train\.npz .* it holds another part: 'test', wanted 'train'"):
        load("mnist")


def test_the_cache_of_another_set_is_refused(small_mnist, official_counts, write_cache, root):
    official_counts("emnist", 6, 3, 3)
    write_cache("emnist")
    for part in cache.PARTS:
        (root / f"emnist-{part}.npz").rename(root / f"mnist-{part}.npz")
    with pytest.raises(DamagedData, match="it holds another set: 'emnist', wanted 'mnist'"):
        load("mnist")


def test_a_stand_in_under_the_name_of_the_official_set_is_refused(small_mnist, write_cache):
    write_cache("mnist", says={"stand_in": True})
    with pytest.raises(DamagedData, match="it holds another stand_in: True, wanted False"):
        load("mnist", stand_in=True)


def test_five_images_are_not_taken_for_the_55000_of_mnist(write_cache, official_counts):
    official_counts("mnist", 10, 5, 5)
    write_cache("mnist")
    official_counts("mnist", 60_000, 5_000, 10_000)
    with pytest.raises(DamagedData, match=r"5 images, while this part .* has 55,000; .* mnist-standin-train\.npz"):
        load("mnist")


def test_as_many_other_images_are_not_taken_for_mnist(mnist, write_cache):
    write_cache("mnist")  # 22, 2 and 4 of them, as in the folder
    with pytest.raises(DamagedData, match="do not hold the official MNIST: their SHA-256 differs"):
        load("mnist")


def test_a_count_in_meta_that_is_not_that_of_the_images_is_refused(small_mnist, write_cache):
    write_cache("mnist", says={"count": 4})
    with pytest.raises(DamagedData, match="3 images, while meta counts 4"):
        load("mnist")


def test_labels_that_meta_promises_must_be_there(small_mnist, write_cache):
    write_cache("mnist", says={"labels": True}, labels=None)
    with pytest.raises(DamagedData, match="meta and the entries disagree"):
        load("mnist")


@pytest.mark.parametrize(("entry", "value"), [("count", 3.0), ("part", 1), ("stand_in", 0), ("source", ["a"])])
def test_a_word_of_meta_of_another_type_is_refused(small_mnist, write_cache, entry, value):
    write_cache("mnist", says={entry: value})
    with pytest.raises(DamagedData, match=f"meta: wanted .* for '{entry}'"):
        load("mnist")


OLD = {"set": None, "part": None, "count": None, "stand_in": False}  # meta as older versions wrote it


def test_an_old_cache_is_made_again_from_the_folder(mnist, write_cache, root):
    write_cache("mnist", says=OLD)
    first = load("mnist")
    assert first.train.pixels.unique().tolist() != [7]
    (root / "MNIST").rename(root / "elsewhere")
    assert load("mnist").fingerprints == first.fingerprints


def test_an_old_cache_without_its_folder_is_refused_and_the_words_it_lacks_are_named(small_mnist, write_cache):
    write_cache("mnist", says=OLD)
    with pytest.raises(DamagedData, match=r"mnist-train\.npz .* its meta lacks set, part, count, and there is no"):
        load("mnist")


def test_an_old_cache_does_not_let_a_stand_in_pass(write_stl10, official_counts, write_cache):
    official_counts("stl10", 6, 3, 3)
    write_cache("stl10", shape=(3, 96, 96), says=OLD)
    write_stl10()
    with pytest.raises(StandInRefused):
        load("stl10")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (Key("mnist"), "mnist"),
        (Key("stl10", stand_in=True), "stl10-standin"),
        (Key("div2k", crop=Crop(200)), "div2k-200"),
        (Key("div2k", crop=Crop(344, 4, 1)), "div2k-344-4crops-seed1"),
        (Key("div2k", stand_in=True, crop=Crop(96, 2)), "div2k-standin-96-2crops-seed0"),
    ],
)
def test_the_name_of_a_cache_says_stand_in_and_crop(key, name):
    assert str(key) == name


# Damage


@pytest.fixture
def cached(small_mnist, write_cache, root):
    """A cache of three times 3 images; returns what it gives and the file of its training part."""
    write_cache("mnist", says={"labels": True, "classes": list("0123456789")})
    return cache.read(root, Key("mnist")).train, root / "mnist-train.npz"


def outcome(file, content, whole):
    """Return what a changed file leads to: "equal", "damaged", or something that must not be."""
    file.write_bytes(content)
    try:
        images = cache._read_part(file, Key("mnist"), "train")  # one file only: there are thousands of changes
    except DamagedData:
        return "damaged"
    except Exception as error:
        return repr(error)
    facts = [(part.fingerprint, part.provenance, part.classes) for part in (images, whole)]
    return "equal" if facts[0] == facts[1] else "other content"


def test_no_changed_byte_of_a_cache_gives_other_content_or_another_error(cached):
    whole, file = cached
    content, draw = file.read_bytes(), random.Random(0)
    # Of the zeros that pad and the pixels, which are all 7, some; of all other bytes each.
    places = [place for place in range(len(content)) if content[place] not in (0, 7) or place % 20 == 0]
    seen = set()
    for place in places:
        value = draw.choice([content[place] ^ 0xFF, draw.randrange(256)])
        seen.add(outcome(file, content[:place] + bytes([value]) + content[place + 1 :], whole))
    assert seen == {"equal", "damaged"}


def test_no_truncated_cache_gives_other_content_or_another_error(cached):
    whole, file = cached
    content = file.read_bytes()
    assert {outcome(file, content[:length], whole) for length in range(0, len(content), 13)} == {"damaged"}


def test_a_cache_without_the_entry_of_its_labels_in_the_directory_is_damaged(cached):
    # 46 bytes and the name "labels.npy": swallowed as the comment of the entry before it, pixels.npy.
    whole, file = cached
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 32] = 46 + len("labels.npy")
    assert outcome(file, bytes(content), whole) == "damaged"


def npz_with_header(path, shape):
    """Write a cache whose pixels claim a shape that their bytes do not have."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100)
    with zipfile.ZipFile(path) as file:
        meta = file.read("meta.npy")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pixels.npy", array)
        file.writestr("meta.npy", meta)


def test_a_header_that_claims_713_tebibytes_is_damage(small_mnist, write_cache, root):
    write_cache("mnist")
    npz_with_header(root / "mnist-train.npz", (10**12, 1, 28, 28))
    with pytest.raises(DamagedData, match=r"mnist-train\.npz is damaged: .*713"):
        load("mnist")


def test_json_nested_too_deeply_is_damage(small_mnist, write_cache, root):
    write_cache("mnist")
    with np.load(root / "mnist-train.npz") as file:
        entries = dict(file)
    np.savez(root / "mnist-train.npz", **{**entries, "meta": np.array("[" * 100_000)})
    with pytest.raises(DamagedData, match=r"mnist-train\.npz is damaged: RecursionError"):
        load("mnist")
