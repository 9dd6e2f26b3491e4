"""`files`: whole or not there."""

import os
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


class TestRemoveParts:
    @pytest.fixture
    def left(self, tmp_path, monkeypatch):
        """A folder in which a process was killed before its file had its name."""
        (tmp_path / "a.txt").write_text("whole")

        def killed(*paths):
            raise SystemExit

        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(os, "replace", killed)
            patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
            files.write_text(tmp_path / "a.txt", "new")
        assert len(list(tmp_path.iterdir())) == 2
        return tmp_path

    def test_removes_them(self, left):
        files.remove_parts(left)
        assert [path.name for path in left.iterdir()] == ["a.txt"]

    def test_leaves_other_files(self, tmp_path):
        names = [".hidden", "a.part", "b.txt"]
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
