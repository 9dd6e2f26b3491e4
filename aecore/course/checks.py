"""Where code hands in an answer, as `ae.check("01-2", answer_2)` does, found by the syntax tree.

A cell's metadata may be lost on the way to a lecturer, and cells may be copied, joined or moved; the call itself stays.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile

from IPython.core.inputtransformer2 import TransformerManager

# The name under which the grader's recorder can be called in the process of a submission.
HAND_IN = "__aecore_hand_in__"
_AROUND_A_CELL = {"%%time", "%%timeit", "%%capture"}  # magics that run the rest of the cell as it stands


@dataclass(frozen=True)
class Check:
    """A call that checks an answer.

    Args:
        exercise: its number, "01-2".
        name: that holds the answer; "" where it is no plain name.
        version: of the question, as the call says it; 0 where it says none.
    """

    exercise: str
    name: str
    version: int = 0


def python(code: str) -> str:
    """Return a cell as plain Python: what only IPython understands becomes calls, and `%%time` above a cell goes."""
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = code.lstrip().partition("\n")
    if first.split(" ")[0].strip() in _AROUND_A_CELL:
        code = rest
    return TransformerManager().transform_cell(code)


def parsed(code: str) -> ast.Module:
    """Return the syntax tree of a cell.

    Raises:
        SyntaxError: the cell is not Python, nor what IPython understands.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a text, for example: not for whoever grades
            return ast.parse(python(code))
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte; brackets in brackets without end
        raise SyntaxError(str(error) or "too deeply nested") from error


def checks_in(tree: ast.AST, known: Collection[str]) -> list[Check]:
    """Return the checks of known exercises in a syntax tree, in the order of the text."""
    return [Check(_exercise(call, known), _name(_answer(call)), _version(call)) for call in _calls(tree, known)]


def anywhere_in(code: str, known: Collection[str]) -> list[Check]:
    """Return the checks in code that may be Python or not."""
    try:
        return checks_in(parsed(code), known)
    except SyntaxError:
        return named_in(code, known)


def named_in(code: str, known: Collection[str]) -> list[Check]:
    """Return the exercises that code seems to check which is not Python and has no syntax tree."""
    found = re.findall(r"""\bcheck\(\s*["']([\w-]+)["']""", code)
    return [Check(exercise, "") for exercise in found if exercise in known]


def handing_in(code: str, known: Collection[str], cell: int, forget: Collection[str] = ()) -> str:
    """Return the Python of a cell in which each check hands its answer to the grader's recorder as well.

    `ae.check("01-2", answer_2)` becomes `ae.check("01-2", __aecore_hand_in__("01-2", (answer_2), 5, 0))`: what the
    name `check` stands for by then plays no part.

    Args:
        code: of a cell.
        known: the exercises whose checks count.
        cell: its position in the notebook, which the recorder notes together with that of the check in the cell.
        forget: names that are removed first, so that an answer that stands there belongs to no other exercise.

    Raises:
        SyntaxError: the cell is not Python.
    """
    tree = parsed(code)
    added = []  # (line, column in bytes, text)
    for place, call in enumerate(_calls(tree, known)):
        answer, exercise = _answer(call), _exercise(call, known)
        added.append((answer.lineno, answer.col_offset, f"{HAND_IN}({exercise!r}, ("))
        added.append((answer.end_lineno, answer.end_col_offset, f"), {cell}, {place})"))
    lines = _with(python(code).split("\n"), added)
    first = [node.end_lineno for node in takewhile(_must_come_first, tree.body)]
    start = first[-1] if first else 0
    return "\n".join([*lines[:start], *(f"globals().pop({name!r}, None)" for name in sorted(forget)), *lines[start:]])


def with_version(code: str, version: int, known: Collection[str]) -> str:
    """Return code in which the checks of known exercises name the version of their question; the rest stays."""
    ends = [(call.end_lineno, call.end_col_offset - 1) for call in _calls(parsed(code), known)]
    return "\n".join(_with(code.split("\n"), [(*end, f", version={version}") for end in ends]))


def without_check(code: str, exercise: str) -> str:
    """Return the lines of a stub or a solution in front of the statement that checks an exercise."""
    statement = _statement(code, exercise)
    return "\n".join(code.split("\n")[: statement.lineno - 1]).rstrip()


def solving(code: str, exercise: str, name: str) -> str:
    """Return a solution's code with `answer_1 = …` in place of the statement that checks it.

    Args:
        code: such as `assert ae.check("01-1", 100 / 784).ok`, with or without lines before it.
        exercise: "01-1".
        name: what the answer is called in the student's cell.
    """
    answer = ast.get_source_segment(code, _answer(_calls(parsed(code), {exercise})[0]))
    return f"{without_check(code, exercise)}\n\n{name} = {answer}".lstrip()


def _calls(tree: ast.AST, known: Collection[str]) -> list[ast.Call]:
    """Return the calls that check known exercises, in the order of the text."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _exercise(node, known)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def _with(lines: list[str], added: Iterable[tuple[int, int, str]]) -> list[str]:
    """Return lines with texts put into them, each at a line from 1 and a column in bytes, as a syntax tree counts."""
    new = list(lines)
    for number, column, text in sorted(
        added, reverse=True
    ):  # from the end, so that the places of the others stay right
        line = new[number - 1].encode()
        new[number - 1] = (line[:column] + text.encode() + line[column:]).decode()
    return new


def _statement(code: str, exercise: str) -> ast.stmt:
    for statement in parsed(code).body:
        if checks_in(statement, {exercise}):
            return statement
    raise ValueError(f"code: no statement checks exercise {exercise}: {code[:60]!r}")


def _exercise(call: ast.Call, known: Collection[str]) -> str:
    """Return the exercise that a call checks, or "" where it is no such call."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    first = call.args[0] if call.args else named.get("exercise")
    if called != "check" or not isinstance(first, ast.Constant) or _answer(call) is None:
        return ""
    return first.value if isinstance(first.value, str) and first.value in known else ""


def _answer(call: ast.Call) -> ast.expr | None:
    if len(call.args) > 1:
        return None if isinstance(call.args[1], ast.Starred) else call.args[1]
    return next((keyword.value for keyword in call.keywords if keyword.arg == "answer"), None)


def _name(answer: ast.expr) -> str:
    return answer.id if isinstance(answer, ast.Name) else ""


def _version(call: ast.Call) -> int:
    given = call.args[2:3] + [keyword.value for keyword in call.keywords if keyword.arg == "version"]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else 0
    return value if type(value) is int else 0


def _must_come_first(node: ast.stmt) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
