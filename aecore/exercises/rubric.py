"""Exercises that are answered in sentences, which a person marks: no check can judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .checking import Worth

KINDS = ("explain", "experiment", "open")


class Criterion(NamedTuple):
    """A line of a rubric: how many points there are, and what earns them."""

    points: int
    earned_by: str


@dataclass(frozen=True)
class Written:
    """An exercise whose answer is a text, and the rubric by which a person marks it.

    Args:
        title: what is asked, in a few words.
        kind: "explain"; "experiment": a setting of the chapter is changed, run, and reported on; "open": there is more
            than one good answer.
        worth: what it counts in a course.
        rubric: its lines; their points add up to those of the worth.
        mistakes: what is often wrong in such answers, for whoever marks them.

    Raises:
        ValueError: the kind is unknown, or the rubric does not add up to the points.
    """

    title: str
    kind: str
    worth: Worth
    rubric: tuple[Criterion, ...]
    mistakes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: wanted one of {', '.join(KINDS)}, got {self.kind!r} ({self.title})")
        total = sum(line.points for line in self.rubric)
        if total != self.worth.points or any(line.points < 1 for line in self.rubric):
            raise ValueError(
                f"rubric: wanted lines of 1 point or more that add up to {self.worth.points}, got "
                f"{[line.points for line in self.rubric]}, together {total} ({self.title})"
            )

    def version(self, number: int) -> Written:
        """Return the exercise itself: there are no versions of a text."""
        return self
