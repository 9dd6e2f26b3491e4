"""The built book, walked as a reader's browser would."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

import aecore
from address import address
from address import pages as published
from chapters import pages

# What a page loads by itself comes from the book's own folder: a reader without a network sees all of it.
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


def target_of(html, page, link):
    """Return the file and the anchor that a link on a page leads to; None for a link out of the book."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    folder = html / PurePosixPath(page).parent
    path = (folder / unquote(parts.path)).resolve() if parts.path else (html / f"{page}.html").resolve()
    return path, unquote(parts.fragment)


def anchors(soups, html, path):
    """Return the anchors of a built page, or None where the file is no page of ours."""
    name = path.relative_to(html.resolve()).with_suffix("").as_posix() if path.suffix == ".html" else ""
    return {tag["id"] for tag in soups[name].find_all(id=True)} if name in soups else None


def test_pages_are_those_of_the_table_of_contents(soups):
    assert sorted(soups) == sorted(pages())


def test_the_top_leads_to_the_first_page(html):
    text = (html / "index.html").read_text(encoding="utf-8")
    assert re.search(rf'url={re.escape(pages()[0])}\.html"', text)


def test_page_has_one_title(article):
    assert len(article.find_all("h1")) == 1


def test_internal_links_lead_somewhere(html, soups, page, soup):
    broken = []
    for link in {tag["href"] for tag in soup.find_all(["a", "link"], href=True)}:
        target = target_of(html, page, link)
        if target is None or (link.startswith("#") and link in ("#", "#pst-back-to-top")):
            continue
        path, anchor = target
        known = anchors(soups, html, path) if path.exists() else None
        if not path.exists() or (anchor and known is not None and anchor not in known):
            broken.append(link)
    assert broken == []


def test_links_of_the_text_are_not_left_as_markdown(article):
    code = ["pre", "code", "script", "style"]
    text = " ".join(string for string in article.find_all(string=True) if not string.find_parent(code))
    assert re.findall(r"\]\([^)]*\)|\{(?:doc|ref|cite|numref|eq)[^}]*\}`|^:::", text) == []


def test_images_are_there(html, page, article):
    sources = [tag["src"] for tag in article.find_all("img")]
    assert [src for src in sources if not (src.startswith("data:") or target_of(html, page, src)[0].exists())] == []


def test_images_say_what_they_show(article):
    # A file name or a single word is no description.
    without = [
        tag["src"] for tag in article.find_all("img") if len(tag.get("alt", "")) < 20 or " " not in tag.get("alt", "")
    ]
    assert without == []


def test_page_loads_nothing_from_elsewhere(soup):
    # rel=canonical and the like are links that a browser does not follow by itself.
    loaded = [
        tag[attribute]
        for kind, attribute in LOADS.items()
        for tag in soup.find_all(kind, **{attribute: True})
        if kind != "link" or {"stylesheet", "preload", "icon", "prefetch"} & set(tag.get("rel", []))
    ]
    assert loaded
    assert [source for source in loaded if urlsplit(source).netloc] == []


def test_scripts_in_the_page_name_no_other_host(soup):
    scripts = [tag.get_text() for tag in soup.find_all("script", src=False)]
    hosts = {urlsplit(url).hostname for text in scripts for url in re.findall(r"https?://[^\s\"'<>]+", text)}
    assert hosts == set()


def test_no_button_asks_the_host_of_the_theme(soup):
    assert soup.find(class_=re.compile("thebe")) is None


def test_style_sheets_load_nothing_from_elsewhere(html):
    found = [
        path.name
        for path in html.rglob("*.css")
        if re.search(r"(?:@import\s+(?:url\()?|url\()\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_formulas_are_set_by_the_book_itself(html, soups):
    source = next(tag["src"] for tag in soups["book/notation"].find_all("script", src=re.compile("mathjax")))
    assert target_of(html, "book/notation", source.split("?")[0])[0].stat().st_size > 1_000_000


def test_no_output_shows_a_warning_or_a_traceback(article):
    outputs = " ".join(tag.get_text() for tag in article.find_all(class_="cell_output"))
    assert re.findall(r"Traceback \(most recent call last\)|\w*Warning:|\w+Error:", outputs) == []
    assert article.find_all(class_="traceback") == []


def test_no_output_comes_from_standard_error(article):
    assert article.find_all(class_="stderr") == []


def test_every_name_of_the_package_is_on_the_page_of_names(soups):
    article = soups["book/api"].find("article")
    shown = {tag["id"] for tag in article.find_all(id=re.compile(r"^(?:module-)?aecore\."))}
    # What is documented under the module that it lives in is found by the last part of its name.
    names = {one.removeprefix("module-").split(".")[-1] for one in shown}
    assert set(aecore.__all__) - names == set()


def test_docstrings_are_shown_as_they_are_written(soups):
    article = soups["book/api"].find("article")
    assert article.find_all("cite") == []
    assert article.find_all(class_="problematic") == []


# ---- what is found by others ----


def told(soup, **which):
    """Return what the one tag in the head of a page says that is called so."""
    tags = soup.find("head").find_all("meta", attrs=which)
    assert len(tags) == 1
    return tags[0]["content"]


def test_page_has_a_description_of_its_own_words(soup, article):
    text = told(soup, name="description")
    words = " ".join(article.get_text().split())
    assert 20 < len(text) <= 202
    assert " ".join(text.removesuffix(" …").split()[:4]) in words


def test_descriptions_differ(soups):
    texts = [told(soup, name="description") for soup in soups.values()]
    assert len(set(texts)) == len(texts)


def test_page_is_shown_with_its_title_and_address_where_it_is_linked(page, soup, article):
    title = article.find("h1")
    assert told(soup, property="og:title") in title.get_text()
    assert told(soup, property="og:url") == f"{published()}{page}.html"
    assert soup.find("link", rel="canonical")["href"] == f"{published()}{page}.html"


def test_chapter_is_shown_with_a_picture_that_is_there(html, chapter):
    _name, soup = chapter
    assert (html / told(soup, property="og:image").removeprefix(published())).is_file()
    assert len(told(soup, property="og:image:alt")) >= 20


def test_site_map_has_all_pages(html):
    tree = ElementTree.parse(html / "sitemap.xml")
    found = [node.text for node in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert found == sorted(f"{published()}{page}.html" for page in pages())


def test_page_for_addresses_that_lead_nowhere_leads_to_pages_from_any_depth(html):
    page = BeautifulSoup((html / "404.html").read_text(encoding="utf-8"), "html.parser")
    links = [tag["href"] for tag in page.find_all("a")]
    assert all(link.startswith(published()) for link in links)
    files = [link.removeprefix(published()) or "index.html" for link in links]
    assert [file for file in files if not (html / file).is_file()] == []
    assert page.find_all(["script", "link", "img"]) == []


# ---- chapters ----


def test_chapter_says_what_its_figures_were_made_on(chapter):
    _name, soup = chapter
    lines = [
        line for line in soup.find("article").get_text("\n").splitlines() if line.startswith("Figures on this page: ")
    ]
    assert len(lines) == 1
    assert "full profile" in lines[0]


def test_chapter_shows_figures(chapter):
    _name, soup = chapter
    assert soup.select(".cell_output img")


def test_chapter_opens_in_colab_as_a_readers_notebook_that_is_made(editions, chapter):
    name, soup = chapter
    links = {tag["href"] for tag in soup.find_all("a", href=re.compile(r"^https://colab\."))}
    repository = address()[0].removeprefix("https://github.com/")
    start = f"https://colab.research.google.com/github/{repository}/blob/editions/"
    assert [link.removeprefix(start) for link in links] == [f"reader/{name.removeprefix('chapters/')}.ipynb"]
    assert all((editions / link.removeprefix(start)).is_file() for link in links)


def test_chapter_can_be_downloaded_as_the_readers_notebook(html, editions, chapter):
    name, soup = chapter
    links = {
        tag["href"] for tag in soup.find_all("a", href=re.compile(r"\.ipynb$")) if not urlsplit(tag["href"]).netloc
    }
    files = [target_of(html, name, link)[0] for link in links if "_sources" in link]
    assert len(files) == 1
    assert files[0].read_bytes() == (editions / "reader" / files[0].name).read_bytes()


def test_chapter_has_its_exercises_with_folded_solutions(chapter):
    _name, soup = chapter
    exercises = soup.select("article div.exercise")
    assert len(exercises) >= 4
    assert len(soup.select("article div.solution.dropdown")) == len(exercises)


def test_chapter_has_its_recall_questions_folded(chapter):
    _name, soup = chapter
    section = soup.select_one("article section#recall")
    assert len(section.select("div.admonition.recall.dropdown")) == 8


@pytest.mark.parametrize("name", ["only-light", "only-dark"])
def test_first_page_has_its_picture_for_light_and_dark(soups, name):
    assert len(soups["book/index"].select(f"article img.{name}")) == 1
