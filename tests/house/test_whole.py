"""The page's whole trainings and imports: what stands in the table was measured, and keeps the promises."""

import pytest

from benchmarks import whole

RESULTS = sorted(whole.load().items())
TRAININGS = [(slug, one) for slug, result in RESULTS for one in result["trainings"]]


def test_something_was_measured():
    assert RESULTS


def test_the_table_is_made_from_the_results():
    assert whole.TABLE.read_text(encoding="utf-8") == whole.markdown(dict(RESULTS))


@pytest.mark.parametrize(("slug", "result"), RESULTS)
def test_a_whole_measurement_is_published_with_machine_and_versions(slug, result):
    assert (result["quick"], bool(result["machine"]["name"]), "torch" in result["versions"]) == (False, True, True)


@pytest.mark.parametrize(("slug", "training"), TRAININGS)
def test_a_training_is_on_real_data_and_within_its_limit(slug, training):
    kind = "cpu" if slug.startswith("cpu") else "cuda"
    assert "sample" not in training["source"]
    assert training["seconds"] < training["limits"][kind]


@pytest.mark.parametrize(("slug", "training"), TRAININGS)
def test_a_training_has_all_of_its_epochs(slug, training):
    assert training["epochs"] in (20, 30)


@pytest.mark.parametrize(("slug", "result"), RESULTS)
def test_aecore_is_imported_in_less_than_one_and_a_half_times_the_time_of_torch_and_torchvision(slug, result):
    assert whole.import_ratio(result) < 1.5


def test_the_ratio_of_imports_is_that_of_the_medians():
    torch, ours = whole.IMPORTS
    result = {"imports": {torch: [2.0, 100.0, 2.0], ours: [3.0, 3.0, 0.1]}}
    assert whole.import_ratio(result) == 1.5
