"""Checks that help: each knows its right answer and the mistakes that people make on the way to it."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable
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
class Number:
    """An exercise whose answer is one number.

    Args:
        title: what is asked, in a few words.
        answer: the right number.
        mistakes: known wrong numbers, with the message for each.
        tolerance: relative distance at which a number still counts as the same; wide enough for an
            answer rounded to three digits.
    """

    title: str
    answer: float
    mistakes: tuple[Mistake, ...]
    tolerance: float = 2e-3

    def judge(self, given: object) -> str | None:
        """Return None where the answer is right, else what is wrong with it."""
        if isinstance(given, Tensor) and given.numel() == 1:
            given = given.item()
        given = _plain(given)
        if isinstance(given, bool) or not isinstance(given, numbers.Real):
            return f"wanted one number, got {_kind(given)}"
        if not math.isfinite(given):
            return f"wanted one finite number, got {given}"
        for mistake in self.mistakes:
            if self._near(given, mistake.answer):
                return mistake.say
        if self._near(given, self.answer):
            return None
        side = "large" if given > self.answer else "small"
        return f"{given:g} is too {side}"

    def _near(self, given: float, wanted: float) -> bool:
        return math.isclose(given, wanted, rel_tol=self.tolerance, abs_tol=1e-12)


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
    """

    title: str
    right: Callable
    examples: tuple[tuple, ...]
    mistakes: tuple[Mistake, ...]
    tolerance: float = 1e-5

    def judge(self, given: object) -> str | None:
        """Return None where the function is right, else what is wrong with it."""
        if not callable(given):
            return f"wanted a function, got {_kind(given)}; hand over its name without brackets"
        try:
            # Copies: a function that works in place must not change the examples.
            results = [_plain(given(*copy.deepcopy(example))) for example in self.examples]
        except Exception as error:  # whatever a reader's function raises is to be shown, not to stop the check
            return f"your function stopped with {type(error).__name__}: {error}"
        wanted = [self.right(*example) for example in self.examples]
        if self._agree(results, wanted):
            return None
        for mistake in self.mistakes:
            if self._agree(results, [mistake.answer(*example) for example in self.examples]):
                return mistake.say
        return self._first_difference(results, wanted)

    def _agree(self, results: list, wanted: list) -> bool:
        return all(_same(a, b, self.tolerance) for a, b in zip(results, wanted, strict=True))

    def _first_difference(self, results: list, wanted: list) -> str:
        for example, result, right in zip(self.examples, results, wanted, strict=True):
            if _same(result, right, self.tolerance):
                continue
            if _kind(result) != _kind(right):
                return f"for {_words(example)} wanted {_kind(right)}, got {_kind(result)}"
            if isinstance(right, Tensor):
                return f"for {_words(example)} the largest difference is {(result.double() - right).abs().max():.4g}"
            return f"for {_words(example)} the result {result!r} is not right"
        return "the results differ"


@dataclass(frozen=True)
class Verdict:
    """What a check found; it prints as its message."""

    exercise: str
    state: str  # "right", "wrong" or "waiting"
    message: str

    @property
    def ok(self) -> bool:
        """True where the answer is right."""
        return self.state == "right"

    def __repr__(self) -> str:
        mark = {"right": "✓", "wrong": "✗", "waiting": "…"}[self.state]
        return f"{mark} {self.exercise}: {self.message}"


def _same(a: object, b: object, tolerance: float) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return (
            isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and a.shape == b.shape
            and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)
        )
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return type(a) is type(b) and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    return type(a) is type(b) and a == b


def _plain(value: object) -> object:
    """Return NumPy's single numbers as Python's."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return {"int": "a whole number", "float": "a number", "NoneType": "nothing (is there a return?)"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )


def _words(example: tuple) -> str:
    return "(" + ", ".join(_kind(a) if isinstance(a, Tensor) else repr(a) for a in example) + ")"
