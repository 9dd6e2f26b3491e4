"""The whole book as one PDF: every page printed by a browser, with a title page, contents and page numbers.

    python book/tools/pdf.py _build/html _build/book.pdf      # what `make pdf` does after `make book`

The pages are printed with their own style for paper (`@media print` in custom.css). Links from one page of the book to
another become links inside the PDF; all others lead to the web, as they do on the screen.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag

import yaml
from chromium import ARGUMENTS, NAMES, chromium
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, NameObject

ROOT = Path(__file__).resolve().parents[2]
PAPER = {
    "format": "A4", "scale": 0.75, "margin": {"top": "16mm", "bottom": "20mm", "left": "17mm", "right": "17mm"},
}  # fmt: skip
LEFT_OUT = {"book/api"}  # what one looks a name up in, on the screen
STYLE = """
body {font: 12pt/1.5 Georgia, serif}
h1 {font-size: 30pt; line-height: 1.2; margin-top: 70mm}
h2 {break-before: page}
table {width: 100%}
td:last-child {text-align: right}
"""


class Printed(NamedTuple):
    """A page of the book on paper: its name in the table of contents, its heading, and its sheets."""

    name: str
    title: str
    sheets: PdfReader


def names(toc: dict) -> list[str]:
    """Return the pages that are printed, in the order of the table of contents."""
    groups = toc.get("parts", [toc])
    found = [toc["root"], *(entry["file"] for group in groups for entry in group["chapters"])]
    return [name for name in found if name not in LEFT_OUT]


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Open an empty page of a browser: `AECORE_CHROMIUM`, or the first that is installed."""
    path = chromium()
    if path is None:
        sys.exit(f"pdf: wanted one of {', '.join(NAMES)}; install it, or set AECORE_CHROMIUM to its path")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started.new_page()
        started.close()


# Makes a page ready for paper: everything open but what only says which runs were loaded.
UNFOLD = """() => {
    for (const fold of document.querySelectorAll("details")) {
        fold.open = true;
        const [summary, ...rest] = fold.children;
        const lines = rest.map(part => part.innerText.trim()).join("\\n").split("\\n");
        if (lines.every(line => /^(loaded|trained) /.test(line))) fold.remove();
    }
    document.getElementById("jb-print-toc")?.remove();  // the PDF has contents of its own
    for (const picture of document.images) picture.loading = "eager";
    return window.MathJax?.startup?.promise.then(() => true);
}"""


def printed(page: Page, folder: Path, name: str) -> Printed:
    """Print a page of the built book."""
    page.goto((folder / f"{name}.html").as_uri())
    page.evaluate(UNFOLD)
    page.wait_for_load_state("networkidle")
    title = page.evaluate("() => document.querySelector('h1').childNodes[0].textContent")
    return Printed(name, title.strip(), _sheets(page, print_background=True, outline=True, tagged=True))


def front(page: Page, title: str, author: str, contents: list[tuple[str, int]]) -> PdfReader:
    """Print the title page and the contents: headings, and the sheet on which each begins."""
    lines = "".join(f"<tr><td>{html.escape(name)}</td><td>{number}</td></tr>" for name, number in contents)
    head = f"<h1>{html.escape(title)}</h1><p>{html.escape(author)}</p>"
    page.set_content(f"<style>{STYLE}</style>{head}<h2>Contents</h2><table>{lines}</table>")
    return _sheets(page)


def _sheets(page: Page, **settings) -> PdfReader:
    return PdfReader(io.BytesIO(page.pdf(**PAPER, **settings)))


def joined(first: PdfReader, pages: list[Printed], folder: Path) -> PdfWriter:
    """Return all sheets in one document, with bookmarks, links and numbers."""
    writer = PdfWriter()
    writer.append(first, import_outline=False)
    starts = {}
    for page in pages:
        starts[(folder / f"{page.name}.html").as_uri()] = len(writer.pages)
        writer.append(page.sheets, outline_item=page.title)
    for number in range(len(writer.pages)):
        _lead_inside(writer, number, starts)
    _number(writer)
    writer.compress_identical_objects()
    return writer


def _lead_inside(writer: PdfWriter, number: int, starts: dict[str, int]) -> None:
    """Let the links of a sheet to files of the book lead to the sheet on which their page begins."""
    for reference in writer.pages[number].get("/Annots", []):
        link = reference.get_object()
        address = str(link.get("/A", {}).get("/URI", ""))
        file = unquote(urldefrag(address).url)
        if file in starts:
            del link["/A"]
            target = writer.pages[starts[file]].indirect_reference
            link[NameObject("/Dest")] = ArrayObject([target, NameObject("/Fit")])


def _number(writer: PdfWriter) -> None:
    """Write the number of each sheet at its foot, but for the title page."""
    width, height = (float(side) / 72 for side in writer.pages[0].mediabox[2:])
    numbers = io.BytesIO()
    with PdfPages(numbers) as file:
        for number in range(len(writer.pages)):
            figure = Figure(figsize=(width, height))
            figure.patch.set_alpha(0)
            if number:
                figure.text(0.5, 0.035, f"{number + 1}", ha="center", fontsize=9, color="0.35")
            file.savefig(figure)
    for sheet, foot in zip(writer.pages, PdfReader(numbers).pages, strict=True):
        sheet.merge_page(foot)


def main(given: list[str] | None = None) -> None:
    """Print the built book."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path, help="folder of the built book")
    parser.add_argument("pdf", type=Path, help="file to write")
    options = parser.parse_args(given)
    folder = options.html.resolve()
    if not (folder / "index.html").exists():
        sys.exit(f"pdf: {options.html} holds no built book; run 'make book' first")
    config, toc = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_config.yml", "_toc.yml"))
    with browser() as page:
        pages = [printed(page, folder, name) for name in names(toc)]
        cover = [config["title"], config["author"]]
        number = len(front(page, *cover, [(one.title, 0) for one in pages]).pages)
        contents = []
        for one in pages:
            contents.append((one.title, number + 1))
            number += len(one.sheets.pages)
        writer = joined(front(page, *cover, contents), pages, folder)
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    writer.write(options.pdf)
    print(f"{options.pdf}: {len(writer.pages)} pages, {options.pdf.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
