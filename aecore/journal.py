"""What a page was made from: the journal of the data and runs that it used, and the claims that its text makes."""

from __future__ import annotations

import datetime
import html
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from . import config, distributed, machine

_entries: list[dict] = []
_page_data: dict[str, str] = {}  # fingerprint, by name, of the data that the published page was made from


def begin(page_data: Mapping[str, str] | None = None) -> None:
    """Begin an empty journal.

    Args:
        page_data: the beginning of the fingerprint of each data set that the published page used, by its name.
            With other data of that name `claim` warns, since the page's text tells of the published ones.
    """
    _entries.clear()
    _page_data.clear()
    _page_data.update(page_data or {})


def record(kind: str, **facts) -> None:
    """Note a fact about this session ("data" loaded, "run" used), for the provenance of a page.

    With `AECORE_JOURNAL` set to a path the fact is appended to that file too, as a line of JSON:
    that is how `aecore publish` learns which runs a notebook used.
    """
    fact = {"kind": kind, **facts}
    if fact in _entries:
        return
    _entries.append(fact)
    if config.is_publishing() and distributed.rank() == 0:
        with Path(os.environ["AECORE_JOURNAL"]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fact, sort_keys=True) + "\n")


def entries() -> list[dict]:
    """Return the facts recorded since `begin`, oldest first."""
    return list(_entries)


def uses_other_data() -> bool:
    """Return whether this session has loaded other data than the published page was made from."""
    loaded = {fact["name"]: fact["fingerprint"] for fact in _entries if fact["kind"] == "data"}
    other = any(loaded.get(name, known) != known for name, known in _page_data.items())
    return other or any(fact.get("other_data") for fact in _entries)


def claim(what: str, value: float, low: float, high: float, *, timed: bool = False) -> float:
    """Check a number that the prose names: it must lie in [low, high] under the full profile.

    Under the quick profile, where a sample stands in for the data, the number only has to be finite. So does one
    that is `timed`, on every machine but the one that publishes the page: another may be faster or slower. A reader
    whose data are not those of the page is warned: the text tells of the page's numbers.

    Returns:
        The value, so that a cell can print it.

    Raises:
        AssertionError: the prose no longer matches the measurement.
        TypeError: what was measured is not one number.
    """
    try:
        value = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"value: wanted one number for {what!r}, got {value!r}") from None
    binding = config.profile() == "full" and (config.is_publishing() or not timed)
    inside = low <= value <= high if binding else math.isfinite(value)
    if inside:
        return value
    told = f"{what} is {value:.6g}; the text says between {low:g} and {high:g}"
    if binding and uses_other_data() and not config.is_publishing():
        config.log.warning(f"{told}, which was measured on other data than yours")
        return value
    raise AssertionError(told)


class Provenance:
    """The line "Figures on this page: …"; a notebook shows it, a page keeps it."""

    def __init__(self, facts: list[dict]) -> None:
        self.facts = facts

    def __repr__(self) -> str:
        parts = [f"{config.profile()} profile", *self._data(), *self._runs()]
        today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        where = f"{machine.description()}, {machine.versions_line()}"
        return f"Figures on this page: {'; '.join(parts)}. Computed {today} on {where}."

    def _data(self) -> list[str]:
        return [
            f"{fact['source']}{' (' + fact['note'] + ')' if fact.get('note') else ''}, data {fact['fingerprint'][:8]}"
            for fact in self.facts
            if fact["kind"] == "data"
        ]

    def _runs(self) -> list[str]:
        found = [fact for fact in self.facts if fact["kind"] == "run"]
        own = [fact for fact in found if not fact.get("other_data")]
        other = [fact for fact in found if fact.get("other_data")]
        return [*_told(own, ""), *_told(other, " on the page's own data, not on these,")]

    def _repr_html_(self) -> str:
        return f'<p class="provenance">{html.escape(repr(self))}</p>'


def provenance() -> Provenance:
    """Return what the figures of this session were made from: data, runs, machine, versions."""
    return Provenance(entries())


def _told(runs: list[dict], which: str) -> list[str]:
    if not runs:
        return []
    days = sorted({fact["date"][:10] for fact in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    where = ", ".join(sorted({fact["machine"] for fact in runs}))
    return [f"{len(runs)} training run{'s' if len(runs) > 1 else ''}{which} of {when} on {where}"]
