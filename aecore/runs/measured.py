"""What was measured on a run: values by key, kept as JSON and tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TENSOR, LIST = "$tensor", "$list"  # in JSON, mappings with these keys stand for what lies elsewhere as a tensor
LONG = 64  # a list of at least so many numbers is kept as a tensor: smaller, and faster to read


class Entry(NamedTuple):
    """One measurement: the function's name, name and number of the images, what came out, a digest of the code."""

    what: str
    images: str
    count: int
    value: object
    code: str = ""  # measurements from before it was noted have none


class Measured(dict[str, Entry]):
    """The measurements of a run by their key, which tells function and images (`fingerprint.key_of`).

    What goes in comes out as a stored run would give it: tuples become lists, tensors lie on the CPU.
    """

    def __setitem__(self, key: str, entry: Entry) -> None:
        super().__setitem__(key, entry._replace(value=plain(entry.value)))

    def like(self, wanted: Entry) -> Entry | None:
        """Return what a function of that name found on other images of the same set and part, "mnist-test".

        Of several, those with the same code count before others, and then those on the nearest number of images, since
        they may have been measured on selections. Where that leaves two, nobody can say which of them is meant, and
        None comes back.
        """

        def apart(entry: Entry) -> tuple[bool, int]:
            return entry.code != wanted.code, abs(entry.count - wanted.count)

        name = wanted.what, _set_and_part(wanted.images)
        found = [entry for entry in self.values() if (entry.what, _set_and_part(entry.images)) == name]
        nearest = [entry for entry in found if apart(entry) == min(map(apart, found))]
        return nearest[0] if len(nearest) == 1 else None

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

        # In the order of the keys, so that the same measurements give the same file.
        return {key: {**self[key]._asdict(), "value": pack(self[key].value)} for key in sorted(self)}, tensors

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
            known = {field: entry[field] for field in Entry._fields if field in entry}
            dict.__setitem__(measured, key, Entry(**{**known, "value": unpack(entry["value"])}))
        return measured


def _set_and_part(images: str) -> tuple[str, str]:
    """Return the first and the last word of a name: ("emnist", "test") of "emnist-standin-test"."""
    return images.partition("-")[0], images.rpartition("-")[2]


def _as_numbers(value: list) -> Tensor | None:
    """Return a long, regular list of numbers as a tensor from which `tolist` gives the very list back, else None."""
    if not _holds_numbers_only(value):
        return None
    try:
        numbers = np.array(value)
    except (ValueError, OverflowError):  # rows of different lengths, or integers beyond 64 bits
        return None
    if numbers.size < LONG or numbers.dtype not in (np.int64, np.float64):
        return None
    # As text, since [1, 0.5] == [1.0, 0.5], and NaN is not equal to itself.
    if json.dumps(numbers.tolist()) != json.dumps(value):
        return None
    if numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() <= 255:
        numbers = numbers.astype(np.uint8)
    return torch.from_numpy(numbers)


def _holds_numbers_only(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_holds_numbers_only, value))
    return isinstance(value, int | float)


def checksum_of(tensor: Tensor) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a tensor's type, shape and bytes."""
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw).hexdigest()[:16]


def plain(value: object) -> object:
    """Return a value as JSON and tensors give it back; a copy, so that nobody changes what is kept.

    Raises:
        TypeError: it is nothing that could be kept.
    """
    if isinstance(value, np.generic):  # before float, since a NumPy float is one too
        return plain(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        try:
            return _kept(torch.from_numpy(value.copy()), value.dtype)
        except (TypeError, ValueError):  # words, objects, bytes in another order
            raise _not_kept(f"an array of {value.dtype}") from None
    if isinstance(value, Tensor):
        return _kept(value.detach(), value.dtype)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str | int) and key not in (TENSOR, LIST) for key in value):
        return {str(key): plain(item) for key, item in value.items()}
    raise _not_kept(type(value).__name__)


def _kept(tensor: Tensor, dtype: object) -> Tensor:
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise _not_kept(f"a tensor of {dtype}, {tensor.layout}")
    # NumPy, through which tensors are shipped, has no bfloat16.
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return tensor.cpu().clone(memory_format=torch.contiguous_format)


def _not_kept(found: str) -> TypeError:
    return TypeError(
        f"measure: wanted numbers, words, tensors, and lists or dicts (by words or whole numbers) of them, got {found}"
    )
