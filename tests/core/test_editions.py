"""`course.editions` on small chapters made by hand: MyST becomes plain Markdown, cells become those of an edition."""

import base64
import re
import sys

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from aecore.cli import main
from aecore.course.editions import make
from aecore.course.names import needed

CONFIG = """\
parse:
  myst_enable_extensions: [amsmath, attrs_inline, colon_fence, deflist, dollarmath, substitution]
  myst_dmath_double_inline: true
bibtex_bibfiles: [book/works.bib]
repository: {url: https://example.org/book, branch: trunk}
"""
WORKS = r"""
@article{one, author = {van Schaik, Andr{\'e}}, title = {A}, year = {1901}, doi = {10.1016/0893(89)14}}
@misc{two, author = {Ball{\'e}, Johannes and Minnen, David}, title = {B}, year = {1936}, eprint = {1611.01704},
  archiveprefix = {arXiv}}
@misc{three, author = {Shi, W. and Huang, F. and Totz, J.}, title = {C}, year = {2016}, url = {https://example.org/c}}
@book{four, author = {Howard, Jeremy}, title = {D}, year = {2020}}
"""
EXERCISE = ":::{exercise} A ratio\n:label: ex-01-1\n\nDivide.\n:::"
START = ":::{solution-start} ex-01-1\n:class: dropdown\n:::"
END = ":::{solution-end}\n:::"
SOLVED = (EXERCISE, new_code_cell("answer = ..."), f"{START}\n\nBecause.", new_code_cell("42"), f"{END}\n\nAfterwards.")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.fixture
def chapters(tmp_path):
    """The folder of the chapters of a book that has none yet."""
    folder = tmp_path / "chapters"
    folder.mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "book" / "works.bib").write_text(WORKS, encoding="utf-8")
    (tmp_path / "book" / "notation.md").write_text("# Notation", encoding="utf-8")
    (tmp_path / "book" / "lines.svg").write_text("<svg/>", encoding="utf-8")
    return folder


@pytest.fixture
def write(chapters):
    """Write a chapter of texts and cells: `write("01_lines", "# Title", new_code_cell("1"))`."""

    def write_chapter(name, *cells):
        made = [new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        nbformat.write(new_notebook(cells=made), chapters / f"{name}.ipynb")

    return write_chapter


@pytest.fixture
def edition(chapters, write, tmp_path):
    """Make an edition of a chapter of texts and cells: `edition("# Title", kind="student")`."""

    def made(*cells, kind="reader", name="01_lines"):
        write(name, *cells)
        make(tmp_path / "out", chapters)
        return nbformat.read(tmp_path / "out" / kind / f"{name}.ipynb", as_version=4)

    return made


@pytest.fixture
def plain(edition):
    """Return a text as the reader's edition has it."""

    def text(*cells, **options):
        return "\n\n".join(cell.source for cell in edition(*cells, **options).cells if cell.cell_type == "markdown")

    return text


def figure(caption="Lines.", name="fig-lines", tags=(), alt="", source="plot()"):
    """A code cell that shows a picture with a caption."""
    output = new_output("display_data", data={"image/png": PNG})
    told = {"figure": {"caption": caption, "name": name}, "image": {"alt": alt}}
    return new_code_cell(source, outputs=[output], metadata={"tags": list(tags), "mystnb": told}, execution_count=1)


def tagged(source, *tags):
    return new_code_cell(source, metadata={"tags": list(tags)})


def codes(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


class TestNotes:
    def test_an_admonition_is_a_quotation_with_a_bold_title(self, plain):
        note = ":::{admonition} Chapter card\n:class: card\n\n**Time** 5 minutes.\n\nMore.\n:::"
        assert plain(note) == "> **Chapter card**\n>\n> **Time** 5 minutes.\n>\n> More."

    def test_a_note_without_a_title_is_called_by_its_kind(self, plain):
        assert plain(":::{tip}\nGuess.\n:::") == "> **Tip**\n>\n> Guess."

    def test_the_text_of_a_note_may_begin_on_its_first_line(self, plain):
        assert plain(":::{note} Guess.\n:::") == "> **Note**\n>\n> Guess."

    def test_a_fence_of_backticks_is_a_directive_too(self, plain):
        assert plain("```{tip}\nGuess.\n```") == "> **Tip**\n>\n> Guess."

    def test_a_note_in_a_note_is_a_quotation_in_a_quotation(self, plain):
        note = "::::{note}\nOuter.\n\n:::{tip}\nInner.\n:::\n::::"
        assert plain(note) == "> **Note**\n>\n> Outer.\n>\n> > **Tip**\n> >\n> > Inner."

    def test_roles_in_a_note_and_in_its_title_are_translated(self, plain):
        note = ":::{admonition} After {cite:t}`four`\nSee {cite}`four`.\n:::"
        assert plain(note) == "> **After Howard (2020)**\n>\n> See [Howard, 2020]."

    def test_text_around_a_note_keeps_its_empty_lines(self, plain):
        assert plain("Before.\n\n\n:::{tip}\nGuess.\n:::\n\nAfter.") == "Before.\n\n\n> **Tip**\n>\n> Guess.\n\nAfter."

    def test_text_right_below_a_note_is_not_taken_into_the_quotation(self, plain):
        assert plain(":::{tip}\nGuess.\n:::\nAfter.") == "> **Tip**\n>\n> Guess.\n\nAfter."


class TestFoldedNotes:
    FOLDED = ":::{admonition} Why?\n:class: recall dropdown\n\nBecause of *this*.\n:::"

    def test_are_html_that_jupyter_and_colab_fold_with_markdown_inside(self, plain):
        folded = "<details>\n<summary>Why?</summary>\n\nBecause of *this*.\n\n</details>"
        assert plain(self.FOLDED) == folded

    def test_the_text_is_read_as_markdown_between_the_html(self, plain):
        tokens = MarkdownIt("commonmark").parse(plain(self.FOLDED))
        assert [token.type for token in tokens] == [
            "html_block", "paragraph_open", "inline", "paragraph_close", "html_block",
        ]  # fmt: skip

    @pytest.mark.parametrize("kind", ["reader", "student", "instructor"])
    def test_keep_their_text_in_every_edition(self, plain, kind):
        assert "Because of *this*." in plain(self.FOLDED, kind=kind)

    def test_text_after_one_is_not_taken_into_the_html(self, plain):
        assert plain(f"{self.FOLDED}\n\n*After.*").endswith("\n\n</details>\n\n*After.*")

    def test_text_right_below_one_is_not_taken_into_the_html(self, plain):
        tokens = MarkdownIt("commonmark").parse(plain(f"{self.FOLDED}\n*After.*"))
        assert [token.content for token in tokens if token.type == "inline"] == ["Because of *this*.", "*After.*"]

    def test_one_of_a_kind_with_a_title_of_its_own_is_folded_too(self, plain):
        text = plain(":::{tip}\n:class: dropdown\nGuess.\n:::")
        assert text.startswith("<details>\n<summary>Tip</summary>\n\nGuess.")

    def test_a_class_whose_name_only_holds_the_word_folds_nothing(self, plain):
        assert plain(":::{tip}\n:class: dropdowns\nGuess.\n:::") == "> **Tip**\n>\n> Guess."

    def test_what_html_would_read_as_its_own_is_escaped_in_a_title(self, plain):
        assert "<summary>Is R&amp;D &lt; 1?</summary>" in plain(self.FOLDED.replace("Why?", "Is R&D < 1?"))

    def test_a_sign_that_markdown_would_read_is_the_sign_alone_in_a_title(self, plain):
        assert "<summary>Is a*b*c 1?</summary>" in plain(self.FOLDED.replace("Why?", r"Is a\*b\*c 1?"))

    def test_a_term_in_a_title_is_the_word_itself(self, plain):
        assert "<summary>What is a code?</summary>" in plain(self.FOLDED.replace("Why?", "What is a {term}`code`?"))

    def test_citations_in_the_text_are_translated(self, plain):
        assert "See [Howard, 2020]." in plain(self.FOLDED.replace("*this*.", "it. See {cite}`four`."))

    @pytest.mark.parametrize(
        "markup", ["$k$", "`code`", "*so*", "[a](https://example.org)", "{cite}`three`", "<b>b</b>"]
    )
    def test_a_title_of_more_than_words_is_an_error(self, plain, markup):
        with pytest.raises(ValueError, match="cell .*: the title of a folded note may hold words alone"):
            plain(self.FOLDED.replace("Why?", f"Why {markup}?"))


class TestExercises:
    def test_an_exercise_has_its_number_and_title_in_bold(self, plain):
        assert plain(EXERCISE) == "**Exercise 1.1: A ratio**\n\nDivide."

    def test_an_exercise_may_have_no_title(self, plain):
        assert plain(":::{exercise}\n:label: ex-01-1\n\nDivide.\n:::") == "**Exercise 1.1**\n\nDivide."

    def test_exercises_are_counted_through_the_chapter(self, plain):
        text = plain(EXERCISE, f"Between.\n\n{EXERCISE.replace('01-1', '01-2')}")
        assert re.findall(r"Exercise [\d.]+\d", text) == ["Exercise 1.1", "Exercise 1.2"]

    def test_those_of_an_appendix_are_counted_without_a_chapter(self, plain):
        assert plain(EXERCISE, name="90_loop").startswith("**Exercise 1: A ratio**")

    def test_without_a_label_it_is_an_error(self, plain):
        with pytest.raises(ValueError, match="01_lines, cell .*: an exercise has no label"):
            plain(":::{exercise} A ratio\nDivide.\n:::")


class TestFigures:
    def test_a_caption_stands_below_its_figure(self, edition):
        cells = edition("Look:", figure(), "Next.").cells
        assert [cell.source for cell in cells] == ["Look:", "plot()", "*Figure 1.1.* Lines.", "Next."]

    def test_the_cell_of_a_caption_is_named_after_that_of_its_figure(self, edition):
        drawn, caption = edition(figure()).cells
        assert caption.id == f"{drawn.id}-caption"

    def test_those_of_an_appendix_are_counted_without_a_chapter(self, plain):
        assert plain(figure(), name="90_loop") == "*Figure 1.* Lines."

    def test_a_removed_cell_has_no_number(self, plain):
        assert plain(figure(tags=["remove-cell"], name="fig-unseen"), figure()) == "*Figure 1.1.* Lines."

    def test_the_figure_of_a_solution_is_counted_where_it_is_left_out(self, plain):
        text = plain(EXERCISE, START, figure(name="fig-solved"), END, figure(caption="Later."))
        assert "*Figure 1.2.* Later." in text

    def test_a_cell_without_a_caption_gets_no_text(self, edition):
        assert len(edition(figure(caption="")).cells) == 1

    def test_citations_in_a_caption_are_translated(self, plain):
        assert plain(figure(caption="After {cite}`four`.\n")) == "*Figure 1.1.* After [Howard, 2020]."

    def test_a_reference_is_the_number(self, plain):
        assert plain(figure(), "See {numref}`fig-lines`.").endswith("See Figure 1.1.")

    def test_a_reference_to_another_chapter_is_a_link(self, plain, write):
        write("02_planes", figure(name="fig-plane"))
        assert plain("See {numref}`fig-plane`.") == "See [Figure 2.1](02_planes.ipynb)."

    def test_a_reference_to_nothing_names_the_nearest(self, plain):
        with pytest.raises(ValueError, match="no figure, .*'fig-lnes'. Did you mean 'fig-lines'?"):
            plain(figure(), "See {numref}`fig-lnes`.")

    def test_one_label_for_two_figures_is_an_error(self, plain):
        with pytest.raises(ValueError, match="the label 'fig-lines' is also in 01_lines"):
            plain(figure(), figure())

    def test_the_alt_text_goes_where_nbconvert_looks_for_it(self, edition):
        output = edition(figure(alt="Two lines that cross.")).cells[0].outputs[0]
        assert output.metadata["image/png"]["alt"] == "Two lines that cross."


class TestEquations:
    @pytest.mark.parametrize("around", ["{}", "> {}", ":::{{note}}\n\n{}\n:::"])
    def test_one_with_a_label_has_its_number(self, plain, around):
        assert "$$a = b \\tag{1.1}$$" in plain(around.format("$$a = b $$ (eq-ab)"))

    def test_one_over_several_lines_stays_so(self, plain):
        assert plain("$$\na\n= b\n$$ (eq-ab)") == "$$\na\n= b\n\\tag{1.1}$$"

    def test_those_without_a_label_are_not_counted(self, plain):
        assert plain("$$x$$\n\n$$a$$ (eq-a)").endswith("$$a\\tag{1.1}$$")

    def test_a_reference_is_the_number(self, plain):
        assert plain("$$a$$ (eq-a)\n\n$$b$$ (eq-b)", "By {eq}`eq-b`.").endswith("By (1.2).")


class TestPictures:
    def test_is_loaded_from_the_repository(self, plain):
        picture = ":::{image} ../book/lines.svg\n:alt: Two lines.\n:class: wide\n:::"
        assert plain(picture) == "![Two lines.](https://example.org/book/raw/trunk/book/lines.svg)"

    def test_text_right_below_one_that_is_not_shown_keeps_its_place(self, plain):
        dark = ":::{image} ../book/lines.svg\n:class: only-dark\n:::"
        assert plain(f"Before.\n\n{dark}\nAfter.") == "Before.\n\nAfter."

    def test_in_markdown_is_too(self, plain):
        assert plain("![a](../book/lines.svg)") == "![a](https://example.org/book/raw/trunk/book/lines.svg)"

    def test_of_two_for_two_themes_the_light_one_is_shown(self, plain):
        light = ":::{image} ../book/lines.svg\n:alt: light\n:class: only-light wide\n:::"
        dark = light.replace("light", "dark")
        shown = plain(f"{light}\n\n{dark}\n\n:::{{div}} caption\nTwo *lines*.\n:::")
        assert shown == "![light](https://example.org/book/raw/trunk/book/lines.svg)\n\nTwo *lines*."


class TestTerms:
    @pytest.mark.parametrize("role", ["{term}`kernels`", "{term}`kernels <kernel>`"])
    def test_is_the_word_itself(self, plain, role):
        assert plain(f"Of {role} and $a < b$.") == "Of kernels and $a < b$."


class TestCitations:
    @pytest.mark.parametrize(
        ("role", "text"),
        [
            ("{cite}`one`", "[[van Schaik, 1901](https://doi.org/10.1016/0893%2889%2914)]"),
            ("{cite}`two`", "[[Ballé and Minnen, 1936](https://arxiv.org/abs/1611.01704)]"),
            ("{cite}`three`", "[[Shi et al., 2016](https://example.org/c)]"),
            ("{cite:p}`four`", "[Howard, 2020]"),
            ("{cite:t}`three`", "[Shi et al. (2016)](https://example.org/c)"),
            ("{cite}`four, three`", "[Howard, 2020; [Shi et al., 2016](https://example.org/c)]"),
        ],
    )
    def test_names_authors_and_year_with_the_address(self, plain, role, text):
        assert plain(f"So it is {role}.") == f"So it is {text}."

    def test_the_link_leads_to_the_address(self, plain):
        tokens = MarkdownIt("commonmark").parse(plain("See {cite}`one`."))
        assert [token.attrs["href"] for token in tokens[1].children if token.type == "link_open"] == [
            "https://doi.org/10.1016/0893%2889%2914"
        ]

    def test_an_unknown_work_is_an_error_that_names_the_nearest(self, plain):
        with pytest.raises(ValueError, match="no work of the bibliography is called 'thre'. Did you mean 'three'?"):
            plain("See {cite}`thre`.")

    @pytest.mark.parametrize("around", ["> {}", "- {}", "1. a\n\n   {}", "## {}", "| a | b |\n| - | - |\n| x | {} |"])
    def test_are_found_in_every_kind_of_block(self, plain, around):
        text = around.format("see {cite}`four`")
        assert plain(text) == text.replace("{cite}`four`", "[Howard, 2020]")

    def test_two_on_one_line_are_both_translated(self, plain):
        assert plain("| {cite}`four` | {cite}`four` |\n| - | - |") == "| [Howard, 2020] | [Howard, 2020] |\n| - | - |"

    def test_one_in_code_is_code(self, plain):
        assert plain("Write `` {cite}`four` `` for it.") == "Write `` {cite}`four` `` for it."


class TestLinks:
    @pytest.mark.parametrize(
        ("link", "address"),
        [
            ("02_planes.ipynb", "02_planes.ipynb"),
            ("02_planes.md", "02_planes.ipynb"),
            ("02_planes.ipynb#the-end", "02_planes.ipynb"),
            ("../book/notation.md", "https://example.org/book/blob/trunk/book/notation.md"),
            ("../book/notation.md#z", "https://example.org/book/blob/trunk/book/notation.md#z"),
            ("<../book/notation.md>", "https://example.org/book/blob/trunk/book/notation.md"),
            ("https://example.org/a_(b)", "https://example.org/a_(b)"),
        ],
    )
    def test_lead_to_notebooks_and_to_the_repository(self, plain, write, link, address):
        write("02_planes", "# Planes")
        assert plain(f"See [*this* one]({link}) now.") == f"See [*this* one]({address}) now."

    def test_a_title_of_a_link_stays(self, plain):
        text = '[a]( ../book/notation.md  "Symbols")'
        assert plain(text) == text.replace("../book", "https://example.org/book/blob/trunk/book")

    def test_lead_to_the_published_page_where_its_address_is_known(self, plain, tmp_path):
        published = f"{CONFIG}html: {{baseurl: https://example.org/html/}}\n"
        (tmp_path / "_config.yml").write_text(published, encoding="utf-8")
        assert plain("[a](../book/notation.md)") == "[a](https://example.org/html/book/notation.html)"

    @pytest.mark.parametrize("link", ["../book/missing.md", "#below", "../../outside.md"])
    def test_one_that_leads_nowhere_is_an_error(self, plain, link):
        with pytest.raises(ValueError, match="leads to no file of the book"):
            plain(f"[a]({link})")

    def test_an_address_apart_from_its_link_is_an_error(self, plain):
        with pytest.raises(ValueError, match="stands apart from its link"):
            plain("[a]\n\n[a]: ../book/notation.md")


class TestText:
    @pytest.mark.parametrize(
        "text",
        [
            "A line  \nbroken \\\nby hand, *thus* and __so__.\n\n\n* a\n    * b\n\n\n1) c",
            "$a_{i}$ and $$b \\quad c_{j}$$\n\n$$\nx \\in \\{1, 2\\}\n$$",
            "```python\n:::{note}\n```\n\n    {cite}`code`\n\n<b>html</b>",
            "| a | b |\n|---|:-:|\n| 1 | \\| |",
            "Ünïcode, \\{cite}, {curly} and a:::colon",
            "\\begin{align}\na &= b\n\\end{align}",
        ],
    )
    def test_what_is_plain_already_stays_byte_for_byte(self, plain, text):
        assert plain(text) == text

    @pytest.mark.parametrize("unseen", ["(a-label)=", "% a remark", "+++"])
    def test_labels_and_remarks_vanish(self, plain, unseen):
        assert plain(f"Before.\n\n{unseen}\n\n## Heading") == "Before.\n\n## Heading"

    def test_a_cell_of_which_nothing_is_left_is_left_out(self, edition):
        assert [cell.source for cell in edition("# Title", "% a remark").cells] == ["# Title"]


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (":::{figure} a.png\n:::", "the directive :::{figure} a.png is unknown"),
            ("::: plain\n:::", "the directive :::plain is unknown"),
            ("> :::{note}\n> In.\n> :::", "stands in a list or a quotation"),
            (":::{note}\n:width: 3\nWide.\n:::", "Unknown option keys: ['width']"),
            ("::::{note}\nIn.\n\n:::{solution} ex-01-1\n:::\n::::", "the directive {solution} stands in another one"),
            ("See {doc}`a`.", "the role {doc}`a` is unknown"),
            ("[^1]\n\n[^1]: A footnote.", "footnote"),
            ("Term\n: Meaning", "dl_open"),
            ("{{ version }}", "substitution_block"),
            ("Of {{ version }}.", "substitution_inline"),
            ("[word]{.big}", "span_open has no plain form"),
            ("[a](https://example.org){.big}", "class in braces has no plain form"),
            ("| {cite}`four` \\| |\n| - |", "was not found in its line"),
        ],
        ids=str,
    )
    def test_what_has_no_plain_form_is_named_with_chapter_and_cell(self, plain, text, words):
        cell = new_markdown_cell(text, id="a-cell")
        with pytest.raises(ValueError, match=f"^01_lines, cell a-cell: .*{re.escape(words)}"):
            plain(cell)

    def test_after_an_error_nothing_is_written(self, edition, tmp_path):
        with pytest.raises(ValueError, match="02_wrong"):
            edition(":::{figure} a.png\n:::", name="02_wrong")
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_chapters_is_an_error(self, tmp_path, chapters):
        with pytest.raises(ValueError, match="there is no notebook such as 01_name.ipynb in"):
            make(tmp_path / "out", chapters)


class TestSolutions:
    @pytest.mark.parametrize("kind", ["reader", "student"])
    def test_are_left_out_with_their_code(self, edition, kind):
        made = edition(*SOLVED, kind=kind)
        assert [cell.source for cell in made.cells] == [
            "**Exercise 1.1: A ratio**\n\nDivide.", "answer = ...", "Afterwards.",
        ]  # fmt: skip

    def test_stand_in_the_copy_of_an_instructor_with_the_known_mistakes(self, edition):
        solution, code, rest = edition(*SOLVED, kind="instructor").cells[2:]
        assert (solution.source, code.source) == ("**Solution**\n\nBecause.", "42")
        # Of exercise 01-1 of the bank, 784 / 100: the image over the code.
        assert rest.source.startswith("*Common mistakes*\n\n- `7.84`: that is the image over the code;")
        assert rest.source.endswith("\n\nAfterwards.")

    def test_code_of_a_solution_is_tagged(self, edition):
        tags = [cell.metadata.get("tags") for cell in edition(*SOLVED, kind="instructor").cells]
        assert tags == [None, None, None, ["solution"], None]

    def test_in_one_directive_is_a_solution_too(self, edition):
        whole = ":::{solution} ex-01-1\n:class: dropdown\n\nBecause {cite}`four`.\n:::"
        solved = edition(EXERCISE, whole, kind="instructor").cells[1].source
        assert solved.startswith("**Solution**\n\nBecause [Howard, 2020].\n\n*Common mistakes*\n\n- ")

    def test_in_one_directive_is_left_out_too(self, plain):
        assert "Because" not in plain(EXERCISE, ":::{solution} ex-01-1\n\nBecause.\n:::")

    def test_of_an_exercise_without_a_check_has_no_mistakes(self, edition):
        solved = [cell.replace("01-1", "01-99") if isinstance(cell, str) else cell for cell in SOLVED]
        assert edition(*solved, kind="instructor").cells[-1].source == "Afterwards."

    def test_may_begin_and_end_in_the_middle_of_a_text(self, plain):
        assert plain(f"{EXERCISE}\n\n{START}\n\nBecause.\n\n{END}\n\nAfterwards.").endswith("Divide.\n\nAfterwards.")

    @pytest.mark.parametrize(
        ("cells", "words"),
        [
            ((EXERCISE, START), "the solution of 'ex-01-1' has no end"),
            ((EXERCISE, END), "a solution ends here that did not begin"),
            ((EXERCISE, START, START), "has no end before the next one begins"),
            ((START, END), "no figure, exercise or equation has the label 'ex-01-1'"),
        ],
    )
    def test_that_do_not_fit_are_an_error(self, edition, cells, words):
        with pytest.raises(ValueError, match=words):
            edition(*cells)


class TestSetUp:
    INSTALL = '%pip install "aecore @ git+https://example.org/book"'

    def installed(self, edition, kind="reader", **options):
        return codes(edition(tagged(self.INSTALL, "setup"), kind=kind, **options))

    @pytest.mark.parametrize("kind", ["reader", "student", "instructor"])
    def test_the_release_that_a_copy_was_made_with_is_installed(self, edition, kind, monkeypatch):
        monkeypatch.setattr("aecore.course.book.__version__", "1.2.0")
        assert self.installed(edition, kind) == ['%pip install "aecore @ git+https://example.org/book@v1.2.0"']

    @pytest.mark.parametrize("version", ["1.2.0.dev0", "1.2.0rc1"])
    def test_a_version_that_is_no_release_is_installed_from_the_main_branch(self, edition, version, monkeypatch):
        monkeypatch.setattr("aecore.course.book.__version__", version)
        assert self.installed(edition) == [self.INSTALL]

    def test_the_address_in_another_cell_stays(self, edition, monkeypatch):
        monkeypatch.setattr("aecore.course.book.__version__", "1.2.0")
        assert codes(edition(new_code_cell(self.INSTALL))) == [self.INSTALL]

    def test_another_address_that_begins_like_the_books_stays(self, edition, monkeypatch):
        monkeypatch.setattr("aecore.course.book.__version__", "1.2.0")
        other = self.INSTALL.replace("book", "bookshop")
        assert codes(edition(tagged(other, "setup"))) == [other]


class TestCells:
    @pytest.mark.parametrize(
        ("tag", "metadata"),
        [
            ("hide-input", {"cellView": "form", "jupyter": {"source_hidden": True}}),
            ("hide-output", {"collapsed": True, "jupyter": {"outputs_hidden": True}}),
            ("remove-output", {"collapsed": True, "jupyter": {"outputs_hidden": True}}),
            ("nbval-check-output", {}),
            ("setup", {"tags": ["setup"]}),
        ],
    )
    def test_tags_become_what_jupyter_and_colab_know(self, edition, tag, metadata):
        assert edition(tagged("1", tag)).cells[0].metadata == metadata

    def test_checks_of_the_build_are_left_out(self, edition):
        assert codes(edition(tagged("assert 1", "remove-cell"), new_code_cell("2"))) == ["2"]

    def test_a_check_stays_folded_where_a_later_cell_uses_its_name(self, edition):
        kept, _ = edition(tagged("a = 1", "remove-cell"), new_code_cell("print(a)")).cells
        assert kept.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}

    def test_outputs_and_counts_stay_for_a_reader(self, edition):
        cell = edition(figure()).cells[0]
        assert (cell.outputs[0].data["image/png"], cell.execution_count) == (PNG, 1)

    def test_a_student_gets_neither_outputs_nor_counts(self, edition):
        cell = edition(figure(), kind="student").cells[0]
        assert (cell.outputs, cell.execution_count) == ([], None)

    def test_keep_their_ids(self, edition):
        cells = [new_markdown_cell("# Title", id="title"), new_code_cell("1", id="one")]
        assert [cell.id for cell in edition(*cells).cells] == ["title", "one"]

    def test_of_the_notebook_only_kernel_and_language_are_told(self, chapters, tmp_path):
        told = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
        book = new_notebook(metadata={**told, "jupytext": {"formats": "ipynb,md:myst"}, "aecore": {"profile": "full"}})
        nbformat.write(book, chapters / "01_lines.ipynb")
        make(tmp_path / "out", chapters)
        assert nbformat.read(tmp_path / "out/reader/01_lines.ipynb", as_version=4).metadata == told

    def test_the_chapter_itself_stays_as_it_is(self, edition, chapters):
        edition(*SOLVED, figure())
        before = (chapters / "01_lines.ipynb").read_bytes()
        make(chapters.parent / "again", chapters)
        assert (chapters / "01_lines.ipynb").read_bytes() == before


class TestNames:
    """Which of the doubtful cells are needed; those at odd places are the doubtful ones."""

    @pytest.mark.parametrize(
        ("cells", "kept"),
        [
            (["", "a = 1", "a"], {1}),
            (["", "a = 1", "b"], set()),
            (["", "import a", "a.b()"], {1}),
            (["", "def a(): pass", "a()"], {1}),
            (["", "for a in []: pass", "a"], {1}),
            (["", "a = 1", "def f():\n    return a"], {1}),
            (["", "a = 1", "def f(a):\n    return a"], set()),
            (["", "a = 1", "[a for a in []]"], set()),
            (["", "[a for a in []]", "a"], set()),
            (["", "{a: 1 for a in []}; {a for a in []}; (a for a in [])", "a"], set()),
            (["", "a = 1", "b = {k: [a for _ in v] for k, v in []}"], {1}),
            (["", "[a := 1 for b in []]", "a"], {1}),
            (["", "a = 1", "a = 2\nprint(a)"], set()),
            (["a = 1", "a = 2", "a"], {1}),
            (["", "a = 1", "a = 2", "", "a"], set()),
            (["", "a = 1", "", "b = a", "b"], {1, 3}),
            (["", "a = 1", "", "b = a", "1"], set()),
            (["a", "a = 1", ""], set()),
            (["", "a = 1", "%pip install a\n!ls"], set()),
        ],
        ids=str,
    )
    def test_a_cell_is_needed_where_a_later_one_uses_a_name_as_it_leaves_it(self, cells, kept):
        assert needed(cells, {i for i in range(len(cells)) if i % 2}) == kept


class TestCommand:
    def test_writes_three_editions_of_every_chapter(self, write, chapters, tmp_path):
        write("01_lines", "# Lines")
        write("02_planes", "# Planes")
        assert main(["editions", str(tmp_path / "out"), "--chapters", str(chapters)]) == 0
        assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/*/*")) == [
            f"{kind}/{name}.ipynb" for kind in ("instructor", "reader", "student") for name in ("01_lines", "02_planes")
        ]

    def test_says_how_many(self, write, chapters, tmp_path, capsys):
        write("01_lines", "# Lines")
        main(["editions", str(tmp_path / "out"), "--chapters", str(chapters)])
        assert capsys.readouterr().out == f"3 notebooks in {tmp_path / 'out'}\n"

    def test_explains_an_error(self, write, chapters, tmp_path, capsys):
        write("01_lines", ":::{figure} a.png\n:::")
        assert main(["editions", str(tmp_path / "out"), "--chapters", str(chapters)]) == 1
        assert capsys.readouterr().err.startswith("aecore editions: 01_lines, cell ")

    def test_names_the_extra_where_a_library_is_missing(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setitem(sys.modules, "pybtex.database", None)
        for name in ("citations", "book", "plain", "editions"):
            monkeypatch.delitem(sys.modules, f"aecore.course.{name}")
        assert main(["editions", str(tmp_path / "out")]) == 1
        told = capsys.readouterr().err
        assert "pybtex.database" in told
        assert "the extra 'course' brings it" in told

    def test_the_command_loads_the_libraries_only_when_it_is_used(self, python):
        code = "import sys, aecore.cli; print('myst_parser' in sys.modules, 'nbformat' in sys.modules)"
        assert python(code) == "False False"
