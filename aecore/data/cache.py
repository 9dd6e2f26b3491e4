"""The tensor cache: one plain .npz file for each part of a set, written once and read in a moment."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .. import config
from ..files import atomic_write
from .errors import DamagedData
from .images import Images, Provenance, Splits

PARTS = ("train", "valid", "test")


def paths(root: Path, key: str) -> list[Path]:
    """Return the three cache files of a set; `key` is its name, as in `<key>-train.npz`."""
    return [root / f"{key}-{part}.npz" for part in PARTS]


def read(root: Path, key: str, shape: tuple[int, int, int]) -> Splits | None:
    """Return the three parts from the cache, or None unless all three files are there.

    Args:
        root: folder of the cache.
        key: the set's name in the file names.
        shape: (C, H, W) that the images must have.

    Raises:
        DamagedData: a file cannot be read or holds something else; the message names it and what is wrong.
    """
    files = paths(root, key)
    if not all(path.is_file() for path in files):
        return None
    return Splits(*(_read_part(path, shape) for path in files))


def write(root: Path, key: str, splits: Splits) -> None:
    """Write the three parts to the cache; where that is not possible say so and go on without."""
    try:
        for path, images in zip(paths(root, key), (splits.train, splits.valid, splits.test), strict=True):
            _write_part(path, images)
    except OSError as error:
        config.log.info(f"{key}: no cache written, the next load takes as long as this one ({error})")


def _write_part(path: Path, images: Images) -> None:
    arrays = {"pixels": images.pixels.numpy()}
    if images.labels is not None:
        arrays["labels"] = images.labels.numpy()
    arrays["meta"] = np.array(json.dumps({**asdict(images.provenance), "classes": images.classes}))
    # Not compressed: reading is then as fast as the disk, and pixels of photographs would hardly shrink.
    with atomic_write(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_part(path: Path, shape: tuple[int, int, int]) -> Images:
    try:
        # allow_pickle=False: a data file must not be able to run code.
        with np.load(path, allow_pickle=False) as file:
            pixels, meta = file["pixels"], json.loads(file["meta"].item())
            labels = file["labels"] if "labels" in file.files else None
        return _images(path.stem, pixels, labels, meta, shape)
    except PermissionError:
        raise
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except KeyError as error:
        problem = f"an entry is missing ({error.args[0]})"
    raise DamagedData(f"the cache file {path} is damaged: {problem}. Delete it and load again.")


def _images(name: str, pixels: np.ndarray, labels: np.ndarray | None, meta: dict, shape: tuple) -> Images:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape:
        wanted = ", ".join(["N", *map(str, shape)])
        raise ValueError(f"pixels: wanted uint8 of shape ({wanted}), found {pixels.dtype} of shape {pixels.shape}")
    if labels is not None and labels.dtype != np.int64:
        raise ValueError(f"labels: wanted int64, found {labels.dtype}")
    return Images(
        torch.from_numpy(pixels),
        None if labels is None else torch.from_numpy(labels),
        name=name,
        provenance=Provenance(
            source=meta["source"],
            licence=meta.get("licence", "not stated"),
            note=meta.get("note", ""),
            stand_in=bool(meta.get("stand_in", False)),
        ),
        classes=tuple(meta.get("classes", ())),
    )
