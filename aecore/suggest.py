"""The hint behind an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Return " Did you mean 'mnist'?" with the known name that is nearest to `value`, or "" when none is near.

    Args:
        value: what a person wrote; capitals make no difference.
        known: the names that there are, in lower case.
    """
    near = difflib.get_close_matches(str(value).lower(), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
