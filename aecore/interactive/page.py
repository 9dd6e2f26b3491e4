"""The figure as a page shows it: a still picture, and the script that takes its place."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable
from importlib.resources import files

from . import live


class Figure:
    """A figure that a reader moves. A notebook shows it where it is the value of a cell.

    Args:
        page: its HTML, whole: it loads nothing.
        alt: what it shows, for those who do not see it.
        panel: makes the ipywidgets that decode with the model itself; called with a live kernel only. None: there
            are none.
    """

    def __init__(self, page: str, alt: str, panel: Callable | None = None) -> None:
        self.html = page
        self.alt = alt
        self.panel = panel

    def __repr__(self) -> str:
        return f"Interactive figure: {self.alt}"

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """Return what is stored in a notebook: the figure that needs no kernel, and its text."""
        return {"text/html": self.html, "text/plain": repr(self)}

    def _ipython_display_(self) -> None:
        """Show the figure, and below it, where a kernel is there to answer, the controls that ask the model."""
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)
        if self.panel is None or live.wanted() == "no":
            return
        panel = self.panel()  # draws once, so that a test runs what a reader will
        if live.wanted() == "shown":
            display(panel)


def write(data: dict, still: str, alt: str, caption: str | None) -> str:
    """Return the HTML of a figure.

    The pictures and the script are in it, so that it works from a file, in Colab and in Jupyter alike. Where no
    script runs, the still picture stays. The same data give the same bytes.

    Args:
        data: what figure.js needs; its "kind" says which figure it is, and "title" names the group of its controls.
        still: address of the still picture.
        alt: its text.
        caption: one or more sentences below the figure, as plain text.
    """
    folder = files(__package__)
    script, style = ((folder / name).read_text(encoding="utf-8") for name in ("figure.js", "figure.css"))
    # Written so, no text in the data can end the script or begin a comment in it.
    values, look = (json.dumps(value, ensure_ascii=False).replace("<", "\\u003c") for value in (data, style))
    key = hashlib.sha256((still + values).encode()).hexdigest()[:12]
    below = f"<figcaption>{html.escape(caption)}</figcaption>\n" if caption else ""
    return (
        '<figure class="aecore-figure" style="margin: 0">\n'
        f'<div data-aecore="{key}"><img src="{still}" alt="{html.escape(alt)}" style="max-width: 100%; height: auto">'
        f"</div>\n{below}</figure>\n"
        f'<script>(function () {{\n{script}\naecoreFigure("{key}", {values}, {look});\n}})();</script>\n'
    )
