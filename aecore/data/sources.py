"""`load`: one name in, three parts out, and no doubt about where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .. import config, journal
from ..suggest import did_you_mean
from . import cache, download, folders, sample
from .cache import Key
from .catalogue import CATALOGUE, CROP, NAMES, folders_of
from .errors import DataNotFound, DownloadFailed, StandInRefused
from .folders import Contents
from .images import Images, Provenance, Splits
from .pictures import Crop

WITHOUT_DOWNLOAD = ("photos", "kodak")
README = "README-SUBSTITUTE.md"  # beside data that stand in for others; says what they are
Folders = str | Path | Sequence[str | Path]


def load(
    name: str,
    *,
    stand_in: bool = False,
    folder: Folders | None = None,
    size: int = CROP,
    per_photo: int = 1,
    seed: int = 0,
) -> Splits:
    """Return a set in three parts: to train on, to choose by, to report on.

    Under the profile `quick` that is the built-in sample (`aecore.data.sample`), without network or files. Under
    `full` the set is looked for 1. in the tensor cache `$AECORE_DATA/<name>-<part>.npz` (`aecore.data.cache`), 2. in
    the ordinary folder there, 3. by a download; then the cache is written. Other data never take its place unasked:
    mnist, cifar10 and kodak are told by SHA-256 of their pixels and labels, stl10 by the MD5 of its files, emnist by
    its number of images only. So is div2k, unless `load` itself has downloaded and checked it. `provenance.source`
    says "by count, not by checksum" where no checksum was compared.

    Validation images are the last of the official training files: 5,000 for mnist and cifar10, 10 % for emnist,
    stl10 and div2k. (Were a training file sorted by class, it would be shuffled first, with seed 0.) Of div2k the
    official validation photographs are `test`. Of kodak all 24 are `test`, portraits turned by 90°; `train` and
    `valid` are empty. Of photos 10 % each are `valid` and `test`.

    Photographs (div2k, photos) are PNG or JPEG files of at most 80 million pixels. Where they are transparent they
    are laid on white; the log and the provenance say how many were.

    Args:
        name: mnist, emnist, cifar10, stl10, div2k, kodak or photos.
        stand_in: accept data that stand in for the official set; the provenance then says what they are.
            The official set's cache still comes first. For photos: note that they stand in for DIV2K. Where photos or
            kodak, which nothing downloads, are not there, the built-in sample stands in, and a warning says so.
        folder: for photos only: one or several folders of PNG or JPEG files, relative ones below `$AECORE_DATA`.
        size: for div2k and photos only: height and width of the crops, in pixels.
        per_photo: for div2k and photos only: crops of each training photograph. 1 is the centre crop; of 2 and
            more the places are random. Validation and test images are always centre crops. The built-in sample
            is the same for every number.
        seed: of the random places, for `per_photo` of 2 or more.

    Returns:
        `Splits` of `Images`: uint8 pixels of shape (N, C, H, W), labels where the set has them, provenance.

    Raises:
        ValueError: unknown name, or an argument that does not go with it.
        DataNotFound: no source had it; the message says what was tried and what to do.
        DamagedData: a file or folder is there but wrong; the message names it.
        StandInRefused: the folder holds something else than the official set, and `stand_in` is False.
    """
    _check_name(name, folder)
    crop = _checked_crop(name, size, per_photo, seed)
    quick = config.profile() == "quick"
    splits = sample.build(name, size) if quick else _found_or_sample(name, stand_in, folder, crop)
    _log_and_record(name, splits)
    return splits


def available() -> list[dict]:
    """Return one entry for each set: name, what it is, where it was found here, and its bytes on the disk."""
    root, entries = config.data_root(), []
    for name, facts in CATALOGUE.items():
        where, files = _whereabouts(name, root)
        total = sum(file.stat().st_size for file in files)
        entries.append({"name": name, "what": facts.what, "where": where, "bytes": total})
    return entries


def _check_name(name: str, folder: Folders | None) -> None:
    if name not in NAMES:
        raise ValueError(f"no data set is called {name!r}.{did_you_mean(name, NAMES)} There are {', '.join(NAMES)}.")
    if (name == "photos") != (folder is not None):
        raise ValueError(f"load({name!r}): folder=… goes with 'photos' and only there; got folder={folder!r}")


def _checked_crop(name: str, size: int, per_photo: int, seed: int) -> Crop:
    for argument, value, least in (("size", size, 1), ("per_photo", per_photo, 1), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            unit = "number of pixels" if argument == "size" else "whole number"
            raise ValueError(f"{argument}: wanted a {unit}, {least} or more, got {value!r}")
    for argument, value, default in (("size", size, CROP), ("per_photo", per_photo, 1), ("seed", seed, 0)):
        if value != default and name not in ("photos", "div2k"):
            got = f"{argument}={value}"
            raise ValueError(f"load({name!r}): {argument}=… goes with 'photos' and 'div2k' only; got {got}")
    if seed and per_photo == 1:
        raise ValueError(f"seed: centre crops have none; say per_photo=2 or more for random crops, got seed={seed}")
    return Crop(size, per_photo, seed)


def _found_or_sample(name: str, stand_in: bool, folder: Folders | None, crop: Crop) -> Splits:
    """Return the set; photographs that cannot be downloaded are the last for which the built-in sample may stand in."""
    try:
        if name == "photos":
            return folders.photographs(_as_list(folder), config.data_root(), crop, stand_in)
        return _from_sources(name, stand_in, crop)
    except DataNotFound as missing:
        if not stand_in or name not in WITHOUT_DOWNLOAD:
            raise
        config.log.warning(f"{name}: the built-in sample stands in for it, as stand_in=True allows. {missing}")
        return sample.build(name, crop.size)


def _as_list(folder: Folders) -> list[str | Path]:
    return [folder] if isinstance(folder, str | Path) else list(folder)


def _from_sources(name: str, stand_in: bool, crop: Crop) -> Splits:
    root = config.data_root()
    cached, undescribed = _from_cache(root, [Key(name, False, crop), *([Key(name, True, crop)] if stand_in else [])])
    if cached:
        return cached
    contents = folders.read(name, root, crop)
    if contents is None and undescribed:
        raise undescribed
    if contents is None:
        _download(name, root, crop)
        contents = folders.read(name, root, crop)
    if not contents.official and not stand_in:
        raise StandInRefused(_refusal(name, root, contents))
    key = Key(name, not contents.official, crop)
    splits = _as_splits(key, contents, _provenance(key, root, contents))
    cache.write(root, key, splits)
    return splits


def _from_cache(root: Path, keys: Sequence[Key]) -> tuple[Splits | None, cache.UndescribedCache | None]:
    """Return what the first cache holds, or None with the error of one that does not say what it holds, or None."""
    undescribed = None
    for key in keys:
        try:
            if splits := cache.read(root, key):
                return splits, None
        except cache.UndescribedCache as error:
            undescribed = error
    return None, undescribed


def _download(name: str, root: Path, crop: Crop) -> None:
    try:
        download.get(name, root)
    except DownloadFailed as error:
        missing = [path.name for path in cache.paths(root, Key(name, False, crop)) if not path.is_file()]
        ordinary = " or ".join(" + ".join(alternative) for alternative in CATALOGUE[name].folders)
        raise DataNotFound(
            f"{CATALOGUE[name].title} could not be had. Tried, in this order:\n"
            f"  1. the tensor cache in {root}: no {', '.join(missing)}\n"
            f"  2. the ordinary folder in {root}: no {ordinary}\n"
            f"  3. a download: {error}\n"
            f"Two ways out: set AECORE_DATA to a folder that holds one of the first two, or set AECORE_PROFILE=quick "
            f"to go on with the small built-in sample."
        ) from error


def _refusal(name: str, root: Path, contents: Contents) -> str:
    facts, (train, test) = CATALOGUE[name], contents.counts
    if facts.has_counts(train, test):
        problem = "it holds as many images, but their checksums differ"
        if name == "kodak":
            problem += " (or the names of the files do not sort like kodim01.png to kodim24.png)"
    else:
        problem = (
            f"it holds {train:,} training and {test:,} test images where that has {facts.counts[0]:,} and "
            f"{facts.counts[2]:,}"
        )
    return (
        f"{folders_of(name, root)[0]} is not the official {facts.title}: {problem}. To work with it knowingly say "
        f"load({name!r}, stand_in=True); to have the official set move that folder away."
    )


def _provenance(key: Key, root: Path, contents: Contents) -> Provenance:
    facts = CATALOGUE[key.name]
    if contents.official:
        return Provenance(contents.source, facts.licence, contents.note)
    note = "; ".join(filter(None, [_readme(folders_of(key.name, root)[0]), contents.note]))
    source = f"{facts.stand_in_prefix}{_counted(contents)} (a stand-in for {facts.title})"
    return Provenance(source, "see its source", note, stand_in=True)


def _counted(contents: Contents) -> str:
    """Return "10 balanced classes, 6,500 images" from what the files hold."""
    total = f"{sum(contents.counts):,} images"
    if contents.train[1] is None:
        return total
    counts = torch.cat([contents.train[1], contents.valid[1]]).bincount()
    return f"{len(counts)} {'balanced ' if counts.min() == counts.max() else ''}classes, {total}"


def _readme(folder: Path) -> str:
    """Return the first paragraph below the title of the README beside stand-in data, on one line."""
    for beside in (folder, folder.parent):
        if (beside / README).is_file():
            paragraphs = (beside / README).read_text(encoding="utf-8").split("\n\n")
            prose = [text for text in paragraphs if text.strip() and not text.startswith("#")]
            return " ".join(prose[0].replace("**", "").replace("`", "").split()) if prose else ""
    return ""


def _as_splits(key: Key, contents: Contents, where: Provenance) -> Splits:
    return Splits(*(
        Images(pixels, labels, f"{key}-{part}", where, contents.classes)
        for part, (pixels, labels) in zip(cache.PARTS, contents.parts, strict=True)
    ))  # fmt: skip


def _log_and_record(name: str, splits: Splits) -> None:
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
    for stand_in, word in ((False, "cache"), (True, "cache (stand-in)")):
        files = cache.paths(root, Key(name, stand_in))
        if all(file.is_file() for file in files):
            return word, files
    if found := folders_of(name, root):
        word = "folder (stand-in)" if _readme(found[0]) else "folder"
        return word, [file for folder in found for file in folder.iterdir() if file.is_file()]
    megabytes = CATALOGUE[name].download_mb
    return f"not here (download {megabytes:,} MB)" if megabytes else "not here (no download)", []
