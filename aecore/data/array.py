"""The reader's own images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .images import Images, Provenance


def from_array(
    pixels: np.ndarray | Tensor,
    labels: np.ndarray | Tensor | None = None,
    name: str = "own images",
    source: str = "the reader's own images",
) -> Images:
    """Return `Images` made from an array.

    Args:
        pixels: shape (N, H, W) for grey images or (N, C, H, W) with C = 1 or 3; uint8, or floats in [0, 1], which
            are rounded to 256 levels.
        labels: integers of shape (N,), or None.
        name: of the set.
        source: what a page should say about where it comes from.

    Raises:
        TypeError: not an array of numbers, for example a PIL image; the message says how to make one.
        ValueError: wrong kind of numbers, shape or range; the message says what was found and what to try.
    """
    pixels = _tensor("pixels", pixels)
    if pixels.ndim == 3:
        _refuse_one_picture(pixels)
        pixels = pixels.unsqueeze(1)
    _check_shape(pixels)
    if labels is not None:
        labels = _integers(_tensor("labels", labels))
    # A copy: what the reader does to the array later must not change these images.
    own = _to_uint8(pixels).cpu().clone(memory_format=torch.contiguous_format)
    return Images(own, labels, name, Provenance(source))


def _tensor(argument: str, values: object) -> Tensor:
    """Return an array, a tensor or nested lists of numbers as a tensor."""
    if isinstance(values, Tensor):
        return values.detach()
    if not isinstance(values, np.ndarray | list | tuple):
        raise TypeError(
            f"{argument}: wanted a NumPy array or a torch tensor, got {_type_name(values)}; "
            f"try numpy.asarray({argument})"
        )
    try:
        array = np.array(values)
        # PyTorch reads numbers in the machine's own byte order only.
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError, RuntimeError) as error:
        # Lists of other things, of arrays of several shapes, arrays of words or of objects.
        inside = f" of {_type_name(values[0])}" if isinstance(values, list | tuple) and values else ""
        raise TypeError(
            f"{argument}: no array of numbers can be made of this {type(values).__name__}{inside} ({error}); all "
            f"must be numbers, and all images of one size. Try numpy.stack([numpy.asarray(one) for one in {argument}])"
        ) from error


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _refuse_one_picture(pixels: Tensor) -> None:
    """Refuse shape (A, B, 3): rather one picture in colour than A grey images that are 3 pixels wide."""
    if pixels.shape[2] not in (3, 4):
        return
    opaque = "" if pixels.shape[2] == 3 else "[:, :, :3]"
    raise ValueError(
        f"pixels: the shape {tuple(pixels.shape)} may mean one colour image (H, W, C) or grey images (N, H, W). For "
        f"one colour image try torch.as_tensor(pixels){opaque}.permute(2, 0, 1)[None], shape (1, 3, H, W); for grey "
        f"images pixels[:, None], shape (N, 1, H, W)"
    )


def _check_shape(pixels: Tensor) -> None:
    seen = tuple(pixels.shape)
    if pixels.ndim != 4:
        raise ValueError(f"pixels: wanted shape (N, H, W) or (N, C, H, W), got {seen}")
    if pixels.numel() == 0:
        raise ValueError(f"pixels: an empty set, shape {seen}; wanted one image or more")
    if seen[1] not in (1, 3):
        hint = ""
        if seen[3] in (1, 3):
            hint = "; the channels come last here, try permute(0, 3, 1, 2) (NumPy: transpose(0, 3, 1, 2))"
        raise ValueError(f"pixels: wanted 1 or 3 channels in shape (N, C, H, W), got {seen[1]} in {seen}{hint}")


def _to_uint8(pixels: Tensor) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise ValueError(f"pixels: wanted uint8 (0 to 255) or floats in [0, 1], got {pixels.dtype}")
    low, high = pixels.min().item(), pixels.max().item()
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        hint = "; try dividing by 255" if 1 < high <= 255 and low >= 0 else ""
        raise ValueError(f"pixels: floats must lie in [0, 1], got values from {low:g} to {high:g}{hint}")
    return (pixels * 255).round().to(torch.uint8)


def _integers(labels: Tensor) -> Tensor:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels: wanted integers, got {labels.dtype}")
    return labels.long().cpu().clone()
