"""`code`: the picture that belongs to a code, which the reader moves."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..runs import Run
from . import live, stills
from .examples import class_name
from .flat import USED, FlatAutoencoder, finite
from .page import Figure, write
from .sprite import MAX_BYTES, finest, sprite, to_bytes

_STEPS_OF_A_SLIDER = (21, 31, 41, 61, 81, 121)
_STEPS_OF_A_PLANE = tuple(range(9, 33, 2))
_MARKS = 400  # more of them hide each other


def code(
    model: nn.Module | Run,
    images: Images,
    *,
    alt: str | None = None,
    caption: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Figure:
    """Return a figure in which the reader moves a code and sees its picture at once.

    A code of one value has a slider, and above it a stroke for each image at its code, in a row for each class. A code
    of two values has a plane to drag over, with a dot for each image and the name of each class at the mean of its
    codes. Of a longer code the figure shows the plane through the mean code along the first two principal directions,
    and says so; the controls that a live kernel adds have a slider for every value.

    Args:
        model: an autoencoder, or its run.
        images: of shape (N, C, H, W); their codes, from the 1st to the 99th percentile, give the range. The first
            2,000 are used, and 400 of them marked.
        alt: what the figure shows, for those who do not see it; made from the model where none is given.
        caption: what stands below the figure.
        max_bytes: what the figure's HTML may have. The grid of decoded codes is made as fine as fits, and where even
            the coarsest does not, the pictures are halved.

    Raises:
        TypeError: `model` is no autoencoder, or `images` are no `Images`.
        ValueError: the shapes do not fit, the codes are not finite or are all the same, or max_bytes is too small.
    """
    flat, used = FlatAutoencoder(model, images), images[:USED]
    space = _Space.of(finite(flat.encode(used)), flat.size)
    alt = alt or _default_alt(space)

    still = functools.cache(lambda shrink: _still(space, flat, shrink))

    def page(steps: int, shrink: int) -> str:
        axes = [_axis_values(low, high, steps) for low, high in space.ranges]
        pictures = to_bytes(flat.decode(space.grid(axes)), shrink)
        return write(_data(space, used, axes, pictures), still(shrink), alt, caption)

    counts = _STEPS_OF_A_SLIDER if space.dimensions == 1 else _STEPS_OF_A_PLANE
    return Figure(finest(page, counts, max_bytes), alt, lambda: live.Panel(flat, used).box)


@dataclass
class _Space:
    """What the figure moves in: the code itself, or a plane through codes of more values.

    Args:
        origin: the code at the place 0, shape (size,).
        directions: one code for each axis, shape (dimensions, size).
        coordinates: of the images' codes along the axes, shape (N, dimensions).
        ranges: lowest and highest value of each axis.
        explained: share of the codes' variance that lies in the plane; None where the axes are the code values.
    """

    origin: Tensor
    directions: Tensor
    coordinates: Tensor
    ranges: list[tuple[float, float]]
    explained: float | None

    @classmethod
    def of(cls, codes: Tensor, size: int) -> _Space:
        """Return the space of codes (N, size)."""
        origin, directions, share = torch.zeros(size), torch.eye(size), None
        if size > 2:
            origin = codes.mean(0)
            directions, share = _principal(codes - origin)
        coordinates = (codes - origin) @ directions.T
        ends = torch.quantile(coordinates, torch.tensor([0.01, 0.99]), dim=0).T.tolist()
        if any(not high - low > 1e-6 * max(1.0, abs(low), abs(high)) for low, high in ends):
            raise ValueError(
                "images: their codes are all the same, so there is no range to move in. Give several different images, "
                "or train the model."
            )
        return cls(origin, directions, coordinates, [tuple(pair) for pair in ends], share)

    @property
    def dimensions(self) -> int:
        """1 or 2."""
        return len(self.directions)

    @property
    def names(self) -> list[str]:
        """What the axes are called in a sentence."""
        return [f"z{i}" for i in "₁₂"[: self.dimensions]] if self.explained is None else ["direction 1", "direction 2"]

    def grid(self, axes: list[list[float]]) -> Tensor:
        """Return the codes at all combinations of values, the first axis running fastest."""
        coordinates = torch.cartesian_prod(*[torch.tensor(values) for values in reversed(axes)]).reshape(-1, len(axes))
        return self.origin + coordinates.flip(1) @ self.directions


def _principal(centred: Tensor) -> tuple[Tensor, float]:
    """Return the first two principal directions of centred codes, and their share of the variance."""
    _, scale, directions = torch.linalg.svd(centred.double(), full_matrices=False)
    if len(directions) < 2:
        raise ValueError("images: wanted at least 2, to find the directions in which their codes lie, got 1")
    first = directions[:2]
    # Both signs are as good; the same one each time keeps the figure the same.
    first = first * first.gather(1, first.abs().argmax(1, keepdim=True)).sign()
    share = (scale[:2].square().sum() / scale.square().sum().clamp(min=1e-30)).item()
    return first.float(), share


def _digits(low: float, high: float) -> int:
    """Return how many decimals tell the steps of an axis apart."""
    return max(0, 3 - math.floor(math.log10(high - low)))


def _axis_values(low: float, high: float, steps: int) -> list[float]:
    """Return evenly spaced values, rounded to what is shown, so that a picture belongs to the value beside it."""
    return [round(value, _digits(low, high)) for value in torch.linspace(low, high, steps).double().tolist()]


def _data(space: _Space, images: Images, axes: list[list[float]], pictures: Tensor) -> dict:
    """Return what figure.js needs; its comments say what each part is."""
    where = (" (left to right)", " (down to up)") if space.dimensions == 2 else ("",)
    kind = "code value " if space.explained is None else ""
    return {
        "kind": "code",
        "title": "Move a code and see its picture",
        "hint": _hint(space),
        **sprite(pictures),
        "axes": [
            {"name": name, "label": kind + name + place, "values": values, "digits": _digits(*ends)}
            for name, place, values, ends in zip(space.names, where, axes, space.ranges, strict=True)
        ],
        "start": [_nearest(values, place) for values, place in zip(axes, space.coordinates[0].tolist(), strict=True)],
        **_marks(space, images),
    }


def _hint(space: _Space) -> str:
    what = "Each dot is the code of one image; a name stands at the mean code of its class, or beside it."
    if space.dimensions == 1:
        return (
            "Move the slider, or drag over the rows above it. Each stroke is the code of one image, in its class’s row."
        )
    if space.explained is None:
        return f"Drag over the plane, or move the sliders. {what}"
    return (
        f"This model’s code has {len(space.origin)} values. The figure shows one plane of them: through the mean code, "
        f"along the first two principal directions, which hold {space.explained:.0%} of the codes’ variance. Drag over "
        f"the plane, or move the sliders. {what}"
    )


def _marks(space: _Space, images: Images) -> dict:
    """Return the classes with their mean coordinates, and those of the first images that lie in the figure."""
    labels = torch.zeros(len(images), dtype=torch.long) if images.labels is None else images.labels
    found = sorted(set(labels.tolist()))
    means = [space.coordinates[labels == label].mean(0).tolist() for label in found]
    shown = [] if images.labels is None else list(zip([class_name(images, n) for n in found], means, strict=True))
    inside = [
        [*(float(f"{value:.4g}") for value in place), found.index(label)]
        for place, label in zip(space.coordinates[:_MARKS].tolist(), labels[:_MARKS].tolist(), strict=True)
        if all(low <= value <= high for value, (low, high) in zip(place, space.ranges, strict=True))
    ]
    classes = [{"name": name, "mean": [float(f"{value:.4g}") for value in mean]} for name, mean in shown]
    return {"points": inside, "classes": classes}


def _nearest(values: list[float], value: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def _still(space: _Space, flat: FlatAutoencoder, shrink: int) -> str:
    """Return the still picture: a few decoded codes, evenly spread, as they lie in the figure."""
    axes = [_axis_values(*ends, steps) for ends, steps in zip(space.ranges, (11, 5), strict=False)]
    words = [[f"{value:.3g}".replace("-", "−") for value in values] for values in axes]
    kind = "code value " if space.explained is None else ""
    names = ["decoded image"] if space.dimensions == 1 else [f"{kind}{space.names[1]} = {word}" for word in words[1]]
    pictures = to_bytes(flat.decode(space.grid(axes)), shrink).unflatten(0, (len(names), -1))
    upwards = reversed(list(zip(names, pictures, strict=True)))
    return stills.rows(dict(upwards), words[0], kind + space.names[0])


def _default_alt(space: _Space) -> str:
    low_high = [
        f"{name} from {low:.3g} to {high:.3g}" for name, (low, high) in zip(space.names, space.ranges, strict=True)
    ]
    if space.explained is None:
        return f"Images decoded from codes on an even grid, with code value {' and '.join(low_high)}."
    return (
        f"Images decoded from codes of {len(space.origin)} values, on the plane through the mean code along the first "
        f"two principal directions: {' and '.join(low_high)}."
    )
