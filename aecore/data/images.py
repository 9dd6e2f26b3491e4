"""Images as they lie in memory: one uint8 tensor, labels, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Provenance:
    """Where images come from, in words that may stand on a page.

    Args:
        source: "MNIST, official files" or "built-in sample (scikit-learn digits, enlarged)".
        licence: as far as stated by the source.
        note: what a reader must know, for example that a selection was made; may be empty.
        stand_in: True when these images stand in for others that could not be had.
        sample: True for the built-in sample.
    """

    source: str
    licence: str = "not stated"
    note: str = ""
    stand_in: bool = False
    sample: bool = False


@dataclass(frozen=True)
class Images:
    """A set of images of one size.

    Args:
        pixels: uint8 tensor of shape (N, C, H, W), values 0 to 255.
        labels: int64 tensor of shape (N,), or None.
        name: of the set and its part, "mnist-test".
        provenance: where they come from.
        classes: names of the labels, in order; may be empty.

    Raises:
        ValueError: pixels or labels have another type or shape; the message says which was found.
    """

    pixels: Tensor
    labels: Tensor | None = None
    name: str = "images"
    provenance: Provenance = field(default_factory=lambda: Provenance("made in this session"))
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(
                f"pixels: wanted a uint8 tensor of shape (N, C, H, W), got {self.pixels.dtype} "
                f"of shape {tuple(self.pixels.shape)}"
            )
        if self.labels is not None and self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(
                f"labels: wanted shape ({len(self.pixels)},), one for each image, got {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self):,} images of {'×'.join(map(str, self.shape))}"

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> Images:
        """Return the chosen images as `Images`: a slice, a list of positions or a boolean mask."""
        if isinstance(index, int):
            index = [index]
        labels = None if self.labels is None else self.labels[index]
        return replace(self, pixels=self.pixels[index], labels=labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.pixels.shape[1:])

    def floats(self, device: torch.device | str = "cpu") -> Tensor:
        """Return all images as float32 in [0, 1], shape (N, C, H, W), on `device`."""
        return self.pixels.to(device).float().div_(255)

    def resized(self, size: int) -> Images:
        """Return the same images with `size` rows and columns, by bilinear interpolation; "mnist at 32×32-test".

        Raises:
            ValueError: the size is no whole number from 1.
        """
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"size: wanted a whole number of pixels from 1, got {size!r}")
        pixels = torch.nn.functional.interpolate(self.pixels.float(), size=size, mode="bilinear")
        of, hyphen, part = self.name.partition("-")
        return replace(self, pixels=pixels.round().byte(), name=f"{of} at {size}×{size}{hyphen}{part}")

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that change when any pixel, label or the shape changes.

        Computed at every call, since the pixels may have been changed in place: about 0.1 s for 50 MB. Keep the
        value where it is needed more than once.
        """
        digest = hashlib.sha256(str(tuple(self.pixels.shape)).encode())
        digest.update(_memory(self.pixels))
        if self.labels is not None:
            digest.update(_memory(self.labels))
        return digest.hexdigest()


def _memory(values: Tensor) -> np.ndarray:
    """Return the bytes of a tensor in the order of its indices, without copying those that already lie so."""
    return values.cpu().contiguous().view(-1).numpy().view(np.uint8)


@dataclass(frozen=True)
class Splits:
    """The three parts of a set: to train on, to choose by, to report on once."""

    train: Images
    valid: Images
    test: Images

    def __repr__(self) -> str:
        return "\n".join(map(repr, (self.train, self.valid, self.test)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.train.shape

    def resized(self, size: int) -> Splits:
        """Return all three parts with `size` rows and columns (`Images.resized`)."""
        return Splits(*(part.resized(size) for part in (self.train, self.valid, self.test)))

    @property
    def provenance(self) -> Provenance:
        """Where the images come from."""
        return self.train.provenance

    @property
    def fingerprints(self) -> tuple[str, str, str]:
        """The fingerprints of train, valid and test, computed at every call."""
        return self.train.fingerprint, self.valid.fingerprint, self.test.fingerprint
