"""A Sphinx extension: docstrings of the package are plain text with names in `backticks`, not reStructuredText.

There `backticks` mean a title, and an asterisk begins an emphasis that never ends. So names become literals, and
asterisks stay asterisks.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

NAME = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def as_restructured_text(line: str) -> str:
    """Return a line of a docstring so that Sphinx shows what stands there."""
    parts = NAME.split(line)  # every second one is a name
    return "".join(f"``{part}``" if i % 2 else part.replace("*", r"\*") for i, part in enumerate(parts))


def process(app: Sphinx, what: str, name: str, thing: object, options, lines: list[str]) -> None:
    """Change the lines of a docstring in place, as autodoc asks for it."""
    lines[:] = [as_restructured_text(line) for line in lines]


def short(app: Sphinx, what: str, name: str, thing: object, options, arguments: str | None, result: str | None):
    """Return a signature with types as the code names them, where autodoc leaves "~torch.Tensor" standing."""
    return tuple(text and re.sub(r"~(?:\w+\.)+", "", text) for text in (arguments, result))


def setup(app: Sphinx) -> dict:
    """Before napoleon, whose own marks for arguments shall stay."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", short)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
