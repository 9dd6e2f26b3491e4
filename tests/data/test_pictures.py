"""Photographs: what a file may be, and how it is cut."""

import contextlib
import logging
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from aecore import config
from aecore.data import DamagedData, load, pictures
from aecore.data.pictures import Crop, read_picture


def rgb(file):
    """A file's pixels as (H, W, 3)."""
    return read_picture(file)[0].permute(1, 2, 0).numpy()


# What a file may be


def test_an_eps_named_png_never_reaches_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: pytest.fail("Ghostscript was called"))
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.eps")
    (tmp_path / "photo.eps").rename(tmp_path / "photo.png")
    with pytest.raises(DamagedData, match=r"photo\.png is not a photograph"):
        read_picture(tmp_path / "photo.png")


def test_a_gif_named_png_is_refused(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.gif")
    (tmp_path / "photo.gif").rename(tmp_path / "photo.png")
    with pytest.raises(DamagedData, match=r"photo\.png is not a photograph"):
        read_picture(tmp_path / "photo.png")


def test_grey_of_16_bits_is_rounded_to_8(tmp_path):
    # 65,535 / 255 = 257: value v is v / 257, rounded. 128.49 is 33,022; 128.5 would lie between whole values.
    values = np.array([[0, 128, 129, 257], [33_022, 33_025, 65_406, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    assert rgb(tmp_path / "grey.png")[:, :, 0].tolist() == [[0, 0, 1, 1], [128, 129, 254, 255]]


def test_grey_of_16_bits_is_grey(tmp_path):
    Image.fromarray(np.full((2, 2), 25_700, np.uint16)).save(tmp_path / "grey.png")
    assert np.unique(rgb(tmp_path / "grey.png")).tolist() == [100]


def test_the_transparent_value_of_16_bit_grey_is_white(tmp_path):
    Image.fromarray(np.array([[0, 25_700]], np.uint16)).save(tmp_path / "grey.png", transparency=0)
    assert rgb(tmp_path / "grey.png")[:, :, 0].tolist() == [[255, 100]]


def test_transparent_pixels_show_white(tmp_path):
    # Half transparent red on white: .5 of 255 is lost in green and blue.
    picture = np.array([[[200, 0, 0, 255], [9, 9, 9, 0], [255, 0, 0, 128]]], np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert rgb(tmp_path / "a.png").tolist() == [[[200, 0, 0], [255, 255, 255], [255, 127, 127]]]


def test_an_alpha_channel_that_is_opaque_changes_nothing(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    picture[:, :, 3] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    pixels, transparent = read_picture(tmp_path / "a.png")
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), picture[:, :, :3])
    assert not transparent


def test_transparent_photographs_are_counted_in_the_log_and_the_note(write_photos, root, monkeypatch, caplog):
    write_photos("mine", [(40, 30)] * 8)
    for name in ("a.png", "b.png"):
        Image.new("RGBA", (40, 30), (1, 2, 3, 100)).save(root / "mine" / name)
    monkeypatch.setattr(config.log, "propagate", True)
    with caplog.at_level(logging.INFO, "aecore"):
        note = load("photos", folder="mine", size=16).provenance.note
    said = "2 photographs with transparent pixels laid on white"
    assert (note, caplog.text.count(said)) == (said, 1)


def png_header(width, height):
    """A PNG that claims a size, with hardly any data behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_photograph_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(10_000, 9_000))
    with pytest.raises(DamagedData, match=r"bomb\.png has 10,000×9,000 = 90,000,000 pixels, wanted at most 80,000,000"):
        read_picture(tmp_path / "bomb.png")


def test_a_bomb_that_pillow_refuses_is_named_too(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(DamagedData, match=r"bomb\.png .*3600000000 pixels"):
        read_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_photograph_is_read_or_damage_whatever_byte_is_changed(tmp_path, suffix):
    file, draw = tmp_path / f"a.{suffix}", random.Random(0)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(file)
    content = file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :])
        with contextlib.suppress(DamagedData):  # any other error fails here
            read_picture(file)


def test_hidden_files_are_no_photographs(tmp_path):
    # macOS writes ._photo.png beside photo.png onto foreign disks.
    for name in ("b.PNG", "a.jpeg", "._a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in pictures.photo_files(tmp_path)] == ["a.jpeg", "b.PNG"]


# Crops


@pytest.fixture
def garden(root):
    """Twenty photographs of 40×30 in which every pixel tells its row, column and photograph."""
    (root / "garden").mkdir()
    rows, columns = np.mgrid[0:30, 0:40]
    for number in range(20):
        pixels = np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8)
        Image.fromarray(pixels).save(root / "garden" / f"{number:02d}.png")


def photos(**options):
    return load("photos", folder="garden", size=16, **options)


def test_so_many_random_crops_of_each_training_photograph(garden):
    train = photos(per_photo=3, seed=1).train
    assert len(train) == 3 * 16
    assert train.pixels[:, 2, 0, 0].bincount().unique().tolist() == [0, 3]


def test_a_random_crop_is_a_window_of_its_photograph(garden):
    for crop in photos(per_photo=3, seed=1).train.pixels.int():
        top, left = crop[0, 0, 0], crop[1, 0, 0]
        assert crop[0, :, 0].tolist() == list(range(top, top + 16))
        assert crop[1, 0, :].tolist() == list(range(left, left + 16))
        assert len(crop[2].unique()) == 1


def test_random_crops_reach_all_borders(garden):
    corners = photos(per_photo=40).train.pixels[:, :2, 0, 0]
    assert (corners.amin(0).tolist(), corners.amax(0).tolist()) == ([0, 0], [30 - 16, 40 - 16])


def test_equal_seeds_give_equal_crops_and_others_do_not(garden):
    first, again, other = (photos(per_photo=2, seed=seed).train.fingerprint for seed in (1, 1, 2))
    assert first == again != other


def test_validation_and_test_stay_centre_crops_of_the_same_photographs(garden):
    assert photos(per_photo=4, seed=3).fingerprints[1:] == photos().fingerprints[1:]


def test_one_crop_of_each_photograph_is_its_centre(garden):
    assert photos(per_photo=1).train.pixels[:, :2, 0, 0].unique(dim=0).tolist() == [[7, 12]]


def test_the_provenance_tells_random_crops_and_their_seed(garden):
    source = photos(per_photo=4, seed=3).provenance.source
    assert source == "20 photographs from garden, 4 random crops of 16×16 of each training photograph (seed 3)"


@pytest.fixture
def div2k(write_photos, official_counts):
    write_photos("DIV2K_train_HR", [(40, 30)] * 10)
    write_photos("DIV2K_valid_HR", [(40, 30)] * 3)
    official_counts("div2k", 10, 2, 3)


def test_random_crops_of_div2k_leave_validation_and_test_alone(div2k):
    assert [len(part) for part in vars(load("div2k", size=16, per_photo=5)).values()] == [8 * 5, 2, 3]


def test_each_choice_of_crops_has_a_cache_of_its_own(div2k, root):
    for options in ({}, {"per_photo": 2}, {"per_photo": 2, "seed": 1}):
        assert load("div2k", size=16, **options).fingerprints == load("div2k", size=16, **options).fingerprints
    names = sorted(path.name for path in root.glob("*-train.npz"))
    assert names == ["div2k-16-2crops-seed0-train.npz", "div2k-16-2crops-seed1-train.npz", "div2k-16-train.npz"]


@pytest.mark.parametrize("options", [{"per_photo": 0}, {"per_photo": 1.5}, {"per_photo": True}, {"seed": -1}])
def test_numbers_of_crops_and_seeds_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))}: wanted a whole number"):
        load("div2k", **options)


def test_a_seed_without_random_crops_is_refused():
    with pytest.raises(ValueError, match="say per_photo=2 or more for random crops, got seed=3"):
        load("div2k", seed=3)


def test_random_crops_go_with_photographs_only():
    with pytest.raises(ValueError, match="per_photo=… goes with 'photos' and 'div2k' only; got per_photo=2"):
        load("mnist", per_photo=2)


def test_the_words_of_a_crop_tell_its_size():
    assert str(Crop(344)) == "centre crops of 344×344"
