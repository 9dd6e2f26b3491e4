"""A Sphinx extension: the list of sources is a list for screen readers too.

Docutils gives the entries a role of their own (`doc-biblioentry`), which is deprecated and may not stand in a list; then
neither the list nor its length is announced. Each entry becomes an item of the list.
"""

from __future__ import annotations

from sphinx.application import Sphinx


def mend(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Give the entries of the list of sources the role that a list wants."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict:
    """Mend each page before it is written."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
