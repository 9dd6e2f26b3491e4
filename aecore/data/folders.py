"""Read the ordinary folders: those of torchvision's data sets, and folders of photographs."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .catalogue import CATALOGUE, folders_of
from .download import came_by_download
from .errors import DamagedData, DataNotFound
from .images import Images, Provenance, Splits
from .pictures import Crop, cut, large_enough, photo_files, read_picture

Part = tuple[Tensor, Tensor | None]  # pixels and labels
BY_COUNT = "official files by count, not by checksum"


@dataclass(frozen=True)
class Contents:
    """What the folder of a set holds.

    Args:
        train: pixels and labels to train on, uint8 (N, C, H, W) and int64 (N,) or None.
        valid: the same for validation, from the training files.
        test: the same of the test files.
        counts: images in the training files and in the test files.
        official: whether these are the official files, as far as checksums or, failing these, counts tell.
        source: in words.
        note: what else a page must say.
        classes: names of the labels.
    """

    train: Part
    valid: Part
    test: Part
    counts: tuple[int, int]
    official: bool
    source: str
    note: str = ""
    classes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        """Train, valid and test."""
        return self.train, self.valid, self.test


def read(name: str, root: Path, crop: Crop) -> Contents | None:
    """Return what the folders of a set hold, or None when they are not there.

    Args:
        name: of the set, as in the catalogue.
        root: folder of all data.
        crop: of the photographs of div2k.

    Raises:
        DamagedData: the folder is there but cannot be read.
    """
    folders = folders_of(name, root)
    if folders is None:
        return None
    try:
        contents = READERS[name](folders, crop)
        shape = (3, crop.size, crop.size) if name == "div2k" else CATALOGUE[name].shape
        splits = Splits(*(_checked(part, shape, len(contents.classes)) for part in contents.parts))
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        raise DamagedData(
            f"{folders[0]} is there, but {name} cannot be read from it ({error or type(error).__name__}). "
            f"Complete that folder, or move it away so that the set is downloaded."
        ) from error
    wanted = CATALOGUE[name].fingerprints
    as_published = not wanted or (contents.official and splits.fingerprints == wanted)
    return replace(contents, official=contents.official and as_published)


def _checked(part: Part, shape: tuple[int, int, int], classes: int) -> Images:
    images = Images(*part)
    if images.shape != shape:
        raise ValueError(f"wanted images of shape {shape}, found {images.shape}")
    if images.labels is not None and len(images):
        low, high = images.labels.min().item(), images.labels.max().item()
        if low < 0 or high >= classes:
            raise ValueError(f"labels: wanted 0 to {classes - 1}, found {low} to {high}")
    return images


def _hold_out(name: str, pixels: Tensor, labels: Tensor) -> tuple[Part, Part]:
    """Return what trains and what validates: the last images of the training files."""
    Images(pixels, labels)  # refuses labels that do not fit the images
    if bool((labels.diff() >= 0).all()):
        # Sorted by class: the last images would all be of one class.
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
        pixels, labels = pixels[order], labels[order]
    kept = len(pixels) - _valid_count(name, len(pixels))
    return (pixels[:kept], labels[:kept]), (pixels[kept:], labels[kept:])


def _valid_count(name: str, count: int) -> int:
    # The official share, so that a smaller stand-in is divided in the same proportion.
    train, valid, _ = CATALOGUE[name].counts
    return count * valid // train


def _read_mnist(folders: tuple[Path, ...], crop: Crop) -> Contents:
    # Not by torchvision's class: it prefers a folder MNIST/processed, whatever that holds.
    train, test = _idx_part(folders[0] / "train"), _idx_part(folders[0] / "t10k")
    return _by_count("mnist", train, test, "MNIST, official files")


def _read_emnist(folders: tuple[Path, ...], crop: Crop) -> Contents:
    parts = [_idx_part(folders[0] / f"emnist-balanced-{part}") for part in ("train", "test")]
    # The files hold every letter mirrored along its diagonal; rows and columns change places so that it stands upright.
    upright = [(pixels.transpose(2, 3).contiguous(), labels) for pixels, labels in parts]
    return _by_count("emnist", *upright, f"EMNIST Balanced, {BY_COUNT}")


def _by_count(name: str, train: Part, test: Part, source: str) -> Contents:
    facts, counts = CATALOGUE[name], (len(train[0]), len(test[0]))
    return Contents(*_hold_out(name, *train), test, counts, facts.has_counts(*counts), source, classes=facts.classes)


def _idx_part(start: Path) -> Part:
    images = _read_idx(start.with_name(f"{start.name}-images-idx3-ubyte"), 3)
    labels = _read_idx(start.with_name(f"{start.name}-labels-idx1-ubyte"), 1)
    return images.unsqueeze(1), labels.long()


def _read_idx(file: Path, ndim: int) -> Tensor:
    """Return an IDX file of unsigned bytes (yann.lecun.org/exdb/mnist: magic number, sizes, values) as uint8."""
    content, start = file.read_bytes(), 4 + 4 * ndim
    if len(content) < start or content[:4] != bytes((0, 0, 8, ndim)):
        raise ValueError(f"{file.name} is no unpacked IDX file of unsigned bytes with {ndim} axes")
    shape = struct.unpack(f">{ndim}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{file.name} has {len(content):,} bytes, its header promises {start + math.prod(shape):,}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def _read_cifar10(folders: tuple[Path, ...], crop: Crop) -> Contents:
    from torchvision.datasets import CIFAR10

    parts = []
    for train in (True, False):
        data = CIFAR10(folders[0].parent, train=train)  # compares MD5 sums before it opens a pickle
        pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        parts.append((pixels, torch.tensor(data.targets)))
    counts = len(parts[0][0]), len(parts[1][0])
    source, classes = "CIFAR-10, official files", CATALOGUE["cifar10"].classes
    return Contents(*_hold_out("cifar10", *parts[0]), parts[1], counts, True, source, classes=classes)


def _read_stl10(folders: tuple[Path, ...], crop: Crop) -> Contents:
    # Not by torchvision's class: it also wants the 2.7 GB of unlabelled images, which the book does not use.
    from torchvision.datasets import STL10
    from torchvision.datasets.utils import check_integrity

    folder = folders[0]
    official = all(check_integrity(folder / file, md5) for file, md5 in [*STL10.train_list[:2], *STL10.test_list])
    classes = tuple((folder / "class_names.txt").read_text(encoding="utf-8").split())
    train, test = (_stl10_part(folder, part) for part in ("train", "test"))
    counts = len(train[0]), len(test[0])
    source = "STL-10, official files, labelled images"
    return Contents(*_hold_out("stl10", *train), test, counts, official, source, classes=classes)


def _stl10_part(folder: Path, part: str) -> Part:
    pixels = torch.from_numpy(np.fromfile(folder / f"{part}_X.bin", dtype=np.uint8)).reshape(-1, 3, 96, 96)
    labels = torch.from_numpy(np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8)).long() - 1
    return pixels.transpose(2, 3).contiguous(), labels  # stored column by column, labels from 1 to 10


def _read_div2k(folders: tuple[Path, ...], crop: Crop) -> Contents:
    files = [photo_files(folder) for folder in folders]
    counts = len(files[0]), len(files[1])
    (train, skipped), (test, skipped_too) = (large_enough(some, crop.size) for some in files)
    kept = len(train) - _valid_count("div2k", len(train))
    (*pixels,), transparent = cut((train[:kept], train[kept:], test), crop)
    how = "official files" if all(came_by_download(folder) for folder in folders) else BY_COUNT
    kind = "full resolution" if "HR" in folders[0].name else "halved by bicubic resizing (X2)"
    return Contents(
        *((part, None) for part in pixels), counts, CATALOGUE["div2k"].has_counts(*counts),
        f"DIV2K, {how}, {kind}, {crop}", _joined(skipped, skipped_too, transparent),
    )  # fmt: skip


def _read_kodak(folders: tuple[Path, ...], crop: Crop) -> Contents:
    pictures = [read_picture(file)[0] for file in photo_files(folders[0])]
    portraits = sum(picture.shape[1] > picture.shape[2] for picture in pictures)
    # One tensor needs one shape: portraits lie down. No pixel changes, and codecs hardly notice.
    pictures = [picture.rot90(1, (1, 2)) if picture.shape[1] > picture.shape[2] else picture for picture in pictures]
    for picture in pictures:
        if picture.shape != CATALOGUE["kodak"].shape:
            raise ValueError(f"wanted pictures of 768×512 pixels, found {picture.shape[2]}×{picture.shape[1]}")
    test = torch.stack(pictures) if pictures else torch.zeros(0, *CATALOGUE["kodak"].shape, dtype=torch.uint8)
    none, counts = (test[:0], None), (0, len(test))
    note = f"for measuring only; {portraits} portrait pictures turned by 90° to 768×512"
    source = "Kodak lossless true colour image suite"
    return Contents(none, none, (test, None), counts, CATALOGUE["kodak"].has_counts(*counts), source, note)


READERS = {
    "mnist": _read_mnist,
    "emnist": _read_emnist,
    "cifar10": _read_cifar10,
    "stl10": _read_stl10,
    "div2k": _read_div2k,
    "kodak": _read_kodak,
}


def photographs(folders: Sequence[str | Path], root: Path, crop: Crop, stand_in: bool) -> Splits:
    """Return crops of all photographs in `folders`: 80 % to train on, 10 % valid, 10 % test.

    The files are sorted by name and then shuffled with seed 0, so each part has photographs of each folder.

    Args:
        folders: with PNG or JPEG files; relative ones are looked up below `root`.
        root: folder of all data.
        crop: of the training photographs, the others get the centre crop of that size; photographs that are too
            small are left out, and the note says how many.
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
    kept, skipped = large_enough(files, crop.size)
    if len(kept) < 3:
        raise DataNotFound(
            f"{named}: wanted at least 3 PNG or JPEG photographs of {crop.size}×{crop.size} pixels or more, found "
            f"{len(kept)}, and {len(files) - len(kept)} smaller ones. Choose another folder or a smaller size."
        )
    held = max(1, len(kept) // 10)
    (*pixels,), transparent = cut((kept[: -2 * held], kept[-2 * held : -held], kept[-held:]), crop)
    note = _joined("a stand-in for DIV2K" if stand_in else "", skipped, transparent)
    where = Provenance(f"{len(kept)} photographs from {named}, {crop}", note=note, stand_in=stand_in)
    return Splits(*(Images(part, name=f"photos-{word}", provenance=where)
                    for part, word in zip(pixels, ("train", "valid", "test"), strict=True)))  # fmt: skip


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
