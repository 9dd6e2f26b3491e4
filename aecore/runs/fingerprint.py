"""Fingerprints: when two trainings are the same.

They are where nothing differs that the trained weights depend on: plan, model, objective, the images to train and to
validate on, and the weights to start from. Each of these is written down as text, down to the code of a reader's own
classes and losses and the values that they use (`describe`), and the fingerprint is a hash of it all. The machine does
not count, nor do the versions of Python and torch: a run is found again on another computer.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping

from torch import nn

from ..data.images import Images, Splits
from ..objectives import Objective, Reconstruction
from ..training import Plan
from .describe import Description, code_of, describe, describe_objective

FORMAT = 1  # part of every fingerprint: raise it when the same settings no longer give the same run

Start = str | Mapping[str, str]


def parts_of(model: nn.Module, data: Splits, plan: Plan, objective: Objective, start: Start) -> dict:
    """Return everything that the trained weights depend on, by name: what the fingerprint is made of.

    Args:
        model, data, plan, objective: of the training.
        start: "seed", a hash of the weights that the model came with, or the fingerprints of the runs that it starts
            from, by the part of the model ("" for the whole).

    Raises:
        ValueError: the model or the objective depends on something that cannot be told; the message names it.
    """
    # A plain reconstruction loss is told by its function alone, as it was before there were other objectives.
    plain = type(objective) is Reconstruction
    told = code_of(objective.loss, model) if plain else describe_objective(objective, model)
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

    What a model takes from the data counts in its fingerprint, but not here: other data would otherwise always come
    with another model. Such a model has a method `from_data()` that returns this part of its `repr`.
    """
    told = dict(parts)
    for layer in model.modules():
        if _tells_its_data(layer):
            told["model"] = told["model"].replace(layer.from_data(), "")
    return {name: fingerprint({name: part})[:16] for name, part in told.items()}


def _tells_its_data(layer: nn.Module) -> bool:
    method = inspect.getattr_static(type(layer), "from_data", None)  # a reader's may be a constructor, which takes data
    return inspect.isfunction(method) and list(inspect.signature(method).parameters) == ["self"]


def key_of(function: Callable, images: Images) -> str:
    """Return what tells a measurement: 16 hexadecimal digits of the function's code and of the images.

    A function of aecore is told by its name, wherever it lies in aecore. One that fills a list or dict of the notebook
    while it measures has another key the next time.

    Raises:
        ValueError: the function depends on something that cannot be told; the message names it.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    told = Description(name, module_names=False).text(function)
    return hashlib.sha256(f"{told}\n{images.fingerprint}".encode()).hexdigest()[:16]
