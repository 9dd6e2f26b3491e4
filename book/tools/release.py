"""See that a tag may be released, and print what CHANGELOG.md says of it: python book/tools/release.py v0.2.0.

The workflow of a release begins with this. Exit status 1, and a line on what is wrong, when the tag is not that of the
version in aecore/__init__.py or CHANGELOG.md has no part for it. Needs nothing that is not in Python itself.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version(root: Path = ROOT) -> str:
    """Return the version of the package, "0.2.0", from its source."""
    source = (root / "aecore" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.M)[1]


def changes(tag: str, root: Path = ROOT) -> str:
    """Return the part of CHANGELOG.md about the version that a tag names, without its heading.

    Raises:
        ValueError: the tag is not "v" and the version of the package, or there is no such part.
    """
    if tag != f"v{version(root)}":
        raise ValueError(f"tag: wanted v{version(root)}, the version in aecore/__init__.py, got {tag!r}")
    parts = re.split(r"^## ", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    found = [part.partition("\n")[2].strip() for part in parts if part.split(maxsplit=1)[:1] == [version(root)]]
    if not found or not found[0]:
        raise ValueError(f"CHANGELOG.md: there is nothing below a heading ## {version(root)}; write what is new")
    return found[0]


def main() -> int:
    """Print the changes of the tag on the command line."""
    if len(sys.argv) != 2:
        print("usage: python book/tools/release.py v0.2.0", file=sys.stderr)
        return 2
    try:
        print(changes(sys.argv[1]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
