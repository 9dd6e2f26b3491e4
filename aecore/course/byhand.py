"""The points that a person gives: written.csv, which the grader writes as a template and reads back when filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..exercises import Written, exercises
from ..suggest import did_you_mean
from .marking import Mark, Marks
from .points import Item, number_in

NAME = "written.csv"
COLUMNS = ("student", "id", "exercise", "points", "out of", "comment")


@dataclass(frozen=True)
class Row:
    """A row of written.csv: whose answer to what, its points as they were written in ("": none yet), and a comment."""

    student: str
    id: str
    exercise: str
    points: str
    out_of: str = ""
    comment: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row."""
        return self.student, self.id, self.exercise, self.points, self.out_of, self.comment

    def is_of(self, name: str, number: str) -> bool:
        """Tell whether the row is a student's: by the number where there is one, else by the name."""
        return self.id == number if self.id or number else self.student == harmless(name)


def read(path: Path, items: Sequence[Item]) -> list[Row]:
    """Return the rows of a written.csv.

    Args:
        path: of the file.
        items: the exercises that count, by whose points those of the rows are limited.

    Raises:
        ValueError: a column is missing, an exercise is unknown, not set or judged by a check, points are no number
            from 0 to what the exercise counts, or two rows give points for one answer.
        OSError: there is no such file.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        text = stream.read()
    first = text.partition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ","))
    if rows and not {"student", "exercise", "points"} <= rows[0].keys():
        raise ValueError(f"written: wanted a file with the columns student, exercise and points, see {path}")
    known = {item.exercise: item for item in items}
    found = [_row(row, known, path) for row in rows if any((row.get(name) or "").strip() for name in COLUMNS)]
    given = [(row.id or row.student, row.exercise) for row in found if row.points]
    twice = next((one for i, one in enumerate(given) if one in given[:i]), None)
    if twice:
        raise ValueError(f"written: {path} gives points to {twice[0]} for exercise {twice[1]} in two rows")
    return found


def with_points(marks: Marks, rows: Iterable[Row]) -> Marks:
    """Return marks with the points and comments that a person gave; a point in the file counts wherever it stands."""
    submission = marks.submission
    given = {row.exercise: row for row in rows if row.points and row.is_of(submission.name, submission.id)}
    marks.marks = [_with(one, given.get(one.item.exercise)) for one in marks.marks]
    return marks


def table(marks: Sequence[Marks], rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the header and the rows of a written.csv: one for each answer that a person marks, with the points that
    are given already, and behind them the rows that belong to no submission, so that nothing is lost."""
    found = [
        Row(
            harmless(one.submission.name), one.submission.id, mark.item.exercise,
            "" if mark.given is None else f"{mark.given:g}", f"{mark.item.points:g}",
            harmless(mark.say) if mark.given is not None else "",
        )
        for one in marks
        for mark in one.marks
        if mark.state in ("open", "marked")
    ]  # fmt: skip
    return [COLUMNS, *(row.cells for row in [*found, *strangers(marks, rows)])]


def strangers(marks: Sequence[Marks], rows: Iterable[Row]) -> list[Row]:
    """Return the rows with points or comments that belong to no submission."""
    students = [(one.submission.name, one.submission.id) for one in marks]
    return [row for row in rows if (row.points or row.comment) and not any(row.is_of(*one) for one in students)]


def lost(path: Path, rows: Sequence[Row], items: Sequence[Item]) -> list[Row]:
    """Return the rows with points in a written.csv that is about to be written anew and that `rows` do not hold."""
    if not path.exists():
        return []
    kept = {(row.id or row.student, row.exercise) for row in rows if row.points}
    return [row for row in read(path, items) if row.points and (row.id or row.student, row.exercise) not in kept]


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names of files and students are not ours."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _with(mark: Mark, row: Row | None) -> Mark:
    if row is None:
        return mark
    return replace(mark, state="marked", say=row.comment.removeprefix("'"), given=number_in(row.points))


def _row(row: dict, known: dict[str, Item], path: Path) -> Row:
    told = {name: (row.get(name) or "").strip() for name in COLUMNS}
    number = told["exercise"]
    if number not in exercises():
        hint = did_you_mean(number, exercises())
        raise ValueError(f"written: {path} names an unknown exercise {number!r}.{hint}")
    if not isinstance(exercises()[number], Written):
        raise ValueError(f"written: exercise {number} in {path} is judged by its check, not by hand; delete the row")
    if number not in known:
        raise ValueError(f"written: exercise {number} in {path} is not among those that are graded; see --points")
    points = number_in(told["points"]) if told["points"] else 0.0
    if points is None or not 0 <= points <= known[number].points:
        raise ValueError(
            f"written: wanted a number from 0 to {known[number].points:g} for {told['student']!r}, exercise {number}, "
            f"in {path}, got {told['points']!r}"
        )
    return Row(told["student"], told["id"], number, told["points"], told["out of"], told["comment"])
