"""What the tests of the repository need to know about chapters: which there are, and what their cells hold."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]


def pages(root: Path = ROOT) -> list[str]:
    """Return all pages of the table of contents, such as "book/index", in reading order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def chapters(root: Path = ROOT) -> list[str]:
    """Return the chapters of the table of contents and those that lie in chapters/, such as "01_linear"."""
    listed = {Path(page).name for page in pages(root) if page.startswith("chapters/")}
    lying = {path.stem for kind in ("md", "ipynb") for path in root.glob(f"chapters/[0-9][0-9]_*.{kind}")}
    return sorted(listed | lying)


def notebook(name: str, root: Path = ROOT) -> nbformat.NotebookNode:
    """Return a chapter's notebook."""
    return nbformat.read(root / "chapters" / f"{name}.ipynb", as_version=4)


def code_cells(book: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the code cells, in order."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def text(book: nbformat.NotebookNode) -> str:
    """Return the source of all text cells."""
    return "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def words(markdown: str) -> int:
    """Count the words of prose: no code, no formulas, no directives and their options."""
    for pattern in (
        r"^```.*?^```",
        r"^\$\$.*?\$\$",
        r"^:::+.*$",
        r"^:[\w-]+:.*$",
        r"\$[^$\n]+\$",
        r"`[^`\n]+`",
        r"\]\([^)]*\)",
    ):
        markdown = re.sub(pattern, " ", markdown, flags=re.M | re.S if ".*?" in pattern else re.M)
    return len(re.findall(r"[A-Za-z][A-Za-z’'-]*", markdown))
