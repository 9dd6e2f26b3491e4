"""The tensor cache: one plain .npz file for each part of a set, written once and read in a moment.

A file `<key>-<part>.npz` in `$AECORE_DATA` holds

- `pixels`: uint8 (N, C, H, W); of an official set as many as that part officially has;
- `labels`: int64 (N,), where the set has them;
- `meta`: a JSON object as a string. It must say what the file holds: `set` (the key), `part` ("train", "valid" or
  "test"), `count` (N), `stand_in` (true or false) and `source` (in words). It may say more: `licence`, `note`,
  `classes` (names of the labels, in order), `labels` (whether there are any).

The key is the set's name, then "-standin" where other data stand in for it, then for photographs the crop: "mnist",
"stl10-standin", "div2k-200", "div2k-344-4crops-seed1". Caches made by hand are as good as those that `load` writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import config
from ..files import atomic_write
from .catalogue import CATALOGUE
from .errors import DamagedData
from .images import Images, Provenance, Splits
from .pictures import Crop

PARTS = ("train", "valid", "test")
WANTED_META = {"set": str, "part": str, "count": int, "stand_in": bool, "source": str}


class UndescribedCache(DamagedData):
    """A cache file does not say which part of which set it holds, as older versions of aecore wrote them."""


@dataclass(frozen=True)
class Key:
    """Which images a cache holds.

    Args:
        name: of the set.
        stand_in: whether others stand in for it. These have file names of their own, so that they never hide the
            official set.
        crop: of photographs.
    """

    name: str
    stand_in: bool = False
    crop: Crop = field(default_factory=Crop)

    def __str__(self) -> str:
        name = self.name + ("-standin" if self.stand_in else "")
        if self.crop.per_photo > 1:
            return f"{name}-{self.crop.size}-{self.crop.per_photo}crops-seed{self.crop.seed}"
        return name if self.crop.size == Crop().size else f"{name}-{self.crop.size}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return (3, self.crop.size, self.crop.size) if self.name == "div2k" else CATALOGUE[self.name].shape


def paths(root: Path, key: Key) -> list[Path]:
    """Return the three cache files of a set below `root`."""
    return [root / f"{key}-{part}.npz" for part in PARTS]


def read(root: Path, key: Key) -> Splits | None:
    """Return the three parts from the cache, or None unless all three files are there.

    Raises:
        UndescribedCache: a file lacks some of what `meta` must say.
        DamagedData: a file cannot be read or holds something else; the message names it and what is wrong.
    """
    files = paths(root, key)
    if not all(path.is_file() for path in files):
        return None
    splits = Splits(*(_read_part(path, key, part) for path, part in zip(files, PARTS, strict=True)))
    wanted = CATALOGUE[key.name].fingerprints
    if wanted and not key.stand_in and splits.fingerprints != wanted:
        raise DamagedData(
            f"the cache files {files[0]} … do not hold the official {CATALOGUE[key.name].title}: their SHA-256 "
            f"differs. Delete all three and load again. Other data of that kind belong into "
            f"{paths(root, Key(key.name, stand_in=True))[0].name} …, with \"stand_in\": true in meta."
        )
    return splits


def write(root: Path, key: Key, splits: Splits) -> None:
    """Write the three parts to the cache; where that is not possible say so and go on without."""
    try:
        for path, part in zip(paths(root, key), PARTS, strict=True):
            _write_part(path, key, part, getattr(splits, part))
    except OSError as error:
        config.log.info(f"{key}: no cache written, the next load takes as long as this one ({error})")


def _write_part(path: Path, key: Key, part: str, images: Images) -> None:
    where = images.provenance
    meta = {
        "set": str(key), "part": part, "count": len(images), "stand_in": where.stand_in, "source": where.source,
        "licence": where.licence, "note": where.note, "classes": images.classes, "labels": images.labels is not None,
    }  # fmt: skip
    arrays = {"pixels": images.pixels.numpy()}
    if images.labels is not None:
        arrays["labels"] = images.labels.numpy()
    arrays["meta"] = np.array(json.dumps(meta))
    # Not compressed: reading is then as fast as the disk, and pixels of photographs would hardly shrink.
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_part(path: Path, key: Key, part: str) -> Images:
    try:
        # allow_pickle=False: a data file must not be able to run code.
        with np.load(path, allow_pickle=False) as file:
            _check_entries(set(file.files))
            meta = json.loads(file["meta"].item())
            _check_meta(path, meta, key, part)  # first of all: pixels may take a while
            labels = file["labels"] if "labels" in file.files else None
            return _images(path.stem, file["pixels"], labels, meta, key)
    except (PermissionError, UndescribedCache):
        raise
    except Exception as error:  # zipfile, NumPy and json raise errors of a dozen kinds on damaged files
        problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DamagedData(f"the cache file {path} is damaged: {problem}. Delete it and load again.") from error


def _check_entries(entries: set[str]) -> None:
    if missing := {"pixels", "meta"} - entries:
        raise ValueError(f"an entry is missing ({', '.join(sorted(missing))})")
    if unknown := entries - {"pixels", "labels", "meta"}:
        raise ValueError(f"there is an unknown entry ({', '.join(sorted(unknown))})")


def _check_meta(path: Path, meta: object, key: Key, part: str) -> None:
    if not isinstance(meta, dict):
        raise ValueError(f"meta: wanted a JSON object, found {type(meta).__name__}")
    if missing := [entry for entry in WANTED_META if entry not in meta]:
        raise UndescribedCache(
            f"the cache file {path} does not say what it holds: its meta lacks {', '.join(missing)}, and there is no "
            f"folder to make it again from. An older version of aecore wrote it: delete it and load again. Or you made "
            f"it by hand: add what is missing, help(aecore.data.cache) describes it."
        )
    for entry, kind in WANTED_META.items():
        if type(meta[entry]) is not kind:
            raise ValueError(f"meta: wanted {kind.__name__} for {entry!r}, found {meta[entry]!r}")
    for entry, wanted in (("set", str(key)), ("part", part), ("stand_in", key.stand_in)):
        if meta[entry] != wanted:
            raise ValueError(f"it holds another {entry}: {meta[entry]!r}, wanted {wanted!r}")


def _images(name: str, pixels: np.ndarray, labels: np.ndarray | None, meta: dict, key: Key) -> Images:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != key.shape:
        wanted = ", ".join(["N", *map(str, key.shape)])
        raise ValueError(f"pixels: wanted uint8 of shape ({wanted}), found {pixels.dtype} of shape {pixels.shape}")
    if labels is not None and labels.dtype != np.int64:
        raise ValueError(f"labels: wanted int64, found {labels.dtype}")
    if meta.get("labels", labels is not None) != (labels is not None):
        raise ValueError("labels: meta and the entries disagree on whether there are any")
    _check_count(len(pixels), meta, key)
    return Images(
        torch.from_numpy(pixels),
        None if labels is None else torch.from_numpy(labels),
        name=name,
        provenance=Provenance(
            source=meta["source"],
            licence=str(meta.get("licence", "not stated")),
            note=str(meta.get("note", "")),
            stand_in=meta["stand_in"],
        ),
        classes=tuple(map(str, meta.get("classes", ()))),
    )


def _check_count(count: int, meta: dict, key: Key) -> None:
    if count != meta["count"]:
        raise ValueError(f"pixels: {count:,} images, while meta counts {meta['count']:,}")
    # Of photographs those are missing that are smaller than the crop.
    if key.stand_in or key.name == "div2k":
        return
    official = CATALOGUE[key.name].count_of(meta["part"])
    if count != official:
        raise ValueError(
            f"pixels: {count:,} images, while this part of the official {CATALOGUE[key.name].title} has {official:,}; "
            f"other data of that kind belong into {Key(key.name, stand_in=True)}-{meta['part']}.npz"
        )
