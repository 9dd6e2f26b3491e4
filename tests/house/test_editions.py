"""The editions of the real chapters, beside what their sources say when they are read in another way."""

import json
import re
import subprocess
import sys
from html import unescape
from itertools import pairwise
from urllib.parse import quote, unquote

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt

from address import CODE_CELL, address
from address import pages as published
from aecore import __version__
from aecore.course.editions import make
from aecore.exercises import checked, exercises
from chapters import ROOT, chapters, code_cells, notebook, pages, tags, text

KINDS = ("reader", "student", "instructor")
COMMONMARK = MarkdownIt("commonmark")
# From the beginning of a solution to its end, code and all, as it stands in the source.
# Of one with a check the solution has code and lies between two directives; else it is one, and a text alone.
SOLUTION = re.compile(r"^:::+\{solution(-start)?\} *\S+\n(.*?)(?(1)^:::+\{solution-end\}\n:::+$|^:::+$)", re.M | re.S)
EXERCISE = re.compile(r"^:::+\{exercise\} *(.*)$", re.M)
CITED = re.compile(r"\{cite[a-z:]*\}`([^`]*)`")
LABELS = re.compile(r":label:|\b(?:fig|ex|eq|sec)-[\w-]+|^\([\w-]+\)=", re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder with all editions of all chapters."""
    out = tmp_path_factory.mktemp("editions")
    make(out, ROOT / "chapters")
    return out


@pytest.fixture(scope="module")
def editions(folder):
    """All editions, {("reader", "05_pixel_shuffle"): notebook}."""
    return {
        (path.parent.name, path.stem): nbformat.read(path, as_version=4) for path in sorted(folder.glob("*/*.ipynb"))
    }


@pytest.fixture(params=chapters())
def name(request):
    return request.param


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def edition(editions, kind, name):
    return editions[kind, name]


def source(name):
    """Return the text of a chapter's source, code cells and all."""
    return (ROOT / "chapters" / f"{name}.md").read_text(encoding="utf-8")


def code_of(cell):
    """Return the code of a cell as an edition has it: the set-up cell installs the release."""
    if "setup" not in tags(cell) or re.search("[a-z]", __version__):
        return cell.source
    return cell.source.replace(address()[0], f"{address()[0]}@v{__version__}")


def number_of(name):
    """Return how the pages number a chapter's figures: "5." before each, or nothing where its part has no numbers."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    numbered = [page["file"] for part in toc["parts"] if part.get("numbered") for page in part["chapters"]]
    return f"{numbered.index(f'chapters/{name}') + 1}." if f"chapters/{name}" in numbered else ""


def notes_of(name, folded):
    """Return the titles of a chapter's notes, of those that the page folds or of the others, in order."""
    notes = re.findall(r"^:::+\{admonition\} *(.*)\n:class: *(.*)$", source(name), re.M)
    return [title for title, kinds in notes if ("dropdown" in kinds.split()) == folded]


def captions_of(name):
    """Return the captions of a chapter's figures in order, from the headers of the cells in its source."""
    heads = [match["head"] for match in CODE_CELL.finditer(source(name))]
    fields = [yaml.safe_load(head.strip("-\n")) for head in heads if head.startswith("---")]
    shown = [field["mystnb"]["figure"] for field in fields if "remove-cell" not in field.get("tags", [])]
    return [figure["caption"].strip() for figure in shown]


def inline(book):
    """Yield the inline tokens of all text cells, read as plain CommonMark."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            for token in COMMONMARK.parse(cell.source):
                yield from token.children or ()


def solved_lines(name):
    """Return the lines of a chapter's solutions, of text and of code, that are long enough to be told from others."""
    lines = [line.strip() for match in SOLUTION.finditer(source(name)) for line in match[2].splitlines()]
    return [line for line in lines if len(line) > 30 and not line.startswith((":", "```"))]


def cited(kind, name):
    """Return the keys of the works that a chapter cites, in order, with those in its solutions where an edition has
    them."""
    shown = source(name) if kind == "instructor" else SOLUTION.sub("", source(name))
    return [key.strip() for keys in CITED.findall(shown) for key in keys.split(",")]


def bibliography():
    """Return {key: (year, address)} of the bibliography; the address is "" where it has none."""
    found = {}
    for entry in (ROOT / "book" / "references.bib").read_text(encoding="utf-8").split("\n@"):
        fields = dict(re.findall(r"^ *(\w+) *= *\{(.*)\},?$", entry, re.M))
        key = re.search(r"\{([^,]+),", entry)[1]
        doi, arxiv = fields.get("doi"), fields.get("eprint")
        link = f"https://doi.org/{quote(doi)}" if doi else f"https://arxiv.org/abs/{arxiv}" if arxiv else ""
        found[key] = fields.get("year", ""), link
    return found


# ---- every edition ----


def test_there_are_three_editions_of_every_chapter(editions):
    assert sorted(editions) == sorted((kind, name) for kind in KINDS for name in chapters())


def test_edition_is_a_valid_notebook(folder, kind, name):
    # Read as JSON, since nbformat would mend what is wrong with it.
    nbformat.validate(json.loads((folder / kind / f"{name}.ipynb").read_text(encoding="utf-8")))


def test_cells_have_the_ids_of_the_chapter_or_are_named_after_what_they_belong_to(edition, name):
    known = {cell.id for cell in notebook(name).cells}
    # Captions; what is left of a text that an answer or a model answer cuts; the answers themselves.
    numbers = [number for number in exercises() if number.startswith(name[:2])]
    answers = {
        f"{kind}-{number}{end}" for kind in ("answer", "solution") for number in numbers for end in ("", "-code")
    }
    own = [re.sub(r"-(?:caption|[2-9])$", "", cell.id) for cell in edition.cells if cell.id not in answers]
    assert [cell for cell in own if cell not in known] == []


def test_making_them_again_gives_the_same_bytes(folder, tmp_path):
    make(tmp_path, ROOT / "chapters")
    files = [path.relative_to(folder) for path in folder.glob("*/*.ipynb")]
    assert [path for path in files if (folder / path).read_bytes() != (tmp_path / path).read_bytes()] == []


def test_kernel_is_that_of_the_chapter(edition, name):
    assert edition.metadata.kernelspec == notebook(name).metadata.kernelspec


def test_notebook_is_neither_paired_nor_published(edition):
    assert not {"jupytext", "aecore"} & edition.metadata.keys()


def test_plain_markdown_holds_no_directive(edition):
    tokens = [token for cell in edition.cells for token in COMMONMARK.parse(cell.source) if cell.cell_type != "code"]
    assert [token.info for token in tokens if token.type == "fence" and token.info.startswith("{")] == []
    assert [token.content for token in inline(edition) if ":::" in token.content] == []


def test_plain_markdown_holds_no_role(edition):
    children = list(inline(edition))
    assert [
        after.content
        for before, after in pairwise(children)
        if after.type == "code_inline" and re.search(r"\{[\w:+-]+\}$", before.content)
    ] == []


def test_plain_markdown_holds_no_label(edition):
    assert [token.content for token in inline(edition) if LABELS.search(token.content)] == []


def test_no_text_cell_holds_a_citation_by_its_key(edition, name):
    assert [key for key in cited("instructor", name) if re.search(rf"\b{key}\b", text(edition))] == []


def test_works_are_named_with_their_years_in_the_order_in_which_they_are_cited(edition, kind, name):
    years = [bibliography()[key][0] for key in cited(kind, name)]
    assert re.findall(r"[^\W\d]\.?, ((?:19|20)\d\d)[\];]", text(edition)) == years


def test_every_work_that_is_cited_is_linked_where_it_has_an_address(edition, kind, name):
    addresses = {bibliography()[key][1] for key in cited(kind, name)} - {""}
    assert addresses <= {token.attrs["href"] for token in inline(edition) if token.type == "link_open"}


def test_links_lead_to_notebooks_beside_it_or_out_of_the_folder(editions, edition, kind):
    links = [token.attrs["href"] for token in inline(edition) if token.type == "link_open"]
    near = [link for link in links if not link.startswith("https://")]
    assert [link for link in near if (kind, link.removesuffix(".ipynb")) not in editions] == []


def test_links_into_the_repository_lead_to_files_that_are_there(edition):
    start = "{}/blob/{}/".format(*address())
    links = [token.attrs["href"] for token in inline(edition) if token.type == "link_open"]
    files = [unquote(link).removeprefix(start).split("#")[0] for link in links if link.startswith(start)]
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_links_to_published_pages_lead_to_pages_of_the_book(edition):
    links = [token.attrs["href"] for token in inline(edition) if token.type == "link_open"]
    files = [link.removeprefix(published()).split("#")[0] for link in links if link.startswith(published())]
    assert [file for file in files if file.removesuffix(".html") not in pages()] == []


def test_every_figure_has_its_caption_and_the_number_of_the_page(edition, name):
    captions = [cell.source for cell in edition.cells if cell.id.endswith("-caption")]
    expected = [f"*Figure {number_of(name)}{i}.* {told}" for i, told in enumerate(captions_of(name), start=1)]
    assert captions == expected


def test_caption_stands_right_below_the_cell_of_its_figure(edition):
    ids = [cell.id for cell in edition.cells]
    captions = [i for i, one in enumerate(ids) if one.endswith("-caption")]
    assert captions
    assert [ids[i] for i in captions if ids[i - 1] != ids[i].removesuffix("-caption")] == []


def test_every_exercise_is_there_once_with_its_number(edition, name):
    titles = EXERCISE.findall(source(name))
    expected = [f"Exercise {number_of(name)}{i}: {title}" for i, title in enumerate(titles, start=1)]
    assert re.findall(r"^\*\*(Exercise .*)\*\*$", text(edition), re.M) == expected


def test_every_note_is_a_quotation_with_its_title(edition, name):
    titles = notes_of(name, folded=False)
    assert titles
    assert re.findall(r"^> \*\*(.*)\*\*$\n>$", text(edition), re.M) == titles


def test_notes_that_the_page_folds_are_folded_in_every_edition(edition, name):
    shown = re.findall(r"^<details>\n<summary>(.*)</summary>\n\n[^<]+\n\n</details>$", text(edition), re.M)
    assert [unescape(title) for title in shown] == notes_of(name, folded=True)


def test_no_markdown_is_shut_into_html(edition):
    tokens = [token for cell in edition.cells for token in COMMONMARK.parse(cell.source) if cell.cell_type != "code"]
    html = [line for token in tokens if token.type == "html_block" for line in token.content.split("\n")]
    assert [line for line in html if not re.fullmatch(r"(<details>|<summary>.*</summary>|</details>)?", line)] == []


def test_terms_of_the_glossary_are_shown_in_bold_without_their_role(edition, kind, name):
    shown = source(name) if kind == "instructor" else SOLUTION.sub("", source(name))
    terms = re.findall(r"\*\*\{term\}`([^`<]+?)(?: <[^>`]+>)?`\*\*", shown)
    assert [term for term in terms if f"**{term}**" not in text(edition)] == []


def test_lines_without_anything_of_myst_are_as_they_stand_in_the_chapter(edition, name):
    text_only = CODE_CELL.sub("", SOLUTION.sub("", source(name))).split("\n---\n", 1)[1]
    lines = [line for line in text_only.splitlines() if not re.match(r":::|:\w+:", line)]
    untouched = [line for line in lines if not re.search(r"\{(?:cite|numref|term)|\]\(", line)]
    shown = [line.removeprefix("> ") for line in text(edition).splitlines()]
    assert len(untouched) > 50
    assert [line for line in untouched if line not in shown] == []


def test_set_up_cell_comes_first(edition, name):
    assert code_cells(edition)[0].source == code_of(code_cells(notebook(name))[0])
    assert "setup" in tags(code_cells(notebook(name))[0])


def test_set_up_cell_installs_the_release(edition):
    release = "" if re.search("[a-z]", __version__) else f"@v{__version__}"
    assert re.findall(r'"aecore @ git\+(.*)"$', code_cells(edition)[0].source, re.M) == [f"{address()[0]}{release}"]


def test_cells_are_folded_where_the_page_folds_them(edition, name):
    hidden = {cell.id for cell in code_cells(notebook(name)) if "hide-input" in tags(cell)}
    folded = {cell.id for cell in code_cells(edition) if cell.metadata.get("jupyter", {}).get("source_hidden")}
    checks = {cell.id for cell in code_cells(notebook(name)) if "remove-cell" in tags(cell)}
    assert folded - checks == hidden


def test_every_name_that_code_uses_is_made_in_the_same_edition(folder):
    # Ruff reads the cells of a notebook one after the other; F821 is an undefined name.
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.stdout.splitlines()[0] == "All checks passed!"


# ---- one kind ----


@pytest.mark.parametrize("kind", ["reader", "student"], indirect=True)
def test_code_is_a_part_of_the_chapters_in_its_order(edition, name):
    rest = iter([code_of(cell) for cell in code_cells(notebook(name))])
    shown = [cell.source for cell in code_cells(edition) if not cell.id.startswith("answer-")]  # room for an experiment
    assert all(code in rest for code in shown)


@pytest.mark.parametrize("kind", ["reader", "student"], indirect=True)
def test_all_code_but_solutions_and_checks_is_there(edition, name):
    solved = {line for match in SOLUTION.finditer(source(name)) for line in CODE_CELL.findall(match[2])}
    solutions = {code.strip() for _, code in solved}
    wanted = [
        code_of(cell)
        for cell in code_cells(notebook(name))
        if "remove-cell" not in tags(cell) and cell.source not in solutions
    ]
    shown = [cell.source for cell in code_cells(edition)]
    assert [code for code in wanted if code not in shown] == []


@pytest.mark.parametrize("kind", ["reader", "student"], indirect=True)
def test_no_line_of_a_solution_is_left(edition, name):
    shown = "\n".join(cell.source for cell in edition.cells)
    assert len(solved_lines(name)) >= 8
    assert [line for line in solved_lines(name) if line in shown] == []


@pytest.mark.parametrize("kind", ["reader", "student"], indirect=True)
def test_no_cell_is_tagged_as_a_solution(edition):
    assert [cell.source for cell in edition.cells if "solution" in tags(cell)] == []


@pytest.mark.parametrize("kind", ["reader", "instructor"], indirect=True)
def test_outputs_are_those_of_the_chapter(edition, name):
    def shown(cell):
        return [{key: value for key, value in output.items() if key != "metadata"} for output in cell.outputs]

    published = {cell.id: shown(cell) for cell in code_cells(notebook(name))}
    assert [cell.source for cell in code_cells(edition) if shown(cell) != published[cell.id]] == []


@pytest.mark.parametrize("kind", ["reader", "instructor"], indirect=True)
def test_pictures_say_what_they_show(edition):
    outputs = [output for cell in code_cells(edition) for output in cell.outputs]
    told = [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]
    assert [alt for alt in told if len(alt) < 20] == []


@pytest.mark.parametrize("kind", ["student"], indirect=True)
def test_no_cell_has_outputs_or_was_run(edition):
    assert [cell.source for cell in code_cells(edition) if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.parametrize("kind", ["student"], indirect=True)
def test_a_stub_waits_for_every_answer(edition, name):
    stubs = [cell for cell in code_cells(edition) if re.search(r"^answer_\d+ = \.\.\.", cell.source, re.M)]
    blanks = [cell for cell in edition.cells if cell.source.endswith("YOUR ANSWER HERE")]
    assert len(stubs) + len(blanks) == len(EXERCISE.findall(source(name)))


@pytest.mark.parametrize("kind", ["instructor"], indirect=True)
def test_every_line_of_the_solutions_is_there(edition, name):
    shown = "\n".join(cell.source for cell in edition.cells)
    assert [line for line in solved_lines(name) if line not in shown and "{cite" not in line] == []


@pytest.mark.parametrize("kind", ["instructor"], indirect=True)
def test_every_solution_is_announced(edition, name):
    assert len(re.findall(r"^\*\*Solution\*\*$", text(edition), re.M)) == len(EXERCISE.findall(source(name)))


@pytest.mark.parametrize("kind", ["instructor"], indirect=True)
def test_every_mistake_of_the_bank_is_told_with_its_hint(edition, name):
    tasks = {key: task for key, task in exercises().items() if key.startswith(name[:2])}
    hints = [one.say if key in checked() else one for key, task in tasks.items() for one in task.mistakes]
    told = re.findall(r"^- (?:`[-\d.,e]+`: )?(.*)$", text(edition), re.M)
    assert len(hints) >= 8
    assert [hint for hint in hints if hint not in told] == []
