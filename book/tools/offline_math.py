"""A Sphinx extension: formulas are set by a MathJax inside the book, so that its pages work without a network.

The script comes from the package sphinx-mathjax-offline, which would copy all of MathJax (30 MB). This copies the one
file that sets TeX as SVG: it needs no font files, which some browsers refuse to load for a page opened from a disk.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

SCRIPT = "tex-svg.js"


def copy_script(app: Sphinx, error: Exception | None) -> None:
    """Copy MathJax beside the other static files once the pages are written."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax"
        target.mkdir(parents=True, exist_ok=True)
        package = Path(find_spec("sphinx-mathjax-offline").origin).parent
        copy_asset_file(package / "static" / "mathjax" / SCRIPT, target)


def setup(app: Sphinx) -> dict:
    """Set the script's path and copy it at the end of the build."""
    app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.connect("build-finished", copy_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
