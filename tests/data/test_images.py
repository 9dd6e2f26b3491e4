"""`Images`, and `from_array` for the reader's own."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from aecore.data import Images, Splits, from_array


def zeros(count=4):
    return torch.zeros(count, 1, 2, 2, dtype=torch.uint8)


def test_images_refuse_floats_and_name_the_type():
    with pytest.raises(ValueError, match=r"wanted a uint8 tensor .* got torch.float32"):
        Images(torch.zeros(1, 1, 2, 2))


def test_images_refuse_labels_of_another_number():
    with pytest.raises(ValueError, match=r"labels: wanted shape \(4,\).*got \(3,\)"):
        Images(zeros(), torch.zeros(3, dtype=torch.int64))


def test_images_and_splits_say_in_a_line_what_they_are():
    images = Images(torch.zeros(1200, 1, 4, 6, dtype=torch.uint8), name="digits-test")
    assert repr(images) == "digits-test: 1,200 images of 1×4×6"
    assert repr(Splits(images, images[:2], images)).splitlines()[1] == "digits-test: 2 images of 1×4×6"


def test_floats_lie_between_0_and_1():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert Images(pixels).floats().flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_an_index_keeps_labels_and_pixels_together():
    images = Images(torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1), torch.tensor([10, 11, 12, 13]))
    chosen = images[[3, 1]]
    assert (chosen.pixels.flatten().tolist(), chosen.labels.tolist()) == ([3, 1], [13, 11])


def test_the_fingerprint_changes_with_one_pixel():
    other = zeros()
    other[3, 0, 1, 1] = 1
    assert Images(zeros()).fingerprint != Images(other).fingerprint


def test_the_fingerprint_changes_with_one_label():
    labels = torch.zeros(4, dtype=torch.int64)
    assert Images(zeros(), labels).fingerprint != Images(zeros(), labels + torch.tensor([0, 0, 0, 1])).fingerprint


def test_the_fingerprint_does_not_depend_on_the_layout_in_memory():
    pixels = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2)
    assert Images(pixels).fingerprint == Images(pixels.to(memory_format=torch.channels_last)).fingerprint


def test_the_fingerprint_notices_pixels_changed_in_place():
    images = Images(zeros())
    before = images.fingerprint
    images.pixels[0, 0, 0, 0] = 1
    assert images.fingerprint != before


def test_the_fingerprint_is_the_sha256_of_shape_pixels_and_labels():
    # Published runs depend on it, so it stays what it was.
    images = Images(torch.tensor([[[[1, 2]]]], dtype=torch.uint8), torch.tensor([3]))
    content = b"(1, 1, 1, 2)" + b"\x01\x02" + b"\x03" + bytes(7)
    assert images.fingerprint == hashlib.sha256(content).hexdigest()


def test_a_set_without_images_has_a_fingerprint():
    assert Images(zeros()[:0], torch.zeros(0, dtype=torch.int64)).fingerprint != Images(zeros()).fingerprint


def test_from_array_takes_bytes_as_they_are():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert np.array_equal(from_array(pixels).pixels.numpy()[:, 0], pixels)


def test_from_array_turns_floats_into_256_levels():
    # .5 × 255 = 127.5 rounds to the even 128
    assert from_array(torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1)).pixels.flatten().tolist() == [0, 128, 255]


def test_from_array_keeps_colour_labels_name_and_source():
    images = from_array(np.zeros((2, 3, 4, 5)), labels=[7, 8], name="leaves", source="my garden")
    found = (images.shape, images.labels.tolist(), images.name, images.provenance.source)
    assert found == ((3, 4, 5), [7, 8], "leaves", "my garden")


def test_from_array_lays_the_pixels_out_in_their_order():
    pixels = torch.zeros(2, 4, 5, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert from_array(pixels).pixels.is_contiguous()


def test_from_array_keeps_a_copy():
    pixels, labels = np.zeros((2, 4, 5), np.uint8), np.zeros(2, np.int64)
    images = from_array(pixels, labels)
    pixels[:], labels[:] = 9, 9
    assert (images.pixels.max(), images.labels.max()) == (0, 0)


def test_values_up_to_255_in_floats_are_refused_with_a_hint_to_divide():
    with pytest.raises(ValueError, match=r"from 0 to 255; try dividing by 255"):
        from_array(np.array([0.0, 255.0]).reshape(1, 1, 2))


def test_negative_values_are_refused_and_named():
    with pytest.raises(ValueError, match=r"from -1 to 1$"):
        from_array(np.array([-1.0, 1.0]).reshape(1, 1, 2))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="nan"):
        from_array(np.full((1, 2, 2), np.nan))


def test_integers_other_than_bytes_are_refused():
    with pytest.raises(ValueError, match=r"wanted uint8 .* got torch.int64"):
        from_array(np.zeros((1, 2, 2), dtype=np.int64))


@pytest.mark.parametrize("shape", [(28,), (28, 28), (1, 1, 1, 28, 28)])
def test_a_wrong_number_of_axes_is_refused(shape):
    with pytest.raises(ValueError, match=r"wanted shape \(N, H, W\) or \(N, C, H, W\)"):
        from_array(np.zeros(shape))


def test_channels_at_the_end_are_refused_with_a_hint_to_permute():
    with pytest.raises(ValueError, match=r"got 32 in \(5, 32, 32, 3\).*permute\(0, 3, 1, 2\)"):
        from_array(np.zeros((5, 32, 32, 3)))


def test_two_channels_are_refused_without_that_hint():
    with pytest.raises(ValueError, match=r"wanted 1 or 3 channels .* got 2 in \(5, 2, 32, 32\)$"):
        from_array(np.zeros((5, 2, 32, 32)))


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="empty set"):
        from_array(np.zeros((0, 28, 28)))


def test_labels_that_are_not_integers_are_refused():
    with pytest.raises(ValueError, match=r"labels: wanted integers, got torch.float64"):
        from_array(np.zeros((2, 5, 5)), labels=np.array([0.5, 1.0]))


@pytest.mark.parametrize("channels", [3, 4])
def test_one_colour_picture_is_not_taken_for_many_grey_ones(channels):
    with pytest.raises(ValueError, match=r"\(200, 300, .\) may mean one colour image .*permute\(2, 0, 1\)\[None\]"):
        from_array(np.zeros((200, 300, channels), np.uint8))


def test_the_advice_for_one_colour_picture_works():
    pixels = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)
    images = from_array(torch.as_tensor(pixels)[:, :, :3].permute(2, 0, 1)[None])
    assert np.array_equal(images.pixels[0].permute(1, 2, 0).numpy(), pixels[:, :, :3])


def test_a_pil_image_is_refused_with_a_hint():
    with pytest.raises(TypeError, match=r"got PIL\.Image\.Image; try numpy\.asarray\(pixels\)"):
        from_array(Image.new("RGB", (30, 20)))


@pytest.mark.parametrize(
    "pixels",
    [
        [Image.new("L", (5, 6)), Image.new("L", (6, 5))],
        [np.zeros((5, 6)), np.zeros((6, 5))],
        ["a.png", "b.png"],
        [None],
        [[1, 2], [3]],
        np.array([None, 1]),
        np.array(["a"]),
    ],
    ids=["PIL images", "two shapes", "names", "None", "ragged", "objects", "words"],
)
def test_what_is_no_array_of_numbers_is_refused_with_a_hint(pixels):
    with pytest.raises(TypeError, match=r"pixels: no array of numbers can be made .* numpy\.stack"):
        from_array(pixels)


@pytest.mark.parametrize("pixels", [None, 5, "photo.png", {"pixels": 1}])
def test_what_is_no_array_at_all_is_refused(pixels):
    with pytest.raises(TypeError, match="pixels: wanted a NumPy array or a torch tensor, got"):
        from_array(pixels)


def test_labels_that_are_words_are_refused():
    with pytest.raises(TypeError, match="labels: no array of numbers"):
        from_array(np.zeros((2, 5, 5)), labels=["cat", "dog"])


def test_labels_that_are_true_or_false_are_refused():
    with pytest.raises(ValueError, match=r"labels: wanted integers, got torch\.bool"):
        from_array(np.zeros((2, 5, 5)), labels=np.array([True, False]))


def test_lists_of_arrays_of_one_size_are_taken():
    assert len(from_array([np.zeros((5, 6), np.uint8)] * 2)) == 2


def test_an_array_read_backwards_is_taken():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert np.array_equal(from_array(pixels[::-1]).pixels.numpy()[:, 0], pixels[::-1])


def test_an_array_in_the_byte_order_of_another_machine_is_taken():
    assert from_array(np.ones((1, 2, 2), ">f4")).pixels.unique().tolist() == [255]


def test_resizing_takes_the_mean_between_pixels():  # bilinear, to the half: the mean of each 2×2 block
    pixels = torch.tensor([[0, 100, 8, 8], [100, 200, 8, 8]], dtype=torch.uint8).view(1, 1, 2, 4)[..., :2]
    assert Images(pixels, name="mnist-test").resized(1).pixels.tolist() == [[[[100]]]]


def test_a_resized_set_says_so_in_its_name_and_keeps_its_labels():
    pixels, labels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([3, 1])
    images = Images(pixels, labels, name="mnist-sample-test").resized(8)
    assert (images.name, images.shape, images.labels.tolist()) == ("mnist at 8×8-sample-test", (1, 8, 8), [3, 1])


def test_all_parts_are_resized():
    images = Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    splits = Splits(images, images, images).resized(2)
    assert {part.shape for part in (splits.train, splits.valid, splits.test)} == {(1, 2, 2)}


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_another_size_than_a_number_of_pixels_is_refused(size):
    with pytest.raises(ValueError, match="size: wanted a whole number of pixels from 1"):
        Images(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).resized(size)


def test_a_resized_value_is_rounded_not_cut_off():  # the mean of 0, 1, 1, 1 is .75
    pixels = torch.tensor([[0, 1], [1, 1]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert Images(pixels).resized(1).pixels.item() == 1
