"""The sets that the book uses: their names, shapes, sizes and folders. Facts only, no code that reads."""

from __future__ import annotations

import os
import string
from dataclasses import dataclass
from pathlib import Path

CROP = 344  # side, in pixels, of the centre crop of a photograph


@dataclass(frozen=True)
class DataSet:
    """The facts about one set.

    Args:
        title: its official name.
        what: one line for a list.
        shape: (C, H, W) of one image.
        counts: images in the official training files, how many of those are set aside for validation, and
            images in the official test files.
        places: folders below `$AECORE_DATA`, in order of preference; of a tuple all must be there.
        licence: as far as stated by the source.
        download_mb: size of the download in 10⁶ bytes; 0 where there is none.
        classes: names of the labels, in order.
        stand_in_prefix: what a smaller selection in the same folder may still be called.
    """

    title: str
    what: str
    shape: tuple[int, int, int]
    counts: tuple[int, int, int]
    places: tuple[tuple[str, ...], ...]
    licence: str
    download_mb: int
    classes: tuple[str, ...] = ()
    stand_in_prefix: str = ""


CATALOGUE = {
    "mnist": DataSet(
        "MNIST", "handwritten digits, 28×28 grey, 10 classes", (1, 28, 28), (60_000, 5_000, 10_000),
        (("MNIST/raw",),), "CC BY-SA 3.0", 12, tuple(string.digits),
    ),
    "emnist": DataSet(
        "EMNIST Balanced", "handwritten digits and letters, 28×28 grey, 47 classes", (1, 28, 28),
        (112_800, 11_280, 18_800), (("EMNIST/raw",),), "from NIST Special Database 19, US government work", 562,
        tuple(string.digits + string.ascii_uppercase + "abdefghnqrt"), "EMNIST, ",
    ),
    "cifar10": DataSet(
        "CIFAR-10", "small photographs of things and animals, 32×32 colour, 10 classes", (3, 32, 32),
        (50_000, 5_000, 10_000), (("cifar-10-batches-py",),), "not stated; citation asked for", 171,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "stl10": DataSet(
        "STL-10", "photographs of things and animals, 96×96 colour, 10 classes", (3, 96, 96),
        (5_000, 500, 8_000), (("stl10_binary",),), "ImageNet's terms: non-commercial research and education", 2640,
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    ),
    "div2k": DataSet(
        "DIV2K", f"photographs of 2,000 pixels, halved, centre crops of {CROP}×{CROP}, colour", (3, CROP, CROP),
        (800, 80, 100),
        (
            ("DIV2K_train_LR_bicubic/X2", "DIV2K_valid_LR_bicubic/X2"),
            ("DIV2K_train_HR", "DIV2K_valid_HR"),
        ),
        "academic research only", 1043,
    ),
    "kodak": DataSet(
        "Kodak", "24 photographs, 768×512 colour: for measuring only, never for training", (3, 512, 768),
        (0, 0, 24), (("photos/kodak",), ("kodak",)), "released by Eastman Kodak for unrestricted use", 0,
    ),
}  # fmt: skip
NAMES = (*CATALOGUE, "photos")


def data_root() -> Path:
    """Return the folder of all data: `$AECORE_DATA`, or `~/.cache/aecore`."""
    return Path(os.environ.get("AECORE_DATA") or "~/.cache/aecore").expanduser()


def has_files(folder: Path) -> bool:
    """Say whether `folder` is there with something in it: an interrupted tool may leave an empty one."""
    return folder.is_dir() and any(folder.iterdir())


def place_of(name: str, root: Path) -> tuple[Path, ...] | None:
    """Return the folders in which the set lies below `root`, or None when it is not there."""
    for place in CATALOGUE[name].places:
        folders = tuple(root / part for part in place)
        if all(has_files(folder) for folder in folders):
            return folders
    return None
