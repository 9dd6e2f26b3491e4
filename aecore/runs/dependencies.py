"""What the code of a reader's own functions and classes depends on: defaults, closures, globals, members."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from types import FunctionType

from .source import chains_from, global_names, imports_in, is_library, names_in, tree_of


def closure_of(function: FunctionType) -> dict[str, object]:
    """Return what a function takes from the function that it was defined in."""

    def content(cell: types.CellType) -> object:
        try:
            return cell.cell_contents
        except ValueError:
            return "not yet set"

    return dict(zip(function.__code__.co_freevars, map(content, function.__closure__ or ()), strict=True))


def defaults_of(function: FunctionType) -> dict[str, object]:
    """Return the default arguments of a function by name."""
    given, code = function.__defaults__ or (), function.__code__
    names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    return {**dict(zip(names, given, strict=True)), **(function.__kwdefaults__ or {})}


def is_found_by_name(function: Callable) -> bool:
    """Whether a function of a library is the one that its name leads to, not one that was made from it."""
    module = getattr(function, "__module__", None)
    if not isinstance(module, str) or module not in sys.modules or not is_library(module):
        return False
    try:
        return functools.reduce(getattr, function.__qualname__.split("."), sys.modules[module]) is function
    except AttributeError:
        return False


def shows_its_decorators(function: FunctionType) -> bool:
    """Whether what was wrapped around a reader's function stands above its def, made of what `taken_by` yields."""
    if is_library(function.__globals__.get("__name__")):
        return False
    decorators = getattr(tree_of(function), "decorator_list", ())
    names = set().union(*map(names_in, decorators))
    return bool(decorators) and names <= function.__globals__.keys() | vars(builtins).keys()


def taken_by(function: FunctionType, tree: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield what a function takes from around it, by name: of a reader's own modules only what it uses of them."""
    yield from closure_of(function).items()
    names = global_names(function.__code__).union(*map(names_in, getattr(tree, "decorator_list", ())))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        for chain in chains_from(tree, name) if _is_own_module(value) else [()]:
            yield _reached(name, value, chain)
    for module, name in imports_in(tree, function.__globals__.get("__package__") or ""):
        if not is_library(module):
            yield f"{module}.{name}" if name else module, _imported(module, name)


def _reached(name: str, value: object, chain: tuple[str, ...]) -> tuple[str, object]:
    """Follow attributes as far as they lead through modules of a reader's own."""
    for attribute in chain:
        if not _is_own_module(value) or not hasattr(value, attribute):
            break
        name, value = f"{name}.{attribute}", getattr(value, attribute)
    return name, value


def _is_own_module(value: object) -> bool:
    return isinstance(value, types.ModuleType) and not is_library(value.__name__)


def _imported(module: str, name: str | None) -> object:
    """Return what an import inside a function gives, or None where there is no such module."""
    try:
        found = importlib.import_module(module)
        return found if name is None else getattr(found, name, None) or importlib.import_module(f"{module}.{name}")
    except ImportError:  # the function may know what to do then
        return None


def members_of(cls: type) -> Iterator[tuple[str, object]]:
    """Yield the methods and values of a class by name, without what Python adds to every class."""
    is_enum = issubclass(cls, enum.Enum)
    is_made = is_enum or issubclass(cls, tuple) or dataclasses.is_dataclass(cls)
    for name, member in vars(cls).items():
        for kind, part in _parts_of(member):
            if isinstance(part, FunctionType):
                # Python writes methods into such classes, other ones in each version.
                if not (is_made and (is_library(part.__globals__.get("__name__")) or _is_written_by_python(part))):
                    yield f"{kind}{name}", part
            elif not (is_enum or name.startswith("__") or name in ("_abc_impl", *getattr(cls, "_fields", ()))):
                yield f"{kind}{name}", part
    if is_enum:
        yield from ((name, member.value) for name, member in cls.__members__.items())
    elif dataclasses.is_dataclass(cls):
        fields = (field for field in dataclasses.fields(cls) if field.default_factory is not dataclasses.MISSING)
        yield from ((f"{field.name} by", field.default_factory) for field in fields)


def _parts_of(member: object) -> list[tuple[str, object]]:
    """Return the functions in a member of a class, or the member itself."""
    if isinstance(member, staticmethod | classmethod):
        return [(f"{type(member).__name__} ", member.__func__)]
    if isinstance(member, property):
        accessors = (("get ", member.fget), ("set ", member.fset), ("delete ", member.fdel))
        return [(kind, accessor) for kind, accessor in accessors if accessor is not None]
    if isinstance(member, functools.cached_property):
        return [("cached ", member.func)]
    if isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType):
        return []  # slots
    return [("", member)]


def _is_written_by_python(function: FunctionType) -> bool:
    return function.__code__.co_filename == "<string>"
