"""What was measured on a run: values by key, kept as JSON and tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TENSOR, LIST = "$tensor", "$list"  # in JSON, mappings with these keys stand for what lies elsewhere as a tensor
LONG = 64  # a list of at least so many numbers is kept as a tensor: smaller, and faster to read


class Entry(NamedTuple):
    """One measurement: the function's name, name and number of the images, and what came out."""

    what: str
    images: str
    count: int
    value: object


class Measured(dict[str, Entry]):
    """The measurements of a run by their key, which tells function and images (`fingerprint.key_of`).

    What goes in comes out as a stored run would give it: tuples become lists, tensors lie on the CPU.
    """

    def __setitem__(self, key: str, entry: Entry) -> None:
        super().__setitem__(key, entry._replace(value=_plain(entry.value)))

    def like(self, what: str, images: str, count: int) -> Entry | None:
        """Return what a function of that name found on other images: on the same part where that was measured too."""
        found = [entry for entry in self.values() if entry.what == what]
        part = images.rpartition("-")[2]

        def distance(entry: Entry) -> tuple[bool, bool]:
            return entry.images.rpartition("-")[2] != part, entry.count != count

        return min(found, default=None, key=distance)

    def packed(self, prefix: str = "") -> tuple[dict, dict[str, Tensor]]:
        """Return the entries ready for JSON, and the tensors in them by the name that stands in their place.

        Long lists of numbers are packed as tensors too, of a type that keeps every number, and come back as lists.

        Args:
            prefix: of these names.
        """
        tensors: dict[str, Tensor] = {}

        def put(tensor: Tensor, kind: str) -> dict:
            name = f"{prefix}{len(tensors)}"
            tensors[name] = tensor.contiguous()
            return {kind: name, "sha256": checksum_of(tensor)}

        def pack(value: object) -> object:
            if isinstance(value, Tensor):
                return put(value, TENSOR)
            if isinstance(value, list):
                numbers = _as_numbers(value)
                return [pack(item) for item in value] if numbers is None else put(numbers, LIST)
            if isinstance(value, dict):
                return {key: pack(item) for key, item in value.items()}
            return value

        return {key: {**entry._asdict(), "value": pack(entry.value)} for key, entry in self.items()}, tensors

    @classmethod
    def unpacked(cls, entries: Mapping[str, Mapping], tensors: Mapping[str, Tensor]) -> Measured:
        """Return the measurements of which `packed` made these.

        Raises:
            ValueError: a tensor is not the one that was packed.
            KeyError: something is missing.
        """

        def unpack(value: object) -> object:
            kind = next((kind for kind in (TENSOR, LIST) if isinstance(value, dict) and kind in value), None)
            if kind is not None:
                tensor = tensors[value[kind]]
                if checksum_of(tensor) != value["sha256"]:
                    raise ValueError(f"the tensor {value[kind]!r} is not the one that was stored")
                return tensor if kind == TENSOR else tensor.tolist()
            if isinstance(value, list):
                return [unpack(item) for item in value]
            if isinstance(value, dict):
                return {key: unpack(item) for key, item in value.items()}
            return value

        measured = cls()
        for key, entry in entries.items():
            value = unpack(entry["value"])
            dict.__setitem__(measured, key, Entry(entry["what"], entry["images"], entry["count"], value))
        return measured


def _as_numbers(value: list) -> Tensor | None:
    """Return a long, regular list of numbers as a tensor from which `tolist` gives the very list back, else None."""
    try:
        numbers = np.array(value)
    except (ValueError, OverflowError):  # rows of different lengths, or integers beyond 64 bits
        return None
    if numbers.size < LONG or numbers.dtype not in (np.int64, np.float64) or numbers.tolist() != value:
        return None
    if numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() <= 255:
        numbers = numbers.astype(np.uint8)
    return torch.from_numpy(numbers)


def checksum_of(tensor: Tensor) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a tensor's type, shape and bytes."""
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw).hexdigest()[:16]


def _plain(value: object) -> object:
    """Return a value as JSON and tensors give it back.

    Raises:
        TypeError: it is nothing that could be kept.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        return {str(key): _plain(item) for key, item in value.items()}
    raise TypeError(
        f"measure: wanted numbers, words, tensors, and lists or dicts (by words or whole numbers) of them, got "
        f"{type(value).__name__}"
    )
