"""The order of aecore's modules, from the ground up, and what their functions may ask for."""

import ast
from pathlib import Path

import pytest

from chapters import ROOT

# Each may import those above it and itself, never one below.
ORDER = (
    "suggest", "files", "distributed", "config", "locks", "machine", "inference", "losses", "alignment", "codec",
    "models", "objectives", "journal", "data", "codes", "training", "metrics", "compression", "runs", "experiment",
    "session", "drawings", "plots", "interactive", "exercises", "publishing", "course", "cli", "__main__",
)  # fmt: skip
ALONE = {"models", "losses", "alignment", "codec"}
ALLOWED = {"inference", "suggest"}  # for those that stand alone: they know nothing of ours either
BESIDES = {"models": {"codec"}}  # which stands alone itself: a model that makes files needs it
MOST_ARGUMENTS = 6
# What a reader calls by keywords may have more.
DOORS = {"aecore/experiment.py: fit", "aecore/models/compressive.py: __init__"}
PACKAGE = ROOT / "aecore"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
INSIDE = [path for path in FILES if path != PACKAGE / "__init__.py"]


def dotted(path: Path) -> str:
    """Return a file's module name: "aecore.data.images", "aecore.data"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """Return the modules of aecore that a file imports, at its top or inside a function."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from .data import images` may name a module or something in one.
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else module for name in names}
    return {name for name in found if name.split(".")[0] == "aecore"} - {dotted(path)}


def part(module: str) -> str:
    """Return the top-level part of aecore that a module belongs to: "data" of "aecore.data.images"."""
    return module.split(".")[1] if "." in module else "aecore"


def functions(path: Path) -> dict[str, int]:
    """Return how many arguments each function and method of a file has, self and cls not counted."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            found[f"{short(path)}: {node.name}"] = len([name for name in names if name not in ("self", "cls")])
    return found


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", INSIDE, ids=short)
def test_module_has_a_place_in_the_order(path):
    assert part(dotted(path)) in ORDER


@pytest.mark.parametrize("path", INSIDE, ids=short)
def test_module_imports_only_downwards(path):
    own = ORDER.index(part(dotted(path)))
    # A few facts (the version) stand in aecore itself, which imports nothing of ours until it is asked to.
    upwards = {name for name in imports(path) if name != "aecore" and ORDER.index(part(name)) > own}
    assert upwards == set()


@pytest.mark.parametrize("path", [p for p in INSIDE if part(dotted(p)) in ALONE], ids=short)
def test_module_that_stands_alone_needs_nothing_of_ours(path):
    own = part(dotted(path))
    assert {part(name) for name in imports(path)} <= {own} | ALLOWED | BESIDES.get(own, set())


def test_no_two_modules_import_each_other():
    # The package file of a folder gathers its modules, so a module may not take from its own package file.
    graph = {dotted(path): imports(path) - {"aecore"} for path in INSIDE}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_those_that_stand_alone_may_use_needs_nothing_of_ours(name):
    assert imports(PACKAGE / f"{name}.py") == set()


@pytest.mark.parametrize("path", FILES, ids=short)
def test_function_has_at_most_six_arguments(path):
    too_many = {name: count for name, count in functions(path).items() if count > MOST_ARGUMENTS}
    assert too_many.keys() - DOORS == set()


@pytest.mark.parametrize("door", sorted(DOORS))
def test_door_is_there_and_has_more(door):
    assert functions(ROOT / door.split(":")[0])[door] > MOST_ARGUMENTS


def test_arguments_are_counted_without_self():
    found = functions(PACKAGE / "runs" / "run.py")
    # `measure(self, function, images)`, `of(cls, facts, model, measured)`
    assert (found["aecore/runs/run.py: measure"], found["aecore/runs/run.py: of"]) == (2, 3)
