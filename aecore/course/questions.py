"""Exercises as a copy asks them: what they are worth, and the given numbers of a version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..exercises import Worth, exercises
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
        return worth_in_words(known.worth) if self.worth and known else ""

    def text(self, label: str, text: str) -> str:
        """Return the text of an exercise with the numbers of the version.

        Raises:
            ValueError: the text has no such number, since the book was changed and the bank was not.
        """
        for old, new in self._changes(label).items():
            number = re.compile(rf"(?<![\w.,]){re.escape(old)}(?![\w]|[.,]\d)")
            if not number.search(text):
                raise ValueError(f"the text of {label} does not hold the number {old} that its versions replace")
            text = number.sub(f"\0{new}\0", text)  # marked, so that no later number changes it again
        return text.replace("\0", "")

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


def worth_in_words(worth: Worth) -> str:
    """Return what an exercise is worth in a line of Markdown."""
    return f"*{worth.stars} · {worth.points} point{'s' * (worth.points != 1)} · about {worth.minutes} minutes*"
