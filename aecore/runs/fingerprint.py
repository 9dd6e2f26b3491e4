"""Fingerprints: when two trainings are the same, down to the code of a reader's own classes and losses."""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import json
import linecache
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import CodeType

import numpy as np
import torch
from torch import nn

from ..data.images import Images, Splits
from ..objectives import Objective, Reconstruction
from ..training import Plan

FORMAT = 1  # part of every fingerprint: raise it when the same settings no longer give the same run

Start = str | Mapping[str, str]


def parts_of(model: nn.Module, data: Splits, plan: Plan, objective: Objective, start: Start) -> dict:
    """Return everything that the trained weights depend on, by name: what the fingerprint is made of.

    Args:
        model, data, plan, objective: of the training.
        start: "seed", a hash of the weights that the model came with, or the fingerprints of the runs that it starts
            from, by the part of the model ("" for the whole).
    """
    # A plain reconstruction loss is told by its function alone, as it was before there were other objectives.
    told = code_of(objective.loss) if type(objective) is Reconstruction else describe_objective(objective)
    return {
        "format": FORMAT,
        "plan": plan.as_dict(),
        "model": describe(model),
        "loss": told,
        "train": data.train.fingerprint,
        "valid": data.valid.fingerprint,
        "start": start,
    }


def fingerprint(parts: Mapping) -> str:
    """Return 64 hexadecimal digits that change with any of the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digests_of(parts: Mapping, model: nn.Module) -> dict[str, str]:
    """Return 16 hexadecimal digits for each part, so that a stored run can say in which of them it differs.

    What a model takes from the data (`from_data`, which some have) counts in its fingerprint, but not here: other data
    would otherwise always come with another model.
    """
    told = dict(parts)
    for layer in model.modules():
        if hasattr(layer, "from_data"):
            told["model"] = told["model"].replace(layer.from_data(), "")
    return {name: fingerprint({name: part})[:16] for name, part in told.items()}


def key_of(function: Callable, images: Images) -> str:
    """Return what tells a measurement: 16 hexadecimal digits of the function's code and of the images."""
    return hashlib.sha256(f"{code_of(function)}\n{images.fingerprint}".encode()).hexdigest()[:16]


def describe_objective(objective: Objective) -> str:
    """Return an objective's class, its code where it is the reader's own, its settings, and the networks in it."""
    lines = [code_of(type(objective)), *_settings_of(objective)]
    for name, network in objective.named_children():
        told = getattr(network, "fingerprint", None) or describe(network) + hash_of_weights(network)
        lines.append(f"{name}: {told}")
    return "\n".join(lines)


def describe(model: nn.Module) -> str:
    """Return a model's layers, shapes and, where its classes are the reader's own, their code and settings.

    Classes of torch and of aecore are told by name and settings. A class that is written in a notebook
    is told by its syntax tree as well, and by that of the classes it is made from: a change to its code makes
    another run, a change to its comments does not. What its constructor has put into attributes and buffers
    counts too, since nothing else shows it: `self.slope = 0.2` is not in the `repr`.
    """
    own = {name: layer for name, layer in model.named_modules() if _is_own(type(layer))}
    code = sorted({code_of(cls) for layer in own.values() for cls in type(layer).__mro__ if _is_own(cls)})
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    frozen = [f"{name} is frozen" for name, weight in model.named_parameters() if not weight.requires_grad]
    settings = [f"{name}.{line}" for name, layer in own.items() for line in _settings_of(layer)]
    return "\n".join([repr(model), *shapes, *frozen, *settings, *code])


def _is_own(thing: type | Callable) -> bool:
    """Whether a class or function is the reader's: neither Python's nor torch's nor aecore's."""
    return not f"{thing.__module__}.".startswith(("builtins.", "abc.", "typing.", "torch.", "aecore."))


def _settings_of(layer: nn.Module) -> Iterator[str]:
    """Yield the attributes and buffers that a layer of the reader's was given, a line each."""
    ordinary = vars(nn.Module()).keys()
    given = {name: value for name, value in vars(layer).items() if name not in ordinary}
    for name, value in sorted({**given, **dict(layer.named_buffers(recurse=False))}.items()):
        yield f"{name}={_setting(value)}"


def _setting(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(_bytes_of(value)).hexdigest()}"
    if inspect.isfunction(value):
        return code_of(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):  # what is more than numbers, words and lists of them is told by its type
        return type(value).__name__


def hash_of_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: torch.Tensor) -> bytes:
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def code_of(thing: type | Callable, known: tuple = ()) -> str:
    """Return a name for a function or class; for one that is not aecore's, its code without comments as well.

    The numbers, words, functions and models count too that the code takes from around it:
    `def loss(x, x_hat): return weight * …` is another loss when `weight` changes.

    Args:
        thing: the function or class.
        known: functions that are being told already, so that one which calls itself comes to an end.
    """
    name = f"{thing.__module__}.{thing.__qualname__}"
    if not _is_own(thing):
        return name
    known = (*known, thing)
    values = [f"{key}={_value_of(value, known)}" for key, value in sorted(_taken_by(thing).items())]
    return "\n".join([name, _source_of(thing), *values])


def _taken_by(thing: type | Callable) -> dict[str, object]:
    """Return what a function, or the methods of a class, take from around them, by name."""
    if inspect.isfunction(thing):
        around = inspect.getclosurevars(thing)
        return {**around.globals, **around.nonlocals}
    taken = {}
    for method in filter(inspect.isfunction, vars(thing).values()):
        # Not getclosurevars: it takes self.encoder for the notebook's encoder, where there is one of that name.
        names = _global_names(method.__code__)
        taken |= {name: value for name, value in method.__globals__.items() if name in names}
        taken |= inspect.getclosurevars(method).nonlocals
    return taken


def _global_names(code: CodeType) -> set[str]:
    """Return the names that code looks up outside functions; also where it does so in a lambda inside it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return own.union(*map(_global_names, inner))


def _value_of(value: object, known: tuple) -> str:
    if isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    if isinstance(value, nn.Module):
        return describe(value) + hash_of_weights(value)
    return code_of(value, known) if inspect.isfunction(value) and value not in known else type(value).__name__


def _source_of(thing) -> str:
    """Return the code of a function or class, without comments and in one layout for all versions of Python."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(thing))))
    except SyntaxError as error:
        raise ValueError(f"{thing.__qualname__}: its code is part of a longer statement; write it as a def") from error
    except (OSError, TypeError):  # a class from a notebook: Python finds no file for it, but its methods know the cell
        methods = [method for method in vars(thing).values() if inspect.isfunction(method)]
        if inspect.isclass(thing) and not methods:
            return "\n".join(f"{key}={_setting(value)}" for key, value in sorted(vars(thing).items()) if key[0] != "_")
        cell = "".join(linecache.getlines(methods[0].__code__.co_filename)) if methods else ""
        found = [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.ClassDef) and n.name == thing.__name__]
        if not found:
            raise ValueError(f"{thing.__qualname__}: its code cannot be found; define it in a cell or file") from None
        return ast.unparse(found[-1])
