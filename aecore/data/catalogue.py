"""The sets that the book uses: their names, shapes, sizes and folders. Facts only, no code that reads."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

CROP = 344  # height and width, in pixels, of a crop of a photograph


@dataclass(frozen=True)
class DataSet:
    """The facts about one set.

    Args:
        title: its official name.
        what: one line for a list.
        shape: (C, H, W) of one image.
        counts: images in the official training files, how many of those are set aside for validation, and
            images in the official test files.
        folders: folders below `$AECORE_DATA`, in order of preference; of a tuple all must be there.
        licence: as far as stated by the source.
        download_mb: size of the download in 10⁶ bytes; 0 where there is none.
        classes: names of the labels, in order.
        stand_in_prefix: what a smaller selection in the same folder may still be called.
        fingerprints: `Images.fingerprint` of train, valid and test, SHA-256 of the official pixels and labels;
            empty where no official copy was at hand, so that only counts or the files' own checksums tell.
    """

    title: str
    what: str
    shape: tuple[int, int, int]
    counts: tuple[int, int, int]
    folders: tuple[tuple[str, ...], ...]
    licence: str
    download_mb: int
    classes: tuple[str, ...] = ()
    stand_in_prefix: str = ""
    fingerprints: tuple[str, ...] = ()

    def has_counts(self, train: int, test: int) -> bool:
        """Say whether so many training and test images are as many as the official files hold."""
        return (train, test) == (self.counts[0], self.counts[2])

    def count_of(self, part: str) -> int:
        """Return how many images train, valid or test officially has."""
        train, valid, test = self.counts
        return {"train": train - valid, "valid": valid, "test": test}[part]


CATALOGUE = {
    "mnist": DataSet(
        "MNIST", "handwritten digits, 28×28 grey, 10 classes", (1, 28, 28), (60_000, 5_000, 10_000),
        (("MNIST/raw",),), "CC BY-SA 3.0", 12, tuple(string.digits),
        fingerprints=(
            "0a75392c08edddad046770700fcd0fe591950de09ffa405eb0069c561c5e8060",
            "e0c4715e83b82bd8f5971bb7568d0ac306b82568ccfc3210324cd3581c5ef9d0",
            "4718853ea946af656684509414983beff2e65cf414265c27966161014c003b8b",
        ),
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
        fingerprints=(
            "e5f9259ac2f2abeb6e90eb5d5e554a75a546c4f4c5be7b05f9ca819808833ad4",
            "359355b5ee3160b061082c8f6de2ebe089ea828cc0b7be464309d6d28001fc05",
            "815bee49b92162b075142619fb16b9562d1186e49d0509d9cf0af8940f739265",
        ),
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
        fingerprints=(  # of no images, twice, and of all 24 in the order of kodim01.png to kodim24.png
            "bb267280e97e2c1b9f486aa35b5ceaa7f6bb7450ece5c2dc7ad4fbcabf9d3f68",
            "bb267280e97e2c1b9f486aa35b5ceaa7f6bb7450ece5c2dc7ad4fbcabf9d3f68",
            "cf1cc403e06d6260dab9320ed426de23af0c77879ee03621497d9186d725308a",
        ),
    ),
}  # fmt: skip
NAMES = (*CATALOGUE, "photos")


def has_files(folder: Path) -> bool:
    """Say whether `folder` is there with something in it: an interrupted tool may leave an empty one."""
    return folder.is_dir() and any(folder.iterdir())


def folders_of(name: str, root: Path) -> tuple[Path, ...] | None:
    """Return the folders in which the set lies below `root`, or None when it is not there."""
    for alternative in CATALOGUE[name].folders:
        folders = tuple(root / folder for folder in alternative)
        if all(has_files(folder) for folder in folders):
            return folders
    return None
