"""Rewrite what depends on the repository's address: `make address`, after a change of it in pyproject.toml.

The address stands in `[project.urls] Repository` and the branch in `[tool.book] branch`. From there it goes into
_config.yml, README.md, CONTRIBUTING.md, CITATION.cff, the workflow, the pages in book/, the Colab links, the address of
the pages, and the set-up cell of every chapter, whose text stands here (SETUP) and nowhere else.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Where readers' notebooks lie: `.ci/push-editions` puts what `make editions` makes on this branch at each release.
EDITIONS = "editions"

# In Colab torch and NumPy are matched to the machine, so pip is told to keep the versions that are there.
SETUP = """\
# Set-up for Colab; where aecore is installed, this cell does nothing.
from importlib.metadata import version
from importlib.util import find_spec

if find_spec("aecore") is None:
    keep = " ".join(f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy"))
    %pip install --quiet {keep} "aecore @ git+ADDRESS"
"""

CODE_CELL = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?P<head>---\n.*?\n---\n|(?::[^\n]*\n)*)(?P<code>.*?)^```$", re.M | re.S
)


def address(root: Path = ROOT) -> tuple[str, str]:
    """Return the repository's address and its branch, from pyproject.toml."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"]["urls"]["Repository"].rstrip("/"), settings["tool"]["book"]["branch"]


def pages(root: Path = ROOT) -> str:
    """Return where GitHub Pages shows the book, "https://owner.github.io/name/"."""
    return _pages(address(root)[0])


def _pages(url: str) -> str:
    owner, name = url.removeprefix("https://github.com/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def colab(chapter: str, root: Path = ROOT) -> str:
    """Return where Colab opens the reader's notebook of a chapter, "01_linear"."""
    repository = address(root)[0].removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{repository}/blob/{EDITIONS}/reader/{chapter}.ipynb"


def setup_cell(root: Path = ROOT) -> str:
    """Return the source of the set-up cell, the same for all chapters."""
    return SETUP.replace("ADDRESS", address(root)[0]).rstrip("\n")


def changes(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each file whose text does not agree with pyproject.toml, with the text that it should have."""
    renew = _renewer(root)
    for path in _files(root):
        old = path.read_text(encoding="utf-8")
        new = _notebook(path, renew, root) if path.suffix == ".ipynb" else renew(old)
        if path.parent.name == "chapters" and path.suffix == ".md":
            new = CODE_CELL.sub(lambda match: _with_setup(match, root), new)
        if new != old:
            yield path, new


def _files(root: Path) -> list[Path]:
    single = ["README.md", "CONTRIBUTING.md", "CITATION.cff", "_config.yml", ".github/workflows/ci.yml"]
    several = ["book/*.md", "chapters/*.md", "chapters/*.ipynb"]
    return [root / name for name in single] + [path for one in several for path in sorted(root.glob(one))]


def _renewer(root: Path):
    """Return the function that puts the new address in the place of the one now written in _config.yml."""
    written = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    old, old_branch = written["url"].rstrip("/"), written["branch"]
    new, branch = address(root)
    old_name, new_name = (url.removeprefix("https://github.com/") for url in (old, new))
    pairs = [
        (f"github/{old_name}/", f"github/{new_name}/"),  # Colab's links
        (_pages(old), _pages(new)),
        (f"{old}/blob/{old_branch}/", f"{new}/blob/{branch}/"),
        (f"branches: [{old_branch}]", f"branches: [{branch}]"),
        (f"branch: {old_branch}\n", f"branch: {branch}\n"),
        (old, new),
        (f"cd {old_name.split('/')[-1]}\n", f"cd {new_name.split('/')[-1]}\n"),
    ]

    def renew(text: str) -> str:
        for before, after in pairs:
            text = text.replace(before, after)
        return text

    return renew


def _is_setup(tags: list[str]) -> bool:
    return "setup" in tags


def _with_setup(match: re.Match, root: Path) -> str:
    head = match["head"]
    fields = yaml.safe_load(head.strip("-\n") if head.startswith("---") else re.sub(r"^:", "", head, flags=re.M)) or {}
    if not _is_setup(fields.get("tags", [])):
        return match[0]
    start, end = match.start("code") - match.start(), match.end("code") - match.start()
    # MyST leaves an empty line between a header in colons and the code.
    gap = "\n" if match["code"].startswith("\n") else ""
    return f"{match[0][:start]}{gap}{setup_cell(root)}\n{match[0][end:]}"


def _notebook(path: Path, renew, root: Path) -> str:
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    before = _stamp(notebook)
    changed = False
    for cell in notebook.cells:
        wanted = setup_cell(root) if _is_setup(cell.metadata.get("tags", [])) else renew(cell.source)
        changed |= wanted != cell.source
        cell.source = wanted
    if not changed:
        return text
    # The set-up cell computes nothing, so a published notebook stays published; but one that was stale stays stale.
    if before is not None and before[0] == before[1]:
        notebook.metadata["aecore"]["code_sha256"] = _stamp(notebook)[1]
    return nbformat.writes(notebook) + "\n"


def _stamp(notebook) -> tuple[str, str] | None:
    """Return the hash that the publication wrote and the hash of the code as it is; None without a publication."""
    from aecore.publishing import code_hash

    published = notebook.metadata.get("aecore")
    return (published["code_sha256"], code_hash(notebook)) if published else None


def main() -> int:
    """Write the files that differ, or with --check only name them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file differs")
    only_check = parser.parse_args().check
    # All are worked out before any is written: the old address is read from one of them.
    found = list(changes())
    for path, text in found:
        if not only_check:
            path.write_text(text, encoding="utf-8")
        print(f"{'differs' if only_check else 'rewritten'}: {path.relative_to(ROOT)}")
    if not found:
        print(f"Everything agrees with {address()[0]} (branch {address()[1]}).")
    return 1 if found and only_check else 0


if __name__ == "__main__":
    sys.exit(main())
