"""`own_picture`: a picture of the reader's own, as a file of the codec, beside JPEG and WebP of the same bytes."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from ..codec import rivals
from ..data.pictures import read_picture
from ..metrics import psnr
from ..models import PictureCodec
from ..models.picture_codec import check_quality
from .page import Figure
from .sprite import data_uri, png, to_bytes

SHOWN = 256  # height and width of the part that is shown, in pixels: its centre, so that each pixel is seen
RIVALS = {"JPEG": "jpeg", "WebP": "webp"}


class Copy(NamedTuple):
    """A picture as a codec gives it back, and the bytes of its file."""

    x_hat: Tensor
    size: int


def own_picture(codec: PictureCodec, example: Tensor, quality: float = 2) -> Figure:
    """Return a figure of a picture as a file of `codec`, beside JPEG and WebP of at most the same bytes.

    The reader may upload a PNG or JPEG file in place of the example, choose the quality, and download the file. This
    needs a kernel; a page without one says so.

    Args:
        codec: writes the files.
        example: the picture to begin with, floats (1, 3, H, W) in [0, 1].
        quality: from 1 to `codec.levels`.

    Raises:
        ValueError: the picture or the quality does not fit the codec.
    """
    check_quality(quality, codec.levels)
    page = "<p>In a notebook there are controls here: upload a picture, choose a quality, download the file.</p>"
    alt = "a picture of your own beside JPEG and WebP, for which a notebook is needed"
    return Figure(page, alt, lambda: Panel(codec, example, quality).box)


class Panel:
    """The controls: a picture to upload, the quality, the comparison and the file to download.

    Args:
        codec, example, quality: as of `own_picture`.

    Attributes:
        upload: takes one PNG or JPEG file.
        quality: a slider.
        view: the comparison, or what is wrong with the upload, as HTML.
        box: all of it, to be displayed.
    """

    def __init__(self, codec: PictureCodec, example: Tensor, quality: float) -> None:
        import ipywidgets as widgets

        self.codec, self.x, self.name = codec, example, "photo"
        self.upload = widgets.FileUpload(accept=".png,.jpg,.jpeg", multiple=False, description="your picture")
        self.quality = widgets.FloatSlider(
            min=1, max=codec.levels, value=quality, step=0.25, description="quality", continuous_update=False
        )
        self.view = widgets.HTML()
        self.box = widgets.VBox([widgets.HBox([self.upload, self.quality]), self.view])
        self.upload.observe(self._took, names="value")
        self.quality.observe(lambda _change: self._draw(), names="value")
        self._draw()

    def _took(self, _change) -> None:
        if not self.upload.value:
            return
        uploaded = self.upload.value[0]
        try:
            self.x = _uploaded(uploaded["content"])
        except OSError:
            self.view.value = f"<p>{html.escape(uploaded['name'])} is no PNG or JPEG file that can be read.</p>"
            return
        self.name = Path(uploaded["name"]).stem
        self._draw()

    def _draw(self) -> None:
        page, file = _compared(self.codec, self.x, self.quality.value)
        link = f"data:application/octet-stream;base64,{base64.b64encode(file).decode()}"
        name = html.escape(f"{self.name}.aec", quote=True)
        self.view.value = f'{page}<p><a download="{name}" href="{link}">{name}, {len(file):,} bytes</a></p>'


def _uploaded(content: bytes | memoryview) -> Tensor:
    """Return the picture of an uploaded file, floats (1, 3, H, W)."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "uploaded"
        path.write_bytes(content)
        pixels, _ = read_picture(path)
    return pixels.unsqueeze(0).to(torch.float32) / 255


def _compared(codec: PictureCodec, x: Tensor, quality: float) -> tuple[str, bytes]:
    """Return the comparison as HTML, and the file of the codec."""
    (file,) = codec.compress(x, quality)
    copies = {"original": Copy(x, x.numel()), "ours": Copy(codec.decompress([file]), len(file))}
    pixels = to_bytes(x)[0].movedim(0, -1).numpy()
    for title, name in RIVALS.items():
        found = rivals.of_size(name, pixels, len(file))
        x_hat = torch.from_numpy(rivals.decode(found)).movedim(-1, 0)[None].to(torch.float32) / 255
        copies[title] = Copy(x_hat, len(found))
    return "".join(_shown(title, x, copy) for title, copy in copies.items()), file


def _shown(title: str, x: Tensor, copy: Copy) -> str:
    height, width = x.shape[2:]
    top, left = ((max(side - SHOWN, 0)) // 2 for side in (height, width))
    part = copy.x_hat[:, :, top : top + SHOWN, left : left + SHOWN]
    picture = data_uri(png(to_bytes(part)[0]))
    words = f"{title}: {copy.size:,} bytes"
    if title != "original":
        words += f", {8 * copy.size / (height * width):.3f} bpp, {psnr(x, copy.x_hat).item():.2f} dB"
    return (
        '<figure style="display: inline-block; margin: 4px; max-width: 100%">'
        f'<img src="{picture}" alt="{title}" style="max-width: 100%; height: auto">'
        f"<figcaption>{words}</figcaption></figure>"
    )
