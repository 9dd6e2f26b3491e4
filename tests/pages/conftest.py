"""The built pages, parsed once."""

import pytest
from bs4 import BeautifulSoup

from aecore.course.editions import make
from chapters import ROOT, pages

HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def html():
    """The folder of the built book."""
    assert (HTML / "index.html").exists(), "the book is not built: run `make book` first"
    return HTML


@pytest.fixture(scope="session")
def soups(html):
    """All pages with text of ours, {"book/index": soup}; the search page and the redirect are the theme’s."""
    built = sorted(path for folder in ("book", "chapters") for path in (html / folder).rglob("*.html"))
    found = {path.relative_to(html).with_suffix("").as_posix(): path for path in built}
    return {name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for name, path in found.items()}


@pytest.fixture(scope="session")
def editions(tmp_path_factory):
    """The folder that `make editions` makes, with all editions of all chapters; the branch `editions` holds it."""
    out = tmp_path_factory.mktemp("editions")
    make(out, ROOT / "chapters")
    return out


@pytest.fixture(params=pages())
def page(request, soups):
    """The name of each page of the table of contents in turn."""
    assert request.param in soups, f"{request.param}.html was not built"
    return request.param


@pytest.fixture
def soup(page, soups):
    """The parsed page."""
    return soups[page]


@pytest.fixture
def article(soup):
    """What the page says, without the theme's frame."""
    return soup.find("article")


@pytest.fixture(params=[name for name in pages() if name.startswith("chapters/")])
def chapter(request, soups):
    """The parsed page of each chapter in turn."""
    assert request.param in soups, f"{request.param}.html was not built"
    return request.param, soups[request.param]
