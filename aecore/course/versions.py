"""Which student has which version of the questions: versions.csv."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ALL = "*"  # in place of a student: everybody has this version
COLUMNS = ("id", "student", "version")
_MOST = 10**6


@dataclass(frozen=True)
class Versions:
    """The versions by the students' numbers or names; whoever is not there has the one of `ALL`, or the book's."""

    by_student: Mapping[str, int]

    def of(self, number: str, name: str) -> int:
        """Return the version of a student."""
        for key in (number, name, ALL):
            if key in self.by_student:
                return self.by_student[key]
        return 0


def drawn(seed: int, student: str = ALL) -> int:
    """Return the version that a seed gives to a student, a whole number from 1."""
    return random.Random(f"{seed} {student}").randrange(1, _MOST)


def read(path: Path) -> Versions:
    """Return what a versions.csv says.

    Raises:
        ValueError: a column is missing, or a version is no whole number.
        OSError: there is no such file.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"student", "version"} <= rows[0].keys():
        raise ValueError(f"versions: wanted a file with the columns student and version and a row or more, see {path}")
    found: dict[str, int] = {}
    for row in rows:
        if not (row["version"] or "").strip().isdecimal():
            raise ValueError(
                f"versions: wanted a whole number for {row['student']!r} in {path}, got {row['version']!r}"
            )
        for key in (row.get("id"), row["student"]):
            if key:
                found[key.strip()] = int(row["version"])
    return Versions(found)
