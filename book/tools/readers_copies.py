"""A Sphinx extension: the buttons of a chapter lead to its reader's notebook, not to the one its page is made from.

The notebook that a page is made from is written for Sphinx: its directives show as raw text in Colab and Jupyter, and
its solutions stand below its exercises. The theme can lead to another branch, but not to another folder and file, and
what it offers for download is always the source. So the address of the Colab button is written here, and the reader's
notebook, as `make editions` makes it, takes the place of the source beside the built page: it can be downloaded
without a network too.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import nbformat
from sphinx.application import Sphinx

from address import colab
from aecore.course.book import Book
from aecore.course.editions import READER, copy_of, notebooks_in

CHAPTERS = "chapters"


def lead(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Have the buttons at the top of a chapter offer the reader's notebook."""
    path = PurePosixPath(page)
    if path.parent.as_posix() != CHAPTERS:
        return
    for button in [button for group in context["header_buttons"] for button in group.get("buttons", ())]:
        if button["text"] == "Colab":
            button["url"] = colab(path.name)
        elif button.get("label") == "download-source-button":
            button["tooltip"] = "Download notebook file"


def copy(app: Sphinx, error: Exception | None) -> None:
    """Write the readers' notebooks where the download buttons lead, once the pages are written."""
    if error is not None or app.builder.format != "html":
        return
    root = Path(app.srcdir)
    notebooks = notebooks_in(root / CHAPTERS)
    book = Book(root, CHAPTERS, notebooks)
    for chapter, notebook in notebooks.items():
        target = Path(app.outdir) / "_sources" / CHAPTERS / f"{chapter}.ipynb"
        if target.exists():
            nbformat.write(copy_of(book, chapter, notebook, READER), target)


def setup(app: Sphinx) -> dict:
    """Change the buttons after the theme has made them."""
    app.connect("html-page-context", lead, priority=900)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
