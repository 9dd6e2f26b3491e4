"""The rules that every chapter keeps to, checked in its source and in its notebook."""

import base64
import datetime
import re
import shutil

import jupytext
import pytest
from jupytext.cli import jupytext as synchronise

from address import setup_cell
from aecore.exercises import written
from aecore.publishing import code_hash
from chapters import ROOT, chapters, code_cells, notebook, pages, tags, text, words

CHAPTERS = chapters()


@pytest.fixture(params=CHAPTERS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def book(name):
    assert (ROOT / "chapters" / f"{name}.ipynb").exists(), "the table of contents names it, but it is not here"
    return notebook(name)


def images(cell):
    """Return the media types of the images that a cell shows."""
    return [kind for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]


def recalled(book):
    """Return the recall questions of a chapter with their answers."""
    found = re.compile(r"^:::\{admonition\} (.*)\n:class: recall dropdown\n\n(.+)\n:::$", re.M)
    return found.findall(text(book))


def test_pages_of_the_table_of_contents_are_there():
    missing = [page for page in pages() if not any((ROOT / f"{page}.{kind}").exists() for kind in ("md", "ipynb"))]
    assert missing == []


def test_every_chapter_is_in_the_table_of_contents():
    assert [f"chapters/{chapter}" for chapter in CHAPTERS] == [page for page in pages() if page.startswith("chapters/")]


def test_chapter_has_a_source_and_a_notebook(name):
    assert (ROOT / "chapters" / f"{name}.md").exists()
    assert (ROOT / "chapters" / f"{name}.ipynb").exists()


def test_source_and_notebook_have_the_same_cells(name, book):
    source = jupytext.read(ROOT / "chapters" / f"{name}.md")
    assert [(c.cell_type, c.source) for c in source.cells] == [(c.cell_type, c.source) for c in book.cells]


def test_source_and_notebook_have_the_same_tags_and_alt_texts(name, book):
    source = jupytext.read(ROOT / "chapters" / f"{name}.md")
    wanted = [(tags(c), c.metadata.get("mystnb")) for c in source.cells]
    assert wanted == [(tags(c), c.metadata.get("mystnb")) for c in book.cells]


def test_synchronising_keeps_ids_and_outputs(name, book, tmp_path):
    for kind in ("md", "ipynb"):
        shutil.copy(ROOT / "chapters" / f"{name}.{kind}", tmp_path)
    source = tmp_path / f"{name}.md"
    source.write_text(source.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
    synchronise(["--quiet", "--sync", str(source)])
    after = jupytext.read(tmp_path / f"{name}.ipynb")
    assert "One more line." in after.cells[-1].source
    # The line may join the last text cell or make a new one; everything before it is as it was.
    kept = [(cell.id, cell.get("outputs")) for cell in book.cells[:-1]]
    assert [(cell.id, cell.get("outputs")) for cell in after.cells[: len(kept)]] == kept


def test_cell_ids_are_unique(book):
    ids = [cell.id for cell in book.cells]
    assert len(set(ids)) == len(ids)


def test_first_code_cell_is_the_set_up_cell(book):
    assert [i for i, cell in enumerate(code_cells(book)) if "setup" in tags(cell)] == [0]


def test_set_up_cell_is_the_one_of_all_chapters(book):
    assert code_cells(book)[0].source == setup_cell()


def test_set_up_cell_says_where_it_runs_next(name, book):
    assert any(f'ae.setup("{name[:2]}")' in cell.source for cell in code_cells(book)[:3])


def test_last_code_cell_shows_the_provenance(book):
    assert "provenance" in tags(code_cells(book)[-1])
    assert "ae.provenance()" in code_cells(book)[-1].source


def test_code_cell_has_at_most_25_lines(book):
    assert [cell.source for cell in code_cells(book) if len(cell.source.splitlines()) > 25] == []


def test_code_fits_narrow_pages(book):
    # 76 characters fit a sheet of A4 and a window of 1280 pixels; more would scroll. The set-up cell is folded.
    lines = [line for cell in code_cells(book)[1:] for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 76] == []


def test_no_code_looks_at_the_profile(book):
    forbidden = re.compile(r"AECORE_PROFILE|config\.profile|\bif\b[^\n]*\bquick\b")
    assert [cell.source for cell in code_cells(book)[1:] if forbidden.search(cell.source)] == []


def test_text_stands_before_every_code_cell_but_the_first(book):
    after_code = [
        later.source
        for earlier, later in zip(book.cells[:-1], book.cells[1:], strict=True)
        if earlier.cell_type == later.cell_type == "code"
        and not {"setup", "remove-cell", "provenance"} & {*tags(earlier), *tags(later)}
    ]
    assert after_code == []


def test_chapter_begins_with_a_title_and_a_card(book):
    opening = text(book)[:1500]
    assert opening.startswith("# ")
    assert re.search(r"^:::+\{admonition\}[^\n]*\n:class: card", opening, re.M)


def test_chapter_has_at_least_1800_words(book):
    assert words(text(book)) >= 1800


def test_recall_stands_right_before_the_exercises(book):
    headings = re.findall(r"^## (.*)$", text(book), re.M)
    assert headings[headings.index("Recall") + 1] == "Exercises"
    assert headings.count("Recall") == 1


def test_recall_has_eight_questions_with_folded_answers(book):
    assert len(recalled(book)) == 8


def test_recall_question_ends_as_a_question(book):
    assert [question for question, _ in recalled(book) if not question.endswith("?")] == []


def test_recall_answer_has_one_to_three_sentences(book):
    # A sentence ends with a full stop before a space or the end; the text has no abbreviations in it.
    counts = {question: len(re.findall(r"\.(?=\s|$)", answer)) for question, answer in recalled(book)}
    assert {question: count for question, count in counts.items() if not 1 <= count <= 3} == {}


def test_at_least_three_recall_questions_ask_why_or_what_would_happen(book):
    asked = re.compile(r"\b[Ww]hy\b|\b[Ww]hat (?:would|happens)\b")
    assert len([question for question, _ in recalled(book) if asked.search(question)]) >= 3


def test_chapter_has_at_least_four_exercises(book):
    assert len(re.findall(r"^:::+\{exercise\}", text(book), re.M)) >= 4


def test_every_exercise_has_a_solution_behind_a_dropdown(book):
    options = r"(?::[\w-]+:[^\n]*\n)*?"
    labels = re.findall(rf"^:::+\{{exercise\}}[^\n]*\n{options}:label: *(\S+)", text(book), re.M)
    solved = re.findall(rf"^:::+\{{solution(?:-start)?\}} *(\S+)\n{options}:class: *dropdown", text(book), re.M)
    assert labels
    assert labels == solved


def test_every_exercise_checks_itself_or_is_marked_by_a_person(name, book):
    exercises = len(re.findall(r"^:::+\{exercise\}", text(book), re.M))
    checked = {number for cell in code_cells(book) for number in re.findall(r'check\(\s*"(\d\d-\d+)"', cell.source)}
    assert checked == {f"{name[:2]}-{i}" for i in range(1, exercises + 1)} - written().keys()


def test_every_exercise_has_an_answer_name_of_its_own(book):
    # Were the names the same, a deleted line would leave the answer of the exercise before to be judged.
    code = "\n".join(cell.source for cell in code_cells(book))
    handed_in = re.findall(r'^ae\.check\("\d\d-(\d+)", (\w+)\)$', code, re.M)
    assigned = re.findall(r"^(\w+) = \.\.\.(?:  #.*)?\nae\.check\(", code, re.M)
    assert handed_in
    assert [name for _, name in handed_in] == assigned == [f"answer_{number}" for number, _ in handed_in]


def test_no_gap_is_left_in_the_text(book):
    # Words such as PROSE_RESULT, which an author leaves to be filled in; AECORE_DATA and its like are names.
    gaps = re.findall(r"\b(?!AECORE_)[A-Z]{3,}_[A-Z0-9_]+\b|\bTODO\b|\bFIXME\b|\bXXX\b", text(book))
    assert gaps == []


def test_text_has_the_words_of_the_field(book):
    # Words of our own once stood for kernel, upsampling, manifold or plane, nonlinear, checkerboard.
    ours = r"(?<!rubber )\bstamps?\b|\benlarg\w*|\bsheets?\b|\bbent\b|\bchessboards?\b"
    assert re.findall(ours, text(book), re.I) == []


def test_relative_links_lead_to_files(book):
    targets = re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", text(book))
    assert [target for target in targets if not (ROOT / "chapters" / target).exists()] == []


def test_every_output_is_marked_or_none_is_compared(book):
    # nbval compares marked cells only; without one, a chapter would be run but never checked by it.
    assert any("nbval-check-output" in tags(cell) for cell in code_cells(book))


# ---- what publication leaves ----


def test_chapter_was_published_under_the_full_profile(book):
    assert book.metadata.get("aecore", {}).get("profile") == "full"


def test_publication_is_of_the_code_as_it_is(book):
    assert book.metadata["aecore"]["code_sha256"] == code_hash(book), "publish the chapter again: make publish CH=…"


@pytest.mark.parametrize("fact", ["date", "device", "versions", "data"])
def test_publication_says(book, fact):
    assert book.metadata["aecore"][fact]


def test_publication_has_a_date(book):
    datetime.date.fromisoformat(book.metadata["aecore"]["date"])


def test_every_code_cell_was_executed(book):
    assert [cell.source for cell in code_cells(book) if cell.source.strip() and cell.execution_count is None] == []


def test_no_output_is_an_error_or_a_warning(book):
    outputs = [output for cell in code_cells(book) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


def test_figures_are_png(book):
    assert {kind for cell in code_cells(book) for kind in images(cell)} == {"image/png"}


def test_png_is_png(book):
    data = [o.data["image/png"] for cell in code_cells(book) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert all(base64.b64decode(one).startswith(b"\x89PNG\r\n\x1a\n") for one in data)


def test_every_figure_has_an_alt_text(book):
    without = [
        cell.source
        for cell in code_cells(book)
        if images(cell) and len(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) < 20
    ]
    assert without == []


def test_notebook_is_below_1_mb(name):
    assert (ROOT / "chapters" / f"{name}.ipynb").stat().st_size < 1_000_000


def test_no_output_names_a_folder_of_the_machine_that_published(book):
    outputs = [str(output) for cell in code_cells(book) for output in cell.outputs]
    assert [output for output in outputs if re.search(r"(?<![\w.~/])/(home|root|Users|work|tmp)/\w", output)] == []


def test_words_counts_prose_only():
    code = "```python\nnot = these\n```"
    note = ":::{note}\n:class: x\nThree more words, $x = y$ and `code`.\n:::"
    sample = f"# Two words\n\n{code}\n\n{note}\n"
    assert words(sample) == 6
