"""Drawings of what a layer does, each with the numbers that PyTorch computes: the operation, before its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

# Fills, light enough for black letters; whatever belongs together has one of them.
ORANGE, BLUE, GREEN, VIOLET, GREY, WHITE = "#fdd0a2", "#c6dbef", "#c7e9c0", "#dadaeb", "#e8e8e8", "white"
FILLS = (ORANGE, BLUE, GREEN, VIOLET)
_LINE, _STRONG = "0.35", ("#D55E00", "#0072B2")  # the first and the second window, in the book's orange and blue

_Fill = str | Callable[[int, int], str]


def convolution(picture: Tensor, kernel: Tensor, ways: Sequence[tuple[int, int]]) -> Figure:
    """Draw a convolution, a row for each padding and stride: the picture, the kernel, and what comes out.

    The first window is framed in orange and the next one in blue, and their sums have the same colours.

    Args:
        picture, kernel: of shape (H, W) and (K, K).
        ways: (padding, stride) of each row.

    Raises:
        ValueError: picture or kernel has another shape, or there is no way.
    """
    _check("picture", picture, 2)
    _check("kernel", kernel, 2)
    if not ways:
        raise ValueError("ways: wanted the padding and the stride of one row or more, such as [(1, 2)], got none")
    found = [F.conv2d(picture[None, None], kernel[None, None], padding=p, stride=s)[0, 0] for p, s in ways]
    most, tall = max(padding for padding, _ in ways), [len(picture) + 2 * padding + 1.6 for padding, _ in ways]
    left, side = picture.shape[1] + 2 * most, len(kernel)  # the pictures end at `left`
    canvas = _Canvas(left + side + 2.4 + max(y.shape[1] for y in found), sum(tall) - 0.6)
    for number, (way, result) in enumerate(zip(ways, found, strict=True)):
        top = sum(tall[:number])
        middle = top + (tall[number] + 0.4) / 2
        canvas.text((0, top + 0.5), "padding {}, stride {}".format(*way), "left")
        _windows(canvas, picture, way, (left - picture.shape[1] - 2 * way[0], top + 1), side)
        canvas.text((left + 0.6, middle), "∗")
        canvas.grid(kernel, (left + 1.2, middle - side / 2), GREEN)
        canvas.text((left + side + 1.8, middle), "=")
        canvas.grid(result, (left + side + 2.4, middle - len(result) / 2), _first_two)
    return canvas.figure


def _windows(canvas: _Canvas, picture: Tensor, way: tuple[int, int], at: tuple[float, float], side: int) -> None:
    """Draw a padded picture with its first two windows, as far as they fit."""
    padding, stride = way
    canvas.grid(F.pad(picture, (padding,) * 4), at, _outside(padding, picture.shape))
    fits = (picture.shape[1] + 2 * padding - side) // stride + 1
    for place in reversed(range(min(2, fits))):  # the first one on top
        canvas.frame((at[0] + stride * place, at[1]), (side, side), _STRONG[place])


def max_pooling(first: Tensor, second: Tensor, size: int = 2) -> Figure:
    """Draw two pictures from the sides and between them their common maxima over squares of `size` × `size`.

    Args:
        first, second: of shape (H, W), divisible by `size`.

    Raises:
        ValueError: they are no pictures, or pooling tells them apart.
    """
    _check("first", first, 2)
    _check("second", second, 2)
    pooled, other = (F.max_pool2d(x[None, None], size)[0, 0] for x in (first, second))
    if not torch.equal(pooled, other):
        raise ValueError(f"second: wanted a picture that pools to {pooled.tolist()}, got one with {other.tolist()}")
    (height, width), (rows, columns) = first.shape, pooled.shape
    canvas = _Canvas(2 * width + columns + 4, height + 1)

    def fill(row: int, column: int) -> str:
        return FILLS[(row * columns + column) % len(FILLS)]

    middle = width + 2
    for x, left in ((first, 0), (second, middle + columns + 2)):
        canvas.grid(x, (left, 0.9), lambda row, column: fill(row // size, column // size))
    canvas.grid(pooled, (middle, 0.9 + (height - rows) / 2), fill)
    canvas.text((middle + columns / 2, 0.45), f"maxima of {size} × {size}")
    y = 0.9 + height / 2
    canvas.arrow((width + 0.3, y), (middle - 0.3, y))
    canvas.arrow((middle + columns + 1.7, y), (middle + columns + 0.3, y))
    return canvas.figure


def transposed(values: Tensor, kernel: Tensor, stride: int) -> Figure:
    """Draw a transposed convolution in two dimensions: a kernel for each value, placed `stride` apart and added.

    Args:
        values, kernel: of shape (H, W) and (K, K).
        stride: at least K, so that the copies of the kernel do not overlap.

    Raises:
        ValueError: they have other shapes, or the copies would overlap.
    """
    _check("values", values, 2)
    _check("kernel", kernel, 2)
    side, columns = len(kernel), values.shape[1]
    if stride < side:
        raise ValueError(f"stride: wanted at least {side}, so that no kernels overlap, got {stride}")
    result = F.conv_transpose2d(values[None, None], kernel[None, None], stride=stride)[0, 0]
    canvas = _Canvas(columns + side + result.shape[1] + 2.4, len(result) + 1)
    middle = 0.9 + len(result) / 2

    def fill(row: int, column: int) -> str:
        return FILLS[(row * columns + column) % len(FILLS)]

    left = columns + side + 2.4
    canvas.grid(values, (0, middle - len(values) / 2), fill)
    canvas.text((columns + 0.6, middle), "×")
    canvas.grid(kernel, (columns + 1.2, middle - side / 2), GREY)
    canvas.text((columns + side + 1.8, middle), "=")
    canvas.grid(result, (left, 0.9), lambda row, column: fill(row // stride, column // stride))
    canvas.text((left + result.shape[1] / 2, 0.45), f"stride {stride}")
    return canvas.figure


def two_views(values: Tensor, kernel: Tensor, stride: int) -> Figure:
    """Draw one transposed convolution of a row twice: as kernels that are added, and as a convolution of a spread row.

    In the second view `stride` − 1 zeros stand between the values and K − 1 at both ends, and the kernel is turned
    round (Dumoulin and Visin 2016).

    Args:
        values, kernel: of shape (W,) and (K,); the kernel at least as wide as the stride.

    Raises:
        ValueError: they have other shapes.
    """
    _check("values", values, 1)
    _check("kernel", kernel, 1)
    result = F.conv_transpose1d(values[None, None], kernel[None, None], stride=stride)
    margin, count = len(kernel) - 1, len(values)
    canvas = _Canvas(result.shape[-1] + margin, count + 8.6, inches=4.6)
    canvas.text((0, 0.5), f"1. Kernels {stride} apart, added", "left")
    for i, value in enumerate(values):
        canvas.grid(value * kernel[None], (margin + stride * i, 1 + i), FILLS[i % len(FILLS)])
        canvas.text((margin + stride * i - 0.15, 1.5 + i), f"{_number(value)} ×", "right")
    canvas.grid(result[0], (margin, count + 1.3))
    canvas.text((margin - 0.15, count + 1.8), "sum", "right")
    canvas.text((margin - 0.15, count + 2.7), "kernels", "right", size=0.85)
    for i, number in enumerate(_counts(len(kernel), count, stride)):
        canvas.text((margin + i + 0.5, count + 2.7), _number(number), size=0.85)
    _spread_view(canvas, values, kernel, result[0], stride)
    return canvas.figure


def _spread_view(canvas: _Canvas, values: Tensor, kernel: Tensor, result: Tensor, stride: int) -> None:
    """Draw the lower half of `two_views`, with the window that begins at the first value."""
    margin, top = len(kernel) - 1, len(values) + 3.9
    spread = torch.zeros(stride * (len(values) - 1) + 1)
    spread[::stride] = values
    inside = {margin + stride * i: FILLS[i % len(FILLS)] for i in range(len(values))}
    canvas.text((0, top), "2. Zeros between, then a convolution", "left")
    canvas.grid(kernel.flip(0)[None], (margin, top + 0.6), GREY)
    canvas.grid(F.pad(spread, (margin, margin))[None], (0, top + 1.65), lambda _, column: inside.get(column, WHITE))
    canvas.frame((margin, top + 1.65), (1, len(kernel)), _STRONG[0])
    canvas.grid(result, (margin, top + 3.4))
    canvas.frame((2 * margin, top + 3.4), (1, 1), _STRONG[0])
    canvas.arrow((1.5 * margin + 0.5, top + 2.7), (2 * margin + 0.4, top + 3.35))


def overlaps(kernels: Sequence[int], count: int, stride: int = 2) -> Figure:
    """Draw for each kernel width how `count` kernels lie on a row, and how many cover each pixel; darker is more.

    Below, the same in two dimensions for the first width that is no multiple of the stride, or else for the first.

    Raises:
        ValueError: there is no width.
    """
    if not kernels:
        raise ValueError("kernels: wanted one width or more, got none")
    rows = -(-max(kernels) // stride)  # that many kernels cover one pixel at most
    longest, tall = stride * (count - 1) + max(kernels), rows * 0.5 + 2.5
    uneven = next((width for width in kernels if width % stride), kernels[0])
    square = _counts(uneven, 3, stride)
    canvas = _Canvas(longest, tall * len(kernels) + len(square) + 1, inches=4.6)
    for number, width in enumerate(kernels):
        _row_of_kernels(canvas, width, count, stride, (tall * number, rows))
    top, both = tall * len(kernels), square[:, None] * square
    canvas.text((0, top + 0.5), f"kernel {uneven}, in two dimensions", "left")
    canvas.grid(both, ((longest - len(square)) / 2, top + 1), lambda row, column: _shade(both[row, column]))
    return canvas.figure


def _row_of_kernels(canvas: _Canvas, width: int, count: int, stride: int, place: tuple[float, int]) -> None:
    """Draw kernels as bars, on as many lines as keep them apart, and below them how many cover each pixel."""
    top, lines = place
    canvas.text((0, top + 0.5), f"kernel {width}", "left")
    for i in range(count):
        canvas.box((stride * i + 0.06, top + 1.04 + 0.5 * (i % lines)), (width - 0.12, 0.42), FILLS[i % 2])
    covered = _counts(width, count, stride)
    canvas.grid(covered[None], (0, top + 1.1 + 0.5 * lines), lambda _, column: _shade(covered[column]))


def plane(points: Tensor) -> Figure:
    """Draw points of three pixels, the plane of their first two principal components, and how far each lies from it.

    Args:
        points: (N, 3), four or more.

    Raises:
        ValueError: they have another shape.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
        raise ValueError(f"points: wanted (N, 3) with N of at least 4, got {tuple(points.shape)}")
    mean = points.mean(0)
    directions = torch.linalg.svd(points - mean, full_matrices=False)[2][:2]
    directions = directions * directions.sum(1, keepdim=True).sign()  # either sign is a principal direction
    z = (points - mean) @ directions.T
    nearest, reach = mean + z @ directions, 1.12 * z.abs().amax(0)
    corners = mean + (torch.tensor([[[-1.0, -1], [-1, 1]], [[1, -1], [1, 1]]]) * reach) @ directions
    axis = _space(torch.cat([points, corners.flatten(0, 1)]))
    axis.plot_surface(*corners.permute(2, 0, 1).numpy(), color="#56B4E9", alpha=0.35, shade=False, zorder=1)
    for point, foot in zip(points, nearest, strict=True):
        axis.plot(*torch.stack([point, foot]).T.tolist(), color="#D55E00", linewidth=1.4, zorder=2)
    axis.scatter(*nearest.T.tolist(), color="#0072B2", s=10, zorder=3, depthshade=False)
    axis.scatter(*points.T.tolist(), color="black", s=16, zorder=4, depthshade=False)
    for number, (direction, length) in enumerate(zip(directions, reach, strict=True), start=1):
        arrow = (0.85 * length * direction).tolist()
        axis.quiver(*mean.tolist(), *arrow, color="black", arrow_length_ratio=0.15, zorder=5)
        axis.text(*(mean + 0.97 * length * direction).tolist(), f"$u_{number}$", fontsize=13, zorder=6)
    return axis.figure


def _space(points: Tensor):
    """Return axes for three pixels that hold all points, with the same scale along each."""
    figure = plt.figure(figsize=(4.6, 3.4), layout="none")
    axis = figure.add_axes((-0.04, -0.06, 1.04, 1.12), projection="3d", computed_zorder=False, elev=26, azim=-56)
    low, high = points.amin(0), points.amax(0)
    axis.set_box_aspect((high - low).tolist(), zoom=1.05)
    for name, *limits in zip("xyz", low.tolist(), high.tolist(), strict=True):
        axis.set(**{f"{name}label": f"pixel {'xyz'.index(name) + 1}", f"{name}lim": limits})
        getattr(axis, f"{name}axis").set_ticklabels([])
        getattr(axis, f"{name}axis").labelpad = -10
        getattr(axis, f"{name}axis").set_pane_color("white")
    axis.grid(False)
    return axis


def layers(rows: Mapping[str, Sequence[str | tuple[str, str]]], inches: float = 5.2) -> Figure:
    """Draw networks as rows of boxes, joined by arrows from left to right; the name of each stands above it.

    Args:
        rows: the boxes of each network by its name: a text for the shape of what is passed on, which stays white, or a
            text and a fill for a layer. A single network may be called "".
        inches: width of the figure.

    Raises:
        ValueError: there is no network, or one without a box.
    """
    if not rows or not all(rows.values()):
        raise ValueError(f"rows: wanted one network or more, each of one box or more, got {dict(rows)!r}")
    boxes = {name: [(box, WHITE) if isinstance(box, str) else box for box in row] for name, row in rows.items()}
    lines = max(words.count("\n") + 1 for row in boxes.values() for words, _ in row)
    wide, high, gap = 2.3, 0.35 + 0.42 * lines, 0.45
    head = 0.6 if any(rows) else 0.1
    most = max(map(len, rows.values()))
    canvas = _Canvas(most * (wide + gap) - gap, (head + high + 0.3) * len(rows), inches)
    for number, (name, row) in enumerate(boxes.items()):
        top = (head + high + 0.3) * number + head
        canvas.text((0, top - 0.3), name, "left", size=0.95)
        for i, (words, fill) in enumerate(row):
            x, middle = i * (wide + gap), top + high / 2
            canvas.box((x, top), (wide, high), fill)
            canvas.text((x + wide / 2, middle), words, size=0.95)
            if i:
                canvas.arrow((x - gap, middle), (x, middle))
    return canvas.figure


class _Canvas:
    """A figure without axes. A cell is 1 wide; x runs to the right and y downwards from the upper left corner.

    Args:
        width, height: in cells.
        inches: width of the figure; a narrow one can be read on a telephone.
    """

    def __init__(self, width: float, height: float, inches: float = 5.2) -> None:
        self.figure = plt.figure(figsize=(inches, inches * (height + 0.2) / (width + 0.2)), layout="none")
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1))
        self.axis.set_axis_off()
        self._cell = 72 * inches / (width + 0.2)  # in points

    def grid(self, values: Tensor, at: tuple[float, float], fill: _Fill = WHITE) -> None:
        """Draw numbers (rows, columns) in cells, from the upper left corner; `fill` may depend on row and column."""
        for row, column in product(*map(range, values.shape)):
            x, y = at[0] + column, at[1] + row
            self.box((x, y), (1, 1), fill if isinstance(fill, str) else fill(row, column))
            self.text((x + 0.5, y + 0.5), _number(values[row, column]))

    def box(self, at: tuple[float, float], size: tuple[float, float], fill: str) -> None:
        self.axis.add_patch(Rectangle(at, *size, facecolor=fill, edgecolor=_LINE, linewidth=0.8))

    def frame(self, at: tuple[float, float], shape: tuple[int, int], colour: str) -> None:
        """Draw the outline of a window of (rows, columns)."""
        rows, columns = shape
        self.axis.add_patch(Rectangle(at, columns, rows, fill=False, edgecolor=colour, linewidth=2.6, zorder=3))

    def text(self, at: tuple[float, float], words: str, align: str = "center", size: float = 1.0) -> None:
        """Write words; `size` is relative to that of the numbers, which follows from the cells."""
        points = min(11.5, 0.52 * self._cell) * size
        self.axis.text(*at, words, ha=align, va="center", fontsize=points, zorder=4, linespacing=1.15)

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        style = {"arrowstyle": "-|>", "color": _LINE, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 10}
        self.axis.annotate("", end, start, arrowprops=style)


def _check(argument: str, values: object, axes: int) -> None:
    if not isinstance(values, Tensor) or values.ndim != axes or values.numel() == 0 or not values.is_floating_point():
        got = f"shape {tuple(values.shape)}, {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{argument}: wanted floats, a tensor with {axes} {'axes' if axes > 1 else 'axis'}, got {got}")


def _number(value: Tensor) -> str:
    return f"{float(value):g}".replace("-", "−")


def _outside(padding: int, shape: Sequence[int]) -> _Fill:
    """Return a fill that is grey in the padding around a picture of a shape."""

    def fill(row: int, column: int) -> str:
        inside = padding <= row < padding + shape[0] and padding <= column < padding + shape[1]
        return WHITE if inside else GREY

    return fill


def _first_two(row: int, column: int) -> str:
    return (ORANGE, BLUE)[column] if row == 0 and column < 2 else WHITE


def _counts(width: int, count: int, stride: int) -> Tensor:
    """Return how many of `count` kernels cover each pixel of a row."""
    return F.conv_transpose1d(torch.ones(1, 1, count), torch.ones(1, 1, width), stride=stride)[0, 0]


def _shade(count: Tensor) -> str:
    """Return white for 1 and a darker orange for more, four at most."""
    return ("white", "#fdd0a2", "#fdae6b", "#fd8d3c")[min(int(count), 4) - 1] if count > 0 else GREY
