"""Coursework from the real chapters: every exercise of the bank can be set, solved, and asked with other numbers."""

import csv
import re
from collections import Counter

import nbformat
import pytest

from aecore.course import checks
from aecore.course.handout import Handout, make
from aecore.course.written import answers_in
from aecore.exercises import checked, exercises, written
from chapters import ROOT, chapters, code_cells, text

BANK = exercises()
NUMBERS = sorted({number.split("-")[0] for number in BANK})
VERSIONED = [number for number, exercise in BANK.items() if getattr(exercise, "versions", None)]
PAGE = (ROOT / "book" / "lecturers.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copies of all chapters: plain ones, and some for nbgrader with other numbers than the book's."""
    out = tmp_path_factory.mktemp("handout")
    make(out, ROOT / "chapters", Handout(NUMBERS))
    make(out, ROOT / "chapters", Handout(NUMBERS, seed=1, format="nbgrader"))
    return out


@pytest.fixture(scope="module")
def copies(folder):
    """The notebooks by their edition and chapter: `copies["release", "01"]`."""
    return {
        (path.parent.name, path.name[:2]): nbformat.read(path, as_version=4)
        for kind in ("release", "source", "instructor", "student")
        for path in folder.glob(f"{kind}/*.ipynb")
    }


@pytest.fixture(scope="module")
def version(folder):
    with (folder / "versions.csv").open(encoding="utf-8", newline="") as stream:
        return int(next(csv.DictReader(stream))["version"])


def test_exercises_of_the_bank_are_those_of_the_chapters():
    asked = re.findall(r'^ae\.check\("([\d-]+)", \w+\)', "".join(_source(name) for name in chapters()), re.M)
    assert sorted(asked) == sorted(checked())


def test_every_exercise_of_the_bank_has_its_place_in_a_chapter():
    labels = re.findall(r"^:label: *ex-(\d\d-\d+)$", "".join(_source(name) for name in chapters()), re.M)
    assert sorted(labels) == sorted(BANK)


def test_exercises_of_a_chapter_are_numbered_in_their_order():
    for name in chapters():
        labels = re.findall(r"^:label: *ex-(\d\d-\d+)$", _source(name), re.M)
        assert labels == [f"{name[:2]}-{i}" for i in range(1, len(labels) + 1)]


def test_exercises_that_a_person_marks_come_last():
    for name in chapters():
        numbers = sorted(number for number in BANK if number.startswith(name[:2]))
        kinds = [number in written() for number in numbers]
        assert kinds == sorted(kinds)


def test_every_untouched_copy_has_an_empty_answer_to_each_exercise_in_sentences(copies):
    for kind in ("release", "student"):
        found = {
            number: answer.empty
            for (edition, _), copy in copies.items()
            if edition == kind
            for number, answer in answers_in(copy).items()
        }
        assert found == dict.fromkeys(written(), True)


@pytest.mark.parametrize("kind", ["release", "source"])
def test_every_exercise_has_a_cell_that_tests_it(copies, kind):
    told = [
        cell.metadata.nbgrader.grade_id
        for (edition, _), copy in copies.items()
        if edition == kind
        for cell in copy.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    ]
    assert sorted(told) == sorted(BANK)


def test_every_exercise_in_sentences_is_graded_by_a_person(copies):
    told = [
        (cell.metadata.nbgrader.grade_id, cell.metadata.nbgrader.points)
        for (edition, _), copy in copies.items()
        if edition == "release"
        for cell in copy.cells
        if cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("solution")
    ]
    assert dict(told) == {number: task.worth.points for number, task in written().items()}


def test_every_exercise_is_solved_in_the_source(copies):
    solved = [
        cell.metadata.nbgrader.grade_id
        for (edition, _), copy in copies.items()
        if edition == "source"
        for cell in copy.cells
        if cell.metadata.get("nbgrader", {}).get("solution") and "= ..." not in cell.source
    ]
    assert sorted(solved) == sorted([*(f"{number}-answer" for number in checked()), *written()])


@pytest.mark.parametrize("number", VERSIONED)
def test_copy_asks_with_the_numbers_of_its_version(copies, version, number):
    asked = _question(copies["release", number[:2]], number)
    changes = BANK[number].versions.changes(version)
    assert [new for new in changes.values() if not _holds(asked, new)] == []
    assert [old for old in changes if _holds(asked, old) and old not in changes.values()] == []


@pytest.mark.parametrize("number", VERSIONED)
def test_copy_checks_the_version_that_it_asks(copies, version, number):
    cells = code_cells(copies["release", number[:2]])
    test = next(cell.source for cell in cells if cell.metadata.get("nbgrader", {}).get("grade_id") == number)
    assert checks.checks_in(checks.parsed(test), BANK)[0].version == version


def test_every_exercise_of_a_copy_says_what_it_is_worth(copies):
    for edition in ("release", "instructor"):
        shown = [line for (kind, _), copy in copies.items() if kind == edition for line in _worths(copy)]
        assert len(shown) == len(BANK)


def test_page_for_lecturers_lists_the_exercises_that_have_versions():
    listed = re.findall(r"\b\d\.\d\b", PAGE.split("a given data set): ")[1].split(".\n")[0].replace("\n", " "))
    assert listed == [f"{int(number[:2])}.{number[3:]}" for number in VERSIONED if number < "90"]


def test_page_for_lecturers_says_which_chapters_have_exercises_in_sentences():
    last = int(re.search(r"^Chapters 1 to (\d+) have three exercises each", PAGE, re.M)[1])
    counts = Counter(number[:2] for number in written())
    assert counts == {f"{chapter:02d}": 3 for chapter in range(1, last + 1)}


@pytest.mark.parametrize("step", ["make", "grade"])
def test_options_on_the_page_for_lecturers_exist(step, capsys):
    from aecore.cli import main

    with pytest.raises(SystemExit):
        main(["course", step, "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"--[a-z-]+", " ".join(re.findall(rf"^aecore course {step} .*$", PAGE, re.M))))
    assert named
    assert named <= known


def _source(name):
    return (ROOT / "chapters" / f"{name}.md").read_text(encoding="utf-8")


def _worths(copy):
    return re.findall(r"^\*★+ · \d+ points? · about \d+ minutes(?: · marked by hand)?\*$", text(copy), re.M)


def _question(copy, number):
    """Return the text of the exercise that the cell below it answers."""
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in copy.cells]
    above = copy.cells[: ids.index(f"{number}-answer")]
    last = next(cell.source for cell in reversed(above) if cell.cell_type == "markdown")
    return re.sub(r"^\*★.*$", "", last[last.rindex("**Exercise") :], flags=re.M)


def _holds(text, number):
    return re.search(rf"(?<![\w.,]){re.escape(number)}(?!\w|[.,]\d)", text)
