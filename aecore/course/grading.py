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
from . import byhand, feedback, points, rosters, submissions, versions
from .byhand import Row, harmless
from .marking import Marks, chapters_in, mark, not_run, opened
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
        written: a written.csv with the points that a person gave; None: nobody has given any yet.
        roster: an export of the learning management system; None: there is none.
        lms: "canvas" or "moodle"; None: whichever the names fit.
        assignment: the column of Canvas's gradebook to fill; "": the only one there is.
        limits: what each notebook may take.
        jobs: how many submissions are run at a time.
    """

    points: Path | None = None
    versions: Path | None = None
    written: Path | None = None
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
        ValueError: there is nothing to grade, a file of the lecturer is not as it should be, or points that stand in a
            written.csv would be lost.
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
    given = _given(course, items, out)
    report = Report()
    for submission, marks in _marked(found, items, course, (roster, drawn)):
        report.marks.append(byhand.with_points(marks, given))
        report.files.append(_write(out / "feedback" / f"{_page_name(submission, found)}.html", feedback.page(marks)))
        # Each time, so that an interruption loses one submission and not all.
        table = _write(out / "grades.csv", _text(_table(report.marks, items, _absent(roster, found))))
        tell(marks)
    report.files.append(table)
    _to_mark(report, items, given, out)
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


def _given(course: Course, items: Sequence[Item], out: Path) -> list[Row]:
    """Return the points that a person gave.

    Raises:
        ValueError: there are others where the new template is to be written.
    """
    given = byhand.read(course.written, items) if course.written else []
    if lost := byhand.lost(out / byhand.NAME, given, items):
        raise ValueError(
            f"written: {out / byhand.NAME} holds points that would be lost, of {lost[0].student} for exercise "
            f"{lost[0].exercise} among them; give that file with --written, or move it away"
        )
    return given


def _to_mark(report: Report, items: Sequence[Item], given: Sequence[Row], out: Path) -> None:
    """Write the table for the points that a person gives, and say how many are missing."""
    if not any(item.by_hand for item in items):
        return
    report.files.append(_write(out / byhand.NAME, _text(byhand.table(report.marks, given))))
    for row in byhand.strangers(report.marks, given):
        report.remarks.append(f"{byhand.NAME} has a row for {row.student or row.id}, of whom there is no submission")
    if count := sum(len(one.open) for one in report.marks):
        path, are = out / byhand.NAME, "s are" if count > 1 else " is"
        report.remarks.append(
            f"{count} written answer{are} to be marked by hand: read them in {out / 'feedback'}, fill in the points in "
            f"{path}, and grade again with --written {path}"
        )


def _import(roster: Roster, course: Course, report: Report, out: Path) -> None:
    """Write the file that the system imports, and say whose marks it does not hold."""
    marks, waiting = {}, set()
    for one in report.marks:
        if not one.graded:
            continue
        student = roster.student_of(one.submission.name, one.submission.id)
        if student and one.open:
            waiting.add(student.id)
        if student is None:
            report.remarks.append(f"{one.submission.name} is not in {roster.path.name}")
        elif student.id in marks:
            report.remarks.append(f"{student.name} has two submissions; the marks of the one with more points count")
            marks[student.id] = max(marks[student.id], one, key=lambda found: found.total)
        else:
            marks[student.id] = one
    text, remarks = roster.filled({key: one for key, one in marks.items() if key not in waiting}, course.assignment)
    report.remarks += remarks
    if waiting:
        whose = f"{len(waiting)} student{'s' * (len(waiting) > 1)} whose written answers are to be marked"
        report.remarks.append(f"{roster.lms}.csv has no marks yet of {whose}")
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
    """Return the chapters whose exercises any notebook checks or answers."""
    chapters = set()
    for submission in found:
        for content in submission.notebooks.values():
            try:
                chapters |= chapters_in(opened(content))
            except ValueError:
                continue
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
    rows = [["student", "id", *numbers, "total", "out of", "to mark by hand", "remarks"]]
    for one in marks:
        told = ["open" if mark.state == "open" else f"{mark.points:g}" for mark in one.marks]
        row = [
            one.submission.name,
            one.submission.id,
            *told,
            f"{one.total:g}",
            f"{one.out_of:g}",
            ", ".join(one.open),
            "; ".join(one.remarks),
        ]
        rows.append([harmless(cell) for cell in row])
    rows += [[harmless(name), "", *("" for _ in items), "", "", "", "nothing handed in"] for name in absent]
    return rows


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
