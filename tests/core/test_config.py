"""`config`: which profile is in force, where the folders lie, and who may speak."""

import pytest

from aecore import config, distributed


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


FOLDERS = [
    pytest.param("AECORE_DATA", config.data_root, (".cache", "aecore"), id="data"),
    pytest.param("AECORE_RUNS", config.runs_root, (".cache", "aecore", "runs"), id="runs"),
]


@pytest.mark.parametrize(("variable", "root", "usual"), FOLDERS)
class TestFolders:
    @pytest.fixture(autouse=True)
    def _home(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))

    @pytest.mark.parametrize("said", [None, ""])
    def test_lie_in_the_home_where_nothing_is_said(self, variable, root, usual, said, monkeypatch, tmp_path):
        monkeypatch.delenv(variable) if said is None else monkeypatch.setenv(variable, said)
        assert root() == tmp_path.joinpath(*usual)

    def test_lie_where_the_variable_says(self, variable, root, usual, monkeypatch, tmp_path):
        monkeypatch.setenv(variable, str(tmp_path / "here"))
        assert root() == tmp_path / "here"

    def test_a_tilde_is_the_home(self, variable, root, usual, monkeypatch, tmp_path):
        """It was made a folder of that name, where no shell had expanded it."""
        monkeypatch.setenv(variable, "~/x")
        assert root() == tmp_path / "x"


@pytest.mark.parametrize(("said", "wanted"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_retrain_is_what_the_variable_says(monkeypatch, said, wanted):
    if said is not None:
        monkeypatch.setenv("AECORE_RETRAIN", said)
    assert config.retrain() is wanted


PROGRESS = [(None, 0, True), ("0", 0, False), ("1", 0, True), (None, 1, False)]


@pytest.mark.parametrize(("said", "rank", "wanted"), PROGRESS)
def test_progress_is_shown_by_the_first_process_unless_it_is_switched_off(monkeypatch, said, rank, wanted):
    monkeypatch.delenv("AECORE_PROGRESS")
    if said is not None:
        monkeypatch.setenv("AECORE_PROGRESS", said)
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    assert config.shows_progress() is wanted


@pytest.mark.parametrize(("said", "wanted"), [(None, 60), ("0", 0), ("2.5", 2.5)])
def test_checkpoints_come_a_minute_apart_or_as_the_variable_says(monkeypatch, said, wanted):
    if said is not None:
        monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", said)
    assert config.checkpoint_seconds() == wanted


@pytest.mark.parametrize("said", ["-1", "soon", "nan", ""])
def test_another_word_for_their_distance_is_refused_and_shown(monkeypatch, said):
    monkeypatch.setenv("AECORE_CHECKPOINT_SECONDS", said)
    with pytest.raises(ValueError, match=f"AECORE_CHECKPOINT_SECONDS: wanted the seconds between two.* got '{said}'"):
        config.checkpoint_seconds()


def test_a_message_goes_to_the_standard_output_of_the_moment(capsys):
    config.speak()
    config.log.info("loaded")
    assert capsys.readouterr().out == "loaded\n"


def test_of_several_processes_only_the_first_speaks(capsys, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    config.speak()
    config.log.warning("loaded")
    assert capsys.readouterr().out == ""
