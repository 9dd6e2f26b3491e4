"""`runs.Run`: what it says of itself, and what is measured on its model."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from aecore import journal
from aecore.data import Images
from aecore.metrics import evaluate
from aecore.models import ConvAutoencoder, LinearAutoencoder
from aecore.runs import NoWeights, Run, WeightsNotPublished
from aecore.runs.fingerprint import key_of
from aecore.runs.measured import Entry
from aecore.training import History, Plan


@pytest.fixture
def run():
    """A run as `fit` makes it, untrained."""
    return Run(
        name="00-a", fingerprint="f" * 64, model=ConvAutoencoder((1, 4, 4), 3), plan=Plan(epochs=2), objective="mse",
        history=History({"loss": [0.5, 0.25]}, {"loss": [0.4, 0.2]}, [1.0, 1.0]), data={"name": "noise", "count": 24},
        date="2026-11-22 14:03", seconds=2.0, machine="CPU", versions={"torch": "2.14.1"},
    )  # fmt: skip


@pytest.mark.parametrize("word", ["00-a", "2 epochs", "validation mse 0.20000", "trained 2026-11-22 on CPU, 2 s"])
def test_a_run_says_what_it_is(run, word):
    assert word in repr(run)


def test_facts_that_this_version_does_not_know_are_passed_over(run):
    facts = {**run.facts(), "colour": "red"}
    assert Run.of(facts, run.model).facts() == run.facts()


def test_fields_that_came_later_have_their_default(run):
    facts = run.facts()
    del facts["parts"]
    assert Run.of(facts, run.model).parts == {}


def brightest(model, images):
    """What a chapter might measure: of each reconstruction the brightest pixel, and how many there are."""
    x_hat = model(images.floats())
    return {"each": x_hat.amax((1, 2, 3)).tolist(), "count": len(images)}


class TestMeasure:
    def test_gives_what_the_function_gives(self, run, noise):
        images = noise(5, 1, 4, 4)
        run.model.eval()
        with torch.no_grad():
            assert run.measure(brightest, images) == brightest(run.model, images)

    def test_measures_in_evaluation_and_leaves_the_mode_as_it_was(self, run, noise):
        run.model.train()

        def mode(model, images):
            return [model.training, torch.is_grad_enabled()]

        assert (run.measure(mode, noise(2, 1, 4, 4)), run.model.training) == ([False, False], True)

    def test_is_not_repeated(self, run, noise):
        calls = []
        run.model.register_forward_hook(lambda *given: calls.append(1))
        first, *others = [run.measure(brightest, noise(5, 1, 4, 4)) for _ in range(3)]
        assert (others, len(calls)) == ([first, first], 1)

    def test_is_repeated_on_other_images(self, run, noise):
        first = run.measure(brightest, noise(5, 1, 4, 4, seed=1))
        assert run.measure(brightest, noise(5, 1, 4, 4, seed=2)) != first

    def test_is_repeated_with_another_code_of_the_same_name(self, run, noise):
        def first():
            def found(model, images):
                return 1

            return found

        def second():
            def found(model, images):
                return 2

            return found

        assert [run.measure(f, noise(5, 1, 4, 4)) for f in (first(), second())] == [1, 2]

    def test_gives_the_first_time_what_it_gives_later(self, run, noise):
        def mixed(model, images):
            return (1, {2: images.pixels[0].numpy()})

        first, later = (run.measure(mixed, noise(2, 1, 4, 4)) for _ in range(2))
        assert (type(first), list(first[1]), type(first[1]["2"])) == (list, ["2"], torch.Tensor)
        assert torch.equal(first[1]["2"], later[1]["2"])

    def test_whoever_changes_the_answer_does_not_change_what_is_kept(self, run, noise):
        images = noise(5, 1, 4, 4)
        run.measure(brightest, images)["each"].clear()
        run.measure(brightest, images)["each"].clear()
        assert len(run.measure(brightest, images)["each"]) == 5

    def test_calls_keep_with_what_was_found_and_only_then(self, run, noise):
        kept = []
        run.keep = lambda run: kept.append([entry.what for entry in run.measured.values()])
        for _ in range(2):
            run.measure(brightest, noise(5, 1, 4, 4))
        assert kept == [["brightest"]]

    def test_notes_function_images_and_number(self, run, noise):
        run.measure(brightest, noise(5, 1, 4, 4))
        (entry,) = run.measured.values()
        assert (entry.what, entry.images, entry.count, len(entry.code)) == ("brightest", "noise", 5, 16)

    def test_is_noted_for_the_page_each_time(self, run, noise):
        images = noise(5, 1, 4, 4)
        run.measure(brightest, images)
        journal.begin()
        run.measure(brightest, images)
        assert journal.entries() == [{"kind": "measurement", "run": "00-a", "key": key_of(brightest, images)}]

    def test_of_a_run_without_a_name_is_not_noted(self, run, noise):
        run.name = None
        run.measure(brightest, noise(5, 1, 4, 4))
        assert journal.entries() == []

    def test_what_cannot_be_kept_is_refused(self, run, noise):
        def found(model, images):
            return {1, 2}

        with pytest.raises(TypeError, match="measure: wanted numbers, words, tensors, .* got set"):
            run.measure(found, noise(5, 1, 4, 4))

    @pytest.mark.parametrize("function", [5, "brightest", None, nn.Flatten()], ids=repr)
    def test_what_is_no_function_is_refused(self, run, noise, function):
        with pytest.raises(TypeError, match="function: wanted one of a model and images, written with def, got"):
            run.measure(function, noise(5, 1, 4, 4))

    def test_three_parts_are_refused_with_the_way_out(self, run, splits):
        with pytest.raises(TypeError, match="images: wanted Images, got Splits; choose a part of it, such as .test"):
            run.score(splits)

    def test_the_score_is_that_of_clipped_reconstructions(self, run, noise):
        images = noise(5, 1, 4, 4)
        found, wanted = run.score(images), evaluate(run.model, images, clip=True)
        assert (found.mse, found.psnr_db, found.count) == (wanted.mse, wanted.psnr_db, 5)

    def test_the_score_holds_nothing_of_each_image(self, run, noise):
        assert run.score(noise(5, 1, 4, 4)).each == {}


class TestModelThatWasTrainedAgain:
    """A model holds the weights of the training that came last; a run of an earlier one must not be measured on it."""

    @pytest.fixture
    def again(self, run):
        return dataclasses.replace(run, name="00-b", fingerprint="e" * 64)

    def test_the_earlier_run_is_not_measured_on_it(self, run, again, noise):
        with pytest.raises(ValueError, match="the model of run '00-a' was trained again .* a model of its own"):
            run.measure(brightest, noise(5, 1, 4, 4))

    def test_the_later_one_is(self, again, noise):
        assert again.measure(brightest, noise(5, 1, 4, 4))["count"] == 5

    def test_what_was_measured_before_is_still_there(self, run, noise):
        images = noise(5, 1, 4, 4)
        before = run.measure(brightest, images)
        dataclasses.replace(run, name="00-b", fingerprint="e" * 64)
        assert run.measure(brightest, images) == before

    def test_the_same_training_once_more_changes_nothing(self, run, noise):
        dataclasses.replace(run)
        assert run.measure(brightest, noise(5, 1, 4, 4))["count"] == 5

    def test_a_copy_of_a_run_can_be_measured(self, run, noise):
        assert copy.deepcopy(run).measure(brightest, noise(5, 1, 4, 4))["count"] == 5


class TestNoWeights:
    @pytest.fixture
    def numbers(self, run, noise):
        """The run as a reader has it: something was measured on it, but its weights are not there."""
        run.measure(brightest, noise(5, 1, 4, 4))
        run.model = NoWeights("00-a")
        return run

    def test_what_was_measured_is_known(self, numbers, noise):
        assert numbers.measure(brightest, noise(5, 1, 4, 4))["count"] == 5

    def test_something_new_cannot_be_measured(self, numbers, noise):
        with pytest.raises(WeightsNotPublished, match=r"'00-a' are not part of the book.*weights=False"):
            numbers.measure(brightest, noise(5, 1, 4, 4, seed=7))

    @pytest.mark.parametrize(
        "use",
        [
            lambda run, x: run.model(x),
            lambda run, x: run.model.encode,
            lambda run, x: run.model.cpu(),
            lambda run, x: evaluate(run, Images((255 * x).to(torch.uint8))),
            lambda run, x: evaluate(run.model, Images((255 * x).to(torch.uint8))),
        ],
        ids=["called", "encode", "cpu", "evaluated", "its model evaluated"],
    )
    def test_its_model_says_so_when_it_is_used(self, numbers, use):
        with pytest.raises(WeightsNotPublished, match="train the model anew, leave out weights=False"):
            use(numbers, torch.zeros(1, 1, 4, 4))

    def test_it_can_be_copied_and_printed(self, numbers):
        assert repr(copy.deepcopy(numbers)).startswith("Run 00-a: 2 epochs")


class TestOtherData:
    """The published run of a page that was made from other images than the reader's."""

    @pytest.fixture
    def page(self, run, noise):
        run.measure(brightest, noise(5, 1, 4, 4, name="noise-standin-test"))
        run.model, run.other_data = NoWeights("00-a"), True
        return run

    def test_gives_the_pages_own_measurement(self, page, noise):
        (entry,) = page.measured.values()
        assert page.measure(brightest, noise(9, 1, 4, 4, seed=7, name="noise-test")) == entry.value

    def test_gives_none_of_another_part(self, page, noise):
        with pytest.raises(WeightsNotPublished):
            page.measure(brightest, noise(9, 1, 4, 4, seed=7, name="noise-train"))

    def test_a_run_on_the_readers_own_data_gives_none_of_other_images(self, page, noise):
        page.other_data = False
        with pytest.raises(WeightsNotPublished):
            page.measure(brightest, noise(9, 1, 4, 4, seed=7, name="noise-test"))

    def test_what_was_measured_on_these_very_images_comes_first(self, page, noise):
        images = noise(9, 1, 4, 4, seed=7, name="noise-test")
        page.measured[key_of(brightest, images)] = Entry("brightest", images.name, 9, 123)
        assert page.measure(brightest, images) == 123

    def test_another_function_of_that_name_is_told_that_it_was_not_used(self, page, noise, caplog):
        def changed():
            def brightest(model, images):
                return 0

            return brightest

        found = page.measure(changed(), noise(9, 1, 4, 4, seed=7, name="noise-test"))
        assert (found["count"], caplog.messages) == (
            5, ["00-a: brightest is not the page's function of that name; its number is shown"],
        )  # fmt: skip

    def test_the_same_function_is_used_without_a_word(self, page, noise, caplog):
        page.measure(brightest, noise(9, 1, 4, 4, seed=7, name="noise-test"))
        assert caplog.messages == []

    def test_with_weights_what_the_page_did_not_measure_is_measured(self, page, noise):
        page.model = LinearAutoencoder((1, 4, 4), 3)
        assert page.measure(brightest, noise(9, 1, 4, 4, name="noise-train"))["count"] == 9


def test_an_interrupted_run_says_so(run):
    run.history.interrupted = 2
    assert repr(run) == "Run 00-a: interrupted after 2 of 2 epochs"
