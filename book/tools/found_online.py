"""A Sphinx extension: what search engines and links in messages need to know of the pages that were published.

Each page gets a description, which is its first paragraph, and the tags of the Open Graph protocol (ogp.me), from which
a link to it is shown with a title and a picture; the build ends with a sitemap.xml (sitemaps.org). There are packages
that do this; what the book needs of them are these few lines. All addresses begin with `html.baseurl` of _config.yml.
"""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape as escape_xml

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 200  # of a description, in characters: what search engines show of one
SITEMAP = """\
<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{}
</urlset>
"""


def describe(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Add the tags of a page; those that are no document (search, index) get none."""
    context["book_address"] = app.config.html_baseurl
    if doctree is None:
        return
    text = description(doctree)
    told = {
        "og:type": "article",
        "og:site_name": app.config.project,
        "og:title": next(node.astext() for node in doctree.findall(nodes.title)),
        "og:description": text,
        "og:url": address_of(app, page),
        **picture(app, doctree),
    }
    tags = [f'<meta name="description" content="{escape(text)}">']
    tags += [f'<meta property="{name}" content="{escape(value)}">' for name, value in told.items()]
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def description(doctree: nodes.document) -> str:
    """Return the first paragraph of a page that is none of a note or a picture, cut at a word."""
    paragraphs = (node for node in doctree.findall(nodes.paragraph) if isinstance(node.parent, nodes.section))
    text = " ".join(next((node.astext() for node in paragraphs), "").split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rsplit(' ', 1)[0]} …"


def picture(app: Sphinx, doctree: nodes.document) -> dict[str, str]:
    """Return the tags of the first figure of a page that is a PNG, the kind that messages show; of no figure, none."""
    for node in doctree.findall(nodes.image):
        if node["uri"].endswith(".png"):
            name = PurePosixPath(node["uri"]).name
            address = f"{app.config.html_baseurl.rstrip('/')}/{app.builder.imagedir}/{name}"
            return {"og:image": address, "og:image:alt": node.get("alt", "")}
    return {}


def address_of(app: Sphinx, page: str) -> str:
    """Return where a page is found once the book is published."""
    return f"{app.config.html_baseurl.rstrip('/')}/{app.builder.get_target_uri(page)}"


def write_sitemap(app: Sphinx, error: Exception | None) -> None:
    """Write the addresses of all pages into sitemap.xml beside the first page."""
    if error is not None or app.builder.format != "html":
        return
    pages = sorted(app.env.found_docs)
    lines = "\n".join(f"  <url><loc>{escape_xml(address_of(app, page))}</loc></url>" for page in pages)
    (Path(app.outdir) / "sitemap.xml").write_text(SITEMAP.format(lines), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Describe each page before it is written, and all of them at the end."""
    app.connect("html-page-context", describe, priority=900)
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
