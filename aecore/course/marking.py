"""From what a notebook handed in to marks: every answer is judged here, in a process that no submission can reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import nbformat
from nbformat import NotebookNode

from ..exercises import check, exercises
from . import checks, written
from .points import Item
from .questions import versioned
from .running import Limits, Outcome, run
from .submissions import Submission
from .written import Answer

_ORDER = ("right", "wrong", "stopped", "waiting", "missing")  # of two results for one exercise the first counts


@dataclass(frozen=True)
class Mark:
    """What one exercise of one student got.

    Args:
        item: the exercise and what it counts.
        state: "right"; "wrong"; "stopped": its cell did before it handed anything in; "waiting": it holds the three
            dots of the stub; "missing": nothing checks it. Of what a person marks: "open": nobody has yet; "marked";
            "empty": nothing is written; "missing": no notebook of its chapter was handed in.
        say: what to tell the student, in a sentence.
        given: the points that a person gave; None: none yet, or a check judges the exercise.
        answer: what was written, for a person to read.
    """

    item: Item
    state: str
    say: str
    given: float | None = None
    answer: Answer | None = None

    @property
    def points(self) -> float:
        """Return the points: those that a person gave, else all or none; of one that is still open none so far."""
        if self.given is not None:
            return self.given
        return self.item.points if self.state == "right" else 0.0


@dataclass
class Marks:
    """All that there is to say of one student's submission.

    Args:
        submission: whose marks these are.
        marks: one for each exercise.
        stopped: the cells that stopped, in words.
        remarks: what a lecturer should know.
        graded: whether it could be run; marks that say nothing go into no gradebook.
    """

    submission: Submission
    marks: list[Mark]
    stopped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    graded: bool = True

    @property
    def total(self) -> float:
        """Return the sum of the points."""
        return sum(mark.points for mark in self.marks)

    @property
    def out_of(self) -> float:
        """Return the points that could be reached."""
        return sum(mark.item.points for mark in self.marks)

    @property
    def open(self) -> list[str]:
        """Return the exercises that a person has still to mark; while there are any, the total is not the last word."""
        return [mark.item.exercise for mark in self.marks if mark.state == "open"]


def mark(submission: Submission, items: Sequence[Item], version: int, limits: Limits) -> Marks:
    """Return the marks of a submission. Whatever its files hold, there is a mark or a sentence for each exercise.

    Args:
        submission: with one notebook or more; of an exercise that stands in two, the better result counts.
        items: the exercises that count.
        version: of the questions; 0: those of the book.
        limits: what each notebook may take.

    Raises:
        OSError: no kernel can be started on this machine.
    """
    items = [replace(item, title=_title(item, version)) for item in items]
    checked = {item.exercise: item for item in items if not item.by_hand}
    best = {
        number: Mark(item, "missing", "no check of this exercise is in the notebook")
        for number, item in checked.items()
    }
    read: list[NotebookNode] = []
    found = Marks(submission, [])
    if submission.late:
        found.remarks.append("handed in late")
    notebooks = submission.notebooks
    if not notebooks:
        found.remarks.append(f"no notebook (.ipynb) among the files: {', '.join(submission.files)}")
    for name, content in notebooks.items():
        try:
            notebook = opened(content)
        except ValueError as error:
            found.remarks.append(f"{name} is no notebook: {error}")
            continue
        read.append(notebook)
        if not checked:
            continue
        outcome = run(notebook, set(checked), limits)
        label = f"{name}, " if len(notebooks) > 1 else ""
        found.remarks += _other_versions(outcome, version)
        found.stopped += [f"{label}{_where(notebook, cell)}: {say}" for cell, say in _to_tell(outcome)]
        for one in _marks(outcome, checked, version):
            best[one.item.exercise] = _better(best[one.item.exercise], one)
    best |= {one.item.exercise: one for one in _by_hand([item for item in items if item.by_hand], read)}
    found.marks = [best[item.exercise] for item in items]
    return found


def chapters_in(notebook: NotebookNode) -> set[str]:
    """Return the chapters of the book whose exercises a notebook checks or answers in sentences."""
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    checked = {one.exercise for code in codes for one in checks.anywhere_in(code, exercises())}
    return {number.split("-")[0] for number in (*checked, *written.answers_in(notebook))}


def not_run(submission: Submission, items: Sequence[Item], error: OSError) -> Marks:
    """Return the marks of a submission that the machine could not run, which a lecturer has to grade again."""
    marks = [Mark(item, "stopped", "not graded yet") for item in items]
    return Marks(submission, marks, remarks=[f"NOT GRADED: {error}"], graded=False)


def opened(content: bytes) -> NotebookNode:
    """Return the notebook that a file holds.

    Raises:
        ValueError: it holds none; the message says what it holds.
    """
    if not content.strip():
        raise ValueError("the file is empty, or larger than a notebook should be")
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError("the file holds no JSON") from error
    if not isinstance(data, dict) or "nbformat" not in data:
        raise ValueError("the file holds JSON, but not of a notebook")
    try:
        notebook = nbformat.reads(json.dumps(data), as_version=4)
        cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    except Exception as error:  # nbformat raises errors of many types on files of other shapes
        raise ValueError(f"its cells cannot be read ({type(error).__name__})") from error
    if not all(isinstance(source, str) for _, source in cells):
        raise ValueError("its cells hold no text")
    return notebook


def _by_hand(items: Sequence[Item], notebooks: Sequence[NotebookNode]) -> Iterator[Mark]:
    """Yield the marks of the exercises that a person marks: open, unless it is plain that nothing was written."""
    answers = written.of_all([written.answers_in(notebook) for notebook in notebooks])
    chapters = {chapter for notebook in notebooks for chapter in chapters_in(notebook)}
    for item in items:
        answer = answers.get(item.exercise)
        if answer and not answer.empty:
            yield Mark(item, "open", "to be marked by hand", answer=answer)
        elif answer:
            yield Mark(item, "empty", "nothing is written in the cell for the answer")
        elif item.exercise.split("-")[0] in chapters:
            yield Mark(item, "open", "the cell for the answer is gone; see whether it stands elsewhere in the notebook")
        else:
            yield Mark(item, "missing", f"no notebook of chapter {item.exercise.split('-')[0]} was handed in")


def _title(item: Item, version: int) -> str:
    """Return what an exercise asks; where its versions say it in other words, those of the version."""
    asked = exercises()[item.exercise]
    own = asked.version(version)
    return own.title if item.title == asked.title else item.title


def _to_tell(outcome: Outcome) -> list[tuple[int, str]]:
    """Return the cells that stopped, but for those that only assert the verdict, which stands with the marks."""
    return [
        (cell, say)
        for cell, say in sorted(outcome.stopped.items())
        if not (cell in outcome.checked and re.search(r"AssertionError: ([✗…] |$)", say))
    ]


def _where(notebook: NotebookNode, cell: int) -> str:
    """Return how to find a cell: its position among all cells, and how its code begins."""
    lines = [line.strip() for line in notebook.cells[cell].source.splitlines() if line.strip()]
    return f"cell {cell + 1} of {len(notebook.cells)} ({lines[0][:60] if lines else 'empty'})"


def _marks(outcome: Outcome, items: dict[str, Item], version: int) -> Iterator[Mark]:
    """Yield the marks that a run is worth: for each check the last answer that was handed in there."""
    last = {(one.cell, one.place, one.exercise): one for one in outcome.handed_in if one.exercise in items}
    for one in last.values():
        verdict = check(one.exercise, one.answer, version=version)
        yield Mark(items[one.exercise], verdict.state, verdict.message)
    heard = {(cell, exercise) for cell, _, exercise in last}
    for cell, calls in outcome.checked.items():
        for found in calls:
            if (cell, found.exercise) not in heard:
                yield Mark(items[found.exercise], "stopped", _unheard(outcome, cell, found.name))


def _other_versions(outcome: Outcome, version: int) -> list[str]:
    """Return a remark where checks name another version of the questions than the one that is judged."""
    asked = versioned()
    checked = [check for found in outcome.checked.values() for check in found if check.exercise in asked]
    named = {check.version for check in checked} - {version}
    if not named:
        return []
    told = ", ".join(str(number) for number in sorted(named))
    return [f"checks in the notebook name version {told} of the questions; judged was version {version} (versions.csv)"]


def _unheard(outcome: Outcome, cell: int, name: str) -> str:
    """Return why a cell handed nothing in."""
    why = outcome.stopped.get(cell, "")
    if name and f"name '{name}' is not defined" in why:
        return f"no answer: nothing is assigned to `{name}` for this exercise"
    return f"no answer: {why}" if why else "no answer: the check was not reached"


def _better(one: Mark, other: Mark) -> Mark:
    return min(one, other, key=lambda mark: _ORDER.index(mark.state))
