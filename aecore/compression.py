"""Pictures on the disk to `.aec` files and back: what the commands `compress` and `decompress` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import config, files
from .codec import CodecError
from .codec.container import MAX_BYTES
from .data.pictures import read_picture
from .metrics import psnr
from .models import PictureCodec

PUBLISHED = Path(__file__).parent / "published" / "10" / "codec.weights"  # as `PictureCodec.to_bytes` stores them
DELAY = 1.0  # seconds before a bar appears


@dataclass(frozen=True)
class Report:
    """What became of a picture.

    Args:
        path: of the file that was written.
        bytes: size of the `.aec` file.
        height, width: of the picture, in pixels.
        seconds: that the work took, without loading the codec.
        psnr_db: of the picture in the file against the original; None where there is no original.
    """

    path: Path
    bytes: int
    height: int
    width: int
    seconds: float
    psnr_db: float | None = None

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return 8 * self.bytes / (self.height * self.width)

    def __str__(self) -> str:
        quality = "" if self.psnr_db is None else f", {self.psnr_db:.2f} dB"
        size = f"{self.width}×{self.height} pixels in {self.bytes:,} bytes, {self.bpp:.3f} bit/pixel"
        return f"{self.path}: {size}{quality}, {self.seconds:.1f} s"


def load_codec(weights: str | Path | None = None) -> PictureCodec:
    """Return the codec that comes with aecore, or the one whose weights are in a file.

    Raises:
        ValueError: none comes with this version, or the file holds none.
        OSError: the file cannot be read.
    """
    path = PUBLISHED if weights is None else Path(weights)
    if weights is None and not path.is_file():
        raise ValueError(
            "no codec is published with this version of aecore. Train one and store its weights, "
            "path.write_bytes(model.codec().to_bytes()), then name them with --weights"
        )
    try:
        return PictureCodec.from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def compress(
    source: str | Path, target: str | Path, quality: float, codec: PictureCodec, refine: int = 0
) -> Report:
    """Write a PNG or JPEG file as an `.aec` file, and read it again to see that it is right.

    A picture whose colours are all grey is stored as a grey one. A bar shows the progress, on a terminal.

    Args:
        source: the picture. Transparent pixels show white, and grey of 16 bits is rounded to 8.
        target: the file to write.
        quality: from 1 to `codec.levels`, whole or not.
        codec: makes the file.
        refine: steps in which the latents are optimised for this picture, 0 for none.

    Raises:
        ValueError: the quality or the number of steps is none, the picture is too large, or source and target are one
            file.
        OSError: the picture cannot be read, or the file not written.
    """
    source, target = Path(source), Path(target)
    if source.resolve() == target.resolve():
        raise ValueError(f"target: wanted another file than {source}, which would be lost")
    pixels, _ = read_picture(source)
    x = _as_floats(pixels)
    start = time.perf_counter()
    with _bar("encoding") as tell:
        (file,) = codec.compress(x, quality, refine, tell)
    seconds = time.perf_counter() - start
    with _bar("reading it again") as tell:
        x_hat = codec.decompress([file], tell)
    with files.atomic_write(target) as part:
        part.write_bytes(file)
    return Report(target, len(file), *x.shape[2:], seconds, psnr(x, x_hat).item())


def decompress(source: str | Path, target: str | Path, codec: PictureCodec) -> Report:
    """Write the picture of an `.aec` file as a PNG. A bar shows the progress, on a terminal.

    Args:
        source: the file.
        target: the picture to write; its name ends in .png.
        codec: the one that has made the file.

    Raises:
        CodecError: the file is damaged, of another model, or none of ours.
        ValueError: the target's name ends in something else.
        OSError: the file cannot be read, or the picture not written.
    """
    from PIL import Image

    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".png":
        raise ValueError(f"target: wanted a name that ends in .png, got {target.name}")
    file = _read(source)
    start = time.perf_counter()
    try:
        with _bar("decoding") as tell:
            picture = codec.decompress([file], tell)[0]
    except CodecError as error:
        raise CodecError(f"{source}: {error}") from error
    seconds = time.perf_counter() - start
    shades = (picture * 255).round().byte()
    shades = shades[0] if len(shades) == 1 else shades.permute(1, 2, 0)
    with files.atomic_write(target) as part:
        Image.fromarray(shades.numpy()).save(part, "PNG")
    return Report(target, len(file), *picture.shape[1:], seconds)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error, where that is a terminal, and give what is told the share that is done.

    Small pictures, which take less than a second, go without one; `AECORE_PROGRESS=0` turns it off.
    """
    from tqdm import tqdm

    disable = None if config.shows_progress() else True  # with None, tqdm looks whether there is a terminal
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc=what, disable=disable, delay=DELAY, leave=False, bar_format=form) as bar:
        yield lambda share: bar.update(share - bar.n)


def _as_floats(pixels: Tensor) -> Tensor:
    """Return uint8 pixels (3, H, W) as floats (1, C, H, W), with one channel where all three are the same."""
    grey = bool((pixels == pixels[:1]).all())
    return (pixels[:1] if grey else pixels).unsqueeze(0).to(torch.float32) / 255


def _read(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(MAX_BYTES + 1)  # one more than is accepted, so that a larger file is refused
