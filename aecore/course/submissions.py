"""What students handed in: a folder or the zip file of a learning management system, sorted by student.

Names come from the paths. Canvas gives every file the name `lastnamefirstname_12345_67890_file.ipynb`: the name in
small letters, `LATE` behind it where it was, the number of the user, and that of the upload. Moodle puts the files of
each student into a folder `First Last_12345_assignsubmission_file`. In any other folder a folder, or a file, is a
student.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

LMS = ("canvas", "moodle")
_LARGEST = 50_000_000  # bytes of a file; a notebook with many figures has a few million
_CANVAS = re.compile(r"(?P<name>.*?[^\W\d_].*?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<upload>\d+)_(?P<file>.+)", re.I)
_CANVAS_ANONYMOUS = re.compile(r"(?:(?P<late>LATE)_)?(?P<id>anon_[A-Za-z0-9]+)_(?P<upload>\d+)_(?P<file>.+)")
_MOODLE = re.compile(r"(?P<name>.*)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<file>.*))?")


@dataclass
class Submission:
    """What one student handed in.

    Args:
        name: of the student, as the paths have it.
        id: the number that the learning management system has for the student; "" where there is none.
        late: whether the system says that it came late.
        files: the content of each file by its name.
    """

    name: str
    id: str
    late: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return a word for the student that can stand in a file's name."""
        return re.sub(r"[^\w-]+", "-", f"{self.name}_{self.id}" if self.id else self.name).strip("-_") or "student"

    @property
    def notebooks(self) -> dict[str, bytes]:
        """Return those of the files that are notebooks by their names."""
        return {name: content for name, content in self.files.items() if name.lower().endswith(".ipynb")}


def read(folder: Path, lms: str | None = None) -> list[Submission]:
    """Return the submissions in a folder or a zip file, in the order of their names.

    All files are read at once, so that none can be changed by the code of another.

    Args:
        folder: of the submissions; zip files that lie right in it are opened too.
        lms: the system whose names the files have; None: whichever fits.

    Raises:
        ValueError: there is none, or the system is unknown.
        OSError: the folder or a file cannot be read.
    """
    if lms not in (None, *LMS):
        raise ValueError(f"lms: wanted canvas or moodle, got {lms!r}")
    found: dict[tuple[str, str], Submission] = {}
    for path, content in _files(folder):
        name, number, late, file = _whose(path, lms)
        one = found.setdefault((name, number), Submission(name, number))
        one.late |= late
        one.files[file if file not in one.files else str(path)] = content
    if not found:
        raise ValueError(f"folder: there is no file of a student in {folder}")
    return [found[key] for key in sorted(found)]


def _files(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    if folder.is_file():
        yield from _zipped(folder)
        return
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: there is no folder or zip file {folder}")
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if _is_noise(inside) or not path.is_file():
            continue
        if path.parent == folder and path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
            yield from _zipped(path)
        else:
            yield inside, path.read_bytes() if path.stat().st_size <= _LARGEST else b""


def _zipped(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the files of an archive. Nothing is unpacked to the disk, so that no name in it leads anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                inside = PurePosixPath(entry.filename)
                if not entry.is_dir() and not _is_noise(inside):
                    yield inside, archive.read(entry) if entry.file_size <= _LARGEST else b""
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged; encrypted; of an unknown method
        raise OSError(f"{path} cannot be read as a zip file: {error}. Download it again") from error


def _is_noise(path: PurePosixPath) -> bool:
    """Tell what nobody handed in: hidden files, what systems leave, and tables."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return hidden or path.suffix.lower() == ".csv" or path.name == "Thumbs.db"


def _whose(path: PurePosixPath, lms: str | None) -> tuple[str, str, bool, str]:
    """Return the name and the number of a student, whether the file came late, and the file's own name."""
    if lms in (None, "moodle"):
        for part in path.parts:
            if match := _MOODLE.fullmatch(part):
                return match["name"], match["id"], False, match["file"] or path.name
    # Canvas makes no folders, so in one a name of this form means nothing, unless the lecturer says that it does.
    if lms == "canvas" or (lms is None and len(path.parts) == 1):
        if match := _CANVAS_ANONYMOUS.fullmatch(path.name):
            return match["id"], match["id"], bool(match["late"]), match["file"]
        if match := _CANVAS.fullmatch(path.name):
            return match["name"], match["id"], bool(match["late"]), match["file"]
    return (path.parts[0] if len(path.parts) > 1 else path.stem), "", False, path.name
