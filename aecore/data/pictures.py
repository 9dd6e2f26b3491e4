"""Photographs: read PNG and JPEG files with care, and cut them to one size."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .. import config
from .catalogue import CROP
from .errors import DamagedData

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")  # by content, not by name: Pillow would hand an EPS called photo.png to Ghostscript
MAX_PIXELS = 80_000_000  # of one photograph: 240 MB as uint8 RGB, and about three times that while it is read


@dataclass(frozen=True)
class Crop:
    """How photographs are cut to one size.

    Args:
        size: height and width of a crop in pixels.
        per_photo: crops of each training photograph: 1 for the centre crop, more for so many random ones.
        seed: of the places of random crops.
    """

    size: int = CROP
    per_photo: int = 1
    seed: int = 0

    @property
    def centred(self) -> Crop:
        """The centre crop of the same size."""
        return replace(self, per_photo=1)

    def __str__(self) -> str:
        size = f"{self.size}×{self.size}"
        if self.per_photo == 1:
            return f"centre crops of {size}"
        return f"{self.per_photo} random crops of {size} of each training photograph (seed {self.seed})"


def photo_files(folder: Path) -> list[Path]:
    """Return the PNG and JPEG files of a folder, sorted by name; hidden ones are left out."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return sorted(file for file in files if not file.name.startswith("."))


def large_enough(files: Sequence[Path], size: int) -> tuple[list[Path], str]:
    """Return the photographs that hold a crop of `size`×`size` pixels, and a note on how many do not ("" for none).

    Raises:
        DamagedData: a file is not a photograph that can be read.
    """
    kept = [file for file in files if min(_dimensions(file)) >= size]
    skipped = len(files) - len(kept)
    note = f"{skipped} photographs smaller than {size}×{size} left out" if skipped else ""
    return kept, _logged(note)


def cut(parts: Sequence[Sequence[Path]], crop: Crop) -> tuple[list[Tensor], str]:
    """Return crops of the photographs of each part, and a note on the transparent ones ("" for none).

    Args:
        parts: files to train on, for validation and to test, all large enough.
        crop: of the first part; the others get the centre crop of that size.

    Returns:
        A uint8 tensor (N, 3, size, size) for each part, crops of one photograph side by side; the note.

    Raises:
        DamagedData: a file is not a photograph that can be read.
    """
    pixels, transparent = [], 0
    for files, how in zip(parts, (crop, crop.centred, crop.centred), strict=True):
        # Filled in place: a list of crops and a stack of them would need twice the memory.
        crops = torch.empty(len(files), how.per_photo, 3, how.size, how.size, dtype=torch.uint8)
        for number, file in enumerate(files):
            picture, see_through = read_picture(file)
            crops[number] = _crops(picture, how, number)
            transparent += see_through
        pixels.append(crops.flatten(0, 1))
    return pixels, _logged(f"{transparent} photographs with transparent pixels laid on white" if transparent else "")


def read_picture(file: Path) -> tuple[Tensor, bool]:
    """Return a photograph as uint8 (3, H, W), upright, and whether some of its pixels were transparent.

    Transparent pixels show the white of a page behind them. Grey of 16 bits is rounded to 8.

    Raises:
        DamagedData: the file is not a PNG or JPEG that can be read, or has more than `MAX_PIXELS` pixels.
    """
    from PIL import ImageOps

    with _opened(file) as picture:
        upright = ImageOps.exif_transpose(picture)
        visible, transparent = _on_white(_to_8_bits(upright))
        return torch.from_numpy(np.array(visible.convert("RGB"))).permute(2, 0, 1), transparent


def _dimensions(file: Path) -> tuple[int, int]:
    with _opened(file) as picture:
        return picture.size


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image]:
    """Yield a picture whose header has been read; whatever goes wrong in the block is damage to its file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns above a bound of its own; ours is lower and an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=FORMATS)
        with picture:
            _refuse_bomb(file, picture)
            yield picture
    except DamagedData:
        raise
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise DamagedData(f"{file} is not a photograph that can be read: {error or type(error).__name__}") from error


def _refuse_bomb(file: Path, picture: Image) -> None:
    pixels = picture.width * picture.height
    if pixels > MAX_PIXELS:
        raise DamagedData(
            f"{file} has {picture.width:,}×{picture.height:,} = {pixels:,} pixels, wanted at most {MAX_PIXELS:,}. "
            f"Make it smaller, or move it away."
        )


def _to_8_bits(picture: Image) -> Image:
    """Return 16-bit grey, which Pillow would clip to white, as 8-bit grey; other pictures as they are."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.uint32)
    # 65,535 = 255 · 257, so this is values / 257, rounded.
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "transparency" in picture.info:  # the one value that is transparent
        grey.putalpha(Image.fromarray(np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _on_white(picture: Image) -> tuple[Image, bool]:
    """Return the picture on a white page, and whether the page shows through anywhere."""
    from PIL import Image

    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture, False
    picture = picture.convert("RGBA")
    if picture.getchannel("A").getextrema()[0] == 255:
        return picture, False
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture), True


def _crops(picture: Tensor, crop: Crop, number: int) -> Tensor:
    """Return the crops (per_photo, 3, size, size) of the photograph at place `number` of its part."""
    room = [length - crop.size for length in picture.shape[1:]]
    if crop.per_photo == 1:
        places = [(room[0] // 2, room[1] // 2)]
    else:
        # A generator for each photograph: its crops do not depend on the size of those before it.
        draw = random.Random(f"{crop.seed}/{number}").randint
        places = [(draw(0, room[0]), draw(0, room[1])) for _ in range(crop.per_photo)]
    return torch.stack([picture[:, top : top + crop.size, left : left + crop.size] for top, left in places])


def _logged(note: str) -> str:
    if note:
        config.log.info(note)
    return note
