"""`load`: one name in, three parts out, and no doubt about where they came from."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import config, journal
from . import cache, download, folders, sample
from .catalogue import CATALOGUE, CROP, NAMES, data_root, place_of
from .errors import DataNotFound, DownloadFailed, StandInRefused
from .folders import Found
from .images import Images, Provenance, Splits

README = "README-SUBSTITUTE.md"  # beside data that stand in for others; says what they are
Folders = str | Path | Sequence[str | Path]


def load(name: str, *, stand_in: bool = False, folder: Folders | None = None, size: int = CROP) -> Splits:
    """Return a set in three parts: to train on, to choose by, to report on.

    Under the profile `quick` that is the built-in sample (`aecore.data.sample`), without network or files. Under
    `full` the set is looked for 1. in the tensor cache `$AECORE_DATA/<name>-<part>.npz`, 2. in the ordinary folder
    there, 3. by a download; then the cache is written. Other data never take its place unasked.

    Validation images are the last of the official training files: 5,000 for mnist and cifar10, 10 % for emnist,
    stl10 and div2k. (Were a training file sorted by class, it would be shuffled first, with seed 0.) Of div2k the
    official validation photographs are `test`. Of kodak all 24 are `test`, portraits turned by 90°; `train` and
    `valid` are empty. Of photos 10 % each are `valid` and `test`.

    Args:
        name: mnist, emnist, cifar10, stl10, div2k, kodak or photos.
        stand_in: accept data that stand in for the official set; the provenance then says what they are.
            The official set's cache still comes first. For photos: note that they stand in for DIV2K.
        folder: for photos only: one or several folders of PNG or JPEG files, relative ones below `$AECORE_DATA`.
        size: for div2k and photos only: side of the centre crop of each photograph, in pixels.

    Returns:
        `Splits` of `Images`: uint8 pixels of shape (N, C, H, W), labels where the set has them, provenance.

    Raises:
        ValueError: unknown name, or an argument that does not go with it.
        DataNotFound: no source had it; the message says what was tried and what to do.
        DamagedData: a file or folder is there but wrong; the message names it.
        StandInRefused: the folder holds something else than the official set, and `stand_in` is False.
    """
    places = _checked(name, folder, size)
    if config.profile() == "quick":
        splits = sample.build(name, size)
    elif name == "photos":
        splits = folders.photographs(places, data_root(), size, stand_in)
    else:
        splits = _from_sources(name, stand_in, size)
    _tell(name, splits)
    return splits


def available() -> list[dict]:
    """Return one entry for each set: name, what it is, where it was found here, and its bytes on the disk."""
    root, entries = data_root(), []
    for name, facts in CATALOGUE.items():
        where, files = _whereabouts(name, root)
        total = sum(file.stat().st_size for file in files)
        entries.append({"name": name, "what": facts.what, "where": where, "bytes": total})
    return entries


def _checked(name: str, folder: Folders | None, size: int) -> list[str | Path]:
    if name not in NAMES:
        near = difflib.get_close_matches(str(name).lower(), NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no data set is called {name!r}.{hint} There are {', '.join(NAMES)}.")
    if (name == "photos") != (folder is not None):
        raise ValueError(f"load({name!r}): folder=… goes with 'photos' and only there; got folder={folder!r}")
    if size != CROP and name not in ("photos", "div2k"):
        raise ValueError(f"load({name!r}): size=… goes with 'photos' and 'div2k' only; got size={size!r}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size: wanted a number of pixels, 1 or more, got {size!r}")
    return [folder] if isinstance(folder, str | Path) else list(folder or ())


def _from_sources(name: str, stand_in: bool, size: int) -> Splits:
    root = data_root()
    shape = (3, size, size) if name == "div2k" else CATALOGUE[name].shape
    for key in [_key(name, False, size), *([_key(name, True, size)] if stand_in else [])]:
        if splits := cache.read(root, key, shape):
            return splits
    found = folders.read(name, root, size)
    if found is None:
        _download(name, root, size)
        found = folders.read(name, root, size)
    if not found.official and not stand_in:
        raise StandInRefused(_refusal(name, root, found))
    splits = _split(name, found if found.official else _as_stand_in(name, root, found), size)
    cache.write(root, _key(name, not found.official, size), splits)
    return splits


def _key(name: str, stand_in: bool, size: int) -> str:
    # A stand-in has file names of its own, so that it can never hide the official set.
    return name + ("-standin" if stand_in else "") + (f"-{size}" if size != CROP else "")


def _download(name: str, root: Path, size: int) -> None:
    try:
        download.get(name, root)
    except DownloadFailed as error:
        key = _key(name, False, size)
        missing = [path.name for path in cache.paths(root, key) if not path.is_file()]
        ordinary = " or ".join(" + ".join(place) for place in CATALOGUE[name].places)
        raise DataNotFound(
            f"{CATALOGUE[name].title} could not be had. Tried, in this order:\n"
            f"  1. the tensor cache in {root}: no {', '.join(missing)}\n"
            f"  2. the ordinary folder in {root}: no {ordinary}\n"
            f"  3. a download: {error}\n"
            f"Two ways out: set AECORE_DATA to a folder that holds one of the first two, or set AECORE_PROFILE=quick "
            f"to go on with the small built-in sample."
        ) from error


def _refusal(name: str, root: Path, found: Found) -> str:
    facts = CATALOGUE[name]
    return (
        f"{place_of(name, root)[0]} is not the official {facts.title}: it holds {len(found.train[0]):,} training and "
        f"{len(found.test[0]):,} test images where that has {facts.counts[0]:,} and {facts.counts[2]:,}, or its "
        f"checksums differ. To work with it knowingly say load({name!r}, stand_in=True); to have the official set move "
        f"that folder away."
    )


def _as_stand_in(name: str, root: Path, found: Found) -> Found:
    facts, labels = CATALOGUE[name], found.train[1]
    total = f"{len(found.train[0]) + len(found.test[0]):,} images"
    if labels is not None:
        counts = labels.bincount()
        total = f"{len(counts)} {'balanced ' if counts.min() == counts.max() else ''}classes, {total}"
    source = f"{facts.stand_in_prefix}{total} (a stand-in for {facts.title})"
    note = "; ".join(filter(None, [_readme(place_of(name, root)[0]), found.note]))
    return replace(found, source=source, note=note)


def _readme(folder: Path) -> str:
    """Return the first paragraph below the title of the README beside stand-in data, on one line."""
    for place in (folder, folder.parent):
        if (place / README).is_file():
            paragraphs = (place / README).read_text(encoding="utf-8").split("\n\n")
            prose = [text for text in paragraphs if text.strip() and not text.startswith("#")]
            return " ".join(prose[0].replace("**", "").replace("`", "").split()) if prose else ""
    return ""


def _split(name: str, found: Found, size: int) -> Splits:
    facts = CATALOGUE[name]
    key = _key(name, not found.official, size)
    licence = facts.licence if found.official else "see its source"
    where = Provenance(found.source, licence, found.note, stand_in=not found.official)
    whole = Images(*found.train, key, where, found.classes)
    if whole.labels is not None and bool((whole.labels.diff() >= 0).all()):
        # Sorted by class: the last images would all be of one class.
        whole = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))]
    # The official share, so that a smaller stand-in is divided in the same proportion.
    held = len(whole) * facts.counts[1] // max(facts.counts[0], 1)
    parts = (whole[: len(whole) - held], whole[len(whole) - held :], Images(*found.test, key, where, found.classes))
    return Splits(*(replace(images, name=f"{key}-{part}") for part, images in zip(cache.PARTS, parts, strict=True)))


def _tell(name: str, splits: Splits) -> None:
    where = splits.provenance
    counts = ", ".join(f"{len(part):,} {word}" for word, part in vars(splits).items())
    shape = "×".join(str(number) for number in splits.shape)
    config.log.info(f"{name}: {counts} images of {shape} · {where.source}")
    part = splits.train if len(splits.train) else splits.test  # kodak has nothing to train on
    journal.record(
        "data", name=name, source=where.source, note=where.note, stand_in=where.stand_in, sample=where.sample,
        fingerprint=part.fingerprint[:12],
    )  # fmt: skip


def _whereabouts(name: str, root: Path) -> tuple[str, list[Path]]:
    for key, word in ((name, "cache"), (f"{name}-standin", "cache (stand-in)")):
        files = cache.paths(root, key)
        if all(file.is_file() for file in files):
            return word, files
    if place := place_of(name, root):
        word = "folder (stand-in)" if _readme(place[0]) else "folder"
        return word, [file for folder in place for file in folder.iterdir() if file.is_file()]
    megabytes = CATALOGUE[name].download_mb
    return f"not here (download {megabytes:,} MB)" if megabytes else "not here (no download)", []
