"""Fingerprints: when two trainings are the same, down to the code of a reader's own classes and losses."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import linecache
import textwrap
from collections.abc import Callable

import torch
from torch import nn

from .data.images import Splits
from .training import Plan

FORMAT = 1  # part of every fingerprint: raise it when the same settings no longer give the same run


def fingerprint(model: nn.Module, data: Splits, plan: Plan, loss: Callable, start: str) -> str:
    """Return 64 hexadecimal digits that change with anything that the trained weights depend on."""
    parts = {
        "format": FORMAT,
        "plan": plan.as_dict(),
        "model": describe(model),
        "loss": code_of(loss),
        "train": data.train.fingerprint,
        "valid": data.valid.fingerprint,
        "start": start if start == "seed" else _hash_of_weights(model),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def describe(model: nn.Module) -> str:
    """Return a model's layers, shapes and, where its classes are the reader's own, their code.

    Classes of torch and of aecore are told by name and settings. A class that is written in a notebook
    is told by its syntax tree as well: a change to its code makes another run, a change to its comments
    does not.
    """
    own = {type(m) for m in model.modules() if not type(m).__module__.startswith(("torch.", "aecore."))}
    code = sorted(code_of(cls) for cls in own)
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    frozen = [f"{name} is frozen" for name, weight in model.named_parameters() if not weight.requires_grad]
    return "\n".join([repr(model), *shapes, *frozen, *code])


def _hash_of_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def code_of(thing) -> str:
    """Return a name for a function or class; for one that is not aecore's, its code without comments as well.

    Of a function's own code the numbers, words and models count too that it takes from around it:
    `def loss(x, x_hat): return weight * …` is another loss when `weight` changes.
    """
    name = f"{thing.__module__}.{thing.__qualname__}"
    if thing.__module__.startswith(("torch.", "aecore.")):
        return name
    taken = {}
    if inspect.isfunction(thing):
        around = inspect.getclosurevars(thing)
        taken = {**around.globals, **around.nonlocals}
    values = [f"{key}={_value_of(value, thing)}" for key, value in sorted(taken.items())]
    return "\n".join([name, _source_of(thing), *values])


def _value_of(value: object, user: Callable) -> str:
    if isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    if isinstance(value, nn.Module):
        return describe(value) + _hash_of_weights(value)
    return code_of(value) if inspect.isfunction(value) and value is not user else type(value).__name__


def _source_of(thing) -> str:
    """Return the code of a function or class, without comments and in one layout for all versions of Python."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(thing))))
    except SyntaxError as error:
        raise ValueError(f"{thing.__qualname__}: its code is part of a longer statement; write it as a def") from error
    except (OSError, TypeError):  # a class from a notebook: Python finds no file for it, but its methods know the cell
        methods = [method for method in vars(thing).values() if inspect.isfunction(method)]
        cell = "".join(linecache.getlines(methods[0].__code__.co_filename)) if methods else ""
        found = [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.ClassDef) and n.name == thing.__name__]
        if not found:
            raise ValueError(f"{thing.__qualname__}: its code cannot be found; define it in a cell or file") from None
        return ast.unparse(found[-1])
