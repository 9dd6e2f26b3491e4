"""`files`: whole or not there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aecore import files


def test_the_file_holds_what_was_written(tmp_path):
    files.write_text(tmp_path / "a.txt", "grün")
    assert (tmp_path / "a.txt").read_bytes() == "grün".encode()


def test_missing_folders_are_made(tmp_path):
    files.write_text(tmp_path / "b" / "c" / "a.txt", "x")
    assert (tmp_path / "b" / "c" / "a.txt").is_file()


def test_the_name_is_not_there_before_the_block_ends(tmp_path):
    with files.atomic_write(tmp_path / "a.txt") as part:
        part.write_text("half")
        assert not (tmp_path / "a.txt").exists()


def test_after_an_error_the_old_content_stands(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), files.atomic_write(path) as part:
        part.write_text("half of the new")
        raise RuntimeError("stop")
    assert path.read_text() == "old"


def test_after_an_error_no_other_file_is_left(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), files.atomic_write(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_after_success_no_other_file_is_left(tmp_path):
    files.write_text(tmp_path / "a.txt", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_bytes_are_flushed_before_the_name_appears(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(path.exists()))
    files.write_text(path, "x")
    assert seen == [False, True]  # the file under its temporary name, then the folder's entry


def test_the_mode_is_that_of_any_new_file(tmp_path):
    (tmp_path / "usual").touch()
    files.write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("word", ["here", "AECORE_RUNS", "AECORE_DATA", "cannot write a.txt"])
def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path, word):
    (tmp_path / "here").write_text("a file, so no folder can be below it")
    with pytest.raises(OSError, match=word):
        files.write_text(tmp_path / "here" / "a.txt", "x")


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(scope="module")
def dead():
    """The number of a process that has ended; Linux gives numbers again only when it has used all of them."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_that_is_being_written_carries_the_number_of_its_process(tmp_path):
    with files.atomic_write(tmp_path / "a.txt") as part:
        assert re.fullmatch(rf"\.a\.txt\.{os.getpid()}\.\w+\.part", part.name)
        part.touch()


def test_writing_removes_what_a_killed_process_has_left_of_the_same_file(tmp_path, dead):
    (tmp_path / f".a.txt.{dead}.x_1.part").touch()
    files.write_text(tmp_path / "a.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_writing_leaves_what_was_left_of_other_files(tmp_path, dead):
    left = tmp_path / f".b.txt.{dead}.x_1.part"
    left.touch()
    files.write_text(tmp_path / "a.txt", "x")
    assert left.exists()


def test_two_that_write_the_same_file_at_once_do_not_disturb_each_other(tmp_path):
    with files.atomic_write(tmp_path / "a.txt") as slow:
        slow.write_text("slow")
        files.write_text(tmp_path / "a.txt", "quick")
    assert (tmp_path / "a.txt").read_text() == "slow"


KILLED = """
import os, signal, sys
from aecore import files
with files.atomic_write(sys.argv[1]) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_kills_in_the_middle_of_a_file_leave_nothing_for_ever(tmp_path):
    for _ in range(3):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.txt")], check=False)
    assert len(list(tmp_path.iterdir())) == 1  # what the last one has left
    files.write_text(tmp_path / "a.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


class TestRemoveParts:
    @pytest.fixture
    def left(self, tmp_path, dead):
        """A folder in which a process was killed before its file had its name."""
        (tmp_path / "a.txt").write_text("whole")
        (tmp_path / f".a.txt.{dead}.x_1.part").write_text("half")
        return tmp_path

    def test_removes_them(self, left):
        files.remove_parts(left)
        assert [path.name for path in left.iterdir()] == ["a.txt"]

    @pytest.mark.parametrize("process", [os.getpid(), os.getppid(), 1], ids=["this one", "the one before", "the first"])
    def test_leaves_those_of_a_process_that_runs(self, tmp_path, process):
        """The first process is root's, so that another user may not even ask for it."""
        part = tmp_path / f".a.txt.{process}.x_1.part"
        part.touch()
        files.remove_parts(tmp_path)
        assert part.exists()

    def test_leaves_those_of_a_process_that_one_may_not_ask_for(self, left, monkeypatch):
        def refused(process, number):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "kill", refused)
        files.remove_parts(left)
        assert len(list(left.iterdir())) == 2

    def test_asks_for_no_process_on_windows_where_that_would_end_it(self, dead, monkeypatch):
        monkeypatch.setattr(os, "kill", None)  # would be an error
        with monkeypatch.context() as patch:
            patch.setattr(os, "name", "nt")
            is_alive = files._is_alive(dead)
        assert is_alive

    def test_removes_one_of_a_number_that_no_process_can_have(self, tmp_path):
        (tmp_path / f".a.txt.{10**30}.x_1.part").touch()
        files.remove_parts(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_leaves_other_files(self, tmp_path, dead):
        names = [".a.txt.part", ".hidden", ".part", f"a.txt.{dead}.x_1.part", "b.txt"]
        for name in names:
            (tmp_path / name).touch()
        files.remove_parts(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == names

    def test_does_nothing_where_there_is_no_folder(self, tmp_path):
        files.remove_parts(tmp_path / "missing")
        assert not (tmp_path / "missing").exists()

    def test_leaves_those_that_cannot_be_removed(self, left, monkeypatch):
        def refused(path, missing_ok=False):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "unlink", refused)
        files.remove_parts(left)
        assert len(list(left.iterdir())) == 2
