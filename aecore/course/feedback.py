"""The page that a student gets back."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..exercises import exercises
from .marking import Mark, Marks
from .written import Part

_STYLE = (
    "body{font:1rem/1.5 sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}td.points{white-space:nowrap}"
    "section{display:flex;flex-wrap:wrap;gap:1rem}.answer{flex:3 20rem;min-width:0}.rubric{flex:2 14rem}"
    ".text{white-space:pre-wrap;overflow-wrap:anywhere}pre{background:#f4f4f4;padding:.5rem;overflow-x:auto}"
    "img{max-width:100%}"
)
_SIGNS = {"right": "✓", "wrong": "✗", "stopped": "✗", "waiting": "…", "missing": "–", "marked": "✓", "empty": "–"}


def page(marks: Marks) -> str:
    """Return the HTML of a student's page: points, what each check says, the answers in sentences with the rubric
    beside them, and the cells that stopped."""
    name = html.escape(marks.submission.name)
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Feedback: {name}</title>',
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{name}</h1>",
        f"<p><strong>{marks.total:g} of {marks.out_of:g} points</strong>{_still_open(marks)}</p>",
        *_rows(marks.marks),
        *_written([mark for mark in marks.marks if mark.state in ("open", "marked")]),
        *_list("Remarks", marks.remarks),
        *_list("Cells that stopped when your notebook was run from top to bottom", marks.stopped),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _rows(marks: Iterable[Mark]) -> Iterable[str]:
    yield "<table>\n<thead><tr><th>Exercise</th><th>Points</th><th>What is said of it</th></tr></thead>\n<tbody>"
    for mark in marks:
        what = f"{mark.item.exercise} {mark.item.level}<br>{html.escape(mark.item.title)}"
        got = "to be marked," if mark.state == "open" else f"{_SIGNS[mark.state]} {mark.points:g}"
        points = f"{got} of {mark.item.points:g}"
        yield f'<tr><td>{what}</td><td class="points">{points}</td><td>{html.escape(mark.say)}</td></tr>'
    yield "</tbody>\n</table>"


def _still_open(marks: Marks) -> str:
    return f", and still to be marked by hand: {', '.join(marks.open)}" if marks.open else ""


def _written(marks: list[Mark]) -> Iterable[str]:
    """Yield what was written for each exercise, and beside it the rubric."""
    if marks:
        yield "<h2>Answers in sentences</h2>"
    for mark in marks:
        yield f"<h3>{mark.item.exercise} {html.escape(mark.item.title)}</h3>\n<section>"
        yield '<div class="answer">'
        yield from (_part(part) for part in mark.answer.parts) if mark.answer else ("<p>–</p>",)
        yield '</div>\n<div class="rubric">'
        yield from _rubric(mark)
        yield "</div>\n</section>"


def _rubric(mark: Mark) -> Iterable[str]:
    task = exercises()[mark.item.exercise]
    own = mark.item.points == task.worth.points
    scale = "" if own else f"; the exercise counts {mark.item.points:g} here, so scale them"
    yield f"<p><strong>Rubric</strong>, {task.worth.points} points{scale}</p>\n<ul>"
    yield from (f"<li>{line.points}: {html.escape(line.earned_by)}</li>" for line in task.rubric)
    yield "</ul>"


def _part(part: Part) -> str:
    """Return a part of an answer as HTML. All of it is shown as text, but for pictures, which run nothing."""
    if part.kind == "picture":
        return f'<img alt="A picture of the answer" src="data:image/png;base64,{html.escape(part.content)}">'
    if part.kind == "text":
        return f'<div class="text">{html.escape(part.content)}</div>'
    return f"<pre>{html.escape(part.content)}</pre>"


def _list(title: str, lines: list[str]) -> Iterable[str]:
    if lines:
        yield f"<h2>{title}</h2>\n<ul>"
        yield from (f"<li>{html.escape(line)}</li>" for line in lines)
        yield "</ul>"
