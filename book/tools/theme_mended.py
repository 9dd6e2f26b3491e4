"""A Sphinx extension: what the theme and its parts get wrong in a page, and no style sheet or template can mend.

- Docutils gives the entries of a list of sources a role of their own (`doc-biblioentry`), which is deprecated and may
  not stand in a list; then neither the list nor its length is announced. Each entry becomes an item of the list.
- sphinx-thebe runs cells on a server on the web. This book does not use it, but its script is put into each page,
  twice, which ends in an error, and names a host of its own. It is left out.
"""

from __future__ import annotations

from sphinx.application import Sphinx


def mend(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Mend what a page is made of, before it is written."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
    context["script_files"] = [script for script in context["script_files"] if not _is_of_thebe(script)]


def _is_of_thebe(script) -> bool:
    attributes = getattr(script, "attributes", {})
    return "thebe" in f"{getattr(script, 'filename', script)} {attributes.get('body')}"


def setup(app: Sphinx) -> dict:
    """Mend each page last, when all others have added their scripts."""
    app.connect("html-page-context", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
