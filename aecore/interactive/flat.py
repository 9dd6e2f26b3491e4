"""A model seen from its codes: what the figures ask of it, on flat codes and on the CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..data.images import Images
from ..inference import apply
from ..runs import Run

# Codes of so many images say where codes lie; the images after them change the picture no more.
USED = 2000
_BATCH = 256


class FlatAutoencoder:
    """A model or a run's model that turns images into flat codes and back, without gradients.

    Args:
        model: an autoencoder, or the run that trained it; it stays on its device and in the mode that it has.
        images: a set that it is to encode; looked at for its shape.
        argument: how messages call the model.

    Raises:
        TypeError: the model has no `encode`, `decode` and `code_shape`.
        ValueError: there are no images, or they have another shape than the model was made for.
    """

    def __init__(self, model: nn.Module | Run, images: Images, argument: str = "model") -> None:
        self.model = model.model if isinstance(model, Run) else model
        if not isinstance(self.model, nn.Module) or not all(
            hasattr(self.model, name) for name in ("encode", "decode", "code_shape", "image_shape")
        ):
            raise TypeError(
                f"{argument}: wanted an autoencoder with encode and decode, or the Run that trained one, "
                f"got {type(self.model).__name__}. Derive its class from ae.models.Autoencoder."
            )
        if not isinstance(images, Images):
            raise TypeError(
                f"images: wanted ae.Images, such as mnist.test, got {type(images).__name__}. "
                "ae.from_array makes them of an array."
            )
        if len(images) == 0:
            raise ValueError("images: wanted at least one, got none")
        if images.shape != tuple(self.model.image_shape):
            raise ValueError(
                f"images: their shape {images.shape} does not fit the {argument}, which was made for "
                f"{tuple(self.model.image_shape)}. Choose images of that shape."
            )
        self.code_shape = tuple(self.model.code_shape)

    @property
    def size(self) -> int:
        """How many values a code holds."""
        return math.prod(self.code_shape)

    def encode(self, images: Images) -> Tensor:
        """Return the codes of images, float32 of shape (N, size), on the CPU."""
        return apply(self.model.encode, images.floats(), _BATCH).flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the pictures of flat codes (N, size) as floats (N, C, H, W) on the CPU, as the model gives them."""
        return apply(self.model.decode, codes.reshape(-1, *self.code_shape), _BATCH)


def finite(codes: Tensor) -> Tensor:
    """Return `codes`, or raise a ValueError where one of them is no finite number."""
    if not torch.isfinite(codes).all():
        raise ValueError("model: some codes of the images are not finite numbers (NaN or infinite). Train it again.")
    return codes
