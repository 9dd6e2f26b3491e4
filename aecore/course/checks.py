"""Where code hands in an answer, as `ae.check("01-2", answer)` does, found by the syntax tree.

A cell's metadata may be lost on the way to a lecturer, and cells may be copied, joined or moved; the call itself stays.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

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


def parsed(code: str) -> ast.Module:
    """Return the syntax tree of a cell, in which lines that only IPython understands may stand.

    Raises:
        SyntaxError: the cell is not Python.
    """
    first, _, rest = code.lstrip().partition("\n")
    if first.split(" ")[0].strip() in _AROUND_A_CELL:
        code = rest
    try:
        return ast.parse(TransformerManager().transform_cell(code))
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte; brackets in brackets without end
        raise SyntaxError(str(error) or "too deeply nested") from error


def checks_in(tree: ast.AST, known: Collection[str]) -> list[Check]:
    """Return the checks of known exercises in a syntax tree, in the order of the text."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _exercise(node, known)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    return [Check(_exercise(call, known), _name(_answer(call)), _version(call)) for call in calls]


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


def handing_in(tree: ast.Module, known: Collection[str], cell: int) -> ast.Module:
    """Return a tree in which each check hands its answer to the grader's recorder as well.

    `ae.check("01-2", answer)` becomes `ae.check("01-2", __aecore_hand_in__("01-2", answer, 5, 0))`: what the name
    `check` stands for by then plays no part.

    Args:
        tree: of a cell; it is changed.
        known: the exercises whose checks count.
        cell: its position in the notebook, which the recorder notes together with that of the check in the cell.
    """
    places = iter(range(len(checks_in(tree, known))))

    class Rewriter(ast.NodeTransformer):
        def visit_Call(self, call: ast.Call) -> ast.Call:
            exercise = _exercise(call, known)
            self.generic_visit(call)
            if exercise:
                noted = [ast.Constant(exercise), _answer(call), ast.Constant(cell), ast.Constant(next(places))]
                _put_answer(call, ast.Call(ast.Name(HAND_IN, ast.Load()), noted, []))
            return call

    return ast.fix_missing_locations(Rewriter().visit(tree))


def forgetting(tree: ast.Module, names: Collection[str]) -> ast.Module:
    """Return a tree that first removes names, so that an answer that stands there belongs to this exercise."""
    removal = "".join(f"globals().pop({name!r}, None)\n" for name in sorted(names))
    start = next((i for i, node in enumerate(tree.body) if not _must_come_first(node)), len(tree.body))
    tree.body[start:start] = ast.parse(removal).body
    return tree


def with_version(code: str, version: int, known: Collection[str]) -> str:
    """Return code in which the checks of known exercises name the version of their question; the rest stays."""
    calls = [node for node in ast.walk(parsed(code)) if isinstance(node, ast.Call) and _exercise(node, known)]
    lines = code.split("\n")
    for call in sorted(calls, key=lambda call: (call.end_lineno, call.end_col_offset), reverse=True):
        line = lines[call.end_lineno - 1].encode()  # the columns of a tree are counted in bytes
        end = call.end_col_offset - 1
        lines[call.end_lineno - 1] = (line[:end] + f", version={version}".encode() + line[end:]).decode()
    return "\n".join(lines)


def without_check(code: str, exercise: str) -> str:
    """Return the lines of a stub or a solution in front of the statement that checks an exercise."""
    statement = _statement(code, exercise)
    return "\n".join(code.split("\n")[: statement.lineno - 1]).rstrip()


def solving(code: str, exercise: str, name: str) -> str:
    """Return a solution's code with `answer = …` in place of the statement that checks it.

    Args:
        code: such as `assert ae.check("01-1", 100 / 784).ok`, with or without lines before it.
        exercise: "01-1".
        name: what the answer is called in the student's cell.
    """
    calls = [node for node in ast.walk(parsed(code)) if isinstance(node, ast.Call) and _exercise(node, {exercise})]
    answer = ast.get_source_segment(code, _answer(calls[0]))
    return f"{without_check(code, exercise)}\n\n{name} = {answer}".lstrip()


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


def _put_answer(call: ast.Call, answer: ast.expr) -> None:
    if len(call.args) > 1:
        call.args[1] = answer
    else:
        next(keyword for keyword in call.keywords if keyword.arg == "answer").value = answer


def _name(answer: ast.expr) -> str:
    return answer.id if isinstance(answer, ast.Name) else ""


def _version(call: ast.Call) -> int:
    given = call.args[2:3] + [keyword.value for keyword in call.keywords if keyword.arg == "version"]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else 0
    return value if type(value) is int else 0


def _must_come_first(node: ast.stmt) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
