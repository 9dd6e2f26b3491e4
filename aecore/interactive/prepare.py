"""Pictures for `slider`, made by models: reconstructions by model, walks from one image to another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..runs import Run
from .examples import names_of
from .flat import FlatAutoencoder, finite
from .slider_figure import Menus


def reconstructions(models: Mapping[object, nn.Module | Run], images: Images) -> dict[str, Tensor]:
    """Return what each model makes of the same images.

    Args:
        models: autoencoders or their runs by the label of their position, such as the code size.
        images: of shape (N, C, H, W).

    Returns:
        For each label the reconstructions (N, C, H, W), in the order of `models`.

    Raises:
        TypeError: `models` is no mapping, one of them is no autoencoder, or `images` are no `Images`.
        ValueError: the shapes do not fit.
    """
    if not isinstance(models, Mapping):
        raise TypeError(f"models: wanted a mapping {{label: model}}, got {type(models).__name__}")
    flat = {str(label): FlatAutoencoder(model, images, f"models[{label!r}]") for label, model in models.items()}
    return {label: model.decode(model.encode(images)) for label, model in flat.items()}


def walks(model: nn.Module | Run, images: Images, steps: int = 11) -> Menus:
    """Return the pictures on straight lines in code space from each image to each, beside the mixture of their pixels.

    At the share t of the way from the code a to the code b stands the picture decoded from (1 − t) a + t b, and beside
    it (1 − t) times the pixels of the first image plus t times those of the second.

    Args:
        model: an autoencoder, or its run.
        images: few, of shape (N, C, H, W), since each two of them have pictures of their own. The first walk goes from
            the first image to the second.
        steps: how many pictures a walk has, both ends counted.

    Returns:
        Two menus, "from" and "to", over the images' class names, and positions from "0 %" to "100 %".

    Raises:
        TypeError: `model` is no autoencoder, or `images` are no `Images`.
        ValueError: the shapes do not fit, a code is not finite, or there are fewer than two images or steps.
    """
    flat = FlatAutoencoder(model, images)
    if len(images) < 2:
        raise ValueError(f"images: wanted at least two to walk between, got {len(images)}")
    if not isinstance(steps, int) or not 2 <= steps <= 101:
        raise ValueError(f"steps: wanted a whole number from 2 to 101, got {steps!r}")
    codes, x, names = finite(flat.encode(images)), images.floats(), names_of(images)
    shares = torch.linspace(0, 1, steps)
    labels = [f"{share:.0%}".replace("%", " %") for share in shares.tolist()]
    decoded = flat.decode(codes)
    views = dict.fromkeys(product(names, names))  # in the order of the menus
    for (a, first), (b, second) in combinations_with_replacement(enumerate(names), 2):
        between = flat.decode(torch.lerp(codes[a], codes[b], shares[1:-1, None])) if steps > 2 else decoded[:0]
        walk = torch.cat([decoded[a : a + 1], between, decoded[b : b + 1]])
        faded = torch.lerp(x[a], x[b], shares[:, None, None, None])
        views[first, second] = _positions(labels, walk, faded)
        views[second, first] = _positions(labels, walk.flip(0), faded.flip(0))
    return Menus(("from", "to"), views, start=(names[0], names[1]))


def _positions(labels: list[str], walk: Tensor, faded: Tensor) -> dict[str, dict[str, Tensor]]:
    rows = zip(labels, walk.split(1), faded.split(1), strict=True)
    return {label: {"codes mixed and decoded": code, "pixels mixed": pixels} for label, code, pixels in rows}
