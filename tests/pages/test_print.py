"""The pages on paper, and the PDF of the whole book."""

import io

import pdf
import pytest
from pypdf import PdfReader

CHAPTER = "chapters/02_convolutional"


@pytest.fixture(scope="module")
def paper(html, browser):
    """A page of the browser as it would be printed, with a chapter in it."""
    page = browser.new_page(viewport={"width": 700, "height": 1000})
    page.emulate_media(media="print")
    page.goto((html / f"{CHAPTER}.html").as_uri())
    page.evaluate(pdf.UNFOLD)
    return page


def count(page, selector, test):
    """Return how many elements there are, and for how many of them a test in JavaScript is true."""
    script = "([selector, test]) => {const all = [...document.querySelectorAll(selector)];"
    script += "return [all.length, all.filter(new Function('one', `return ${test}`)).length]}"
    return page.evaluate(script, [selector, test])


def test_no_code_is_cut_at_the_edge_of_the_paper(paper):
    there, cut = count(paper, "article pre", "one.scrollWidth > one.clientWidth + 1")
    assert there > 40
    assert cut == 0


def test_folded_code_is_not_printed(paper):
    there, shown = count(paper, "article details.above-input", "one.getClientRects().length")
    assert there > 3
    assert shown == 0


def test_solutions_are_printed(paper):
    there, shown = count(paper, "article .solution", "one.getClientRects().length")
    assert there > 3
    assert shown == there


def test_words_that_only_unfold_are_not_printed(paper):
    assert "code cell" not in paper.evaluate("() => document.querySelector('article').innerText")


@pytest.fixture(scope="module")
def book(html, browser):
    """Pages that were printed by themselves, and the document that is made of them."""
    page = browser.new_page()
    pages = [pdf.printed(page, html, name) for name in ("book/index", "book/notation")]
    first = pdf.front(page, "A & B", "Nobody", [(one.title, 0) for one in pages])
    written = io.BytesIO()
    pdf.joined(first, pages, html).write(written)
    return pages, PdfReader(written)


class TestJoined:
    """Two pages of the book, each printed by itself, become one document."""

    def test_holds_all_sheets(self, book):
        pages, whole = book
        assert len(whole.pages) == 2 + sum(len(one.sheets.pages) for one in pages)

    def test_begins_with_the_title(self, book):
        assert "A & B" in book[1].pages[0].extract_text()

    def test_has_a_bookmark_for_each_page_of_the_book(self, book):
        pages, whole = book
        marks = [mark.title for mark in whole.outline if not isinstance(mark, list)]
        assert marks == [one.title for one in pages] == ["Image Compression with Autoencoders", "Notation"]

    def test_numbers_every_sheet_but_the_first(self, book):
        feet = [sheet.extract_text().strip().splitlines()[-1] for sheet in book[1].pages]
        assert feet[1:] == [str(number) for number in range(2, len(feet) + 1)]
        assert feet[0] == "Nobody"

    def test_a_link_to_another_page_leads_inside(self, book):
        whole = book[1]
        links = [link.get_object() for sheet in whole.pages for link in sheet.get("/Annots", [])]
        inside = [link["/Dest"][0].get_object() for link in links if isinstance(link.get("/Dest"), list)]
        (notation,) = (mark for mark in whole.outline if getattr(mark, "title", "") == "Notation")
        start = whole.get_destination_page_number(notation)
        assert whole.pages[start].indirect_reference.get_object() in inside


def test_pages_are_those_of_the_contents_without_what_one_looks_up():
    toc = {"root": "book/index", "parts": [{"chapters": [{"file": "chapters/01"}, {"file": "book/api"}]}]}
    assert pdf.names(toc) == ["book/index", "chapters/01"]


def test_without_a_built_book_it_says_what_to_do(tmp_path):
    with pytest.raises(SystemExit, match="holds no built book; run 'make book' first"):
        pdf.main([str(tmp_path), str(tmp_path / "book.pdf")])


def test_without_a_browser_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("AECORE_CHROMIUM", raising=False)
    with pytest.raises(SystemExit, match="wanted one of chromium, .*AECORE_CHROMIUM"), pdf.browser():
        pass
