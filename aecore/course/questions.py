"""Exercises as a copy asks them: what they are worth, and the given numbers of a version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..exercises import Function, Number, Written, exercises
from . import checks

_LABEL = "ex-"  # the label of exercise 01-2 is ex-01-2


@dataclass(frozen=True)
class Questions:
    """How a copy asks its exercises.

    Args:
        worth: whether level, points and minutes stand below the title.
        version: of the given numbers; 0: those of the book.
    """

    worth: bool = False
    version: int = 0

    def note(self, label: str) -> str:
        """Return the line below the title of an exercise: "*★★ · 4 points · about 15 minutes*"; it may be ""."""
        known = exercises().get(label.removeprefix(_LABEL))
        return worth_in_words(known) if self.worth and known else ""

    def text(self, label: str, text: str) -> str:
        """Return the text of an exercise with the numbers of the version.

        Raises:
            ValueError: the text has no such number, since the book was changed and the bank was not.
        """
        changes = self._changes(label)
        # All at once, so that a number that was written is not replaced again.
        written = "|".join(re.escape(old) for old in sorted(changes, key=len, reverse=True))
        number = re.compile(rf"(?<![\w.,])(?:{written})(?!\w|[.,]\d)") if changes else None
        missing = [old for old in changes if old not in number.findall(text)]
        if missing:
            raise ValueError(f"the text of {label} does not hold the number {missing[0]} that its versions replace")
        return number.sub(lambda found: changes[found[0]], text) if number else text

    def code(self, code: str) -> str:
        """Return the code of a cell in which the checks of exercises that differ name the version."""
        if not self.version or "check" not in code:
            return code
        return checks.with_version(code, self.version, versioned())

    def _changes(self, label: str) -> dict[str, str]:
        known = exercises().get(label.removeprefix(_LABEL))
        versions = getattr(known, "versions", None)
        return versions.changes(self.version) if self.version and versions else {}


def versioned() -> set[str]:
    """Return the exercises that have versions."""
    return {number for number, known in exercises().items() if getattr(known, "versions", None)}


def worth_in_words(task: Number | Function | Written) -> str:
    """Return what an exercise is worth in a line of Markdown, and whether a person marks it."""
    worth = task.worth
    by_hand = " · marked by hand" if isinstance(task, Written) else ""
    return f"*{worth.stars} · {worth.points} point{'s' * (worth.points != 1)} · about {worth.minutes} minutes{by_hand}*"
