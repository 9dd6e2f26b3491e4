"""Checks that help: each knows its right answer and the mistakes that people make on the way to it.

An exercise may also say what it is worth in a course, and a number exercise may have versions: the same question with
other given numbers, from which the right answer and the known mistakes are computed.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import numbers
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def sample(seed: int, *shape: int) -> Tensor:
    """Return values from −0.4 to 0.6 of any shape, some of either sign, for the examples of a function."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.4


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is known: what it is, and what to say to whoever gives it."""

    answer: object
    say: str


@dataclass(frozen=True)
class Worth:
    """What an exercise counts in a course: its level from 1 to 3 (★ to ★★★), its points, the minutes it may take."""

    level: int
    points: int
    minutes: int

    @property
    def stars(self) -> str:
        """Return the level as it is shown."""
        return "★" * self.level


@dataclass(frozen=True)
class Versions:
    """The same question with other numbers.

    Args:
        make: makes the exercise from the given numbers, which it takes by name.
        choices: for each given number, how the book writes it and then what may stand there: ("10,000", "2,500").
    """

    make: Callable[..., Number]
    choices: Mapping[str, tuple[str, ...]]

    def changes(self, version: int) -> dict[str, str]:
        """Return what a version writes in place of what: {"100": "64"}. A number always gives the same version."""
        return {self.choices[name][0]: other for name, other in self._drawn(version).items()}

    def exercise(self, version: int) -> Number:
        """Return the exercise with the numbers of a version."""
        return self.make(**{name: _value(text) for name, text in self._drawn(version).items()})

    def _drawn(self, version: int) -> dict[str, str]:
        draw = random.Random(f"{version} {sorted(self.choices.items())}")  # texts give the same on every machine
        return {name: draw.choice(texts[1:]) for name, texts in self.choices.items()}


@dataclass(frozen=True)
class Number:
    """An exercise whose answer is one number.

    Args:
        title: what is asked, in a few words.
        answer: the right number. An answer that was rounded to three significant digits counts as the same.
        mistakes: known wrong numbers, with the message for each.
        tolerance: relative distance at which a number still counts as the same; 0 for what is counted, where rounding
            is a mistake.
        worth: what it counts in a course.
        versions: the same question with other given numbers; None: it has none.
    """

    title: str
    answer: float
    mistakes: tuple[Mistake, ...]
    tolerance: float = 2e-3
    worth: Worth = Worth(level=1, points=2, minutes=5)
    versions: Versions | None = None

    def judge(self, given: object) -> str | None:
        """Return None where the answer is right, else what is wrong with it."""
        if isinstance(given, Tensor | np.ndarray) and math.prod(given.shape) == 1:
            given = given.item()
        given = _plain(given)
        if isinstance(given, bool) or not isinstance(given, numbers.Real):
            return f"wanted one number, got {_kind(given)}"
        if not math.isfinite(given):
            return f"wanted one finite number, got {given}"
        if self._near(given, self.answer):
            return None
        for mistake in self.mistakes:
            if self._near(given, mistake.answer):
                return mistake.say
        side = "large" if given > self.answer else "small"
        return f"{_number(given)} is too {side}"

    def version(self, number: int) -> Number:
        """Return the exercise with the given numbers of a version; 0 is the book's, and many have no other."""
        return self.versions.exercise(number) if number and self.versions else self

    def _near(self, given: float, wanted: float) -> bool:
        if self.tolerance == 0:
            return given == wanted
        rounded = float(f"{wanted:.3g}")
        return any(
            math.isclose(given, target, rel_tol=tolerance, abs_tol=1e-12)
            for target, tolerance in ((wanted, self.tolerance), (rounded, 1e-6))  # 1e-6: a float32 holds no more digits
        )


def versions_of(make: Callable[..., Number], **choices: tuple[str, ...]) -> Number:
    """Return the exercise of the book, which knows its other versions.

    Args:
        make: makes the exercise from its given numbers.
        choices: each given number as the book writes it, and what may stand there instead.
    """
    book = make(**{name: _value(texts[0]) for name, texts in choices.items()})
    return dataclasses.replace(book, versions=Versions(make, choices))


@dataclass(frozen=True)
class Function:
    """An exercise whose answer is a function. It is tried on examples, beside the right one.

    Args:
        title: what is asked, in a few words.
        right: a correct function.
        examples: argument tuples on which the two are compared.
        mistakes: functions that are known to be wrong; one that agrees with the given function on every
            example, within its own kind, is what the reader has written.
        tolerance: absolute and relative, of floats.
        worth: what it counts in a course.
    """

    title: str
    right: Callable
    examples: tuple[tuple, ...]
    mistakes: tuple[Mistake, ...]
    tolerance: float = 1e-5
    worth: Worth = Worth(level=2, points=4, minutes=15)

    def judge(self, given: object) -> str | None:
        """Return None where the function is right, else what is wrong with it."""
        if not callable(given):
            return f"wanted a function, got {_kind(given)}; hand over its name without brackets"
        try:
            # Copies: a function that works in place must not change the examples.
            results = [_result(given(*copy.deepcopy(example))) for example in self.examples]
        except Exception as error:  # whatever a reader's function raises is to be shown, not to stop the check
            return f"your function stopped with {type(error).__name__}: {error}"
        wanted = [_result(self.right(*example)) for example in self.examples]
        if self._agree(results, wanted):
            return None
        for mistake in self.mistakes:
            if self._agree(results, [_result(mistake.answer(*example)) for example in self.examples]):
                return mistake.say
        return self._first_difference(results, wanted)

    def version(self, number: int) -> Function:
        """Return the exercise itself: there are no versions of a function."""
        return self

    def _agree(self, results: list, wanted: list) -> bool:
        return all(_same(a, b, self.tolerance) for a, b in zip(results, wanted, strict=True))

    def _first_difference(self, results: list, wanted: list) -> str:
        for example, result, right in zip(self.examples, results, wanted, strict=True):
            if _same(result, right, self.tolerance):
                continue
            if _kind(result) != _kind(right):
                return f"for {_words(example)} wanted {_kind(right)}, got {_kind(result)}"
            if isinstance(right, Tensor):
                return f"for {_words(example)} the largest difference is {(result - right).abs().max():.4g}"
            return f"for {_words(example)} the result {result!r} is not right"
        return "the results differ"


@dataclass(frozen=True)
class Verdict:
    """What a check found; it prints as its message."""

    exercise: str
    state: str  # "right", "wrong", "waiting", or "by hand": a person marks it
    message: str

    @property
    def ok(self) -> bool:
        """True where the answer is right."""
        return self.state == "right"

    def __repr__(self) -> str:
        mark = {"right": "✓", "wrong": "✗", "waiting": "…", "by hand": "…"}[self.state]
        return f"{mark} {self.exercise}: {self.message}"


def _same(given: object, wanted: object, tolerance: float) -> bool:
    """Tell whether a result is the wanted one. A list may also come as a tensor of one dimension."""
    if isinstance(wanted, Tensor):
        return (
            isinstance(given, Tensor)
            and given.shape == wanted.shape
            and torch.allclose(given, wanted, rtol=tolerance, atol=tolerance)
        )
    if isinstance(wanted, tuple | list):
        items = given.tolist() if isinstance(given, Tensor) and given.ndim == 1 else given
        return (
            isinstance(items, tuple | list)
            and len(items) == len(wanted)
            and all(_same(_counted(_result(a)), _result(b), tolerance) for a, b in zip(items, wanted, strict=True))
        )
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        kinds = int if isinstance(wanted, int) else int | float
        return (
            isinstance(given, kinds)
            and not isinstance(given, bool)
            and math.isclose(given, wanted, rel_tol=tolerance, abs_tol=tolerance)
        )
    return type(given) is type(wanted) and given == wanted


def _result(value: object) -> object:
    """Return what a function returned in one form: a single number as Python's, other real numbers as a tensor of
    doubles."""
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "biuf":
        value = torch.from_numpy(value.astype(np.float64))
    if isinstance(value, Tensor) and value.ndim and not value.is_complex():
        return value.detach().cpu().double()
    return _plain(value)


def _counted(value: object) -> object:
    """Return a whole number that a list holds as a float (`np.zeros` makes such) as a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(value: object) -> object:
    """Return the single numbers of NumPy and PyTorch as Python's."""
    return value.item() if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0 else value


def _value(text: str) -> int | float:
    """Return the number that a text writes: "10,000", "0.46"."""
    number = float(text.replace(",", ""))
    return int(number) if number.is_integer() and "." not in text else number


def _number(value: numbers.Real) -> str:
    """Return a number as it is shown: all digits of a whole one, since the last may be what is wrong with it."""
    return str(value) if isinstance(value, numbers.Integral) else f"{float(value):g}"


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return {"int": "a whole number", "float": "a number", "NoneType": "nothing (is there a return?)"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )


def _words(example: tuple) -> str:
    return "(" + ", ".join(_kind(a) if isinstance(a, Tensor) else repr(a) for a in example) + ")"
