"""What a chapter's text may point at: what has a label, other chapters, pages of the book, works of others."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml
from markdown_it import MarkdownIt

from .. import __version__
from ..suggest import did_you_mean
from . import myst
from .citations import Citations

_FIRST_APPENDIX = 90  # chapters from this number on are appendices, whose figures and exercises are counted 1, 2, 3


@dataclass(frozen=True)
class Target:
    """What a label stands for: its name in a text, "Figure 5.4" or "(5.1)", and its chapter, "05_pixel_shuffle"."""

    name: str
    chapter: str


class Book:
    """All that the chapters of one book share.

    Args:
        root: the folder that holds _config.yml and the folder of the chapters.
        folder: the name of the folder of the chapters, "chapters".
        notebooks: the chapters by their names without an ending, "05_pixel_shuffle".
        beside: those of them that lie beside each other where a copy is opened; None: all.

    Raises:
        ValueError: two things have one label, or a chapter is not as it should be.
    """

    def __init__(self, root: Path, folder: str, notebooks: Mapping, beside: Collection[str] | None = None) -> None:
        settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        self._root, self._folder = root, folder
        self._chapters = tuple(notebooks)
        self._beside = self._chapters if beside is None else beside
        self._repository = settings["repository"]
        self._pages = settings.get("html", {}).get("baseurl", "")
        self.parser: MarkdownIt = myst.parser(settings.get("parse", {}))
        self.citations = Citations.read(root / settings["bibtex_bibfiles"][0])
        self._targets: dict[str, Target] = {}
        for chapter, notebook in notebooks.items():
            for label, name in _labels(chapter, notebook, self.parser):
                if label in self._targets:
                    raise ValueError(f"{chapter}: the label {label!r} is also in {self._targets[label].chapter}")
                self._targets[label] = Target(name, chapter)

    def target(self, label: str) -> Target:
        """Return what a label stands for.

        Raises:
            ValueError: there is no such label.
        """
        if label not in self._targets:
            near = did_you_mean(label, self._targets)
            raise ValueError(f"no figure, exercise or equation has the label {label!r}.{near}")
        return self._targets[label]

    def address(self, link: str) -> str:
        """Return where a link of a chapter leads from a notebook that lies beside the other chapters and nothing else.

        Another chapter is its notebook. A page of the book is the page that was published where _config.yml says where
        that is, else the file in the repository; any other file is the one in the repository.

        Raises:
            ValueError: the link leads to nothing that is there, or to a place on the same page.
        """
        if _is_outside(link):
            return link
        path, place = self._path(link), urlsplit(link).fragment
        if self._is_chapter(path) and path.stem in self._beside:
            return f"{path.stem}.ipynb"  # the headings of a notebook have other anchors than those of a page
        if self._is_chapter(path):
            path = path.with_suffix(".ipynb")
        if self._pages and path.suffix in (".md", ".ipynb"):
            address = f"{self._pages.rstrip('/')}/{path.with_suffix('.html')}"
        else:
            address = self._in_repository("blob", path)
        return f"{address}#{place}" if place else address

    def chapter_address(self, chapter: str) -> str:
        """Return where a chapter is found from a notebook, by the chapter's name, "05_pixel_shuffle"."""
        return self.address(f"{chapter}.ipynb")

    def picture(self, link: str) -> str:
        """Return where a picture that a text shows can be loaded from.

        Raises:
            ValueError: there is no such file.
        """
        return link if _is_outside(link) else self._in_repository("raw", self._path(link))

    def released(self, code: str) -> str:
        """Return the code of a set-up cell that installs this release instead of what the main branch is by then.

        A notebook finds its stored runs in the package that it was made with. A version that is no release, such as
        0.3.0.dev0, has no tag, and the code stays as it is.
        """
        if not re.fullmatch(r"[\d.]+", __version__):
            return code
        address = f"git+{self._repository['url']}"
        return code.replace(f'{address}"', f'{address}@v{__version__}"')

    def _path(self, link: str) -> PurePosixPath:
        """Return the file that a link leads to, from the root of the book."""
        relative = urlsplit(link).path
        path = PurePosixPath(posixpath.normpath(posixpath.join(self._folder, relative)))
        if not relative or not (self._is_chapter(path) or (self._root / path).is_file()):
            raise ValueError(f"the link to {link!r} leads to no file of the book")
        return path

    def _is_chapter(self, path: PurePosixPath) -> bool:
        """Tell whether a path is a chapter's, be it the one of its notebook or of its text."""
        return path.parent.as_posix() == self._folder and path.stem in self._chapters

    def _in_repository(self, view: str, path: PurePosixPath) -> str:
        return f"{self._repository['url']}/{view}/{self._repository['branch']}/{path}"


@contextmanager
def where(chapter: str, cell) -> Iterator[None]:
    """Say of an error in which chapter and cell it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{chapter}, cell {cell.id}: {error}") from error


def _is_outside(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def _labels(chapter: str, notebook, parser: MarkdownIt) -> Iterator[tuple[str, str]]:
    """Yield the labels of a chapter with what they name, in order, numbered as on the pages of the book."""
    number = int(chapter[:2])
    prefix = f"{number}." if number < _FIRST_APPENDIX else ""
    counts: Counter[str] = Counter()
    for cell in notebook.cells:
        with where(chapter, cell):
            found = list(_labelled(cell, parser))
        for form, label in found:
            counts[form] += 1
            yield label, form.format(f"{prefix}{counts[form]}")


def _labelled(cell, parser: MarkdownIt) -> Iterator[tuple[str, str]]:
    """Yield what a cell holds that is counted, each as the form of its name and its label."""
    if caption_of(cell):
        yield "Figure {}", label_of(cell)
    for token in myst.blocks(parser, cell.source) if cell.cell_type == "markdown" else ():
        if token.type == "math_block_label":
            yield "({})", token.info
        elif myst.name(token) == "exercise":
            options = myst.directive(token).options
            if "label" not in options:
                raise ValueError("an exercise has no label")
            yield "Exercise {}", options["label"]


def caption_of(cell) -> str:
    """Return the caption of the figure that a cell draws, or "" where it draws none; a removed cell shows none."""
    return "" if "remove-cell" in cell.metadata.get("tags", ()) else _figure(cell).get("caption", "").strip()


def label_of(cell) -> str:
    """Return the label of the figure that a cell draws."""
    return _figure(cell).get("name", cell.id)


def _figure(cell) -> dict[str, str]:
    return cell.metadata.get("mystnb", {}).get("figure", {})
