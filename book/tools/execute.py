"""Execute all chapters from their .md sources into a folder: `make chapters`. Published outputs are never touched."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]


def execute(source: Path, target: Path) -> None:
    """Run the chapter `source` (.md) and write the notebook with its new outputs to `target` (.ipynb).

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; `target` then holds the notebook up to that cell.
    """
    notebook = jupytext.read(source)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": source.parent}}
    )
    try:
        client.execute()
    finally:
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)


def main() -> int:
    """Execute all chapters; return 1 when any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the executed notebooks go")
    folder = parser.parse_args().folder
    failed = 0
    for source in sorted(ROOT.glob("chapters/[0-9][0-9]_*.md")):
        started = time.perf_counter()
        target = folder / f"{source.stem}.ipynb"
        try:
            execute(source, target)
        except CellExecutionError as error:
            failed += 1
            print(f"{source.name} FAILED:\n{error}", file=sys.stderr)
        else:
            print(f"{source.name}: {time.perf_counter() - started:.0f} s → {target}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
