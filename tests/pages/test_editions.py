"""The editions beside the built pages: a figure or an exercise has one number, wherever it is read."""

import re

import nbformat

from chapters import text


def numbers(page, start):
    """Return the numbers of a page's figures ("Fig.") or exercises ("Exercise")."""
    found = [tag.get_text() for tag in page.find("article").find_all(class_="caption-number")]
    return [one.removeprefix(start).strip() for one in found if one.startswith(start)]


def test_figures_have_the_numbers_of_the_page(chapter, editions):
    name, page = chapter
    told = text(nbformat.read(editions / "reader" / f"{name.removeprefix('chapters/')}.ipynb", as_version=4))
    assert numbers(page, "Fig.")
    assert re.findall(r"^\*Figure ([\d.]*\d)\.\*", told, re.M) == numbers(page, "Fig.")


def test_exercises_have_the_numbers_of_the_page(chapter, editions):
    name, page = chapter
    told = text(nbformat.read(editions / "reader" / f"{name.removeprefix('chapters/')}.ipynb", as_version=4))
    assert re.findall(r"^\*\*Exercise ([\d.]*\d):", told, re.M) == numbers(page, "Exercise")
