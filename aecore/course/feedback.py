"""The page that a student gets back."""

from __future__ import annotations

import html
from collections.abc import Iterable

from .marking import Mark, Marks

_STYLE = (
    "body{font:1rem/1.5 sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}td.points{white-space:nowrap}"
)
_SIGNS = {"right": "✓", "wrong": "✗", "stopped": "✗", "waiting": "…", "missing": "–"}


def page(marks: Marks) -> str:
    """Return the HTML of a student's page: points, what each check says, and the cells that stopped."""
    name = html.escape(marks.submission.name)
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Feedback: {name}</title>',
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{name}</h1>",
        f"<p><strong>{marks.total:g} of {marks.out_of:g} points</strong></p>",
        *_rows(marks.marks),
        *_list("Remarks", marks.remarks),
        *_list("Cells that stopped when your notebook was run from top to bottom", marks.stopped),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _rows(marks: Iterable[Mark]) -> Iterable[str]:
    yield "<table>\n<thead><tr><th>Exercise</th><th>Points</th><th>What the check says</th></tr></thead>\n<tbody>"
    for mark in marks:
        what = f"{mark.item.exercise} {mark.item.level}<br>{html.escape(mark.item.title)}"
        points = f"{_SIGNS[mark.state]} {mark.points:g} of {mark.item.points:g}"
        yield f'<tr><td>{what}</td><td class="points">{points}</td><td>{html.escape(mark.say)}</td></tr>'
    yield "</tbody>\n</table>"


def _list(title: str, lines: list[str]) -> Iterable[str]:
    if lines:
        yield f"<h2>{title}</h2>\n<ul>"
        yield from (f"<li>{html.escape(line)}</li>" for line in lines)
        yield "</ul>"
