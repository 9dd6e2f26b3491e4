"""Read the ordinary folders: those of torchvision's data sets, and folders of photographs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import config
from .catalogue import CATALOGUE, place_of
from .errors import DamagedData, DataNotFound
from .images import Images, Provenance, Splits

Part = tuple[Tensor, Tensor | None]  # pixels and labels


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Args:
        train: pixels and labels of the official training files, uint8 (N, C, H, W) and int64 (N,) or None.
        test: the same of the test files.
        official: whether these are the official files, as far as their checksums or numbers tell.
        source: in words.
        note: what else a page must say.
        classes: names of the labels.
    """

    train: Part
    test: Part
    official: bool
    source: str
    note: str = ""
    classes: tuple[str, ...] = ()


def read(name: str, root: Path, size: int) -> Found | None:
    """Return what the folders of a set hold, or None when they are not there.

    Args:
        name: of the set, as in the catalogue.
        root: folder of all data.
        size: side of the centre crop of photographs, in pixels.

    Raises:
        DamagedData: the folder is there but cannot be read.
    """
    folders = place_of(name, root)
    if folders is None:
        return None
    try:
        found = READERS[name](root, folders, size)
        for pixels, labels in (found.train, found.test):
            Images(pixels, labels)  # refuses labels that do not fit the images
        return found
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        raise DamagedData(
            f"{folders[0]} is there, but {name} cannot be read from it ({error or type(error).__name__}). "
            f"Complete that folder, or move it away so that the set is downloaded."
        ) from error


def _read_mnist(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    from torchvision.datasets import MNIST

    return _found_by_counts("mnist", *(_idx(MNIST(root, train=train)) for train in (True, False)))


def _read_emnist(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    from torchvision.datasets import EMNIST

    train, test = (_idx(EMNIST(root, split="balanced", train=train)) for train in (True, False))
    # The files hold every letter mirrored along its diagonal; rows and columns change places so that it stands upright.
    upright = [(pixels.transpose(2, 3).contiguous(), labels) for pixels, labels in (train, test)]
    return _found_by_counts("emnist", *upright)


def _idx(data) -> Part:
    return data.data.unsqueeze(1), data.targets.long()


def _found_by_counts(name: str, train: Part, test: Part) -> Found:
    # These files carry no checksum once unpacked: their numbers of images must do.
    facts = CATALOGUE[name]
    official = (len(train[0]), len(test[0])) == (facts.counts[0], facts.counts[2])
    return Found(train, test, official, f"{facts.title}, official files", classes=facts.classes)


def _read_cifar10(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    from torchvision.datasets import CIFAR10

    parts = []
    for train in (True, False):
        data = CIFAR10(root, train=train)  # compares MD5 sums, so these are the official files
        pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        parts.append((pixels, torch.tensor(data.targets)))
    return Found(*parts, True, "CIFAR-10, official files", classes=CATALOGUE["cifar10"].classes)


def _read_stl10(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    # Not by torchvision's class: it also wants the 2.7 GB of unlabelled images, which the book does not use.
    from torchvision.datasets import STL10
    from torchvision.datasets.utils import check_integrity

    sums = [*STL10.train_list[:2], *STL10.test_list]
    official = all(check_integrity(folders[0] / file, md5) for file, md5 in sums)
    names = (folders[0] / "class_names.txt").read_text(encoding="utf-8").split()
    parts = [_stl10_binary(folders[0], part) for part in ("train", "test")]
    return Found(*parts, official, "STL-10, official files, labelled images", classes=tuple(names))


def _stl10_binary(folder: Path, part: str) -> Part:
    import numpy as np

    pixels = torch.from_numpy(np.fromfile(folder / f"{part}_X.bin", dtype=np.uint8)).reshape(-1, 3, 96, 96)
    labels = torch.from_numpy(np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8)).long() - 1
    return pixels.transpose(2, 3).contiguous(), labels  # stored column by column, labels from 1 to 10


def _read_div2k(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    counts = tuple(len(photo_files(folder)) for folder in folders)
    train, skipped = crops(photo_files(folders[0]), size)
    test, skipped_too = crops(photo_files(folders[1]), size)
    kind = "full resolution" if "HR" in folders[0].name else "halved by bicubic resizing (X2)"
    return Found(
        (train, None), (test, None), counts == (CATALOGUE["div2k"].counts[0], CATALOGUE["div2k"].counts[2]),
        f"DIV2K, official files, {kind}, centre crops of {size}×{size}", _skipped(skipped + skipped_too, size),
    )  # fmt: skip


def _read_kodak(root: Path, folders: tuple[Path, ...], size: int) -> Found:
    pictures = [_pixels(file) for file in photo_files(folders[0])]
    portraits = sum(picture.shape[1] > picture.shape[2] for picture in pictures)
    # One tensor needs one shape: portraits lie down. No pixel changes, and codecs hardly notice.
    pictures = [picture.rot90(1, (1, 2)) if picture.shape[1] > picture.shape[2] else picture for picture in pictures]
    test = torch.stack(pictures) if pictures else torch.zeros(0, *CATALOGUE["kodak"].shape, dtype=torch.uint8)
    if test.shape[1:] != CATALOGUE["kodak"].shape:
        raise ValueError(f"wanted pictures of 768×512 pixels, found {test.shape[3]}×{test.shape[2]}")
    note = f"for measuring only; {portraits} portrait pictures turned by 90° to 768×512"
    source = "Kodak lossless true colour image suite"
    return Found((test[:0], None), (test, None), len(test) == CATALOGUE["kodak"].counts[2], source, note)


READERS = {
    "mnist": _read_mnist,
    "emnist": _read_emnist,
    "cifar10": _read_cifar10,
    "stl10": _read_stl10,
    "div2k": _read_div2k,
    "kodak": _read_kodak,
}


def photographs(folders: Sequence[str | Path], root: Path, size: int, stand_in: bool) -> Splits:
    """Return centre crops of all photographs in `folders`: 80 % to train on, 10 % valid, 10 % test.

    The files are sorted by name and then shuffled with seed 0, so each part has photographs of each folder.

    Args:
        folders: with PNG or JPEG files; relative ones are looked up below `root`.
        root: folder of all data.
        size: side of the crops in pixels; smaller photographs are left out, and the note says how many.
        stand_in: note that they stand in for DIV2K.

    Raises:
        DataNotFound: a folder is not there, or fewer than three photographs are large enough.
        DamagedData: a file is not a photograph that can be read.
    """
    named = ", ".join(str(folder) for folder in folders)
    files = []
    for folder in folders:
        if not (root / folder).is_dir():
            raise DataNotFound(f"no folder {root / folder}. A relative folder is looked up below AECORE_DATA={root}.")
        files += photo_files(root / folder)
    random.Random(0).shuffle(files)
    pixels, skipped = crops(files, size)
    if len(pixels) < 3:
        raise DataNotFound(
            f"{named}: wanted at least 3 PNG or JPEG photographs of {size}×{size} pixels or more, found {len(pixels)}, "
            f"and {skipped} smaller ones. Choose another folder or a smaller size."
        )
    held = max(1, len(pixels) // 10)
    notes = ["a stand-in for DIV2K" if stand_in else "", _skipped(skipped, size)]
    source = f"{len(pixels)} photographs from {named}, centre crops of {size}×{size}"
    where = Provenance(source, note="; ".join(filter(None, notes)), stand_in=stand_in)
    cuts = pixels.split([len(pixels) - 2 * held, held, held])
    return Splits(*(Images(cut, name=f"photos-{part}", provenance=where)
                    for cut, part in zip(cuts, ("train", "valid", "test"), strict=True)))  # fmt: skip


def photo_files(folder: Path) -> list[Path]:
    """Return the PNG and JPEG files of a folder, sorted by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg"))


def crops(files: Sequence[Path], size: int) -> tuple[Tensor, int]:
    """Return centre crops as uint8 (N, 3, size, size), and how many files were too small for one."""
    kept = []
    for file in files:
        picture = _pixels(file)
        top, left = (picture.shape[1] - size) // 2, (picture.shape[2] - size) // 2
        if min(top, left) >= 0:
            kept.append(picture[:, top : top + size, left : left + size].clone())  # a clone frees the whole picture
    skipped = len(files) - len(kept)
    if skipped:
        config.log.info(_skipped(skipped, size))
    return torch.stack(kept) if kept else torch.zeros(0, 3, size, size, dtype=torch.uint8), skipped


def _skipped(count: int, size: int) -> str:
    return f"{count} photographs smaller than {size}×{size} left out" if count else ""


def _pixels(file: Path) -> Tensor:
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedData(f"{file} is not a photograph that can be read: {error}") from error
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1)
