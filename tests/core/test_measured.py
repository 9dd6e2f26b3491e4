"""`runs.measured`: what was measured comes back exactly, however it is packed."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from aecore.runs.measured import LONG, Entry, Measured, plain


def measured(value):
    found = Measured()
    found["key"] = Entry("function", "noise-test", 5, value)
    return found


def through_json(found):
    """Pack, write and read as JSON, and unpack."""
    entries, tensors = found.packed("00-a/")
    return Measured.unpacked(json.loads(json.dumps(entries)), tensors)


def same(one, other):
    """Whether two values are equal in type and in every bit; NaN is itself."""
    if isinstance(one, torch.Tensor):
        kinds = (one.dtype, one.shape) == (other.dtype, other.shape)
        return kinds and one.numpy().tobytes() == other.numpy().tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other or (one != one and other != other)


GENERATOR = torch.Generator().manual_seed(0)
EXACT = {
    "a number": 0.1,
    "a whole number": 7,
    "one beyond 64 bits": 2**70,
    "nothing": None,
    "True": True,
    "a word": "grün",
    "infinity": -math.inf,
    "NaN": math.nan,
    "bytes": torch.randint(0, 256, (3, 1, 5, 5), dtype=torch.uint8, generator=GENERATOR),
    "float64": torch.rand(3, 4, dtype=torch.float64, generator=GENERATOR),
    "float16": torch.rand(3, 4, generator=GENERATOR).half(),
    "int64": torch.tensor([-(2**63), 2**63 - 1]),
    "truths": torch.tensor([True, False]),
    "a tensor with NaN": torch.tensor([math.nan, -0.0, math.inf]),
    "one number as a tensor": torch.tensor(0.1),
    "an empty tensor": torch.zeros(0, 3),
    "columns": torch.rand(4, 5, generator=GENERATOR).T,
    "every second": torch.arange(9)[::2],
    "few numbers": [0.1, 2, 3.5],
    "many numbers": torch.rand(100, dtype=torch.float64, generator=GENERATOR).tolist(),
    "many small whole numbers": list(range(200)),
    "many negative numbers": list(range(-100, 100)),
    "a table": torch.rand(20, 10, dtype=torch.float64, generator=GENERATOR).tolist(),
    "whole numbers among others": [1, 0.5] * 50,
    "truths among numbers": [True, 2] * 50,
    "many with NaN": [math.nan, 0.5] * 50,
    "many zeros of both signs": [0.0, -0.0] * 50,
    "large whole numbers among others": [2**60 + 1, 0.5] * 50,
    "many beyond 64 bits": [2**70, 1] * 50,
    "rows of different lengths": [[1.0] * 60, [2.0] * 70],
    "many words": ["a", "b"] * 50,
    "many with nothing": [None, 1.0] * 50,
    "tensors in a list": [torch.rand(100), torch.rand(100)],
    "a dict": {"each": [0.5] * 100, "picture": torch.zeros(2, 2, dtype=torch.uint8), "count": 5, "none": []},
}


@pytest.mark.parametrize("name", EXACT)
def test_a_value_comes_back_in_every_bit(name):
    assert same(through_json(measured(EXACT[name]))["key"].value, EXACT[name])


def test_the_entry_comes_back_with_all_that_it_says():
    found = Measured(key=Entry("function", "noise-test", 5, [1, 2], "c0de"))
    assert through_json(found) == found


def test_an_entry_from_before_the_code_was_noted_is_read():
    entry = {"what": "function", "images": "noise-test", "count": 5, "value": 1}
    assert Measured.unpacked({"key": entry}, {})["key"] == Entry("function", "noise-test", 5, 1, "")


def test_an_entry_of_a_later_version_is_read():
    entry = {"what": "function", "images": "noise-test", "count": 5, "value": 1, "colour": "red"}
    assert Measured.unpacked({"key": entry}, {})["key"].value == 1


class TestPlain:
    """What goes in is kept as it would come out."""

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ((1, (2, 3)), [1, [2, 3]]),
            ({1: "a"}, {"1": "a"}),
            (np.float64(0.5), 0.5),
            (np.float32(0.5), 0.5),
            (np.int64(5), 5),
            (np.bool_(True), True),
            (np.str_("a"), "a"),
            (np.arange(3, dtype=np.uint8), torch.arange(3, dtype=torch.uint8)),
            (np.array(0.5), torch.tensor(0.5, dtype=torch.float64)),
            (torch.tensor([0.1], dtype=torch.bfloat16), torch.tensor([0.10009765625])),
        ],
        ids=repr,
    )
    def test_becomes(self, given, wanted):
        assert same(measured(given)["key"].value, wanted)

    def test_a_tensor_loses_its_gradient(self):
        assert not measured(torch.ones(2, requires_grad=True))["key"].value.requires_grad

    @pytest.mark.parametrize("value", [torch.zeros(2), np.zeros(2), [0, 0]], ids=["tensor", "array", "list"])
    def test_is_a_copy(self, value):
        found, before = measured({"a": value}), plain(copy.deepcopy({"a": value}))
        value[0] = 1
        assert same(found["key"].value, before)

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ({1, 2}, "set"),
            (object(), "object"),
            (1j, "complex"),
            (b"x", "bytes"),
            ({(1, 2): 3}, "dict"),
            ({"$tensor": "0"}, "dict"),
            ([{"a": {3}}], "set"),
            (torch.zeros(2, dtype=torch.complex64), "a tensor of torch.complex64"),
            (torch.zeros(2, 2).to_sparse(), "torch.sparse_coo"),
            (np.array(["a"]), "an array of <U1"),
            (np.array([None]), "an array of object"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_kept_is_refused_by_its_kind(self, value, found):
        with pytest.raises(TypeError, match=f"measure: wanted numbers, words, tensors, .* got .*{found}"):
            measured(value)


class TestPacked:
    def tensor(self, value):
        """The one tensor that a value is packed into."""
        _, tensors = measured(value).packed()
        (tensor,) = tensors.values()
        return tensor

    def test_what_is_packed_is_json(self):
        entries, _ = measured(EXACT["a dict"]).packed()
        assert json.loads(json.dumps(entries)) == entries

    def test_tensors_carry_the_beginning_that_is_asked_for(self):
        _, tensors = measured([torch.zeros(1), torch.ones(1)]).packed("00-a/")
        assert list(tensors) == ["00-a/0", "00-a/1"]

    def test_many_small_whole_numbers_take_a_byte_each(self):
        assert self.tensor([0, 255] * LONG).dtype == torch.uint8

    @pytest.mark.parametrize("other", [256, -1])
    def test_larger_or_negative_ones_take_eight(self, other):
        assert self.tensor([0, other] * LONG).dtype == torch.int64

    def test_many_real_numbers_take_eight(self):
        assert self.tensor([0.1] * LONG).dtype == torch.float64

    def test_few_numbers_stay_in_the_text(self):
        entries, tensors = measured([0.1] * (LONG - 1)).packed()
        assert (entries["key"]["value"], tensors) == ([0.1] * (LONG - 1), {})

    @pytest.mark.parametrize(
        "change", [lambda t: t + 1, lambda t: t[:2], lambda t: t.to(torch.int16), lambda t: t.view(1, -1)]
    )
    def test_another_tensor_in_its_place_is_noticed(self, change):
        entries, tensors = measured(torch.arange(3, dtype=torch.uint8)).packed()
        with pytest.raises(ValueError, match="the tensor '0' is not the one that was stored"):
            Measured.unpacked(entries, {"0": change(tensors["0"])})

    def test_a_missing_tensor_is_noticed(self):
        entries, _ = measured(torch.zeros(3)).packed()
        with pytest.raises(KeyError, match="0"):
            Measured.unpacked(entries, {})


class TestLike:
    """What a page shows to a reader whose images are not those that it was made from."""

    @pytest.fixture
    def page(self):
        found = Measured()
        found["a"] = Entry("score", "emnist-standin-test", 6157, 0.1, "c0de")
        found["b"] = Entry("score", "emnist-standin-valid", 3694, 0.2, "c0de")
        found["c"] = Entry("score", "photos-test", 6157, 0.3, "c0de")
        found["d"] = Entry("other", "emnist-standin-test", 6157, 0.4, "c0de")
        return found

    def like(self, page, what="score", images="emnist-test", count=18_800, code="c0de"):
        found = page.like(Entry(what, images, count, None, code))
        return None if found is None else found.value

    def test_is_what_that_function_found_on_that_part_of_that_set(self, page):
        assert self.like(page) == 0.1
        assert self.like(page, images="emnist-valid") == 0.2
        assert self.like(page, images="photos-test") == 0.3
        assert self.like(page, what="other") == 0.4

    @pytest.mark.parametrize("images", ["emnist-train", "mnist-test", "own images"])
    def test_is_nothing_where_that_part_of_that_set_was_not_measured(self, page, images):
        """The error on the training images must not stand where that on the test images is asked for."""
        assert self.like(page, images=images) is None

    def test_is_nothing_where_no_function_of_that_name_was_measured(self, page):
        assert self.like(page, what="another") is None

    def test_of_selections_it_is_the_one_of_the_nearest_size(self, page):
        page["e"] = Entry("score", "emnist-standin-test", 10, 0.5, "c0de")
        assert (self.like(page, count=10), self.like(page, count=18_800)) == (0.5, 0.1)

    def test_of_two_selections_of_one_size_it_is_neither(self, page):
        """They may have been [:10] and [10:20], and nothing says which is which."""
        page["e"] = Entry("score", "emnist-standin-test", 10, 0.5, "c0de")
        page["f"] = Entry("score", "emnist-standin-test", 10, 0.6, "c0de")
        assert self.like(page, count=10) is None

    def test_of_two_functions_of_one_name_it_is_the_one_with_the_same_code(self, page):
        page["e"] = Entry("score", "emnist-standin-test", 6157, 0.5, "another")
        assert (self.like(page), self.like(page, code="another")) == (0.1, 0.5)

    def test_the_same_code_counts_before_the_size(self, page):
        page["e"] = Entry("score", "emnist-standin-test", 18_800, 0.5, "another")
        assert self.like(page) == 0.1

    def test_another_code_is_better_than_nothing(self, page):
        assert self.like(page, code="another") == 0.1

    def test_a_measurement_from_before_the_code_was_noted_is_taken(self, page):
        page["a"] = page["a"]._replace(code="")
        assert self.like(page) == 0.1
