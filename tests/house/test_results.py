"""The page of results, beside the stored runs that it is made from."""

import json
import re

import pytest

import results
from chapters import ROOT, chapters
from results import Method

RUNS = results.stored()
METHODS = [(images, method) for (_, images), methods in results.TABLES.items() for method in methods]


def run(name, images="a-test", valid=0.5, **measured):
    """A stored run with what was measured on it."""
    told = [{"what": what, "images": images, "value": value} for what, value in measured.items()]
    return {"name": name, "measured": dict(enumerate(told)), "history": {"valid": {"loss": [1.0, valid]}}}


def cells(method, *runs, images="a-test"):
    """Return the cells of a row without the label and the chapter: numbers, MSE, PSNR, bytes, judges, seeds."""
    row = results.row(method, images, {method.runs: list(runs)})
    return [cell.strip() for cell in row.strip("|").split("|")][1:-1]


def scores(mse, psnr=20.0):
    return {"mse": mse, "psnr_db": psnr}


def test_page_is_what_the_tool_makes_of_the_stored_runs():
    assert results.PAGE.read_text(encoding="utf-8") == results.page().rstrip("\n") + "\n", (
        "run: python book/tools/results.py"
    )


def test_page_has_rows_of_every_chapter_whose_runs_were_measured_on_pictures():
    linked = set(re.findall(r"<\.\./chapters/(\w+)>", results.PAGE.read_text(encoding="utf-8")))
    assert linked == {name for name in chapters() if int(name[:2]) < 10}


def test_no_method_stands_twice_in_a_table():
    for methods in results.TABLES.values():
        assert len({(method.label, method.numbers) for method in methods}) == len(methods)


@pytest.mark.parametrize(("images", "method"), METHODS, ids=str)
def test_every_row_has_an_error_or_decibels(images, method):
    shown = cells(method, *RUNS[method.runs], images=images)
    assert shown[1] or shown[2]


def test_a_number_of_the_page_is_the_mean_of_three_runs_as_they_are_stored():
    lines = (ROOT / "aecore/published/03/runs.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(line) for line in lines if '"name": "03-bilinear-' in line]
    measured = [one for each in runs for one in each["measured"].values()]
    tests = [one["value"]["mse"] for one in measured if one["what"] == "_clipped_scores"]
    assert len(tests) == 3
    page = results.PAGE.read_text(encoding="utf-8")
    assert f"| bilinear upsampling | 128 | {sum(tests) / 3:.5f} |" in page


def test_a_row_is_the_mean_over_the_seeds():
    runs = [run("05-a-0", _clipped_scores=scores(0.01, 20)), run("05-a-1", _clipped_scores=scores(0.03, 16))]
    assert cells(Method("05-a", "a", 1000), *runs) == ["1,000", "0.0200", "18.00", "", "", "2"]


def test_a_run_that_was_measured_on_other_pictures_does_not_count():
    runs = [run("05-a-0", _clipped_scores=scores(0.01)), run("05-a-1", images="b-test", _clipped_scores=scores(0.5))]
    assert cells(Method("05-a", "a"), *runs)[1] == "0.0100"


def test_judges_are_averaged_over_judges_and_seeds():
    runs = [run(f"05-a-{seed}", _clipped_scores=scores(0.01), accuracy=told)
            for seed, told in enumerate(([0.5, 0.6, 0.7], [0.7, 0.8, 0.9]))]  # fmt: skip
    assert cells(Method("05-a", "a"), *runs)[4] == "0.700"


def test_bytes_are_those_of_the_code():
    assert cells(Method("05-a", "a"), run("05-a-0", _clipped_scores=scores(0.01), of_code={"bytes": 123.6}))[3] == "124"


def test_what_was_not_measured_on_every_seed_is_left_empty():
    runs = [run("05-a-0", _clipped_scores=scores(0.01), accuracy=[0.5]), run("05-a-1", _clipped_scores=scores(0.01))]
    assert cells(Method("05-a", "a"), *runs)[4] == ""


def test_an_error_on_validation_pictures_is_the_last_one_and_marked():
    assert cells(Method("01-a", "a"), run("01-a-0", valid=0.0123))[1] == "0.0123¹"


def test_one_of_several_rivals_is_taken_by_its_name():
    told = {"WebP": {"bytes": 100.0, "accuracy": [0.4, 0.6], "scores": [0.1, 0.02, 17.5, 0.9]}}
    shown = cells(Method("08-a", "a", None, ("by_webp", "WebP")), run("08-a", by_webp=told))
    assert shown == ["", "0.0200", "17.50", "100", "0.500", ""]


def test_a_point_of_a_way_is_taken_by_way_and_rounding():
    told = [{"rates": [[1, 2.0], [3, 4.0]]}, {"rates": [[5, 6.0], [7, 8.0]]}]
    assert cells(Method("09-a", "a", None, ("by_way", "1", "0")), run("09-a-0", by_way=told))[2:4] == ["6.00", "5"]


def test_a_point_of_a_file_is_taken_by_kind_and_place():
    told = {"JPEG": [[1, 2.0], [3, 4.0]]}
    shown = cells(Method("09-a", "a", None, ("by_files", "JPEG", "1")), run("09-a-0", by_files=told))
    assert shown[2:4] == ["4.00", "3"]


@pytest.mark.parametrize(
    ("error", "shown"), [(0.0123456, "0.0123"), (0.00012345, "0.000123"), (0.5, "0.500"), (0.1, "0.100")]
)
def test_errors_have_three_significant_digits(error, shown):
    assert results._figures(error) == shown


def test_runs_are_found_with_and_without_their_seed():
    assert [one["name"] for one in RUNS["02-s2"]] == ["02-s2-0", "02-s2-1", "02-s2-2"]
    assert [one["name"] for one in RUNS["01-linear-32"]] == ["01-linear-32"]


def test_a_method_whose_run_is_gone_is_named():
    with pytest.raises(ValueError, match=r"method 'a': no run '05-a' is stored; was the chapter published anew\?"):
        results.row(Method("05-a", "a"), "a-test", {})


def test_a_rival_that_was_measured_on_no_seed_is_named():
    with pytest.raises(ValueError, match="nothing was measured on a-test for '08-a'"):
        cells(Method("08-a", "a", None, ("by_webp", "WebP")), run("08-a"))
