"""The models of the book. All autoencoders keep one protocol: `encode`, `decode`, `code_shape`."""

from __future__ import annotations

from ..suggest import did_you_mean
from .album_codec import AlbumCodec
from .autoencoder import Autoencoder, check_image_shape, init_weights
from .classifier import ResidualClassifier
from .compressive import CompressiveAutoencoder
from .convolutional import ConvAutoencoder, StridedConvAutoencoder, channels_for, quarter_grid
from .decoders import UPSAMPLERS, UpsamplingAutoencoder
from .dense import DenseAutoencoder
from .frozen import Frozen, freeze, unfreeze
from .fully_convolutional import FullyConvAutoencoder, blocks_of
from .joint import JointAutoencoder
from .linear import LinearAutoencoder
from .picture_codec import PictureCodec
from .principal import PCAStartAutoencoder, PCAStartConvAutoencoder, principal_components
from .small_compressive import PriorSizes, SmallCompressiveAutoencoder
from .sources import resnet18_body, s0_autoencoder, s0_halves_for_16, with_s0_decoder
from .summary import Summary, count_parameters, summary
from .transform import nested_components
from .variational import VariationalAutoencoder, active_units

MODELS: dict[str, type[Autoencoder]] = {
    "linear": LinearAutoencoder,
    "dense": DenseAutoencoder,
    "conv": ConvAutoencoder,
    "strided-conv": StridedConvAutoencoder,
    "upsampling": UpsamplingAutoencoder,
    "fully-conv": FullyConvAutoencoder,
}


def get(name: str) -> type[Autoencoder]:
    """Return a model's class by its name.

    Raises:
        ValueError: no model has that name (the message suggests the nearest).
    """
    if not isinstance(name, str) or name not in MODELS:
        hint = did_you_mean(name, MODELS)
        raise ValueError(f"model: unknown name {name!r}.{hint} Known: {', '.join(MODELS)}.")
    return MODELS[name]


def create(name: str, image_shape: tuple[int, int, int], code_size: int | None = None) -> Autoencoder:
    """Return a new model by its name, for images of shape (C, H, W) and a code of `code_size` values.

    Args:
        name: in `MODELS`.
        image_shape: (C, H, W) of one image.
        code_size: values in the code; None takes 32, or as many as the image has; for "conv" and "fully-conv", whose
            code is a grid of H/4×W/4 places, eight channels.

    Raises:
        ValueError: no model has that name, or the sizes do not fit it.
    """
    model = get(name)
    if code_size is None:
        channels, height, width = check_image_shape(image_shape)
        grid = model in (ConvAutoencoder, FullyConvAutoencoder)
        code_size = 8 * (height // 4) * (width // 4) if grid else 32
        code_size = min(code_size, channels * height * width)
    if model is FullyConvAutoencoder:  # its code grows with the image, so it asks for channels
        return model(image_shape, channels_for(code_size, *quarter_grid(image_shape)))
    return model(image_shape, code_size)


__all__ = [
    "MODELS",
    "UPSAMPLERS",
    "AlbumCodec",
    "Autoencoder",
    "CompressiveAutoencoder",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "Frozen",
    "FullyConvAutoencoder",
    "JointAutoencoder",
    "LinearAutoencoder",
    "PCAStartAutoencoder",
    "PCAStartConvAutoencoder",
    "PictureCodec",
    "PriorSizes",
    "ResidualClassifier",
    "SmallCompressiveAutoencoder",
    "StridedConvAutoencoder",
    "Summary",
    "UpsamplingAutoencoder",
    "VariationalAutoencoder",
    "active_units",
    "blocks_of",
    "count_parameters",
    "create",
    "freeze",
    "get",
    "init_weights",
    "nested_components",
    "principal_components",
    "resnet18_body",
    "s0_autoencoder",
    "s0_halves_for_16",
    "summary",
    "unfreeze",
    "with_s0_decoder",
]
