"""`check("02-1", answer_1)`: tells a reader at once whether an answer is right, and if not, where to look.

The exercises of each chapter stand in `bank/`; this is the one place of the package that knows chapters.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..suggest import did_you_mean
from . import bank
from .checking import Function, Mistake, Number, Verdict, Worth


def check(exercise: str, answer: object, version: int = 0) -> Verdict:
    """Return the verdict on an answer.

    Args:
        exercise: its number, "02-1".
        answer: a number or a function, as the exercise asks; `...` means "not answered yet".
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
    if answer is ...:
        return Verdict(exercise, "waiting", f"put your answer in place of the three dots ({known[exercise].title})")
    problem = known[exercise].version(version).judge(answer)
    if problem is None:
        return Verdict(exercise, "right", "right")
    return Verdict(exercise, "wrong", f"not yet: {problem}")


def exercises() -> dict[str, Number | Function]:
    """Return all exercises of the book by their number."""
    found: dict[str, Number | Function] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(bank.__path__)):
        found |= importlib.import_module(f"{bank.__name__}.{module}").EXERCISES
    return found


__all__ = ["Function", "Mistake", "Number", "Verdict", "Worth", "check", "exercises"]
