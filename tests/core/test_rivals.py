"""`codec.rivals`: files that are what they say, smaller at a lower quality, and nearer at a higher one."""

import io

import numpy as np
import pytest
from PIL import Image, features

from aecore.codec import rivals
from aecore.data.sample import build

QUALITIES = dict.fromkeys(rivals.NAMES, (20, 80)) | {"jpeg 2000": (60, 6)}
FORMATS = {"jpeg": "JPEG", "jpeg 4:4:4": "JPEG", "webp": "WEBP", "avif": "AVIF", "jpeg 2000": "JPEG2000"}
CHECKS = {"webp": "webp", "avif": "avif", "jpeg 2000": "jpg_2000"}


@pytest.fixture(scope="module")
def pixels():
    """A photograph of 96×96 pixels in colour."""
    return build("div2k", 96).test.pixels[0].permute(1, 2, 0).numpy()


@pytest.fixture(params=rivals.NAMES)
def name(request):
    if request.param in CHECKS and not features.check(CHECKS[request.param]):
        pytest.skip(f"Pillow was built without {request.param} here")
    return request.param


def error(pixels, file):
    return np.square(rivals.decode(file, grey=pixels.ndim == 2).astype(float) - pixels).mean()


def test_file_is_of_the_format_that_was_asked_for(name, pixels):
    assert Image.open(io.BytesIO(rivals.encode(name, pixels, QUALITIES[name][0]))).format == FORMATS[name]


def test_a_higher_quality_is_larger_and_nearer(name, pixels):
    low, high = (rivals.encode(name, pixels, quality) for quality in QUALITIES[name])
    assert len(low) < len(high)
    assert error(pixels, low) > error(pixels, high)


def test_a_grey_picture_stays_grey(name, pixels):
    grey = pixels.mean(2).astype(np.uint8)
    file = rivals.encode(name, grey, QUALITIES[name][1])
    assert rivals.decode(file, grey=True).shape == (96, 96)
    assert error(grey, file) < 100  # 28 dB


def test_jpeg_keeps_colours_at_full_size_where_it_says_so(pixels):
    # A checkerboard of red and blue has nothing left after the mean of 2×2 colours.
    board = np.zeros((32, 32, 3), np.uint8)
    board[..., 0] = 255 * (np.indices((32, 32)).sum(0) % 2)
    board[..., 2] = 255 - board[..., 0]
    assert error(board, rivals.encode("jpeg 4:4:4", board, 90)) < 0.1 * error(board, rivals.encode("jpeg", board, 90))


def test_jpeg_2000_uses_its_colour_transform(pixels):
    # Without it grey pixels would cost three times what one channel does: at one size, the error is larger.
    grey = np.repeat(pixels.mean(2).astype(np.uint8)[:, :, None], 3, axis=2)
    plain = io.BytesIO()
    options = {"quality_mode": "rates", "quality_layers": [40], "irreversible": True}
    Image.fromarray(grey).save(plain, "JPEG2000", **options)
    assert error(grey, rivals.encode("jpeg 2000", grey, 40)) < 0.7 * error(grey, plain.getvalue())


def test_unknown_codec_is_refused_with_those_that_are_known(pixels):
    with pytest.raises(ValueError, match=r"name: unknown codec 'gif'. Known: jpeg, jpeg 4:4:4, webp"):
        rivals.encode("gif", pixels, 50)


def test_codec_that_pillow_has_not_got_is_named(pixels, monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(ValueError, match="name: Pillow was built without AVIF here"):
        rivals.encode("avif", pixels, 50)


@pytest.mark.parametrize("shape", [(8,), (8, 8, 4), (8, 8, 1)])
def test_what_are_no_pixels_is_refused(shape):
    with pytest.raises(ValueError, match=r"pixels: wanted uint8 of shape \(H, W, 3\)"):
        rivals.encode("jpeg", np.zeros(shape, np.uint8), 50)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_file_of_a_size_is_the_largest_that_is_not_larger(pixels, kind):
    every = [len(rivals.encode(kind, pixels, quality)) for quality in range(1, 101)]
    wanted = (min(every) + max(every)) // 2
    assert len(rivals.of_size(kind, pixels, wanted)) == max(size for size in every if size <= wanted)


def test_file_of_a_size_that_is_too_small_is_the_smallest(pixels):
    assert rivals.of_size("jpeg", pixels, 1) == rivals.encode("jpeg", pixels, 1)


def test_jpeg_2000_has_no_quality_by_which_a_size_is_found(pixels):
    with pytest.raises(ValueError, match="that of jpeg 2000 is a ratio"):
        rivals.of_size("jpeg 2000", pixels, 1000)
