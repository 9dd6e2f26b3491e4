"""How far a long computation is: a function that is told the share that is done, from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[float], None]


def silent(share: float) -> None:
    """Take a share and do nothing with it."""


def within(tell: Tell, low: float, high: float) -> Tell:
    """Return what a part of a computation tells, where the part takes it from the share `low` to `high`."""
    return lambda share: tell(low + (high - low) * share)
