"""Every exercise of the book: its right answer is accepted, each known mistake refused with its own words."""

import copy
import math

import numpy as np
import pytest
import torch

from aecore import models
from aecore.exercises import Function, Mistake, Number, check, checked, written

BANK = checked()
BY_HAND = written()
MISTAKES = [
    pytest.param(number, mistake, id=f"{number}-{i}")
    for number, exercise in BANK.items()
    for i, mistake in enumerate(exercise.mistakes)
]
FUNCTIONS = [number for number, exercise in BANK.items() if isinstance(exercise, Function)]
NUMBERS = [number for number, exercise in BANK.items() if isinstance(exercise, Number)]


def right(number):
    exercise = BANK[number]
    return exercise.right if isinstance(exercise, Function) else exercise.answer


@pytest.mark.parametrize("number", BANK)
class TestEvery:
    def test_accepts_the_right_answer(self, number):
        assert check(number, right(number)).ok

    def test_knows_three_mistakes_or_more(self, number):
        assert len(BANK[number].mistakes) >= 3

    def test_says_something_else_to_each_mistake(self, number):
        assert len({mistake.say for mistake in BANK[number].mistakes}) == len(BANK[number].mistakes)

    def test_waits_while_there_are_three_dots(self, number):
        assert check(number, ...).state == "waiting"

    @pytest.mark.parametrize("answer", ["12", None, [1, 2], {}, True, torch.zeros(2), np.zeros(2)], ids=repr)
    def test_refuses_another_kind_of_answer_by_its_name(self, number, answer):
        assert check(number, answer).message.startswith("not yet: wanted ")


@pytest.mark.parametrize(("number", "mistake"), MISTAKES)
class TestEveryMistake:
    def test_is_not_accepted(self, number, mistake):
        assert check(number, mistake.answer).state == "wrong"

    def test_is_told_in_its_own_words(self, number, mistake):
        assert check(number, mistake.answer).message == f"not yet: {mistake.say}"

    def test_says_more_than_that_it_is_wrong(self, number, mistake):
        assert len(mistake.say.split()) >= 8


def test_the_answers_of_chapter_1_by_hand():
    assert [BANK[number].answer for number in ("01-1", "01-2")] == [0.12755102040816327, 50_992]


def test_the_answers_of_chapter_2_by_hand():
    assert [BANK[number].answer for number in ("02-1", "02-3")] == [4_616, 451_584]


def test_the_answers_of_chapter_3_by_hand():
    assert [BANK[number].answer for number in ("03-1", "03-3")] == [pytest.approx(23.9794, abs=1e-4), 16]


def test_the_answers_of_chapter_4_by_hand():
    assert [BANK[number].answer for number in ("04-1", "04-2")] == [14_156_288, 1]


def test_the_answers_of_chapter_5_by_hand():
    assert [BANK[number].answer for number in ("05-1", "05-4")] == [pytest.approx(0.0049840, abs=1e-7), 7_803]


def test_the_error_by_position_of_four_pixels_is_their_squares():
    assert right("05-5")(torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])).tolist() == [[1, 4], [9, 16]]


def test_the_answers_of_chapter_6_by_hand():
    assert [BANK[number].answer for number in ("06-1", "06-5")] == [pytest.approx(16.4), pytest.approx(0.01)]


def test_half_the_size_of_four_pixels_is_their_mean():
    assert right("06-2")(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist() == [[[[3.0]]]]


def test_a_layer_is_faded_in_by_its_share():
    small, large = torch.tensor([[[[4.0]]]]), torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    assert right("06-3")(small, large, 0.25).tolist() == [[[[3.0, 4.0], [5.0, 6.0]]]]


def test_the_running_statistics_are_those_of_torch():
    for mean, variance, x, momentum in BANK["06-4"].examples:
        layer = torch.nn.BatchNorm2d(x.shape[1], momentum=momentum)
        layer.running_mean, layer.running_var = mean.clone(), variance.clone()
        layer(x)
        torch.testing.assert_close(right("06-4")(mean, variance, x, momentum)[0], layer.running_mean)
        torch.testing.assert_close(right("06-4")(mean, variance, x, momentum)[1], layer.running_var)


def test_the_mutual_information_is_that_of_scikit_learn():
    from sklearn.metrics import mutual_info_score

    for (counts,) in BANK["04-3"].examples:
        assert right("04-3")(counts) == pytest.approx(mutual_info_score(None, None, contingency=counts) / math.log(2))


def test_the_rank_correlation_is_that_of_scipy():
    from scipy.stats import spearmanr

    for a, b in BANK["04-4"].examples:
        assert right("04-4")(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_there_are_four_exercises_or_more_in_each_chapter():
    chapters = [number.split("-")[0] for number in BANK]
    counts = {chapter: chapters.count(chapter) for chapter in chapters}
    assert counts == {"01": 4, "02": 4, "03": 4, "04": 4, "05": 5, "06": 5, "07": 4, "08": 4, "09": 4, "10": 5, "90": 4}


def test_the_size_of_a_convolution_is_that_of_torch():
    for n, kernel, stride, padding in BANK["02-2"].examples:
        layer = torch.nn.Conv2d(1, 1, kernel, stride, padding)
        assert right("02-2")(n, kernel, stride, padding) == layer(torch.zeros(1, 1, n, n)).shape[2]


@pytest.mark.parametrize("rounded", [lambda q: math.ceil(q), lambda q: round(q + 1e-9)], ids=["up", "to the nearest"])
def test_a_size_rounded_otherwise_than_down_is_refused(rounded):
    def out_size(n, kernel, stride, padding):
        return rounded((n + 2 * padding - kernel) / stride) + 1

    assert check("02-2", out_size).state == "wrong"


def test_a_size_written_another_way_is_accepted():
    assert check("02-2", lambda n, k, s, p: len(range(0, n + 2 * p - k + 1, s))).ok


def test_a_numpy_integer_is_a_whole_number():
    assert check("02-2", lambda n, k, s, p: np.int64((n + 2 * p - k) // s + 1)).ok


def test_an_error_written_with_a_loop_is_accepted():
    assert check("01-3", lambda x, x_hat: torch.stack([((a - b) ** 2).mean() for a, b in zip(x, x_hat)])).ok  # noqa: B905


def test_a_projection_in_double_precision_is_accepted():
    def project(x, mean, components):
        x, mean, components = x.double(), mean.double(), components.double()
        return (x - mean) @ components.T @ components + mean

    assert check("01-4", project).ok


def test_a_function_that_works_in_place_is_accepted():
    def project(x, mean, components):
        x -= mean
        return x @ components.T @ components + mean

    assert check("01-4", project).ok


@pytest.mark.parametrize("number", FUNCTIONS)
def test_a_function_cannot_change_the_examples(number):
    before = copy.deepcopy(BANK[number].examples)

    def spoils(*arguments):
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                argument.fill_(7)

    check(number, spoils)
    same = [
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for one, other in zip(before, BANK[number].examples, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    assert all(same)


@pytest.mark.parametrize("number", FUNCTIONS)
class TestEveryFunction:
    def test_that_raises_is_reported_with_its_error(self, number):
        def breaks(*arguments):
            raise IndexError("list index out of range")

        message = check(number, breaks).message
        assert message == "not yet: your function stopped with IndexError: list index out of range"

    def test_that_takes_other_arguments_is_reported(self, number):
        assert "your function stopped with TypeError" in check(number, lambda: 1).message

    def test_that_returns_nothing_is_asked_for_its_return(self, number):
        assert "got nothing (is there a return?)" in check(number, lambda *arguments: None).message

    def test_that_returns_another_shape_is_told_both(self, number):
        message = check(number, lambda *arguments: torch.zeros(7, 3)).message
        assert message.endswith("got a tensor of shape (7, 3)")

    @pytest.mark.parametrize("value", ["word", [1], (), np.zeros(3), 1j, True], ids=repr)
    def test_that_returns_something_strange_is_refused(self, number, value):
        assert check(number, lambda *arguments: value).state == "wrong"

    def test_that_returns_only_nan_is_refused(self, number):
        def nan(*arguments):
            result = right(number)(*arguments)
            return torch.full_like(result, math.nan) if isinstance(result, torch.Tensor) else math.nan

        assert check(number, nan).state == "wrong"


def test_a_tensor_of_bools_of_the_right_shape_is_refused():
    assert check("01-3", lambda x, x_hat: torch.ones(len(x), dtype=torch.bool)).state == "wrong"


def test_right_values_in_another_shape_are_refused_with_both_shapes():
    message = check("01-3", lambda x, x_hat: (x - x_hat).square().flatten(1).mean(1)[None]).message
    assert message.endswith("wanted a tensor of shape (3,), got a tensor of shape (1, 3)")


def test_a_size_that_is_no_whole_number_is_refused_as_one():
    message = check("02-2", lambda n, k, s, p: float((n + 2 * p - k) // s + 1)).message
    assert message.endswith("wanted a whole number, got a number")


def test_an_unknown_wrong_function_is_told_how_far_it_is_off():
    message = check("01-3", lambda x, x_hat: (x - x_hat).square().flatten(1).mean(1) + 0.5).message
    assert message.endswith("the largest difference is 0.5")


class TestNumber:
    exercise = Number("half", 0.5, (Mistake(2, "turn it round"),))

    @pytest.mark.parametrize(
        "given", [0.5, 0.5004, torch.tensor(0.5), torch.tensor([0.5]), np.float32(0.5), np.array(0.5)], ids=repr
    )
    def test_accepts(self, given):
        assert self.exercise.judge(given) is None

    def test_accepts_a_whole_number_of_numpy(self):
        assert Number("two", 2, ()).judge(np.int64(2)) is None

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (0.6, "0.6 is too large"),
            (0.4, "0.4 is too small"),
            (2, "turn it round"),
            ("0.5", "wanted one number, got a str"),
            (True, "wanted one number, got a bool"),
            (torch.tensor(True), "wanted one number, got a bool"),
            (None, "wanted one number, got nothing"),
            (torch.zeros(2, 3), r"wanted one number, got a tensor of shape \(2, 3\)"),
            (math.nan, "wanted one finite number, got nan"),
            (math.inf, "wanted one finite number, got inf"),
            (lambda: 0.5, "wanted one number, got a function"),
        ],
    )
    def test_refuses(self, given, words):
        import re

        assert re.match(words, self.exercise.judge(given))

    def test_without_tolerance_one_more_is_wrong(self):
        assert Number("count", 50_992, (), tolerance=0).judge(50_993) == "50993 is too large"

    @pytest.mark.parametrize("number", NUMBERS)
    def test_no_mistake_is_within_tolerance_of_the_answer(self, number):
        exercise = BANK[number]
        near = [m for m in exercise.mistakes if math.isclose(m.answer, exercise.answer, rel_tol=2 * exercise.tolerance)]
        assert near == []


@pytest.mark.parametrize(("given", "near"), [("2-1", "02-1"), ("01_1", "01-1"), ("02-9", "02-")])
def test_an_unknown_exercise_suggests_the_nearest(given, near):
    with pytest.raises(ValueError, match=rf"exercise: unknown number '{given}'\. Did you mean '{near}"):
        check(given, 1)


def test_a_number_that_is_no_text_is_refused_as_unknown():
    with pytest.raises(ValueError, match="exercise: unknown number 1"):
        check(1, 1)


@pytest.mark.parametrize(
    ("answer", "line"),
    [(0.1276, "✓ 01-1: right"), (7.84, "✗ 01-1: not yet: that is the image over"), (..., "… 01-1: put your answer")],
)
def test_a_verdict_prints_as_its_message(answer, line):
    assert repr(check("01-1", answer)).startswith(line)


def test_the_answers_of_chapter_7_by_hand():
    assert [BANK[number].answer for number in ("07-1", "07-2")] == [512, (96 // 32) ** 2]


def test_the_parameters_behind_a_frozen_body_are_those_that_torch_counts():
    model = models.with_s0_decoder(models.resnet18_body(), (3, 32, 32))
    models.freeze(model.encoder.body)
    assert BANK["07-3"].answer == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def test_a_channel_is_alive_if_any_picture_has_it_above_zero():  # the first of two, at one place of the second picture
    a = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]]], [[[0.0, 0.5]], [[0.0, 0.0]]]])
    assert right("07-4")(a) == 0.5


def test_the_distance_of_features_is_a_share_for_each_image():  # 9 of 25, and nothing of 1
    a, b = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 4.0], [1.0, 0.0]])
    assert right("08-1")(a, b) == pytest.approx(0.18)


def test_one_row_of_s0_stands_twice():
    (table,) = BANK["08-2"].examples[0]
    assert right("08-2")(table) == ["CIFAR-10, ResNet not pretrained", "MNIST, feature loss"]


def test_the_ideal_length_of_a_message_by_hand():  # 3 bits for a symbol of probability 1/8, 1 for one of 1/2
    assert right("08-3")(torch.tensor([0, 3]), torch.tensor([1.0, 1.0, 2.0, 4.0])) == pytest.approx(4)


def test_between_two_points_the_line_counts():  # a quarter of the way from 200 to 400 bytes, from .6 to .7
    assert right("08-4")([(400, 0.7), (100, 0.4), (200, 0.6)], 250) == pytest.approx(0.625)


def test_the_answers_of_chapter_9_by_hand():  # a matrix and an offset: 257 unknowns for each of the 256 outputs
    assert [BANK[number].answer for number in ("09-1", "09-4")] == [256 + 1, 3072]


def test_a_mixed_code_is_unmixed_by_the_first_weight():  # the mixing swaps two channels and doubles the first
    weight, mix = torch.tensor([[3.0, 5.0]]), torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    assert right("09-2")(weight, mix).tolist() == [[2.5, 3.0]]


def test_a_symbol_that_is_certain_has_no_entropy_and_one_of_two_has_a_bit():
    assert right("10-1")(torch.tensor([7.0, 0.0])) == 0
    assert right("10-1")(torch.tensor([3.0, 0.0, 3.0])) == pytest.approx(1)


def test_a_step_back_of_the_chapters_drawing():  # 54 mod 8 = 6 is a 1; 2 · 6 + 6 − 5 = 13
    assert right("10-2")(54, [0, 5, 7, 8]) == [1, 13]


def test_loss_of_a_codec_by_hand():  # an error of 1/255 in all values; 2 bits on a picture of 4 pixels
    x, p = torch.zeros(1, 3, 2, 2), torch.tensor([[0.5, 0.5]])
    assert right("10-3")(x, x + 1 / 255, p, 0.1) == pytest.approx(0.1 + 0.5, rel=1e-6)


def test_what_stands_around_the_symbols_of_a_thumbnail():  # 29 bytes beside 153.6
    assert BANK["10-4"].answer == pytest.approx(18.880, abs=0.001)


def test_a_codec_with_half_the_bits_everywhere_saves_half():
    first = [(0.2, 26.0), (0.8, 32.0)]
    assert right("10-5")(first, [(0.1, 26.0), (0.4, 32.0)], 29) == pytest.approx(-50)


def test_the_best_rotation_of_codes_that_were_turned_is_that_turn():
    a, turn = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-2.0, -1.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(right("09-3")(a, a @ turn), turn)
