"""Answers in sentences: the room for them in a copy, where they are found again, and the rubric beside them.

The cell for an answer begins with the line "Your answer to 01-5", which stays where ids and metadata are lost.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from ..exercises import Written, exercises
from . import checks

BLANK = "YOUR ANSWER HERE"  # what nbgrader writes too
_MARK = re.compile(r"^[\W_]*your answer to (\d\d-\d+)\b[*_:.]*", re.I | re.M)
_ID = re.compile(r"(?:answer-)?(\d\d-\d+)")
# A heading of the chapter, or the next exercise: what is below belongs to no answer.
_NEXT = re.compile(r"\s*(?:#{1,2} |\*\*Exercise \d|\*\*Solution\*\*)")
_LONGEST = 20_000  # characters of one part of an answer
_MOST_PARTS = 60
_LARGEST = 2_000_000  # bytes of a picture, as base64


@dataclass(frozen=True)
class Part:
    """A part of an answer: "text", "code", "output" (a text) or "picture" (a PNG as base64)."""

    kind: str
    content: str


@dataclass
class Answer:
    """What a student wrote for one exercise, in the order of the notebook."""

    parts: list[Part] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True where nothing is written: no text, and no code but comments."""
        return not any(part.kind in ("text", "code") and _says_something(part) for part in self.parts)


def room(number: str, task: Written) -> list[NotebookNode]:
    """Return the cells in which a written exercise is answered: one for the text, for an experiment one for code."""
    cells = [new_markdown_cell(f"{heading(number)}\n\n{BLANK}", id=f"answer-{number}")]
    if task.kind == "experiment":
        code = f"# Code of the experiment {number}; add cells below this one as you need them."
        cells.append(new_code_cell(code, id=f"answer-{number}-code"))
    return cells


def heading(number: str) -> str:
    """Return the line by which the cell of an answer is found."""
    return f"**Your answer to {number}**"


def solution(number: str, *texts: str) -> NotebookNode:
    """Return the cell of a model answer."""
    return new_markdown_cell("\n\n".join(texts), id=f"solution-{number}", metadata={"tags": ["solution"]})


def solved_in(cell: NotebookNode) -> str:
    """Return the number of the exercise that a cell solves with a model answer, or ""."""
    number = cell.id.removeprefix("solution-")
    return number if number != cell.id and isinstance(exercises().get(number), Written) else ""


def marked(text: str) -> str:
    """Return the number of the exercise whose answer a text begins, or "" where it begins none."""
    found = _MARK.match(text)
    return found[1] if found else ""


def rubric(task: Written) -> list[str]:
    """Return the rubric as lines of Markdown: its points, then a line for each criterion."""
    lines = [f"- {line.points} point{'s' * (line.points != 1)}: {line.earned_by}" for line in task.rubric]
    return [f"*Marked by hand, {task.worth.points} points*", "", *lines]


def answers_in(notebook: NotebookNode) -> dict[str, Answer]:
    """Return the answers of a notebook by the number of the exercise; one whose cell holds nothing is there, empty.

    An answer is what stands below its mark, in the same cell and in those that follow, up to the next exercise, the
    next check, or a heading of the first or second level.
    """
    found: dict[str, Answer] = {}
    current: Answer | None = None
    for cell in notebook.cells:
        for number, part in _pieces(cell):
            if number is not None:
                current = found.setdefault(number, Answer()) if number else None
            if current is not None and part and len(current.parts) < _MOST_PARTS:
                current.parts.append(part)
    return found


def _pieces(cell: NotebookNode) -> Iterator[tuple[str | None, Part | None]]:
    """Yield what a cell holds, each with the exercise whose answer begins there; None: what is there goes on; "": no
    answer goes on."""
    if cell.cell_type == "code":
        if checks.anywhere_in(cell.source, exercises()):
            yield "", None
        else:
            yield from ((None, part) for part in _code(cell))
        return
    marks = list(_MARK.finditer(cell.source))
    borders = [*(one.start() for one in marks), len(cell.source)]
    named = "" if marks else _named(cell)
    if named or borders[0]:
        before = cell.source[: borders[0]]
        yield named or ("" if _NEXT.match(before) else None), _text(before)
    for one, end in zip(marks, borders[1:], strict=True):
        yield one[1], _text(cell.source[one.end() : end])


def _named(cell: NotebookNode) -> str:
    """Return the exercise that the id or nbgrader's metadata of a text cell names, whose mark was deleted; else ""."""
    told = _dict(_dict(cell.get("metadata")).get("nbgrader"))
    for name in (told.get("grade_id"), cell.get("id")):
        match = _ID.fullmatch(name) if isinstance(name, str) else None
        if match and isinstance(exercises().get(match[1]), Written):
            return match[1]
    return ""


def _text(source: str) -> Part | None:
    text = source.replace(BLANK, "").strip()
    return Part("text", _cut(text)) if text else None


def _code(cell: NotebookNode) -> Iterator[Part]:
    if cell.source.strip():
        yield Part("code", _cut(cell.source))
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        yield from _output(_dict(output))


def _output(output: dict) -> Iterator[Part]:
    """Yield what an output shows as text or picture; its forms that a browser would run are left out."""
    data = _dict(output.get("data"))
    picture, text = data.get("image/png"), output.get("text", data.get("text/plain", ""))
    if isinstance(picture, str) and len(picture) <= _LARGEST and _is_base64(picture):
        yield Part("picture", "".join(picture.split()))
    elif isinstance(text, str) and text.strip():
        yield Part("output", _cut(text))


def _dict(value: object) -> dict:
    """Return a dictionary as it is and nothing else: a notebook that was handed in may hold anything."""
    return value if isinstance(value, dict) else {}


def _is_base64(text: str) -> bool:
    try:
        return base64.b64decode("".join(text.split()), validate=True).startswith(b"\x89PNG")
    except (binascii.Error, ValueError):
        return False


def _says_something(part: Part) -> bool:
    if part.kind == "text":
        return re.search(r"\w", part.content) is not None
    return any(line.strip() and not line.strip().startswith("#") for line in part.content.splitlines())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … (cut here; the notebook holds the rest)"


def of_all(answers: Collection[dict[str, Answer]]) -> dict[str, Answer]:
    """Return the answers of several notebooks of one student, those to one exercise one after the other."""
    found: dict[str, Answer] = {}
    for one in answers:
        for number, answer in one.items():
            found.setdefault(number, Answer()).parts.extend(answer.parts)
    return found
