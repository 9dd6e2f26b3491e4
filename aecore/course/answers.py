"""Answers as plain data, on their way from the process of a submission to the one that judges them.

Nothing that a submission sends is unpickled or run: numbers, text, lists, and the bytes of tensors of known types come
over, and of everything else the name of its type. A function stays where it is. It is tried there on the examples of
its exercise, and what it returned comes over.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..exercises import Function, exercises

MOST_BYTES = 64_000_000  # of all that one submission hands in
_MOST_VALUES = 1_000_000  # of one tensor
_MOST_ITEMS = 10_000  # of one list
_DEEPEST = 4
_LONGEST = 300  # characters of a text
_TYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


class HandedIn(NamedTuple):
    """An answer, and where in the notebook it was handed in: the cell and the check in the cell."""

    exercise: str
    answer: object
    cell: int
    place: int


class Recorder:
    """Writes down what is handed in, a line of JSON for each answer.

    Args:
        path: the file to write; it is opened at once, so that a later change of the folder plays no part.
    """

    def __init__(self, path: str | Path) -> None:
        self._stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the process lives

    def __call__(self, exercise: str, answer: object, cell: int, place: int) -> object:
        """Write an answer down and return it unchanged, so that the check in the notebook gets it too."""
        told = {"exercise": exercise, "answer": _told(exercise, answer), "cell": cell, "place": place}
        self._stream.write(json.dumps(told) + "\n")
        self._stream.flush()
        return answer


def read(path: Path) -> list[HandedIn]:
    """Return what a recorder wrote, in order; lines that none writes, with which a submission can spoil its file, are
    left out."""
    if not path.exists():
        return []
    with path.open("rb") as stream:
        lines = stream.read(MOST_BYTES).split(b"\n")
    return [found for line in lines if (found := _line(line))]


def encoded(value: object, depth: int = 0) -> dict:
    """Return a value as data that JSON can hold."""
    if value is ...:
        return {"kind": "dots"}
    if value is None or isinstance(value, bool):
        return {"kind": "plain", "value": value}
    if isinstance(value, int) and not isinstance(value, np.generic):
        return {"kind": "int", "value": hex(value)}  # in base 16 any length can be read back
    if isinstance(value, float):
        return {"kind": "float", "value": float(value).hex()}
    if isinstance(value, str):
        return {"kind": "plain", "value": value[:_LONGEST]}
    if isinstance(value, np.ndarray | np.generic):
        return _encoded_array("array", np.asarray(value))
    if isinstance(value, Tensor):
        return _encoded_tensor(value)
    if isinstance(value, list | tuple) and depth < _DEEPEST and len(value) <= _MOST_ITEMS:
        return {"kind": "list", "value": [encoded(item, depth + 1) for item in value]}
    return _other(value)


def decoded(data: dict) -> object:
    """Return the value that data stands for; of a type that does not come over, an object whose type has its name.

    Raises:
        ValueError, KeyError, TypeError: this is not what `encoded` makes.
    """
    kind, value = data["kind"], data.get("value")
    if kind == "dots":
        return ...
    if kind == "plain" and (value is None or isinstance(value, bool | str)):
        return value
    if kind == "int":
        return int(value, 16)
    if kind == "float":
        return float.fromhex(value)
    if kind == "list":
        return [decoded(item) for item in value]
    if kind in ("array", "tensor"):
        array = _decoded_array(data)
        return torch.from_numpy(array) if kind == "tensor" else array
    if kind == "function":
        return Replay(data["results"])
    return type(re.sub(r"\W", "", str(data["name"]))[:40] or "object", (), {})()


class Replay:
    """A function that returns what another one returned, in the same order, or raises what it raised."""

    def __init__(self, results: list[dict]) -> None:
        self._results = iter(results)

    def __call__(self, *arguments: object) -> object:
        data = next(self._results)
        if data["kind"] == "raised":
            raise type(re.sub(r"\W", "", str(data["name"]))[:40] or "Exception", (Exception,), {})(data["text"])
        return decoded(data)


def _told(exercise: str, answer: object) -> dict:
    known = exercises().get(exercise)
    if isinstance(known, Function) and callable(answer):
        return {"kind": "function", "results": list(_tried(answer, known))}
    return encoded(answer)


def _tried(function, exercise: Function) -> Iterator[dict]:
    for example in exercise.examples:
        try:
            yield encoded(function(*copy.deepcopy(example)))
        except Exception as error:  # whatever a student's function raises belongs to the answer
            yield {"kind": "raised", "name": type(error).__name__, "text": str(error)[:_LONGEST]}
            return


def _line(line: bytes) -> HandedIn | None:
    try:
        data = json.loads(line)
        place = int(data["cell"]), int(data["place"])
        return HandedIn(str(data["exercise"]), decoded(data["answer"]), *place)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _encoded_tensor(value: Tensor) -> dict:
    try:
        value = value.detach().cpu().to_dense()
        value = value.float() if value.dtype == torch.bfloat16 else value
        return _encoded_array("tensor", value.numpy())
    except (TypeError, RuntimeError, NotImplementedError):  # of a kind that NumPy has not
        return _other(value)


def _encoded_array(kind: str, value: np.ndarray) -> dict:
    if value.dtype.name not in _TYPES or value.size > _MOST_VALUES:
        return {"kind": "other", "name": "Tensor" if kind == "tensor" else "ndarray"}
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"kind": kind, "type": value.dtype.name, "shape": list(value.shape), "value": data}


def _decoded_array(data: dict) -> np.ndarray:
    if data["type"] not in _TYPES:
        raise ValueError(f"type: {data['type']!r} does not come over")
    shape = [int(side) for side in data["shape"]]
    if min(shape, default=0) < 0:
        raise ValueError(f"shape: {shape} has a side below 0")
    raw = base64.b64decode(data["value"], validate=True)
    return np.frombuffer(bytearray(raw), dtype=data["type"]).reshape(shape)


def _other(value: object) -> dict:
    return {"kind": "other", "name": type(value).__name__}
