"""`check("02-1", answer_1)`: tells a reader at once whether an answer is right, and if not, where to look.

The exercises of each chapter stand in `bank/`; this is the one place of the package that knows chapters.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..suggest import did_you_mean
from . import bank
from .checking import Function, Mistake, Number, Verdict, Worth
from .rubric import Criterion, Written

_BY_HAND = "a person marks this exercise, which is answered in sentences; there is nothing to check here"


def check(exercise: str, answer: object, version: int = 0) -> Verdict:
    """Return the verdict on an answer.

    Args:
        exercise: its number, "02-1".
        answer: a number or a function, as the exercise asks; `...` means "not answered yet". An exercise that is
            answered in sentences has no check, and the verdict says so.
        version: of a question whose given numbers differ from copy to copy, the version; 0: as the book asks it.

    Raises:
        ValueError: there is no such exercise, and the message suggests the nearest; or the version is no whole number.
    """
    known = exercises()
    if not isinstance(exercise, str) or exercise not in known:
        raise ValueError(
            f"exercise: unknown number {exercise!r}.{did_you_mean(exercise, known)} Known: {', '.join(known)}."
        )
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise ValueError(f"version: wanted a whole number from 0, as it stands in your copy, got {version!r}")
    if isinstance(known[exercise], Written):
        return Verdict(exercise, "by hand", f"{_BY_HAND} ({known[exercise].title})")
    if answer is ...:
        return Verdict(exercise, "waiting", f"put your answer in place of the three dots ({known[exercise].title})")
    problem = known[exercise].version(version).judge(answer)
    if problem is None:
        return Verdict(exercise, "right", "right")
    return Verdict(exercise, "wrong", f"not yet: {problem}")


def exercises() -> dict[str, Number | Function | Written]:
    """Return all exercises of the book by their number."""
    found: dict[str, Number | Function | Written] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(bank.__path__)):
        found |= importlib.import_module(f"{bank.__name__}.{module}").EXERCISES
    return found


def checked() -> dict[str, Number | Function]:
    """Return the exercises that a check judges."""
    return {number: task for number, task in exercises().items() if not isinstance(task, Written)}


def written() -> dict[str, Written]:
    """Return the exercises that are answered in sentences, which a person marks."""
    return {number: task for number, task in exercises().items() if isinstance(task, Written)}


__all__ = [
    "Criterion",
    "Function",
    "Mistake",
    "Number",
    "Verdict",
    "Worth",
    "Written",
    "check",
    "checked",
    "exercises",
    "written",
]
