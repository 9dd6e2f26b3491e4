"""A folder of submissions becomes marks: grades.csv, a page for each student, and the file that the system imports."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .. import files
from ..exercises import exercises
from . import checks, feedback, points, rosters, submissions, versions
from .marking import Marks, mark, not_run, opened
from .points import Item
from .rosters import Roster
from .running import Limits
from .submissions import Submission
from .versions import Versions


@dataclass(frozen=True)
class Course:
    """What a lecturer says of the work that is graded.

    Args:
        points: a points.csv; None: all exercises of each chapter that occurs, with the points of the bank.
        versions: a versions.csv; None: the questions are those of the book.
        roster: an export of the learning management system; None: there is none.
        lms: "canvas" or "moodle"; None: whichever the names fit.
        assignment: the column of Canvas's gradebook to fill; "": the only one there is.
        limits: what each notebook may take.
        jobs: how many submissions are run at a time.
    """

    points: Path | None = None
    versions: Path | None = None
    roster: Path | None = None
    lms: str | None = None
    assignment: str = ""
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1


@dataclass
class Report:
    """What was written and what a lecturer should know: the files, the marks, and remarks."""

    files: list[Path] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def grade(folder: Path, out: Path, course: Course, tell: Callable[[Marks], None] = lambda marks: None) -> Report:
    """Grade all submissions of a folder and write what came out.

    Args:
        folder: of the submissions, or the zip file of a learning management system.
        out: the folder to write into; it is made.
        course: what is graded and how.
        tell: called with the marks of each student as soon as there are any.

    Raises:
        ValueError: there is nothing to grade, or a file of the lecturer is not as it should be.
        OSError: a file cannot be read or written, or no kernel can be started.
    """
    if course.jobs < 1:
        raise ValueError(f"jobs: wanted 1 or more, got {course.jobs}")
    found = submissions.read(folder, course.lms)
    roster = _roster(course)
    items = points.read(course.points) if course.points else points.of_chapters(_chapters(found))
    if not items:
        raise ValueError(f"folder: no notebook in {folder} checks an exercise of the book; say which with --points")
    drawn = versions.read(course.versions) if course.versions else Versions({})
    report = Report()
    for submission, marks in _marked(found, items, course, (roster, drawn)):
        report.marks.append(marks)
        report.files.append(_write(out / "feedback" / f"{_page_name(submission, found)}.html", feedback.page(marks)))
        # Each time, so that an interruption loses one submission and not all.
        table = _write(out / "grades.csv", _text(_table(report.marks, items, _absent(roster, found))))
        tell(marks)
    report.files.append(table)
    if roster:
        _import(roster, course, report, out)
    return report


def _marked(
    found: Sequence[Submission], items: Sequence[Item], course: Course, tables: tuple[Roster | None, Versions]
) -> Iterator[tuple[Submission, Marks]]:
    """Yield the submissions and their marks in order, as they are ready.

    Raises:
        OSError: the first could not be run on this machine, so that no other can be expected to.
    """
    roster, drawn = tables

    def attempt(submission: Submission) -> Marks:
        student = roster.student_of(submission.name, submission.id) if roster else None
        number = student.id if student else submission.id
        submission.name = student.name if student else submission.name
        try:
            return mark(submission, items, drawn.of(number, submission.name), course.limits)
        except OSError as error:
            if submission is found[0]:
                raise
            return not_run(submission, items, error)

    if course.jobs == 1:
        yield from ((submission, attempt(submission)) for submission in found)
        return
    pool = ThreadPoolExecutor(course.jobs)
    try:
        yield from zip(found, pool.map(attempt, found), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _import(roster: Roster, course: Course, report: Report, out: Path) -> None:
    """Write the file that the system imports, and say whose marks it does not hold."""
    marks = {}
    for one in report.marks:
        if not one.graded:
            continue
        student = roster.student_of(one.submission.name, one.submission.id)
        if student is None:
            report.remarks.append(f"{one.submission.name} is not in {roster.path.name}")
        elif student.id in marks:
            report.remarks.append(f"{student.name} has two submissions; the marks of the one with more points count")
            marks[student.id] = max(marks[student.id], one, key=lambda found: found.total)
        else:
            marks[student.id] = one
    text, remarks = roster.filled(marks, course.assignment)
    report.remarks += remarks
    report.files.append(_write(out / f"{roster.lms}.csv", text))


def _roster(course: Course) -> Roster | None:
    if course.roster is None:
        return None
    roster = rosters.read(course.roster)
    if course.lms not in (None, roster.lms):
        raise ValueError(f"lms: {course.roster} is an export of {roster.lms}, not of {course.lms}")
    if roster.lms == "canvas":
        roster.filled({}, course.assignment)  # what is wrong with the column is said before hours of grading
    return roster


def _chapters(found: Iterable[Submission]) -> set[str]:
    """Return the chapters whose exercises any notebook checks."""
    known = exercises()
    chapters = set()
    for submission in found:
        for content in submission.notebooks.values():
            try:
                cells = [cell.source for cell in opened(content).cells if cell.cell_type == "code"]
            except ValueError:
                continue
            chapters |= {one.exercise.split("-")[0] for code in cells for one in checks.anywhere_in(code, known)}
    return chapters


def _absent(roster: Roster | None, found: Sequence[Submission]) -> list[str]:
    """Return the names of the students who handed nothing in."""
    if roster is None:
        return []
    present = {student.id for one in found if (student := roster.student_of(one.name, one.id))}
    return [student.name for student in roster.students if student.id not in present]


def _table(marks: Sequence[Marks], items: Sequence[Item], absent: Sequence[str]) -> list[list[str]]:
    """Return the rows of grades.csv."""
    numbers = [item.exercise for item in items]
    rows = [["student", "id", *numbers, "total", "out of", "remarks"]]
    for one in marks:
        told = [f"{mark.points:g}" for mark in one.marks]
        row = [
            one.submission.name,
            one.submission.id,
            *told,
            f"{one.total:g}",
            f"{one.out_of:g}",
            "; ".join(one.remarks),
        ]
        rows.append([_harmless(cell) for cell in row])
    rows += [[_harmless(name), "", *("" for _ in items), "", "", "nothing handed in"] for name in absent]
    return rows


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names of files and students are not ours."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _page_name(submission: Submission, found: Sequence[Submission]) -> str:
    """Return a name for a page that no other student's has, on disks that know no capital letters either."""
    same = [one for one in found if one.key.lower() == submission.key.lower()]
    number = [one is submission for one in same].index(True)
    return re.sub(r"^\.+", "", submission.key)[:100] + (f"-{number + 1}" if number else "")


def _write(path: Path, text: str) -> Path:
    files.write_text(path, text)
    return path
