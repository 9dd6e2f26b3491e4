"""The models of the book. All autoencoders keep one protocol: `encode`, `decode`, `code_shape`."""

from __future__ import annotations

import difflib

from .autoencoder import Autoencoder, init_weights
from .classifier import ResidualClassifier
from .convolutional import ConvAutoencoder, StridedConvAutoencoder
from .decoders import UPSAMPLERS, UpsamplingAutoencoder
from .dense import DenseAutoencoder
from .frozen import Frozen, freeze, unfreeze
from .linear import LinearAutoencoder
from .principal import PCAStartAutoencoder, principal_components
from .summary import Summary, count_parameters, summary

MODELS: dict[str, type[Autoencoder]] = {
    "linear": LinearAutoencoder,
    "dense": DenseAutoencoder,
    "conv": ConvAutoencoder,
    "strided-conv": StridedConvAutoencoder,
    "upsampling": UpsamplingAutoencoder,
}


def create(name: str, image_shape: tuple[int, int, int], code_size: int) -> Autoencoder:
    """Return a new model by its name, for images of shape (C, H, W) and a code of `code_size` values.

    Raises:
        ValueError: no model has that name (the message suggests the nearest), or the sizes do not fit it.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(str(name), MODELS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"model: unknown name {name!r}.{hint} Known: {', '.join(MODELS)}.")
    return MODELS[name](image_shape, code_size)


__all__ = [
    "MODELS",
    "UPSAMPLERS",
    "Autoencoder",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "Frozen",
    "LinearAutoencoder",
    "PCAStartAutoencoder",
    "ResidualClassifier",
    "StridedConvAutoencoder",
    "Summary",
    "UpsamplingAutoencoder",
    "count_parameters",
    "create",
    "freeze",
    "init_weights",
    "principal_components",
    "summary",
    "unfreeze",
]
