"""Copies of chapters for a course: what students get, what instructors get, and what each exercise counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nbformat import NotebookNode

from .. import files
from ..exercises import exercises
from ..suggest import did_you_mean
from . import nbgrader, points, rosters, versions
from .book import Book
from .editions import INSTRUCTOR, STUDENT, Edition, copy_of, notebooks_in, write
from .questions import Questions, versioned
from .rosters import Student

FORMATS = ("plain", "nbgrader")


@dataclass(frozen=True)
class Handout:
    """What a lecturer asks for.

    Args:
        chapters: by their numbers, ("01", "02").
        seed: with one, the given numbers of some exercises differ from those of the book; None: they do not.
        format: "plain", or "nbgrader": copies with the metadata that nbgrader grades by.
        roster: an export of the learning management system; with a seed, each student in it gets other numbers.
    """

    chapters: Sequence[str]
    seed: int | None = None
    format: str = "plain"
    roster: Path | None = None


def make(out: Path, folder: Path, wanted: Handout) -> list[Path]:
    """Write the copies and tables of a handout.

    OUT/student/ and OUT/instructor/ hold a notebook for each chapter, OUT/points.csv what each exercise counts. With a
    seed, OUT/versions.csv says who has which version of the questions, and OUT/answers.csv the right answers of each;
    with a roster as well, OUT/student/ has a folder for each student. For nbgrader, OUT/source/ and OUT/release/ take
    the place of OUT/student/: the one goes into a course of nbgrader, the other is what students get.

    Args:
        out: the folder to write into; it is made.
        folder: of the chapters' notebooks; _config.yml of the book lies beside it.
        wanted: what is asked for.

    Returns:
        The files that were written.

    Raises:
        ValueError: a chapter is not there, or what is asked for does not go together.
        OSError: a file cannot be read or written.
    """
    _check(wanted)
    notebooks = notebooks_in(folder)
    names = [_chapter(number, notebooks) for number in wanted.chapters]
    root = folder.resolve()
    book = Book(root.parent, root.name, notebooks, beside=names)
    chapters = {name: notebooks[name] for name in names}
    whose = _versions(wanted)
    made = {out / "instructor" / f"{name}.ipynb": copy_of(book, name, chapters[name], INSTRUCTOR) for name in names}
    for student, version in whose.items():
        for name in names:
            copy = copy_of(book, name, chapters[name], _edition(version))
            if wanted.format == "plain":
                made[out / "student" / _folder_of(student) / f"{name}.ipynb"] = copy
            else:
                solved = made[out / "instructor" / f"{name}.ipynb"]
                made[out / "source" / f"{name}.ipynb"] = nbgrader.source(copy, solved)
                made[out / "release" / f"{name}.ipynb"] = nbgrader.release(copy)
    return [*write(made), *_tables(out, wanted, whose)]


def _check(wanted: Handout) -> None:
    if wanted.format not in FORMATS:
        raise ValueError(f"format: wanted {' or '.join(FORMATS)}, got {wanted.format!r}")
    if wanted.roster and wanted.seed is None:
        raise ValueError("roster: copies for each student differ by their numbers only, so a seed is needed too")
    if wanted.roster and wanted.format == "nbgrader":
        raise ValueError("format: nbgrader hands one copy to all; leave the roster out, or take the format plain")
    if not wanted.chapters:
        raise ValueError("chapters: wanted their numbers with commas, such as 01,02, got none")


def _chapter(number: str, notebooks: dict[str, NotebookNode]) -> str:
    found = [name for name in notebooks if name.split("_")[0] == number]
    if not found:
        numbers = [name.split("_")[0] for name in notebooks]
        raise ValueError(
            f"chapters: there is no chapter {number!r}.{did_you_mean(number, numbers)} There are: {', '.join(numbers)}"
        )
    return found[0]


def _versions(wanted: Handout) -> dict[Student, int]:
    """Return the version that each student gets, or the one for all."""
    everybody = Student("", versions.ALL)
    if wanted.seed is None:
        return {everybody: 0}
    if wanted.roster is None:
        return {everybody: versions.drawn(wanted.seed)}
    students = rosters.read(wanted.roster).students
    if not students:
        raise ValueError(f"roster: there is no student in {wanted.roster}")
    return {student: versions.drawn(wanted.seed, student.id) for student in students}


def _edition(version: int) -> Edition:
    return replace(STUDENT, questions=Questions(worth=True, version=version))


def _folder_of(student: Student) -> str:
    """Return the name of the folder of a student's copies, "" where all get the same."""
    return "" if student.name == versions.ALL else f"{rosters.letters(student.name)}_{student.id}"


def _tables(out: Path, wanted: Handout, whose: dict[Student, int]) -> list[Path]:
    tables = {"points.csv": points.table(points.of_chapters(wanted.chapters))}
    if wanted.seed is not None:
        rows = [(student.id, student.name, str(version)) for student, version in whose.items()]
        tables["versions.csv"] = [versions.COLUMNS, *rows]
        tables["answers.csv"] = [("id", "student", "exercise", "given", "answer"), *_answers(wanted, whose)]
    for name, rows in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        files.write_text(out / name, text.getvalue())
    return [out / name for name in tables]


def _answers(wanted: Handout, whose: dict[Student, int]) -> Iterable[tuple[str, ...]]:
    known = exercises()
    for student, version in whose.items():
        for number in sorted(versioned()):
            if number.split("-")[0] in wanted.chapters:
                given = ", ".join(f"{new} for {old}" for old, new in known[number].versions.changes(version).items())
                yield student.id, student.name, number, given, f"{known[number].version(version).answer:.6g}"
