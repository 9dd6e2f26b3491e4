"""`slider`: prepared pictures, among which the reader chooses by a slider and by menus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ..data.images import Images
from . import stills
from .examples import names_of
from .page import Figure, write
from .sprite import MAX_BYTES, distinct, finest, sprite, to_bytes

_ROWS_OF_A_STILL = 6
_COLUMNS_OF_A_STILL = 11


@dataclass(frozen=True)
class Position:
    """What stands at one position of the slider, where pictures alone do not say it.

    Args:
        pictures: floats (N, C, H, W) in [0, 1], or several rows of them by name.
        note: a sentence for the reader, "PSNR 31.2 dB".
    """

    pictures: Tensor | Mapping[str, Tensor]
    note: str


# The pictures by the label of their position on the slider.
Positions = Mapping[object, Tensor | Mapping[str, Tensor] | Position]


@dataclass(frozen=True)
class Menus:
    """Pictures of which menus choose those that the slider moves through.

    Args:
        names: of the menus, ("from", "to").
        views: for each combination of choices, ("four", "nine"), its positions; the same labels in all of them.
        start: the combination that is shown first; None: the first of `views`.

    Raises:
        ValueError: a combination is missing, or does not have a choice for each menu.
    """

    names: Sequence[str]
    views: Mapping[tuple[str, ...], Positions]
    start: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for choice in self.views:
            if not isinstance(choice, tuple) or len(choice) != len(self.names):
                raise ValueError(f"views: wanted a tuple of choices for the menus {self.names}, got {choice!r}")
        missing = [choice for choice in [*self.combinations(), self.first()] if choice not in self.views]
        if missing:
            raise ValueError(f"views: wanted pictures for each combination of choices, got none for {missing[0]}")

    def options(self) -> list[list[str]]:
        """Return the choices of each menu, in the order in which `views` names them."""
        return [list(dict.fromkeys(choice)) for choice in zip(*self.views, strict=True)]

    def combinations(self) -> list[tuple[str, ...]]:
        """Return all combinations of choices, the last menu's running fastest."""
        return list(product(*self.options()))

    def first(self) -> tuple[str, ...]:
        """Return the combination that is shown first."""
        return next(iter(self.views), ()) if self.start is None else self.start


def slider(
    pictures: Positions | Menus,
    *,
    value_name: str,
    originals: Images | Tensor | None = None,
    alt: str | None = None,
    caption: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Figure:
    """Return a figure in which the reader moves a slider through prepared pictures.

    Each position shows N pictures side by side, in one row or several, below the originals where there are any. A
    single picture is shown large, with all positions in a strip below the slider. Equal pictures are stored once.

    Args:
        pictures: floats (N, C, H, W) in [0, 1] by the label of their position, `{".25 bpp": x_hat, …}`; what lies
            outside is clipped. Instead of a tensor: several rows by name, `{"JPEG": x_hat, "ours": …}`, or a
            `Position` with a note. For menus beside the slider a `Menus`.
        value_name: what the slider moves, "bits per pixel".
        originals: what the pictures are to be compared with, (N, C, H, W); it stays in the top row. `Images` name the
            pictures by their classes, and a position without a note says its mean squared error.
        alt: what the figure shows, for those who do not see it; made from the labels where none is given.
        caption: what stands below the figure.
        max_bytes: what the figure's HTML may have; where it would have more, the pictures are halved.

    Raises:
        TypeError: `pictures` is no mapping, or a position holds no tensor.
        ValueError: shapes, labels or rows differ between positions, pictures are not finite floats, there are fewer
            than two positions, a combination of the menus is missing, or max_bytes is too small.
    """
    menus = pictures if isinstance(pictures, Menus) else Menus((), {(): pictures})
    slides = _Slides.of(menus, value_name, originals)
    alt = alt or slides.alt()

    def page(_count: int, shrink: int) -> str:
        return write(slides.data(shrink), slides.still(shrink), alt, caption)

    return Figure(finest(page, (1,), max_bytes), alt)


@dataclass(frozen=True)
class _Slides:
    """The pictures in one tensor, and the words to them.

    Args:
        pictures: floats in [0, 1] of shape (combinations of the menus, positions, rows, N, C, H, W).
        originals: the same of shape (N, C, H, W), or None.
        notes: of each position of each combination.
        labels: of the positions.
        rows: names of the rows that change.
        names: of the N pictures.
    """

    menus: Menus
    value_name: str
    pictures: Tensor
    originals: Tensor | None
    notes: list[list[str]]
    labels: list[str]
    rows: list[str]
    names: list[str]

    @classmethod
    def of(cls, menus: Menus, value_name: str, originals: Images | Tensor | None) -> _Slides:
        """Check what a caller gave and put it in order."""
        row = "picture" if originals is None else "reconstruction"
        views = [_read(menus.views[combination], row) for combination in menus.combinations()]
        labels, rows = list(views[0]), list(next(iter(views[0].values())).pictures)
        pictures = _stacked(views, labels, rows)
        notes = [[view[label].note for label in labels] for view in views]
        names = [f"picture {i + 1}" for i in range(pictures.shape[3])]
        if originals is not None:
            if isinstance(originals, Images):
                names, originals = names_of(originals), originals.floats()
            originals = _checked(originals, "originals", pictures.shape[3:])
            errors = (pictures - originals).square().mean((3, 4, 5, 6)).tolist()
            notes = [
                [note or _error(rows, values) for note, values in zip(*view, strict=True)]
                for view in zip(notes, errors, strict=True)
            ]
        return cls(menus, value_name, pictures, originals, notes, labels, rows, names)

    @property
    def is_single(self) -> bool:
        """Whether each row holds one picture only, which is shown large."""
        return self.pictures.shape[3] == 1

    @property
    def all_rows(self) -> list[str]:
        """The names of the rows from above."""
        return self.rows if self.originals is None else ["original", *self.rows]

    def alt(self) -> str:
        """Return what the figure shows, in a sentence or two."""
        labels = ", ".join(self.labels) if len(self.labels) <= 8 else f"{self.labels[0]} to {self.labels[-1]}"
        chosen = ", ".join(" ".join(pair) for pair in zip(self.menus.names, self.menus.first(), strict=True))
        what = "" if self.is_single else f" of {len(self.names)} pictures"
        shown = f"Rows{what}: {', '.join(self.all_rows)}; by {self.value_name}: {labels}."
        return shown + (f" Chosen: {chosen}." if chosen else "")

    def data(self, shrink: int) -> dict:
        """Return what figure.js needs; a picture is named by its position in the sprite."""
        originals = self.pictures[0, 0, 0, :0] if self.originals is None else self.originals
        pictures, index = distinct(to_bytes(torch.cat([originals, self.pictures.flatten(0, 3)]), shrink))
        views = torch.tensor(index[len(originals) :]).reshape(*self.pictures.shape[:2], -1)
        menus = zip(self.menus.names, self.menus.options(), self.menus.first(), strict=True)
        return {
            "kind": "slider",
            "title": f"Pictures by {self.value_name}",
            "hint": self.hint(),
            **sprite(pictures),
            "originals": index[: len(originals)],
            "views": views.tolist(),  # of each combination and position, row by row
            "notes": self.notes,
            "rows": self.rows,
            "names": self.names,
            "value_name": self.value_name,
            "labels": self.labels,
            "menus": [{"name": name, "options": all_, "start": all_.index(first)} for name, all_, first in menus],
            "start": len(self.labels) // 2 if self.is_single else 0,
        }

    def hint(self) -> str:
        """Return what a reader can do, and what stands where."""
        do = "Choose from the menus and move the slider." if self.menus.names else "Move the slider."
        if self.is_single:
            return f"{do} Below it are all its positions{', in the same order' if len(self.rows) > 1 else ''}."
        return do if len(self.all_rows) == 1 else f"{do} From above: {', '.join(self.all_rows)}."

    def still(self, shrink: int) -> str:
        """Return the still picture of some positions, evenly spread, at the menus' first choice."""
        view = self.pictures[self.menus.combinations().index(self.menus.first())]
        most = _COLUMNS_OF_A_STILL if self.is_single else max(2, _ROWS_OF_A_STILL // len(self.rows))
        chosen = _spread(len(self.labels), most)
        original = {} if self.originals is None else {"original": to_bytes(self.originals, shrink)}
        if self.is_single:
            rows = {name: to_bytes(view[chosen, r, 0], shrink) for r, name in enumerate(self.rows)}
            return stills.rows(original | rows, [self.labels[p] for p in chosen], self.value_name)
        rows = {
            ", ".join([f"{self.value_name}: {self.labels[p]}", *([name] if len(self.rows) > 1 else [])]): view[p, r]
            for p in chosen
            for r, name in enumerate(self.rows)
        }
        return stills.rows(original | {name: to_bytes(row, shrink) for name, row in rows.items()})


def _read(positions: Positions, row: str) -> dict[str, Position]:
    """Return the positions by label, all of them as `Position`s with named rows; `row` names a single one."""
    if not isinstance(positions, Mapping):
        raise TypeError(f"pictures: wanted a mapping {{label: pictures}}, got {type(positions).__name__}")
    if len(positions) < 2:
        raise ValueError(f"pictures: wanted at least two positions for a slider, got {len(positions)}")
    found = {}
    for label, given in positions.items():
        pictures, note = (given.pictures, given.note) if isinstance(given, Position) else (given, "")
        found[str(label)] = Position(pictures if isinstance(pictures, Mapping) else {row: pictures}, note)
    return found


def _stacked(views: list[dict[str, Position]], labels: list[str], rows: list[str]) -> Tensor:
    """Return all pictures as one tensor of shape (views, positions, rows, N, C, H, W)."""
    shape, found = None, []
    for view in views:
        if list(view) != labels:
            raise ValueError(f"pictures: wanted the positions {labels} at each choice of the menus, got {list(view)}")
        for label, position in view.items():
            if list(position.pictures) != rows:
                raise ValueError(f"pictures[{label!r}]: wanted the rows {rows}, got {list(position.pictures)}")
            for batch in position.pictures.values():
                found.append(_checked(batch, f"pictures[{label!r}]", shape))
                shape = found[0].shape
    return torch.stack(found).unflatten(0, (len(views), len(labels), len(rows)))


def _checked(pictures: Tensor, argument: str, shape: Sequence[int] | None) -> Tensor:
    """Return pictures (N, C, H, W) on the CPU, clipped to [0, 1]; `shape` is what they must have, or None."""
    if not isinstance(pictures, Tensor):
        raise TypeError(f"{argument}: wanted a tensor of pictures (N, C, H, W), got {type(pictures).__name__}")
    fits = pictures.ndim == 4 and pictures.shape[1] in (1, 3) and shape in (None, pictures.shape)
    if not fits or not pictures.numel() or not pictures.is_floating_point():
        wanted = "(N, C, H, W), grey or colour" if shape is None else str(tuple(shape))
        got = f"{pictures.dtype} of shape {tuple(pictures.shape)}"
        raise ValueError(f"{argument}: wanted floats of shape {wanted}, got {got}")
    if not torch.isfinite(pictures).all():
        raise ValueError(f"{argument}: wanted finite numbers, got some that are NaN or infinite")
    return pictures.detach().float().cpu().clamp(0, 1)


def _error(rows: list[str], errors: list[float]) -> str:
    """Return a sentence about the mean squared error of each row."""
    if len(rows) == 1:
        return f"Mean squared error on these pictures: {errors[0]:.4f}."
    named = ", ".join(f"{row} {error:.4f}" for row, error in zip(rows, errors, strict=True))
    return f"Mean squared error on these pictures: {named}."


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` positions of `count`, evenly spread, the first and the last among them."""
    return [round(i * (count - 1) / (min(count, most) - 1)) for i in range(min(count, most))]
