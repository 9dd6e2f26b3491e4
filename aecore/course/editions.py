"""Editions of the chapters: one source, and a notebook for each kind of person who opens it.

- `reader`: plain Markdown, which Colab and Jupyter can show; outputs stay, solutions are left out.
- `student`: the same without outputs, with room for the answers in sentences, to be worked through and handed in.
- `instructor`: the reader's with solutions, below each the mistakes that its check knows, or the rubric by which a
  person marks it, and what exercises are worth.

`handout` makes copies for a course from the last two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from .. import files
from ..exercises import Mistake, Written, exercises
from . import written
from .book import Book, caption_of, label_of, where
from .myst import Directive
from .names import needed
from .plain import Translator
from .questions import Questions

_SOLUTION = "**Solution**"
_HIDE_SOURCE = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
_HIDE_OUTPUTS = {"hide-output", "remove-output", "hide-cell", "remove-cell"}
_TAGS_THAT_STAY = ("setup", "provenance", "solution")  # what a cell is; the others are for the build and the tests


@dataclass(frozen=True)
class Edition:
    """A kind of copy: its name, whether it has the outputs of the chapter and its solutions, how it asks, and whether
    there is room for answers in sentences."""

    name: str
    outputs: bool
    solutions: bool
    questions: Questions
    room: bool = False


READER = Edition("reader", outputs=True, solutions=False, questions=Questions())
STUDENT = Edition("student", outputs=False, solutions=False, questions=Questions(), room=True)
INSTRUCTOR = Edition("instructor", outputs=True, solutions=True, questions=Questions(worth=True))
EDITIONS = (READER, STUDENT, INSTRUCTOR)


def make(out: Path, chapters: Path) -> list[Path]:
    """Write all editions of all chapters, as OUT/reader/05_pixel_shuffle.ipynb.

    Args:
        out: the folder to write into; it is made.
        chapters: the folder of the notebooks; _config.yml of the book lies beside it.

    Returns:
        The files that were written.

    Raises:
        ValueError: there is no chapter, or one holds something that has no plain form.
        OSError: a file cannot be read or written.
    """
    notebooks = notebooks_in(chapters)
    folder = chapters.resolve()
    book = Book(folder.parent, folder.name, notebooks)
    made = {
        out / edition.name / f"{chapter}.ipynb": copy_of(book, chapter, notebook, edition)
        for chapter, notebook in notebooks.items()
        for edition in EDITIONS
    }
    return write(made)


def notebooks_in(chapters: Path) -> dict[str, NotebookNode]:
    """Return the notebooks of all chapters by their names, in order.

    Raises:
        ValueError: there is none.
        OSError: one cannot be read.
    """
    found = {path.stem: nbformat.read(path, as_version=4) for path in sorted(chapters.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise ValueError(f"chapters: there is no notebook such as 01_name.ipynb in {chapters}")
    return found


def write(made: Mapping[Path, NotebookNode]) -> list[Path]:
    """Write notebooks after all were made, so that an error leaves no half of a set; return their paths."""
    for path, notebook in made.items():
        with files.atomic_write(path) as part:
            nbformat.write(notebook, part)
    return list(made)


def copy_of(book: Book, chapter: str, notebook: NotebookNode, edition: Edition) -> NotebookNode:
    """Return a chapter as an edition has it.

    Raises:
        ValueError: the chapter holds something that has no plain form; the message names chapter and cell.
    """
    translator = Translator(book, chapter, edition.questions)
    cells = []
    for cell in _without_checks(list(_translated(notebook, translator, edition))):
        cells.append(_finished(cell, edition))
        if caption_of(cell):
            with where(chapter, cell):
                cells.append(_caption(cell, translator))
    # Jupytext's part would pair the copy with a text that is not there; aecore's tells of the publication.
    metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info") if key in notebook.metadata}
    return new_notebook(cells=cells, metadata=metadata, nbformat_minor=notebook.nbformat_minor)


def _translated(notebook: NotebookNode, translator: Translator, edition: Edition) -> Iterator[NotebookNode]:
    """Yield the cells with their texts in plain Markdown, with solutions or without."""
    solutions = _Solutions(translator, edition)
    for cell in notebook.cells:
        new = deepcopy(cell)
        if cell.cell_type == "markdown":
            with where(translator.chapter, cell):
                pieces = list(solutions.pieces(translator.parts(cell.source)))
            yield from _joined(cell, pieces)
        elif not solutions.open:
            new.source = edition.questions.code(new.source)
            if "setup" in new.metadata.get("tags", ()):
                new.source = translator.book.released(new.source)
            yield new
        elif edition.solutions:
            new.metadata["tags"] = list(dict.fromkeys([*new.metadata.get("tags", ()), "solution"]))
            yield new
    if solutions.open:
        raise ValueError(f"{translator.chapter}: the solution of {solutions.open!r} has no end")


def _joined(cell: NotebookNode, pieces: list[str | NotebookNode]) -> Iterator[NotebookNode]:
    """Yield the cells that a text cell becomes: itself, or where cells of their own stand in it, those and the rest."""
    count = 0
    for is_text, group in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if not is_text:
            yield from group
        elif source := "\n\n".join(group):
            count += 1
            new = deepcopy(cell)
            new.source, new.id = source, cell.id if count == 1 else f"{cell.id}-{count}"
            yield new


class _Solutions:
    """Follows where solutions begin and end, and has them shown or left out."""

    def __init__(self, translator: Translator, edition: Edition) -> None:
        self._translator = translator
        self._shown = edition.solutions
        self._room = edition.room
        self.open = ""  # the label of the exercise whose solution is being read

    def pieces(self, parts: list[str | Directive]) -> Iterator[str | NotebookNode]:
        """Yield what belongs to the edition of one cell: texts, and cells of their own for what is written by hand.

        Raises:
            ValueError: a solution begins in another one, or one ends that did not begin.
        """
        for part in parts:
            if not isinstance(part, str):
                marked, by_hand = self._marked(part), written_exercise(part.argument)
                if self._shown:
                    yield from marked
                elif self._room and by_hand:
                    yield from written.room(*by_hand)
            elif self._shown or not self.open:
                yield part

    def _marked(self, mark: Directive) -> list[str | NotebookNode]:
        """Return what stands in place of the beginning of a solution, of its end, or of a whole one."""
        if mark.name == "solution-end":
            if not self.open:
                raise ValueError("a solution ends here that did not begin")
            label, self.open = self.open, ""
            return _mistakes(label)
        if self.open:
            raise ValueError(f"the solution of {self.open!r} has no end before the next one begins")
        self._translator.book.target(mark.argument)
        if by_hand := written_exercise(mark.argument):
            if mark.name != "solution":
                raise ValueError(f"the solution of {mark.argument!r} is a text alone; write it as one {{solution}}")
            number, task = by_hand
            texts = [self._translator.plain(mark.body), "\n".join(written.rubric(task)), *_mistakes(mark.argument)]
            return [written.solution(number, _SOLUTION, *texts)]
        if mark.name == "solution":
            return [_SOLUTION, self._translator.plain(mark.body), *_mistakes(mark.argument)]
        self.open = mark.argument
        return [_SOLUTION]


def written_exercise(label: str) -> tuple[str, Written] | None:
    """Return the number of the exercise of a label and the exercise, where a person marks it."""
    number = label.removeprefix("ex-")
    task = exercises().get(number)
    return (number, task) if isinstance(task, Written) else None


def _mistakes(label: str) -> list[str]:
    """Return the list of the mistakes that are known of an exercise, with the hints of its check; there may be none."""
    known = exercises().get(label.removeprefix("ex-"))
    lines = [f"- {_mistake(mistake)}" for mistake in known.mistakes] if known else []
    return ["\n".join(["*Common mistakes*", "", *lines])] if lines else []


def _mistake(mistake: Mistake | str) -> str:
    """Return a wrong number and its hint in one line; of a wrong function, which has no short name, the hint alone; of
    an answer in sentences what is wrong."""
    if isinstance(mistake, str):
        return mistake
    if callable(mistake.answer):
        return mistake.say
    number = float(mistake.answer)
    return f"`{f'{number:,.0f}' if number.is_integer() else f'{number:.4g}'}`: {mistake.say}"


def _without_checks(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return the cells without those that check numbers for the build, but for one that makes a name which is used."""
    checks = {i for i, cell in enumerate(cells) if "remove-cell" in cell.metadata.get("tags", ())}
    code = [cell.source if cell.cell_type == "code" else "" for cell in cells]
    left_out = checks - needed(code, checks)
    return [cell for i, cell in enumerate(cells) if i not in left_out]


def _finished(cell: NotebookNode, edition: Edition) -> NotebookNode:
    """Return a cell with its tags and alt text in the form that Jupyter and Colab know, with outputs or without."""
    tags = cell.metadata.get("tags", ())
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()
    new = deepcopy(cell)
    new.metadata = nbformat.from_dict(_metadata(tags))
    if cell.cell_type == "code" and not edition.outputs:
        new.outputs, new.execution_count = [], None
    for output in new.get("outputs", ()):
        if alt and "image/png" in output.get("data", {}):
            output.metadata["image/png"] = {**output.metadata.get("image/png", {}), "alt": alt}
    return new


def _metadata(tags: list[str]) -> dict:
    """Return the metadata of a cell: the tags that stay, and what folds it where the page of the book does."""
    metadata: dict = {}
    if stay := [tag for tag in tags if tag in _TAGS_THAT_STAY]:
        metadata["tags"] = stay
    folded = {}
    if _HIDE_SOURCE & set(tags):
        folded["source_hidden"] = True
        metadata["cellView"] = "form"  # Colab's
    if _HIDE_OUTPUTS & set(tags):
        folded["outputs_hidden"] = True
        metadata["collapsed"] = True  # what came before outputs_hidden; JupyterLab writes both
    if folded:
        metadata["jupyter"] = folded
    return metadata


def _caption(cell: NotebookNode, translator: Translator) -> NotebookNode:
    """Return the text cell that stands below a figure."""
    name = translator.book.target(label_of(cell)).name
    return new_markdown_cell(f"*{name}.* {translator.plain(caption_of(cell))}", id=f"{cell.id}-caption")
