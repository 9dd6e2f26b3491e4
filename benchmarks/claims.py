"""The sentences of the page that name a ratio, and the ratio that each needs.

`tests/house/test_benchmarks.py` finds every sentence on `book/speed.md`, word for word, and holds it against every
results file. A sentence with a ratio that is not here may not stand on the page.
"""

from __future__ import annotations

from dataclasses import dataclass

from .report import speed_ratio

PEERS = ("Fabric", "Accelerate", "Lightning Trainer")
TUTORIALS = ("tutorial loop", "tutorial loop, 2 workers")
ALL_CASES = ("linear", "conv", "colour")
# What was wished for, not what came out; the only other number that the page may name.
AIM = "The aim for every case was 95 %"


@dataclass(frozen=True)
class Claim:
    """`fit` is at least so many times as fast as each of some contestants, in each of some cases.

    Args:
        words: as they stand on the page, on one line or broken over several.
        at_least: the ratio of the speeds, 1 for equally fast.
        than: names of contestants.
        cases: names of cases.
    """

    words: str
    at_least: float
    than: tuple[str, ...]
    cases: tuple[str, ...]

    def broken_by(self, results: dict) -> list[str]:
        """Return where the results say otherwise, in words; nothing where they bear the claim out."""
        return [
            said
            for case in self.cases
            for other in self.than
            if (said := self._broken_by(case, results["cases"][case], other))
        ]

    def _broken_by(self, name: str, case: dict, other: str) -> str | None:
        if other not in case["contestants"]:
            return f"{name}: {other} was not measured"
        ratio = speed_ratio(case, "fit", other)
        # Written so that a NaN breaks the claim too.
        return None if ratio >= self.at_least else f"{name}: fit is {ratio:.3f} times as fast as {other}"


CLAIMS = (
    Claim("faster than the bare step in both convolutional cases", 1.05, ("bare step",), ("conv", "colour")),
    Claim("at least 80 % as fast as the bare step in the linear one", 0.8, ("bare step",), ("linear",)),
    Claim("at least 95 % as fast as the bare loop in all three cases", 0.95, ("bare loop",), ALL_CASES),
    Claim("at least three times as fast as the tutorial loop", 3, ("tutorial loop",), ("linear",)),
    Claim("one and a half times as fast as Lightning's Trainer", 1.5, ("Lightning Trainer",), ("linear",)),
    Claim("no other loop is faster than `fit` in any of them", 1, PEERS + TUTORIALS, ALL_CASES),
)
