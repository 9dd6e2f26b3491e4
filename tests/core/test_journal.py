"""`journal`: what a session has used, what a page claims, and what a page says of both."""

import json
import math

import pytest
import torch

from aecore import distributed, journal


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


@pytest.mark.parametrize("value", ["high", None, torch.rand(3), [0.5]], ids=type)
def test_a_claim_about_what_is_no_number_is_an_error_of_its_own(value):
    with pytest.raises(TypeError, match="value: wanted one number for 'test MSE', got "):
        journal.claim("test MSE", value, 0.4, 0.6)


def test_whoever_reads_the_entries_cannot_change_them():
    journal.record("data", name="mnist")
    journal.entries().clear()
    assert len(journal.entries()) == 1


class TestTimed:
    """A claim about seconds binds the machine that publishes the page, and no other."""

    def test_elsewhere_it_only_wants_a_finite_number(self):
        assert journal.claim("seconds", 99, 1, 2, timed=True) == 99

    def test_nan_stops_everywhere(self):
        with pytest.raises(AssertionError, match="seconds is nan"):
            journal.claim("seconds", math.nan, 1, 2, timed=True)

    def test_where_the_page_is_published_it_binds(self, publishing):
        with pytest.raises(AssertionError, match="seconds is 99; the text says between 1 and 2"):
            journal.claim("seconds", 99, 1, 2, timed=True)


@pytest.fixture
def publishing(monkeypatch, tmp_path):
    monkeypatch.setenv("AECORE_JOURNAL", str(tmp_path / "journal"))


class TestOtherData:
    """The page was made from data whose fingerprint begins with 0a75; the reader may have others of that name."""

    @pytest.fixture(autouse=True)
    def _page(self):
        journal.begin({"mnist": "0a75"})
        yield
        journal.begin()

    @pytest.fixture
    def other(self):
        journal.record("data", name="mnist", fingerprint="ffff")

    def test_the_pages_own_are_not_others(self):
        journal.record("data", name="mnist", fingerprint="0a75")
        assert not journal.uses_other_data()

    def test_none_are_not_others(self):
        assert not journal.uses_other_data()

    def test_data_that_the_page_does_not_use_are_not_others(self):
        journal.record("data", name="cifar10", fingerprint="ffff")
        assert not journal.uses_other_data()

    def test_others_of_the_same_name_are(self, other):
        assert journal.uses_other_data()

    def test_a_published_run_that_was_taken_for_other_data_counts_as_well(self):
        journal.record("run", name="02-a", other_data=True)
        assert journal.uses_other_data()

    def test_a_new_chapter_knows_nothing_of_them(self, other):
        journal.begin()
        assert not journal.uses_other_data()

    def test_a_claim_warns_instead_of_stopping(self, other, caplog):
        assert journal.claim("test MSE", 0.7, 0.4, 0.6) == 0.7
        words = "test MSE is 0.7; the text says between 0.4 and 0.6, which was measured on other data than yours"
        assert caplog.messages == [words]

    def test_a_claim_that_holds_says_nothing(self, other, caplog):
        journal.claim("test MSE", 0.5, 0.4, 0.6)
        assert caplog.messages == []

    def test_with_the_pages_own_data_a_claim_stops(self):
        journal.record("data", name="mnist", fingerprint="0a75")
        with pytest.raises(AssertionError, match="test MSE is 0.7"):
            journal.claim("test MSE", 0.7, 0.4, 0.6)

    def test_where_the_page_is_published_a_claim_stops(self, other, publishing):
        with pytest.raises(AssertionError, match="test MSE is 0.7"):
            journal.claim("test MSE", 0.7, 0.4, 0.6)

    def test_under_quick_a_claim_of_nan_stops(self, other, monkeypatch):
        monkeypatch.setenv("AECORE_PROFILE", "quick")
        with pytest.raises(AssertionError, match="test MSE is nan"):
            journal.claim("test MSE", math.nan, 0.4, 0.6)


class TestProvenance:
    RUN = {"kind": "run", "date": "2026-11-21 10:55", "machine": "CPU x86_64, 2 threads"}  # noqa: RUF012
    DATA = {"kind": "data", "source": "MNIST, official files", "fingerprint": "0a75392c08ed"}  # noqa: RUF012

    def test_names_profile_data_and_machine(self):
        line = repr(journal.Provenance([self.DATA]))
        assert line.startswith("Figures on this page: full profile; MNIST, official files, data 0a75392c. Computed 20")
        assert torch.__version__.split("+")[0] in line

    def test_tells_a_note_on_the_data(self):
        assert "official files (a part), data" in repr(journal.Provenance([{**self.DATA, "note": "a part"}]))

    def test_counts_runs_and_names_their_days_and_machines(self):
        runs = [self.RUN, {**self.RUN, "date": "2026-11-23 08:00", "machine": "GPU"}]
        words = "2 training runs of 2026-11-21 to 2026-11-23 on CPU x86_64, 2 threads, GPU."
        assert words in repr(journal.Provenance(runs))

    def test_runs_on_the_pages_own_data_are_told_apart_from_those_on_the_readers(self):
        line = repr(journal.Provenance([self.RUN, {**self.RUN, "other_data": True}]))
        assert "; 1 training run of 2026-11-21" in line
        assert "; 1 training run on the page's own data, not on these, of 2026-11-21" in line

    def test_is_that_of_the_session(self):
        journal.record("data", source="MNIST, official files", fingerprint="0a75392c08ed")
        assert "MNIST, official files, data 0a75392c" in repr(journal.provenance())

    def test_is_a_paragraph_on_the_page(self):
        assert journal.Provenance([])._repr_html_().startswith('<p class="provenance">Figures on this page: ')

    def test_cannot_break_the_page(self):
        line = journal.Provenance([{"kind": "data", "source": "a < b & c", "fingerprint": "f" * 12}])
        assert "a &lt; b &amp; c" in line._repr_html_()
