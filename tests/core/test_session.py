"""`profile`: which one is in force, what `setup` says, the journal, `claim`."""

import json
import math

import matplotlib.pyplot as plt
import pytest
import torch

from aecore import config, distributed, journal, machine, session


def test_the_profile_is_full_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv("AECORE_PROFILE")
    assert config.profile() == "full"


def test_an_empty_variable_says_nothing(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "")
    assert config.profile() == "full"


def test_case_and_spaces_do_not_matter(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", " Quick ")
    assert config.profile() == "quick"


def test_another_word_is_refused_and_shown(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "fast")
    with pytest.raises(ValueError, match=r"AECORE_PROFILE: wanted 'quick' .* or 'full' .* got 'fast'"):
        config.profile()


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


def test_a_message_goes_to_the_standard_output_of_the_moment(capsys):
    config.speak()
    config.log.info("loaded")
    assert capsys.readouterr().out == "loaded\n"


def test_of_several_processes_only_the_first_speaks(capsys, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    config.speak()
    config.log.warning("loaded")
    assert capsys.readouterr().out == ""


def test_of_several_processes_only_the_first_writes_the_journal(tmp_path, monkeypatch):
    monkeypatch.setenv("AECORE_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    journal.record("data", name="mnist")
    assert not (tmp_path / "journal").exists()


def test_the_journal_keeps_facts_in_order():
    journal.record("data", name="mnist")
    journal.record("run", name="01-a")
    assert [fact["name"] for fact in journal.entries()] == ["mnist", "01-a"]


def test_a_fact_is_recorded_once():
    journal.record("data", name="mnist")
    journal.record("data", name="mnist")
    assert journal.entries() == [{"kind": "data", "name": "mnist"}]


def test_with_a_path_set_the_journal_is_a_file_of_json_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("AECORE_JOURNAL", str(tmp_path / "journal"))
    journal.record("data", name="mnist")
    journal.record("run", name="01-a")
    lines = (tmp_path / "journal").read_text().splitlines()
    assert [json.loads(line) for line in lines] == journal.entries()


def test_a_claim_that_holds_gives_its_value_back():
    assert journal.claim("test MSE", torch.tensor(0.5), 0.4, 0.6) == 0.5


@pytest.mark.parametrize("value", [0.39, 0.61, math.nan])
def test_a_claim_that_does_not_hold_stops_the_full_profile(value):
    with pytest.raises(AssertionError, match=r"test MSE is .*; the text says between 0\.4 and 0\.6"):
        journal.claim("test MSE", value, 0.4, 0.6)


def test_under_quick_a_claim_only_wants_a_finite_number(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "quick")
    assert journal.claim("test MSE", 7, 0.4, 0.6) == 7


def test_under_quick_a_claim_of_nan_still_stops(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "quick")
    with pytest.raises(AssertionError, match="test MSE is nan"):
        journal.claim("test MSE", math.nan, 0.4, 0.6)


def test_the_version_of_torch_comes_without_its_build():
    assert machine.versions()["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize(("cuda", "mps", "wanted"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_device_is_the_fastest_at_hand(monkeypatch, cuda, mps, wanted):
    monkeypatch.undo()  # the fixture of all tests replaces `device`
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: cuda)
        patch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert machine.device().type == wanted
