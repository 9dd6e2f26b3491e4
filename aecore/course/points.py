"""What the exercises of a course count: from the bank, or from a points.csv that a lecturer has changed."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..exercises import Written, exercises
from ..suggest import did_you_mean

COLUMNS = ("exercise", "title", "level", "points", "minutes", "marked")


@dataclass(frozen=True)
class Item:
    """A row of points.csv: an exercise, what it asks, its level in stars, its points, and its minutes."""

    exercise: str
    title: str
    level: str
    points: float
    minutes: str

    @property
    def by_hand(self) -> bool:
        """True where a person marks the answer, which is a text; no check can."""
        return isinstance(exercises()[self.exercise], Written)

    @property
    def row(self) -> tuple[str, ...]:
        """Return the cells of the row."""
        how = "by hand" if self.by_hand else "by its check"
        return self.exercise, self.title, self.level, f"{self.points:g}", self.minutes, how


def of_chapters(chapters: Collection[str]) -> list[Item]:
    """Return the exercises of chapters with what the bank says of them, in the order of the book.

    Args:
        chapters: by their numbers, "01".
    """
    return [
        Item(number, known.title, known.worth.stars, known.worth.points, str(known.worth.minutes))
        for number, known in sorted(exercises().items())
        if number.split("-")[0] in chapters
    ]


def read(path: Path) -> list[Item]:
    """Return the rows of a points.csv. Rows may be left out and points changed.

    Raises:
        ValueError: a column is missing, an exercise unknown or there twice, or its points are no number.
        OSError: there is no such file.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"exercise", "points"} <= rows[0].keys():
        raise ValueError(f"points: wanted a file with the columns exercise and points and a row or more, see {path}")
    items = [_item(row, path) for row in rows]
    twice = [item.exercise for i, item in enumerate(items) if item.exercise in {other.exercise for other in items[:i]}]
    if twice:
        raise ValueError(f"points: exercise {twice[0]} stands twice in {path}")
    return items


def table(items: Sequence[Item]) -> list[tuple[str, ...]]:
    """Return the header and the rows of a points.csv."""
    return [COLUMNS, *(item.row for item in items)]


def number_in(text: str | None) -> float | None:
    """Return the number that a cell of a table holds, with a point or a comma; None: it holds none."""
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return None


def _item(row: dict, path: Path) -> Item:
    known, number = exercises(), (row["exercise"] or "").strip()
    if number not in known:
        raise ValueError(f"points: {path} names an unknown exercise {number!r}.{did_you_mean(number, known)}")
    points = number_in(row["points"])
    if points is None or not 0 <= points < 1e6:
        raise ValueError(f"points: wanted a number from 0 for exercise {number} in {path}, got {row['points']!r}")
    told = [row.get(name) or "" for name in ("title", "level", "minutes")]
    return Item(number, told[0] or known[number].title, told[1], points, told[2])
