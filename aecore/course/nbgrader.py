"""Copies that nbgrader grades by itself: each exercise becomes a cell for the answer and a cell that tests it.

nbgrader gives the points of a test cell where it runs without an error. A check raises none, whatever the answer is, so
the test cell asserts its verdict. The cell of an answer in sentences is one that nbgrader leaves to a person, but for 0
points where nothing was changed in it. The metadata follows version 3 of nbgrader's scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from ..exercises import checked, exercises
from . import checks, written

_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"


def release(student: NotebookNode) -> NotebookNode:
    """Return a student copy with nbgrader's metadata and the stubs of the book."""
    return _with_cells(student, {})


def source(student: NotebookNode, instructor: NotebookNode) -> NotebookNode:
    """Return a student copy with nbgrader's metadata and the solutions, between the marks at which nbgrader cuts.

    Args:
        student: the copy to be solved; where its questions have other numbers than the book's, the bank computes the
            answer.
        instructor: the same chapter with its solutions.

    Raises:
        ValueError: an exercise has no solution that checks itself.
    """
    return _with_cells(student, {**solutions(instructor), **model_answers(instructor)})


def solutions(instructor: NotebookNode) -> dict[str, str]:
    """Return the code of the solution of each exercise, which ends in its check."""
    known, found = checked(), {}
    for cell in instructor.cells:
        if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", ()):
            for check in checks.checks_in(checks.parsed(cell.source), known):
                found[check.exercise] = cell.source
    return found


def model_answers(instructor: NotebookNode) -> dict[str, str]:
    """Return the text of the solution of each written exercise, with its rubric."""
    return {number: cell.source for cell in instructor.cells if (number := written.solved_in(cell))}


def solved(code: str, check: checks.Check, solution: str) -> str:
    """Return the code of a student's cell that is answered by a solution, without the check.

    Args:
        code: of the stub.
        check: the one in it.
        solution: code of the solution, which ends in its check.
    """
    if not check.name:
        raise ValueError(f"the stub of exercise {check.exercise} hands in no plain name: {code[:60]!r}")
    if check.version:
        return f"{check.name} = {exercises()[check.exercise].version(check.version).answer!r}"
    return checks.solving(solution, check.exercise, check.name)


def _with_cells(student: NotebookNode, solutions: dict[str, str]) -> NotebookNode:
    notebook = deepcopy(student)
    notebook.cells = [new for cell in student.cells for new in _cells(cell, solutions)]
    return notebook


def _cells(cell: NotebookNode, solutions: dict[str, str]) -> Iterator[NotebookNode]:
    """Yield a cell as it is, or in two where it checks an exercise."""
    if number := written.marked(cell.source) if cell.cell_type == "markdown" else "":
        yield _text_cell(cell, number, solutions)
        return
    known = checked()
    found = checks.checks_in(checks.parsed(cell.source), known) if cell.cell_type == "code" else []
    if len(found) != 1:
        yield cell
        return
    check = found[0]
    stub = checks.without_check(cell.source, check.exercise)
    if solutions:
        if check.exercise not in solutions:
            raise ValueError(f"exercise {check.exercise} has no solution that checks itself, which nbgrader needs")
        stub = f"{_BEGIN}\n{solved(cell.source, check, solutions[check.exercise])}\n{_END}"
    version = f", version={check.version}" if check.version else ""
    test = f'verdict = ae.check("{check.exercise}", {check.name}{version})\nassert verdict.ok, verdict'
    points = known[check.exercise].worth.points
    yield _cell(
        stub, cell.id, {"grade": False, "solution": True, "locked": False, "grade_id": f"{check.exercise}-answer"}
    )
    yield _cell(
        test, f"{cell.id}-test",
        {"grade": True, "solution": False, "locked": True, "grade_id": check.exercise, "points": points},
    )  # fmt: skip


def _text_cell(cell: NotebookNode, number: str, solutions: dict[str, str]) -> NotebookNode:
    """Return the cell of an answer in sentences, with the model answer where there are solutions."""
    text = cell.source
    if solutions:
        if number not in solutions:
            raise ValueError(f"exercise {number} has no solution, which nbgrader needs")
        text = text.replace(written.BLANK, f"{_BEGIN}\n{solutions[number]}\n{_END}")
    told = {"grade": True, "solution": True, "locked": False, "grade_id": number}
    points = exercises()[number].worth.points
    metadata = {"schema_version": 3, "task": False, "cell_type": "markdown", **told, "points": points}
    return new_markdown_cell(text, id=cell.id, metadata={"nbgrader": metadata})


def _cell(code: str, name: str, told: dict) -> NotebookNode:
    metadata = {"nbgrader": {"schema_version": 3, "task": False, "cell_type": "code", **told}}
    return new_code_cell(code, id=name, metadata=metadata)
