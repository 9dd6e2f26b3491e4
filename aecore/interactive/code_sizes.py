"""`sizes`: the same images from codes of several sizes, which the reader chooses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..runs import Run
from . import live, stills
from .coder import Coder, names_of, one_of_each
from .page import Figure, write
from .sheet import MAX_BYTES, data_uri, fitted, png, sheet, to_bytes


def sizes(
    models: Mapping[int, nn.Module | Run],
    images: Images,
    *,
    count: int = 10,
    alt: str | None = None,
    caption: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Figure:
    """Return a figure in which the reader moves the code size and sees the same images reconstructed.

    Args:
        models: for each code size an autoencoder of that size, or its run.
        images: of shape (N, C, H, W); up to `count` of them are shown, one of each class where there are more.
        count: how many images are shown at most.
        alt: what the figure shows, for those who do not see it; made from the sizes where none is given.
        caption: what stands below the figure.
        max_bytes: what the figure's HTML may have; pictures are halved where they do not fit.

    Raises:
        TypeError: one of `models` is no autoencoder, or `images` are no `Images`.
        ValueError: there are fewer than two sizes, a model's code has another size than its key says, the shapes do
            not fit, or max_bytes is too small.
    """
    coders = _coders(models, images)
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"count: wanted a whole number of images, at least 1, got {count!r}")
    shown = one_of_each(images, count)
    copies = {size: coder.decode(coder.encode(shown)) for size, coder in coders.items()}
    alt = alt or (
        f"{len(shown)} images in the top row, and below them their reconstructions from codes of "
        f"{', '.join(map(str, coders))} values."
    )

    def build(_steps: int, shrink: int) -> str:
        original = to_bytes(shown.floats(), shrink)
        small = {size: to_bytes(x_hat, shrink) for size, x_hat in copies.items()}
        still = stills.rows({"original": original, **{_values(size): rows for size, rows in small.items()}})
        return write(_data(shown, original, small, copies), still, alt, caption)

    return Figure(fitted(build, (1,), max_bytes), alt, lambda: live.panels(coders, images))


def _coders(models: Mapping[int, nn.Module | Run], images: Images) -> dict[int, Coder]:
    """Return the models by code size, the smallest first."""
    if not isinstance(models, Mapping):
        raise TypeError(f"models: wanted a mapping {{code size: model}}, got {type(models).__name__}")
    if len(models) < 2:
        raise ValueError(f"models: wanted at least two code sizes to choose from, got {len(models)}")
    coders = {size: Coder(models[size], images, f"models[{size!r}]") for size in models}
    for size, coder in coders.items():
        if size != coder.size:
            raise ValueError(f"models: the model for code size {size!r} has a code of {coder.size} values")
    return dict(sorted(coders.items()))


def _data(shown: Images, original: Tensor, small: dict[int, Tensor], copies: dict[int, Tensor]) -> dict:
    """Return what figure.js needs: on the sheet stand the originals, then the copies of each size."""
    whole, columns = sheet(torch.cat([original, *small.values()]))
    x = shown.floats()
    errors = {size: (x_hat.clamp(0, 1) - x).square().mean().item() for size, x_hat in copies.items()}
    return {
        "kind": "sizes",
        "title": "Choose a code size and see the same images reconstructed",
        "hint": "Move the slider. Above are the originals, below them what is left after the code.",
        "sheet": data_uri(png(whole)),
        "columns": columns,
        "width": original.shape[3],
        "height": original.shape[2],
        "count": len(shown),
        "names": names_of(shown),
        "sizes": list(small),
        "said": [f"{_values(size)}: mean squared error {errors[size]:.4f} on these images." for size in small],
        "start": 0,
    }


def _values(size: int) -> str:
    return f"{size} code value{'' if size == 1 else 's'}"
