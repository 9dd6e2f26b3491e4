"""The published runs, each against the chapter that trained it: plan, model, objective and start, on other data.

A reader whose data are not the page's must find every run. It is found only where all but the data are told by the same
fingerprints as when it was published, so this also holds the promise that old fingerprints stay valid.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aecore.runs import store
from chapters import ROOT, chapters

SCRIPT = Path(__file__).with_name("page_on_other_data.py")
NAMES = {facts["name"] for facts in store.published()}


PUBLISHED = [chapter for chapter in chapters() if any(name[:2] == chapter[:2] for name in NAMES)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """What became of each chapter, two at a time: this file is the longest, and the other worker is idle by then."""

    def run(chapter):
        folder = tmp_path_factory.mktemp(chapter)
        env = {**os.environ, "AECORE_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, SCRIPT, ROOT / "chapters" / f"{chapter}.md"]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, check=False)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PUBLISHED, pool.map(run, PUBLISHED), strict=True))


@pytest.fixture
def found(chapter, pages):
    assert pages[chapter].returncode == 0, pages[chapter].stderr[-2000:]
    return json.loads(pages[chapter].stdout.splitlines()[-1])


@pytest.mark.parametrize("chapter", PUBLISHED)
def test_every_run_of_the_chapter_is_found_though_the_data_differ(chapter, found):
    assert found["missing"] == []
    assert set(found["taken"]) >= {name for name in NAMES if name[:2] == chapter[:2]}


def test_every_measurement_says_what_code_made_it():
    entries = [(facts["name"], entry) for facts in store.published() for entry in facts["measured"].values()]
    assert [(name, entry["what"]) for name, entry in entries if not entry["code"]] == []


# These take a data set from around them, which is another one here.
TAKE_DATA = {
    *("beside_pca", "copies_of_worst", "pca_on_photos", "on_pca", "best_linear_decoder", "share_lost"),
    *("recalibrated", "from_body", "from_untrained", "of_code", "by_pca", "by_webp", "in_steps", "pca_in_steps"),
}


@pytest.mark.parametrize("chapter", PUBLISHED)
def test_every_measurement_was_made_by_the_function_of_the_chapter(chapter, found):
    """By its code, as this Python tells it: on another one (Colab has 3.13) it may not be told otherwise."""
    assert {name.split(": ")[1] for name in found["strangers"]} <= TAKE_DATA


# MNIST is official, and chapters about it may compare its numbers by an assert. Of the others a reader may have another
# copy than the page: of these no cell may stop.
@pytest.mark.parametrize("chapter", PUBLISHED)
def test_no_cell_about_data_with_a_stand_in_stops(chapter, found):
    about = r"emnist|\bstl|\bodd\b|photos" if chapter[:2] != "03" else ""
    assert [cell for cell in found["stopped"] if re.search(about, cell[1])] == []
