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
        ValueError: wrong type, shape or range; the message says what was found and what to try.
    """
    pixels = torch.as_tensor(pixels)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    _check_shape(pixels)
    if labels is not None:
        labels = torch.as_tensor(labels)
        if labels.is_floating_point():
            raise ValueError(f"labels: wanted integers, got {labels.dtype}")
        labels = labels.long().cpu().clone()
    # A copy: what the reader does to the array later must not change these images.
    own = _as_bytes(pixels).cpu().clone(memory_format=torch.contiguous_format)
    return Images(own, labels, name, Provenance(source))


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


def _as_bytes(pixels: Tensor) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise ValueError(f"pixels: wanted uint8 (0 to 255) or floats in [0, 1], got {pixels.dtype}")
    low, high = pixels.min().item(), pixels.max().item()
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        hint = "; try dividing by 255" if 1 < high <= 255 and low >= 0 else ""
        raise ValueError(f"pixels: floats must lie in [0, 1], got values from {low:g} to {high:g}{hint}")
    return (pixels * 255).round().to(torch.uint8)
