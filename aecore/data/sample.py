"""The built-in sample: small sets made from what Python packages bring along, without network or data files.

It has the image shapes and the classes of the real sets, so that every chapter runs on it. It is no
replacement for them: no number measured on it belongs on a page.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from .catalogue import CATALOGUE
from .images import Images, Provenance, Splits
from .pictures import FORMATS

SIZE = 128  # height and width of the sample's photograph crops in pixels, at most
KODAK = (0, 0, 2), 176, 192  # pictures in each part, height and width: MS-SSIM needs 176
GLYPHS_PER_CLASS = (22, 3, 3)  # in train, valid, test
# All of them are files inside the scikit-image and scikit-learn wheels.
PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "tissue": ("skimage", "data/ihc.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmb10", "cmss10", "cmti10"),
)


def build(name: str, size: int = SIZE) -> Splits:
    """Return the sample that takes the place of a set: the same on every call.

    Sizes (train, valid, test) and shapes: mnist 1,050 / 50 / 25 of 1×28×28; emnist 1,034 / 141 / 141 of 1×28×28;
    cifar10 1,050 / 25 / 25 of 3×32×32; stl10 200 / 40 / 40 of 3×96×96, which are nine times as large; div2k and
    photos 32 / 8 / 8 of 3×128×128 (smaller if `size` is); kodak 0 / 0 / 2 of 3×176×192.

    Args:
        name: of the set.
        size: height and width of the crops for div2k and photos, in pixels; larger than 128 counts as 128.
    """
    if name == "mnist":
        return _digits()
    if name == "emnist":
        return _glyphs()
    if name == "kodak":
        return _crops(name, *KODAK)
    if name == "stl10":
        return _crops(name, (200, 40, 40), *CATALOGUE[name].shape[1:])
    if name == "cifar10":
        return _crops(name, (1050, 25, 25), *CATALOGUE[name].shape[1:])
    return _crops(name, (32, 8, 8), min(size, SIZE), min(size, SIZE))


def _digits() -> Splits:
    # The file of sklearn.datasets.load_digits: in each row 64 pixels from 0 to 16, then the digit.
    rows = np.loadtxt(_file_in_package("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    small = torch.from_numpy(rows[:, :64]).float().reshape(-1, 1, 8, 8) / 16
    # As in MNIST: the digit fills 20×20 pixels and a border of 4 is empty.
    frames = pad(interpolate(small, size=(20, 20), mode="bilinear"), (4, 4, 4, 4))
    order = np.random.default_rng(0).permutation(len(frames))
    source = "built-in sample: 1,797 digits of scikit-learn, 8×8 pixels enlarged to 28×28"
    pixels, labels = (frames * 255).round().to(torch.uint8), torch.from_numpy(rows[:, 64]).long()
    return _parts("mnist", pixels[order], labels[order], (1050, 50, 25), source, CATALOGUE["mnist"].classes)


def _glyphs() -> Splits:
    classes, rng = CATALOGUE["emnist"].classes, np.random.default_rng(0)
    pixels, labels = [], []
    # Copies outside, classes inside: each part then has the same number of every class.
    for copy in range(sum(GLYPHS_PER_CLASS)):
        for label, character in enumerate(classes):
            pixels.append(_glyph(character, FONTS[copy % len(FONTS)], rng))
            labels.append(label)
    counts = tuple(copies * len(classes) for copies in GLYPHS_PER_CLASS)
    source = "built-in sample: the 47 characters of EMNIST Balanced drawn from the fonts of Matplotlib"
    return _parts("emnist", torch.stack(pixels), torch.tensor(labels), counts, source, classes)


def _glyph(character: str, font: str, rng: np.random.Generator) -> Tensor:
    """Return one character as uint8 (1, 28, 28), white on black, slightly turned, shifted and scaled."""
    from PIL import Image, ImageDraw

    # Drawn at twice the size and halved, which smooths the edges.
    picture = Image.new("L", (56, 56))
    type_ = _font(font, int(rng.integers(38, 47)))
    ImageDraw.Draw(picture).text((28, 28), character, fill=255, font=type_, anchor="mm")
    shift = tuple(int(step) for step in rng.integers(-3, 4, size=2))
    picture = picture.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR, translate=shift)
    return torch.from_numpy(np.array(picture.resize((28, 28), Image.Resampling.BOX))).unsqueeze(0)


@cache
def _font(name: str, pixels: int):
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{name}.ttf", pixels)


def _crops(name: str, counts: tuple[int, int, int], height: int, width: int) -> Splits:
    rng = np.random.default_rng(0)
    photographs = [_photograph(key) for key in PHOTOGRAPHS]
    labels = torch.arange(sum(counts)) % len(photographs)  # the label is the photograph
    pixels = torch.stack([_crop(photographs[label], height, width, rng) for label in labels.tolist()])
    source = f"built-in sample: crops of {len(photographs)} photographs of scikit-image and scikit-learn"
    if name not in CATALOGUE or not CATALOGUE[name].classes:
        labels = None
    return _parts(name, pixels, labels, counts, source, () if labels is None else tuple(PHOTOGRAPHS))


@cache
def _photograph(key: str):
    from PIL import Image

    # The file itself, not skimage.data's function: that one goes to the network when a file is missing.
    with Image.open(_file_in_package(*PHOTOGRAPHS[key]), formats=FORMATS) as picture:
        return picture.convert("RGB")


def _file_in_package(package: str, path: str) -> Path:
    # Without importing the package: scikit-learn's import takes longer than the whole sample.
    return Path(find_spec(package).origin).parent / path


def _crop(picture, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Return a window of random size and place, resized to uint8 (3, height, width)."""
    from PIL import Image

    largest = min(picture.width / width, picture.height / height)
    scale = rng.uniform(min(1.0, largest), largest)
    left = rng.uniform(0, picture.width - scale * width)
    top = rng.uniform(0, picture.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    window = picture.resize((width, height), Image.Resampling.BOX, box=box)
    return torch.from_numpy(np.array(window)).permute(2, 0, 1)


def _parts(
    name: str, pixels: Tensor, labels: Tensor | None, counts: tuple[int, int, int], source: str, classes: tuple
) -> Splits:
    title = CATALOGUE[name].title if name in CATALOGUE else "the photographs"
    note = f"takes the place of {title} under the profile quick; train and test are made from the same originals"
    where = Provenance(source, "see the package it comes from", note, sample=True)
    whole, parts, start = Images(pixels, labels, name, where, classes), [], 0
    for part, count in zip(("train", "valid", "test"), counts, strict=True):
        cut = whole[start : start + count]
        parts.append(Images(cut.pixels, cut.labels, f"{name}-sample-{part}", where, classes))
        start += count
    return Splits(*parts)
