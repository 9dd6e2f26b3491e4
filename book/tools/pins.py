"""Write constraints.txt and environment.yml from what is installed: `make pins`, after a deliberate upgrade.

constraints.txt pins everything; environment.yml pins what pyproject.toml names and takes the rest from constraints.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.11"
# The CUDA libraries follow from torch and exist for some platforms only.
NOT_PINNED = re.compile(r"(nvidia-|cuda-|triton==|aecore)")
# What only the benchmarks and the printing need is pinned, but belongs in no environment made for the book.
NOT_IN_ENVIRONMENT = ("bench", "pdf")

CONSTRAINTS_HEAD = f"""\
# The versions that the book was tested with, on Python {PYTHON}. Written by `make pins`.
# Use it beside pyproject.toml:  pip install -c constraints.txt -e '.[book,test,course]'
"""
ENVIRONMENT = """\
# The tested versions for conda, the same as in constraints.txt. Written by `make pins`.
#   conda env create -f environment.yml && conda activate aecore
name: aecore
channels:
  - conda-forge
dependencies:
  - python={python}
  - pip
  - pip:
      - -c constraints.txt
      - -e .[book,test,course,lab]
{pins}
"""


def canonical(name: str) -> str:
    """Return a package's name as the registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(root: Path = ROOT, without: tuple[str, ...] = ()) -> set[str]:
    """Return the packages that pyproject.toml names, in the core and in the extras, some of which may be left out."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in extras if name not in without)]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for one in lists for line in one}


def main() -> None:
    """Write both files."""
    freeze = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    lines = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.splitlines()
    pins = [line.split("+")[0] for line in lines if re.match(r"[\w.-]+==", line) and not NOT_PINNED.match(line)]
    (ROOT / "constraints.txt").write_text(CONSTRAINTS_HEAD + "\n".join(pins) + "\n", encoding="utf-8")
    wanted = named(without=NOT_IN_ENVIRONMENT)
    chosen = "\n".join(f"      - {pin}" for pin in pins if canonical(pin.split("==")[0]) in wanted)
    text = ENVIRONMENT.format(python=PYTHON, pins=chosen)
    (ROOT / "environment.yml").write_text(text, encoding="utf-8")
    print(f"{len(pins)} versions pinned; {len(chosen.splitlines())} of them are named in pyproject.toml")


if __name__ == "__main__":
    main()
