"""The figures and tables of the book. Each function makes one figure, which teaches one thing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter
from torch import Tensor

from .data.images import Images
from .inference import Model, apply, model_of
from .metrics import check_images
from .runs import Run

# Colours of boxes in a diagram, light enough for black letters.
BORROWED, NEW, PLAIN = "#fdd0a2", "#c6dbef", "white"


def show(images: Tensor | Images, titles: Sequence[str] = (), columns: int = 10, size: float = 0.9) -> Figure:
    """Draw images in a grid, row by row.

    Args:
        images: `Images`, or floats of shape (N, C, H, W); values outside [0, 1] are drawn as 0 or 1.
        titles: a line above each image, as many as there are images, or none.
        columns: images in a row.
        size: width of one image in inches.

    Raises:
        TypeError, ValueError: there is nothing that could be drawn.
    """
    images = _floats(images)
    if not isinstance(titles, list | tuple) or len(titles) not in (0, len(images)):
        got = len(titles) if isinstance(titles, list | tuple) else repr(titles)
        raise ValueError(f"titles: wanted {len(images)}, one for each image, got {got}")
    _check_count("columns", columns)
    if not size > 0:
        raise ValueError(f"size: wanted the width of an image in inches, such as 0.9, got {size!r}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    height = size * images.shape[2] / images.shape[3] + (0.28 if titles else 0.04)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, image in enumerate(images):
        _draw(axes.flat[i], image)
        if titles:
            axes.flat[i].set_title(titles[i], fontsize=8)
    return figure


def reconstructions(models: Model | Run | Mapping[str, Model | Run], images: Images, count: int = 10) -> Figure:
    """Draw the first images of a set in the top row, and below them what each model makes of them.

    Args:
        models: one model or run, or several by the name that stands at their row.
        images: what to reconstruct.
        count: how many images.

    Raises:
        TypeError, ValueError: they are no models or no images.
    """
    check_images("images", images)
    _check_count("count", count)
    if isinstance(models, list | tuple) or (isinstance(models, Mapping) and not models):
        wanted = "a model or a run, or several by their name, as {'mine': run}"
        raise TypeError(f"models: wanted {wanted}, got {_kind(models)}")
    named = models if isinstance(models, Mapping) else {"reconstruction": models}
    x = images[:count].floats()
    rows = {"original": x}
    for name, model in named.items():
        rows[name] = reconstruct(model, x)
    height = len(rows) * (6.4 / count) * x.shape[2] / x.shape[3] + 0.1
    figure, axes = plt.subplots(len(rows), len(x), figsize=(7.6, height), squeeze=False)
    for row, (name, batch) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, batch, strict=True):
            _draw(axis, image)
            axis.set_axis_on()
            _bare(axis)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def reconstruct(model: Model | Run, x: Tensor) -> Tensor:
    """Return what a model, a run's model or a function makes of images (N, C, H, W), on the CPU."""
    return apply(model_of(model), x)


def curves(named: Run | Mapping[str, Run], ylabel: str = "mean squared error") -> Figure:
    """Draw the loss of runs by epoch: validation as a line, training as dots of the same colour.

    Args:
        named: one run, or several by the name that the legend gives them.
        ylabel: what the loss is.

    Raises:
        TypeError: they are no runs.
    """
    if isinstance(named, Run):
        named = {named.name or "run": named}
    if not isinstance(named, Mapping) or not named or not all(isinstance(run, Run) for run in named.values()):
        raise TypeError("named: wanted a run, or several by their name, as {'mine': run}, got " + _kind(named))
    figure, axis = plt.subplots()
    for name, run in named.items():
        epochs = range(1, len(run.history) + 1)
        (line,) = axis.plot(epochs, run.history.valid_loss, label=name)
        axis.plot(epochs, run.history.train_loss, ".", color=line.get_color(), markersize=4)
    axis.set(xlabel="epoch", ylabel=ylabel, yscale="log")
    axis.legend(title="line: validation, dots: training")
    return figure


def by_code_size(named: Mapping[str, Mapping[int, float | Sequence[float]]], ylabel: str = "test MSE") -> Figure:
    """Draw error against code size, both on logarithmic axes, a line for each name.

    Args:
        named: for each name the error by code size; where several seeds are given, their mean is drawn
            and a bar from the lowest to the highest.
        ylabel: what the error is.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(named, Mapping) or not named or not all(isinstance(errors, Mapping) for errors in named.values()):
        raise TypeError("named: wanted errors by code size for each name, as {'PCA': {32: 0.017}}, got " + _kind(named))
    for name, errors in named.items():
        if not errors or any(torch.as_tensor(values).numel() == 0 for values in errors.values()):
            raise ValueError(f"named: wanted a code size, and an error for each, got {errors!r} as {name!r}")
    figure, axis = plt.subplots()
    for i, (name, errors) in enumerate(named.items()):
        sizes = sorted(errors)
        seeds = [torch.as_tensor(errors[k], dtype=torch.float64).reshape(-1) for k in sizes]
        means = torch.stack([s.mean() for s in seeds])
        low = means - torch.stack([s.min() for s in seeds])
        high = torch.stack([s.max() for s in seeds]) - means
        axis.errorbar(sizes, means, yerr=(low, high), marker="osD^vP"[i % 6], capsize=3, markersize=5, label=name)
    ticks = sorted({k for errors in named.values() for k in errors})
    axis.set(xscale="log", yscale="log", xlabel="values in the code", ylabel=ylabel)
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.legend()
    return figure


def patterns(vectors: Mapping[str, Tensor], shape: tuple[int, int, int]) -> Figure:
    """Draw rows of vectors as images of (C, H, W): red above zero, blue below, white at zero.

    Args:
        vectors: for each name a tensor (count, C·H·W); each is scaled to its own largest value.
        shape: of the images, one channel.

    Raises:
        TypeError, ValueError: they are no vectors, or of another length.
    """
    if not isinstance(vectors, Mapping) or not vectors or not all(isinstance(v, Tensor) for v in vectors.values()):
        raise TypeError("vectors: wanted tensors by their name, as {'encoder': weight}, got " + _kind(vectors))
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise ValueError(f"shape: wanted that of an image, (C, H, W), got {shape!r}")
    for name, batch in vectors.items():
        if shape[0] != 1 or batch.ndim != 2 or len(batch) == 0 or batch.shape[1] != math.prod(shape):
            wanted = f"(count, {math.prod(shape)}) for images of one channel, {tuple(shape)}"
            raise ValueError(f"vectors: wanted shape {wanted}, got {tuple(batch.shape)} as {name!r}")
    count = max(len(v) for v in vectors.values())
    height = len(vectors) * 6.4 / count + 0.1
    figure, axes = plt.subplots(len(vectors), count, figsize=(7.6, height), squeeze=False)
    for row, (name, batch) in zip(axes, vectors.items(), strict=True):
        for axis, vector in zip(row, batch, strict=False):
            top = vector.abs().max().item() or 1.0
            axis.imshow(vector.detach().cpu().reshape(shape[1:]).numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
        for axis in row:
            _bare(axis)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]], arrows: Sequence[tuple[str, str]], size: tuple[float, float]
) -> Figure:
    """Draw boxes and arrows between them: what a network is made of, before its code.

    Args:
        boxes: (x, y, text, colour) by name. Boxes beside each other are about 1 apart; `BORROWED`, `NEW` and `PLAIN`
            are the book's colours for what was trained elsewhere, what begins at random, and what holds data.
        arrows: pairs of names, from and to.
        size: of the figure in inches.

    Raises:
        ValueError: an arrow begins or ends at a box that is not there.
    """
    for name in (name for pair in arrows for name in pair):
        if name not in boxes:
            raise ValueError(f"arrows: there is no box {name!r}; known: {', '.join(boxes)}")
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    for x, y, text, colour in boxes.values():
        frame = {"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "0.3"}
        axis.text(x, y, text, ha="center", va="center", fontsize=10, bbox=frame)
    style = {"arrowstyle": "->", "color": "0.3", "shrinkA": 22, "shrinkB": 22}
    for start, end in arrows:
        axis.annotate("", boxes[end][:2], boxes[start][:2], arrowprops=style)
    x, y = ([box[place] for box in boxes.values()] for place in (0, 1))
    axis.set(xlim=(min(x) - 0.6, max(x) + 0.6), ylim=(min(y) - 0.3, max(y) + 0.3))
    axis.set_axis_off()
    return figure


def table(rows: Sequence[Mapping[str, object]]):
    """Return rows as a table, the first column as its index; a number is shown to four digits.

    Args:
        rows: one mapping for each row, all with the same keys; they become the head.

    Raises:
        TypeError, ValueError: there is no row, or one with other keys.
    """
    import pandas as pd

    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError("rows: wanted a list of mappings, as [{'model': 'PCA', 'MSE': 0.017}], got " + _kind(rows))
    if not rows:
        raise ValueError("rows: wanted at least one, got none")
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(f"rows: wanted the same keys in each, {list(rows[0])}, got {list(row)}")
    shown = [{key: _cell(value) for key, value in row.items()} for row in rows]
    frame = pd.DataFrame(shown).set_index(next(iter(rows[0])))
    # As the columns' name the first heading stands in the same line as the others, not in one of its own.
    return frame.rename_axis(index=None, columns=frame.index.name)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean as words, with the lowest and the highest in brackets where there are several values.

    Args:
        values: of several seeds or judges, say.
        digits: behind the point.

    Raises:
        ValueError: there is no value.
    """
    values = [float(value) for value in values]
    if not values:
        raise ValueError("values: wanted at least one, got none")
    low, mean, high = (f"{value:.{digits}f}" for value in (min(values), fmean(values), max(values)))
    # A word joiner, so that no line ends between the two numbers of a range.
    return mean if len(values) == 1 else f"{mean} ({low}–\u2060{high})"


def _cell(value: object) -> str:
    if isinstance(value, Tensor | np.generic) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-5:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.{min(6, 3 - math.floor(math.log10(abs(value))))}f}"


def _floats(images: object) -> Tensor:
    """Return images as floats (N, C, H, W) that can be drawn."""
    if isinstance(images, Images):
        images = images.floats()
    if not isinstance(images, Tensor):
        raise TypeError(f"images: wanted Images or a tensor (N, C, H, W), got {_kind(images)}")
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        wanted = "one or more, shape (N, C, H, W), of 1 or 3 channels"
        raise ValueError(f"images: wanted {wanted}, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images: wanted floats in [0, 1], got {images.dtype}; for bytes divide by 255 first")
    return images


def _check_count(argument: str, count: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{argument}: wanted a whole number from 1, got {count!r}")


def _kind(value: object) -> str:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    inside = {type(item).__name__ for item in items}
    return type(value).__name__ + (f" of {', '.join(sorted(inside))}" if inside else "")


def _draw(axis, image: Tensor) -> None:
    pixels = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).squeeze(2).numpy()
    axis.imshow(pixels, vmin=0, vmax=1)


def _bare(axis) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
