"""`setup`: the first line of a chapter."""

import json
import random

import matplotlib.pyplot as plt
import pytest
import torch

from aecore import journal, session
from aecore.runs import store


def test_setup_prints_one_line(capsys):
    session.setup("02")
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("word", ["chapter 02", "full", "CPU", "torch"])
def test_setup_names_chapter_profile_machine_and_version(capsys, word):
    session.setup("02")
    assert word in capsys.readouterr().out


def test_a_second_setup_does_not_print_twice(capsys):
    session.setup("02")
    capsys.readouterr()
    session.setup("02")
    assert capsys.readouterr().out.count("\n") == 1


def test_setup_seeds_torch():
    session.setup("02")
    first = torch.rand(3)
    session.setup("02")
    assert torch.equal(torch.rand(3), first)


def test_setup_sets_the_plot_style():
    with plt.rc_context({"image.cmap": "viridis"}):
        session.setup("02")
        assert plt.rcParams["image.cmap"] == "gray"


def test_setup_empties_the_journal():
    journal.record("data", name="mnist")
    session.setup("02")
    assert journal.entries() == []


def test_setup_seeds_random_and_leaves_the_same_numbers():
    session.setup("02")
    first = random.random()
    session.setup("02")
    assert random.random() == first


def test_setup_tells_the_journal_which_data_the_published_page_was_made_from():
    (store.PUBLISHED / "02").mkdir(parents=True)
    (store.PUBLISHED / "02" / "page.json").write_text(json.dumps({"data": {"mnist": "0a75392c08ed"}}))
    session.setup("02")
    journal.record("data", name="mnist", fingerprint="another")
    assert journal.uses_other_data()


@pytest.mark.parametrize("chapter", [2, 2.0, None])
def test_a_chapter_that_is_no_text_is_refused(chapter):
    with pytest.raises(TypeError, match=f"chapter: wanted its number as in the file name, such as '02', got {chapter}"):
        session.setup(chapter)
