"""The models of the book. All autoencoders keep one protocol: `encode`, `decode`, `code_shape`."""

from __future__ import annotations

from ..suggest import did_you_mean
from .album_codec import AlbumCodec
from .autoencoder import Autoencoder, check_image_shape, check_size, init_weights
from .classifier import ResidualClassifier
from .compressive import CompressiveAutoencoder
from .convolutional import ConvAutoencoder, StridedConvAutoencoder, channels_for, grid_of
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
    "variational": VariationalAutoencoder,
    "joint": JointAutoencoder,
}
GRIDS = (FullyConvAutoencoder, VariationalAutoencoder, JointAutoencoder)  # their codes grow with the image


def get(name: str) -> type[Autoencoder]:
    """Return a model's class by its name.

    Raises:
        ValueError: no model has that name (the message suggests the nearest).
    """
    if not isinstance(name, str) or name not in MODELS:
        hint = did_you_mean(name, MODELS)
        raise ValueError(f"model: unknown name {name!r}.{hint} Known: {', '.join(MODELS)}.")
    return MODELS[name]


def create(
    name: str, image_shape: tuple[int, int, int], code_size: int | None = None, stride: int | None = None
) -> Autoencoder:
    """Return a new model by its name, for images of shape (C, H, W) and a code of `code_size` values.

    Args:
        name: in `MODELS`.
        image_shape: (C, H, W) of one image.
        code_size: values in the code; None takes 32, or as many as the image has; of a code that is a grid, eight
            channels. Such codes have "conv", of H/4×W/4 places, and "fully-conv", "variational" and "joint".
        stride: pixels of an image's edge for one place of the code, for the latter three; None: 4. The second decoder
            of "joint" draws images of half the size, so it must be even there.

    Raises:
        ValueError: no model has that name, or the sizes do not fit it.
    """
    model = get(name)
    if stride is not None and model not in GRIDS:
        raise ValueError(f"stride: only {', '.join(n for n, m in MODELS.items() if m in GRIDS)} have one, not {name}")
    stride = 4 if stride is None else check_size("stride", stride)
    if code_size is None:
        channels, height, width = check_image_shape(image_shape)
        grid = model is ConvAutoencoder or model in GRIDS
        code_size = 8 * (height // stride) * (width // stride) if grid else 32
        code_size = min(code_size, channels * height * width)
    if model not in GRIDS:
        return model(image_shape, code_size)
    channels = channels_for(code_size, *grid_of(image_shape, stride))
    if model is not JointAutoencoder:
        return model(image_shape, channels, stride)
    if stride % 2:
        raise ValueError(f"stride: wanted an even one for joint, whose second decoder has half of it, got {stride}")
    return model(image_shape, channels, (stride, stride // 2))


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
