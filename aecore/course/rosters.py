"""The list of students that a learning management system exports, and its copy with marks, which it imports again.

Canvas exports its gradebook: `Student`, `ID`, further columns up to `Section`, then a column for each assignment; above
the students there may be a row with the points that each assignment has. Moodle exports a grading worksheet for one
assignment: `Identifier` ("Participant 12345"), `Full name`, `Grade`, `Maximum grade`, `Feedback comments`.
"""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .marking import Marks

_POINTS = "Points Possible"
_SCORES = ("Current", "Final", "Override", "Unposted")  # columns that Canvas computes begin so
_NO_COMMENTS = (
    "{} has no column Feedback comments, so it gets grades only; switch the feedback comments on in the settings of "
    "the assignment and export again"
)


@dataclass(frozen=True)
class Student:
    """A row of a roster: the number of the student in the system, and the name."""

    id: str
    name: str


@dataclass
class Roster:
    """An export: its system, its rows as they stand, and how the file separates columns."""

    lms: str
    rows: list[list[str]]
    delimiter: str
    path: Path

    @property
    def students(self) -> list[Student]:
        """Return the students in the order of the file."""
        return [self._student(row) for row in self._bodies()]

    def student_of(self, name: str, number: str) -> Student | None:
        """Return the student whom a submission belongs to, by the number, else by the name where one alone has it."""
        for student in self.students:
            if number and student.id == number:
                return student
        same = [student for student in self.students if letters(student.name) == letters(name)]
        return same[0] if len(same) == 1 else None

    def filled(self, marks: Mapping[str, Marks], assignment: str = "") -> tuple[str, list[str]]:
        """Return the file to import, and remarks on it.

        Args:
            marks: by the numbers of the students; whoever has none keeps what stands in the file.
            assignment: of Canvas, the name of the column to fill; "": the only one there is.

        Raises:
            ValueError: there is no such column.
        """
        filled = self._canvas(marks, assignment) if self.lms == "canvas" else self._moodle(marks)
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerows(filled[0])
        return text.getvalue(), filled[1]

    def _canvas(self, marks: Mapping[str, Marks], assignment: str) -> tuple[list[list[str]], list[str]]:
        header = self.rows[0]
        told = header.index("Section") + 1
        column = self._column(assignment)
        points = next((row for row in self.rows if row and _POINTS in row[0]), [])
        possible = _number_of(points[column]) if len(points) > column else None
        # Only what tells the student, and the one column: what else was changed meanwhile in the system stays.
        rows = [[*row[:told], row[column] if len(row) > column else ""] for row in self.rows]
        for row in rows:
            if self._is_student(row) and (found := marks.get(self._student(row).id)):
                row[-1] = _grade(found, possible)
        return rows, _scaled(marks, possible)

    def _moodle(self, marks: Mapping[str, Marks]) -> tuple[list[list[str]], list[str]]:
        header = [name.strip().lower() for name in self.rows[0]]
        rows = [list(row) for row in self.rows]
        grade, largest = header.index("grade"), header.index("maximum grade") if "maximum grade" in header else None
        feedback = header.index("feedback comments") if "feedback comments" in header else None
        remarks = [] if feedback is not None else [_NO_COMMENTS.format(self.path.name)]
        possible = None
        for row in rows[1:]:
            if self._is_student(row) and (found := marks.get(self._student(row).id)):
                possible = _number_of(row[largest]) if largest is not None else None
                row[grade] = _grade(found, possible)
                if feedback is not None:
                    row[feedback] = in_short(found)
        return rows, [*remarks, *_scaled(marks, possible)]

    def _column(self, assignment: str) -> int:
        """Return the position of the column of an assignment, whose heading is "Exercises 1 (12345)"."""
        header = self.rows[0]
        start = header.index("Section") + 1
        points = next((row for row in self.rows if row and _POINTS in row[0]), [])
        read_only = [i for i, cell in enumerate(points) if "read only" in cell.lower()]
        names = {
            i: header[i]
            for i in range(start, len(header))
            if header[i].strip() and i not in read_only and not header[i].startswith(_SCORES)
        }
        wanted = [i for i, name in names.items() if assignment in (name, re.sub(r" \(\d+\)$", "", name), "")]
        if len(wanted) != 1:
            told = ", ".join(repr(name) for name in names.values()) or "none"
            raise ValueError(
                f"assignment: wanted the name of one column in {self.path.name}, got {assignment!r}; there is {told}"
            )
        return wanted[0]

    def _bodies(self) -> Iterable[list[str]]:
        return (row for row in self.rows[1:] if self._is_student(row))

    def _is_student(self, row: list[str]) -> bool:
        return len(row) > 1 and bool(self._student(row).id) and row is not self.rows[0] and _POINTS not in row[0]

    def _student(self, row: list[str]) -> Student:
        header = [name.strip().lower() for name in self.rows[0]]
        cells = dict(zip(header, row, strict=False))
        if self.lms == "canvas":
            return Student(cells.get("id", "").strip(), cells.get("student", "").strip())
        number = re.sub(r".*?(\d+)\s*$", r"\1", cells.get("identifier", ""))
        return Student(number if number.isdecimal() else "", cells.get("full name", "").strip())


def read(path: Path) -> Roster:
    """Return the roster in a file, of whichever system.

    Raises:
        ValueError: it is the export of neither.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    header = {name.strip().lower() for name in rows[0]} if rows else set()
    if {"student", "id", "section"} <= header:
        return Roster("canvas", rows, delimiter, path)
    if {"identifier", "full name", "grade"} <= header:
        return Roster("moodle", rows, delimiter, path)
    raise ValueError(
        f"roster: wanted Canvas's exported gradebook (columns Student, ID, Section) or Moodle's grading worksheet "
        f"(Identifier, Full name, Grade), got the columns {', '.join(sorted(header)) or 'none'} in {path}. For the "
        f"export the system has to speak English"
    )


def in_short(marks: Marks) -> str:
    """Return the feedback of one student as a few lines of HTML, as Moodle takes it."""
    lines = [f"{marks.total:g} of {marks.out_of:g} points"]
    lines += [f"{mark.item.exercise}: {mark.points:g} of {mark.item.points:g}. {mark.say}" for mark in marks.marks]
    return "<br>".join(html.escape(line) for line in lines)


def _grade(marks: Marks, possible: float | None) -> str:
    share = marks.total / marks.out_of if marks.out_of else 0.0
    return f"{round(share * possible, 2) if possible else marks.total:g}"


def _scaled(marks: Mapping[str, Marks], possible: float | None) -> list[str]:
    """Return a remark where the system counts other points than the exercises have."""
    out_of = next((found.out_of for found in marks.values()), 0.0)
    if not possible or possible == out_of:
        return []
    return [f"the system has {possible:g} points for this work and the exercises {out_of:g}: the marks were scaled"]


def _number_of(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def letters(name: str) -> str:
    """Return a name as Canvas writes it in the names of files: small letters and digits, nothing in between."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name).lower())
