"""The code of a reader's own functions as syntax trees: the same text on every version of Python.

Comments, docstrings, blank lines and layout are no part of it, so they may change without making another training.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib.util
import linecache
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
READS_A_NAME = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}  # the last two in a class inside a function
Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@functools.cache
def is_library(module: object) -> bool:
    """Whether a module is told by its name alone: Python's own, an installed one, or aecore's; not a reader's file."""
    if not isinstance(module, str):  # some classes written in C have none
        return module is not None
    top = module.partition(".")[0]
    if top in ("aecore", "torch"):
        return True
    try:
        spec = importlib.util.find_spec(top) if top != "__main__" else None
    except (ImportError, ValueError):  # a notebook, or a module that was made by hand
        spec = None
    if spec is None:
        return False
    places = [Path(place) for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    return spec.origin in ("built-in", "frozen") or any(
        place.is_relative_to(STANDARD_LIBRARY) or {"site-packages", "dist-packages"} & set(place.parts)
        for place in places
    )


def tree_of(function: FunctionType) -> Node:
    """Return the syntax tree of a function, a `def` or a `lambda`, in a cell or a file.

    Raises:
        ValueError: its code cannot be found, or it is no longer the code in the file.
    """
    code, name = function.__code__, function.__qualname__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    # Python keeps a file's functions as they were when it was imported, whatever the file says by now.
    if text and os.path.exists(code.co_filename) and code not in _compiled(text, code.co_filename):
        raise ValueError(
            f"{name}: its code in {code.co_filename} is not what was imported; save the file and restart the kernel"
        )
    nodes = _nodes_by_place(text).get((code.co_firstlineno, code.co_name), ())
    found = [node for node in nodes if _spans(node, code)]
    if not found:
        raise ValueError(f"{name}: its code cannot be found; define it in a cell or file")
    return found[-1]  # of lambdas inside lambdas, the innermost


@functools.lru_cache(maxsize=64)
def _nodes_by_place(text: str) -> dict[tuple[int, str], list[Node]]:
    """Return the functions in a cell or file by what Python notes about each: its first line and its name."""
    found: dict[tuple[int, str], list[Node]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
            first = node.decorator_list[0] if node.decorator_list else node
            found.setdefault((first.lineno, node.name), []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault((node.lineno, "<lambda>"), []).append(node)
    return found


def _spans(node: Node, code: CodeType) -> bool:
    """Whether compiled code lies inside a function's body: of two lambdas in one line, one only."""
    if isinstance(node, FUNCTIONS):
        return True
    first = (node.body.lineno, node.body.col_offset)
    last = (node.body.end_lineno, node.body.end_col_offset)
    places = [place for place in code.co_positions() if None not in place and place[2:] != (0, 0)]
    return all(first <= (line, column) and (end, end_column) <= last for line, end, column, end_column in places)


@functools.lru_cache(maxsize=64)
def _compiled(text: str, path: str) -> set[CodeType]:
    """Return the code of all functions in a file as it is now; nothing where it is no longer Python."""

    def inside(code: CodeType) -> Iterator[CodeType]:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield constant
                yield from inside(constant)

    try:
        return set(inside(compile(text, path, "exec", dont_inherit=True)))
    except SyntaxError:
        return set()


def text_of(node: object) -> str:
    """Return a syntax tree as text. Not `ast.unparse` or `ast.dump`, which differ between versions of Python."""
    if isinstance(node, list):
        return f"[{', '.join(map(text_of, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, FUNCTIONS | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = _joined(node.values)
    told = [
        f"{name}={text_of(value)}"
        for name, value in fields.items()
        if value is not None and value != [] and name not in ("ctx", "kind", "type_comment")
    ]
    return f"{type(node).__name__}({', '.join(told)})"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string, neighbouring words made one and empty ones left out, as versions differ."""
    joined: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and joined and isinstance(joined[-1], ast.Constant):
            joined[-1] = ast.Constant(joined[-1].value + value.value)
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            joined.append(value)
    return joined


def names_in(tree: ast.AST) -> set[str]:
    """Return the names in a piece of code."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@functools.lru_cache(maxsize=1024)
def global_names(code: CodeType) -> frozenset[str]:
    """Return the names that code looks up outside functions; also where it does so in a function inside it.

    Not `inspect.getclosurevars`: that takes attributes such as `.mean` for names, on some versions of Python.
    """
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname in READS_A_NAME}
    return frozenset(name for name in own if not name.startswith("__")).union(*map(global_names, inner))


def chains_from(tree: ast.AST, name: str) -> set[tuple[str, ...]]:
    """Return what code reads of a name, attribute after attribute: ("a", "b") for `name.a.b`, () for `name` itself."""
    found = set()

    def visit(node: ast.AST, chain: tuple[str, ...] = ()) -> None:
        if isinstance(node, ast.Attribute):
            visit(node.value, (node.attr, *chain))
        elif isinstance(node, ast.Name):
            found.update([chain] if node.id == name else [])
        else:
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(tree)
    return found


def imports_in(tree: ast.AST, package: str) -> Iterator[tuple[str, str | None]]:
    """Yield what code imports when it runs: a module, and the name taken from it or None for the module itself.

    Args:
        tree: of a function.
        package: that its module lies in, from which `from .other import …` starts.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            module = importlib.util.resolve_name(module, package) if node.level else module
            yield from ((module, alias.name) for alias in node.names)
