"""Exercises that a person marks: the rubric, the room in a copy, where an answer is found, and how its points come in.

No notebook is run here; what a check would find in one is given.
"""

import base64
import csv

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from aecore.cli import main
from aecore.course import byhand, marking, nbgrader, points, written
from aecore.course.answers import HandedIn
from aecore.course.feedback import page
from aecore.course.grading import Course, grade
from aecore.course.handout import Handout, make
from aecore.course.marking import Mark, Marks
from aecore.course.points import Item
from aecore.course.running import Limits, Outcome
from aecore.course.submissions import Submission
from aecore.exercises import Criterion, Worth, Written, check, checked, exercises
from aecore.exercises import written as in_the_bank

TASKS = in_the_bank()
# 01-5 is to be explained and counts 6 points, 01-6 is an experiment and 01-7 open, 8 points each.
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()


# ---- the bank ----


@pytest.mark.parametrize("number", TASKS)
class TestTask:
    def test_rubric_adds_up_to_the_points(self, number):
        assert sum(line.points for line in TASKS[number].rubric) == TASKS[number].worth.points

    def test_rubric_has_three_lines_or_more_that_differ(self, number):
        lines = {line.earned_by for line in TASKS[number].rubric}
        assert len(lines) == len(TASKS[number].rubric) >= 3

    def test_check_says_that_a_person_marks_it(self, number):
        verdict = check(number, 3)
        assert (verdict.state, verdict.ok) == ("by hand", False)
        assert "a person marks this exercise" in repr(verdict)

    def test_three_dots_get_the_same_words(self, number):
        assert check(number, ...).state == "by hand"

    def test_every_version_is_the_same(self, number):
        assert TASKS[number].version(7) is TASKS[number]


def test_every_chapter_that_has_such_exercises_has_one_of_each_kind():
    kinds = {}
    for number, task in TASKS.items():
        kinds.setdefault(number.split("-")[0], []).append(task.kind)
    assert {tuple(sorted(kind)) for kind in kinds.values()} == {("experiment", "explain", "open")}


def test_an_exercise_is_judged_by_a_check_or_by_a_person():
    assert checked().keys() | TASKS.keys() == exercises().keys()
    assert checked().keys() & TASKS.keys() == set()


@pytest.mark.parametrize("given", [(2, 3), (6,), (3, 0), (4, -1)], ids=str)
def test_rubric_that_does_not_add_up_is_an_error(given):
    rubric = tuple(Criterion(number, "a reason") for number in given)
    with pytest.raises(ValueError, match="rubric: wanted lines of 1 point or more that add up to 3"):
        Written("a title", "open", Worth(level=1, points=3, minutes=5), rubric)


def test_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="kind: wanted one of explain, experiment, open, got 'essay'"):
        Written("a title", "essay", Worth(level=1, points=1, minutes=5), (Criterion(1, "a reason"),))


# ---- copies ----


def asked(number):
    return (
        f":::{{exercise}} A question\n:label: ex-{number}\n\nWhy {number}?\n:::\n\n"
        f":::{{solution}} ex-{number}\n:class: dropdown\n\nBecause of {number}.\n:::"
    )


CHAPTER = [
    new_markdown_cell("# Lines"),
    new_markdown_cell(":::{exercise} A ratio\n:label: ex-01-1\n\nA code of 100 values.\n:::"),
    new_code_cell('answer = ...\nae.check("01-1", answer)'),
    new_markdown_cell(":::{solution-start} ex-01-1\n:::\n\nA quotient."),
    new_code_cell('assert ae.check("01-1", 100 / 784).ok'),
    new_markdown_cell(
        ":::{solution-end}\n:::\n\nNow in sentences.\n\n" + "\n\n".join(map(asked, ("01-5", "01-6", "01-7")))
        + "\n\n## Key points\n\n- One.",
        id="texts",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def chapters(small_book):
    """The folder of the chapters of a small book."""
    return small_book(**{"01_lines": CHAPTER})


@pytest.fixture(scope="module")
def copies(chapters, tmp_path_factory):
    """The notebooks of a handout by edition: "student", "instructor", "source", "release"; and its points.csv."""
    out = tmp_path_factory.mktemp("copies")
    make(out, chapters, Handout(["01"]))
    make(out, chapters, Handout(["01"], format="nbgrader"))
    kinds = ("student", "instructor", "source", "release")
    read = {kind: nbformat.read(out / kind / "01_lines.ipynb", as_version=4) for kind in kinds}
    return {**read, "points": rows(out / "points.csv")}


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def cell_of(notebook, name):
    (found,) = [cell for cell in notebook.cells if cell.id == name]
    return found


def told(cell):
    return cell.metadata.get("nbgrader")


class TestCopies:
    def test_room_stands_below_its_exercise(self, copies):
        ids = [cell.id for cell in copies["student"].cells[3:]]
        assert ids == ["texts", "answer-01-5", "texts-2", "answer-01-6", "answer-01-6-code", "texts-3", "answer-01-7",
                       "texts-4"]  # fmt: skip

    def test_texts_around_the_room_stay_in_order(self, copies):
        texts = [cell.source for cell in copies["student"].cells if cell.id.startswith("texts")]
        assert [text.splitlines()[-1] for text in texts] == ["Why 01-5?", "Why 01-6?", "Why 01-7?", "- One."]
        assert texts[0].startswith("Now in sentences.")

    def test_room_says_whose_answer_belongs_there(self, copies):
        assert cell_of(copies["student"], "answer-01-5").source == "**Your answer to 01-5**\n\nYOUR ANSWER HERE"

    def test_room_for_code_is_for_experiments_alone(self, copies):
        code = [cell for cell in copies["student"].cells if cell.cell_type == "code"]
        assert [cell.id for cell in code[1:]] == ["answer-01-6-code"]
        assert code[1].source.startswith("# Code of the experiment 01-6")

    def test_student_copy_has_no_model_answer(self, copies):
        assert not any("Because of" in cell.source for cell in copies["student"].cells)

    def test_exercise_says_that_it_is_marked_by_hand(self, copies):
        assert (
            "\n\n*★★ · 6 points · about 20 minutes · marked by hand*\n\nWhy 01-5?" in copies["student"].cells[3].source
        )

    def test_exercise_with_a_check_does_not_say_so(self, copies):
        assert "*★ · 1 point · about 3 minutes*\n" in copies["student"].cells[1].source

    def test_instructor_copy_has_the_model_answer_the_rubric_and_the_mistakes(self, copies):
        solved = cell_of(copies["instructor"], "solution-01-5")
        lines = [f"- {n} point{'s' * (n > 1)}: {words}" for n, words in TASKS["01-5"].rubric]
        mistakes = [f"- {words}" for words in TASKS["01-5"].mistakes]
        assert solved.source == "\n".join([
            "**Solution**", "", "Because of 01-5.", "", "*Marked by hand, 6 points*", "", *lines, "",
            "*Common mistakes*", "", *mistakes,
        ])  # fmt: skip
        assert solved.metadata["tags"] == ["solution"]

    def test_instructor_copy_has_no_room(self, copies):
        assert not any(cell.id.startswith("answer-") for cell in copies["instructor"].cells)

    def test_readers_copy_has_neither_room_nor_rubric(self, chapters, tmp_path):
        from aecore.course import editions

        editions.make(tmp_path, chapters)
        copy = nbformat.read(tmp_path / "reader" / "01_lines.ipynb", as_version=4)
        shown = "\n".join(cell.source for cell in copy.cells)
        assert "Why 01-7?\n\n## Key points" in shown
        assert not any(words in shown for words in ("Your answer", "Because of", "by hand"))

    def test_points_say_how_an_exercise_is_marked(self, copies):
        found = {row[0]: row[-1] for row in copies["points"]}
        assert [found[number] for number in ("exercise", "01-1", "01-5", "01-6", "01-7")] == [
            "marked", "by its check", "by hand", "by hand", "by hand",
        ]  # fmt: skip

    def test_copies_are_valid_notebooks(self, copies):
        for kind in ("student", "instructor", "source", "release"):
            nbformat.validate(copies[kind])

    def test_solution_that_begins_and_ends_apart_is_an_error(self, tmp_path, chapters):
        (tmp_path / "chapters").mkdir()
        for name in ("_config.yml", "works.bib"):
            (tmp_path / name).write_bytes((chapters.parent / name).read_bytes())
        start = ":::{solution-start} ex-01-5\n:::\n\nBecause.\n\n:::{solution-end}\n:::"
        text = f":::{{exercise}} A question\n:label: ex-01-5\n\nWhy?\n:::\n\n{start}"
        nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), tmp_path / "chapters" / "01_lines.ipynb")
        with pytest.raises(
            ValueError, match=r"the solution of 'ex-01-5' is a text alone; write it as one \{solution\}"
        ):
            make(tmp_path / "out", tmp_path / "chapters", Handout(["01"]))


class TestNbgrader:
    # nbgrader 0.9.6 demands of a Markdown cell with points that it be a solution too, and leaves it to a person.
    def test_cell_is_one_that_a_person_grades(self, copies):
        for kind in ("source", "release"):
            assert told(cell_of(copies[kind], "answer-01-6")) == {
                "schema_version": 3, "grade": True, "solution": True, "locked": False, "task": False,
                "grade_id": "01-6", "cell_type": "markdown", "points": 8,
            }  # fmt: skip

    def test_other_cells_of_the_answer_have_no_metadata(self, copies):
        assert told(cell_of(copies["release"], "answer-01-6-code")) is None

    def test_source_has_the_model_answer_between_the_marks(self, copies):
        text = cell_of(copies["source"], "answer-01-5").source
        assert text.startswith("**Your answer to 01-5**\n\n### BEGIN SOLUTION\n**Solution**\n\nBecause of 01-5.")
        assert text.endswith("\n### END SOLUTION")
        assert written.BLANK not in text

    def test_release_is_what_nbgrader_makes_of_the_source(self, copies):
        # It puts its stub for texts in place of all lines from mark to mark.
        lines = cell_of(copies["source"], "answer-01-5").source.split("\n")
        cut = [*lines[: lines.index("### BEGIN SOLUTION")], "YOUR ANSWER HERE"]
        assert cell_of(copies["release"], "answer-01-5").source == "\n".join(cut)

    def test_exercise_without_a_model_answer_is_an_error(self, copies):
        with pytest.raises(ValueError, match="exercise 01-5 has no solution, which nbgrader needs"):
            nbgrader._with_cells(new_notebook(cells=written.room("01-5", TASKS["01-5"])), {"01-1": ""})


# ---- where an answer is found ----


def text(source, **options):
    return new_markdown_cell(source, **options)


def read(*cells):
    """Return a notebook of cells, strings for texts; nothing says that they are as a notebook should have them."""
    return nbformat.NotebookNode(cells=[text(c) if isinstance(c, str) else c for c in cells])


def found_in(*cells):
    """Return the answers in cells: {"01-5": [("text", "Because.")]}."""
    found = written.answers_in(read(*cells))
    return {number: [(part.kind, part.content) for part in answer.parts] for number, answer in found.items()}


MARK = "**Your answer to 01-5**"


class TestAnswers:
    @pytest.mark.parametrize(
        "source",
        [
            f"{MARK}\n\nBecause.", f"{MARK}: Because.", "Your answer to 01-5\nBecause.", f"\n\n{MARK}\nBecause.",
            "### your answer to 01-5:\n\nBecause.\n\nYOUR ANSWER HERE", f"{MARK}\n\nYOUR ANSWER HERE Because.",
            "> **Your answer to 01-5**\n\nBecause.",
        ],
    )  # fmt: skip
    def test_text_below_the_mark_is_the_answer_without_any_metadata(self, source):
        assert found_in(source) == {"01-5": [("text", "Because.")]}

    def test_cell_that_was_made_raw_is_found_too(self):
        cell = nbformat.v4.new_raw_cell(f"{MARK}\nBecause.")
        assert found_in(cell) == {"01-5": [("text", "Because.")]}

    @pytest.mark.parametrize(
        "named", [{"id": "answer-01-5"}, {"metadata": {"nbgrader": {"grade_id": "01-5"}}}], ids=str
    )
    def test_without_its_mark_a_cell_is_found_by_id_or_metadata(self, named):
        assert found_in(text("Because.", **named)) == {"01-5": [("text", "Because.")]}

    @pytest.mark.parametrize("named", [{"id": "answer-01-1"}, {"metadata": {"nbgrader": {"grade_id": "01-1-answer"}}},
                                       {"metadata": {"nbgrader": "01-5"}}, {"metadata": {"nbgrader": {"grade_id": 5}}}],
                             ids=str)  # fmt: skip
    def test_cell_of_another_name_is_no_answer(self, named):
        assert found_in(text("Because.", **named)) == {}

    def test_mark_inside_a_sentence_begins_no_answer(self):
        assert found_in("I read your answer to 01-5 and disagree.") == {}

    def test_cells_that_follow_belong_to_the_answer(self):
        assert found_in(f"{MARK}\nBecause.", "And so.", "### A detail\nMore.") == {
            "01-5": [("text", "Because."), ("text", "And so."), ("text", "### A detail\nMore.")]
        }

    @pytest.mark.parametrize(
        "end",
        ["**Exercise 1.6: Next**\n\nWhy?", "## Key points", "# A title", new_code_cell('ae.check("01-1", 3)'),
         "**Solution**\n\nBecause."],
        ids=["exercise", "section", "title", "check", "solution"],
    )  # fmt: skip
    def test_answer_ends_at_what_the_chapter_has_next(self, end):
        assert found_in(f"{MARK}\nBecause.", end, "Later.") == {"01-5": [("text", "Because.")]}

    def test_two_answers_in_one_cell_are_told_apart(self):
        assert found_in(f"{MARK}\nOne.\n**Your answer to 01-7**\nTwo.") == {
            "01-5": [("text", "One.")], "01-7": [("text", "Two.")],
        }  # fmt: skip

    def test_text_before_a_mark_belongs_to_the_answer_before(self):
        assert found_in(f"{MARK}\nOne.", "Two.\n**Your answer to 01-7**\nThree.") == {
            "01-5": [("text", "One."), ("text", "Two.")], "01-7": [("text", "Three.")],
        }  # fmt: skip

    def test_copied_cell_adds_to_the_answer(self):
        assert found_in(f"{MARK}\nOne.", "## Between", f"{MARK}\nTwo.") == {
            "01-5": [("text", "One."), ("text", "Two.")]
        }

    def test_code_and_what_it_showed_belong_to_the_answer(self):
        outputs = [
            new_output("stream", text="0.5\n"),
            new_output("display_data", data={"image/png": PNG, "text/plain": "fig"}),
            new_output("execute_result", data={"text/html": "<script>", "text/plain": "a table"}),
        ]
        assert found_in(f"{MARK}\nSee below.", new_code_cell("plot()", outputs=outputs)) == {
            "01-5": [("text", "See below."), ("code", "plot()"), ("output", "0.5\n"), ("picture", PNG),
                     ("output", "a table")]
        }  # fmt: skip

    @pytest.mark.parametrize("data", ["x' onerror='alert(1)", base64.b64encode(b"GIF89a").decode(), "", 3], ids=str)
    def test_picture_that_is_none_is_left_out(self, data):
        cell = new_code_cell("plot()", outputs=[])
        cell.outputs.append(nbformat.from_dict({"output_type": "display_data", "data": {"image/png": data}}))
        assert found_in(MARK, cell) == {"01-5": [("code", "plot()")]}

    @pytest.mark.parametrize("outputs", [3, None, ["x"], [{"data": 3}], [{"text": 3}], [{"data": {"text/plain": 1}}]],
                             ids=str)  # fmt: skip
    def test_outputs_of_another_form_do_no_harm(self, outputs):
        cell = new_code_cell("plot()")
        cell.outputs = outputs
        assert found_in(MARK, cell) == {"01-5": [("code", "plot()")]}

    def test_text_without_end_is_cut(self):
        ((_, content),) = found_in(f"{MARK}\n{'a' * 50_000}")["01-5"]
        assert len(content) < 20_100
        assert content.endswith("(cut here; the notebook holds the rest)")

    @pytest.mark.parametrize(
        "cells",
        [
            [MARK], [f"{MARK}\n\nYOUR ANSWER HERE"], [f"{MARK}\n\n* — …"], [MARK, new_code_cell("")],
            [MARK, new_code_cell("# Code of the experiment")],
        ],
        ids=["mark", "blank", "signs", "empty code", "comment"],
    )  # fmt: skip
    def test_answer_without_a_word_is_empty(self, cells):
        found = written.answers_in(read(*cells))
        assert found["01-5"].empty

    @pytest.mark.parametrize("cells", [[f"{MARK}\n3"], [MARK, new_code_cell("# why\nx = 1")]], ids=["word", "code"])
    def test_answer_of_a_word_or_a_line_of_code_is_not(self, cells):
        found = written.answers_in(read(*cells))
        assert not found["01-5"].empty

    def test_untouched_copy_has_three_empty_answers(self, copies):
        found = written.answers_in(copies["student"])
        assert {number: answer.empty for number, answer in found.items()} == dict.fromkeys(
            ("01-5", "01-6", "01-7"), True
        )


# ---- marks ----


@pytest.fixture
def outcomes(monkeypatch):
    """Have every notebook be right in exercise 01-1, with no process started."""
    monkeypatch.setattr(marking, "run", lambda notebook, known, limits: Outcome([HandedIn("01-1", 0.128, 0, 0)]))


def notebook_of(*texts):
    cells = [new_code_cell('answer = 0.128\nae.check("01-1", answer)'), *map(new_markdown_cell, texts)]
    return nbformat.writes(new_notebook(cells=cells)).encode()


ITEMS = [item for item in points.of_chapters(["01"]) if item.exercise in ("01-1", "01-5", "01-6")]
WRITTEN = f"{MARK}\nBecause <b>A</b> is invertible."
EMPTY = "**Your answer to 01-6**\n\nYOUR ANSWER HERE"


def mark(*contents, items=ITEMS):
    files = {f"{i}.ipynb": content for i, content in enumerate(contents)}
    return marking.mark(Submission("ada", "", files=files), items, 0, Limits())


class TestMark:
    def test_written_answer_is_open_and_counts_nothing_yet(self, outcomes):
        found = mark(notebook_of(WRITTEN, EMPTY))
        assert [(one.state, one.points) for one in found.marks] == [("right", 1), ("open", 0), ("empty", 0)]
        assert (found.open, found.total, found.out_of) == (["01-5"], 1, 15)

    def test_empty_answer_gets_a_line(self, outcomes):
        assert mark(notebook_of(WRITTEN, EMPTY)).marks[2].say == "nothing is written in the cell for the answer"

    def test_answer_whose_cell_is_gone_stays_open(self, outcomes):
        one = mark(notebook_of(WRITTEN)).marks[2]
        assert one.state == "open"
        assert "the cell for the answer is gone" in one.say

    def test_answer_of_a_chapter_that_was_not_handed_in_is_missing(self, outcomes):
        other = nbformat.writes(new_notebook(cells=[new_code_cell('ae.check("02-1", 3)')])).encode()
        one = mark(other).marks[1]
        assert (one.state, one.say) == ("missing", "no notebook of chapter 01 was handed in")

    def test_answers_of_two_notebooks_come_together(self, outcomes):
        answer = mark(notebook_of(f"{MARK}\nOne."), notebook_of(f"{MARK}\nTwo.")).marks[1].answer
        assert [part.content for part in answer.parts] == ["One.", "Two."]

    def test_marks_are_in_the_order_of_the_exercises_that_count(self, outcomes):
        found = mark(notebook_of(WRITTEN), items=ITEMS[::-1])
        assert [one.item.exercise for one in found.marks] == ["01-6", "01-5", "01-1"]

    def test_nothing_is_run_where_a_person_marks_everything(self, monkeypatch):
        monkeypatch.setattr(marking, "run", None)
        assert mark(notebook_of(WRITTEN), items=ITEMS[1:2]).open == ["01-5"]


# ---- written.csv ----


@pytest.fixture
def table(tmp_path):
    """Write a written.csv and read it: `table("ada,,01-5,3")`."""

    def read(*lines, header="student,id,exercise,points"):
        (tmp_path / "written.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return byhand.read(tmp_path / "written.csv", ITEMS)

    return read


class TestTable:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("ada,,01-4x,3", "names an unknown exercise '01-4x'. Did you mean '01-4'"),
            ("ada,,01-1,1", "exercise 01-1 in .* is judged by its check, not by hand; delete the row"),
            ("ada,,01-7,1", "exercise 01-7 in .* is not among those that are graded"),
            ("ada,,01-5,6.5", "wanted a number from 0 to 6 for 'ada', exercise 01-5, in .*, got '6.5'"),
            ("ada,,01-5,-1", "wanted a number from 0 to 6"),
            ("ada,,01-5,good", "wanted a number from 0 to 6 .* got 'good'"),
            ("ada,,01-5,nan", "wanted a number from 0 to 6"),
        ],
    )
    def test_row_that_is_wrong_is_named(self, table, line, words):
        with pytest.raises(ValueError, match=f"written: .*{words}"):
            table(line)

    def test_column_that_is_missing_is_named(self, table):
        with pytest.raises(ValueError, match="written: wanted a file with the columns student, exercise and points"):
            table("ada,01-5", header="student,exercise")

    def test_two_points_for_one_answer_are_an_error(self, table):
        with pytest.raises(ValueError, match="gives points to ada for exercise 01-5 in two rows"):
            table("ada,,01-5,3", "ada,,01-5,4")

    def test_points_may_have_a_comma_and_columns_semicolons(self, table):
        (row,) = table("ada;;01-5;2,5", header="student;id;exercise;points")
        assert byhand.with_points(_open("ada", ""), [row]).total == 2.5

    def test_comment_may_have_several_lines(self, table):
        (row,) = table('ada,,01-5,3,"One.\nTwo."', header="student,id,exercise,points,comment")
        assert row.comment == "One.\nTwo."

    def test_empty_lines_are_none(self, table):
        assert table("", ",,,", "ada,,01-5,") == [byhand.Row("ada", "", "01-5", "")]

    @pytest.mark.parametrize(
        ("row", "student", "is_hers"),
        [
            (("Ada", "11"), ("lovelaceada", "11"), True),
            (("Ada", "12"), ("Ada", "11"), False),
            (("Ada", ""), ("Ada", ""), True),
            (("Ada", ""), ("Ada", "11"), False),
            (("Ada", "11"), ("Ada", ""), False),
            (("'=cmd", ""), ("=cmd", ""), True),
        ],
    )
    def test_row_belongs_to_the_number_or_without_any_to_the_name(self, row, student, is_hers):
        assert byhand.Row(*row, "01-5", "3").is_of(*student) is is_hers


def _open(name, number):
    return Marks(Submission(name, number), [Mark(ITEMS[1], "open", "to be marked by hand")])


class TestPoints:
    def test_points_of_a_person_count_and_the_comment_is_told(self):
        found = byhand.with_points(_open("ada", ""), [byhand.Row("ada", "", "01-5", "4.5", comment="Good.")])
        (one,) = found.marks
        assert (one.state, one.points, one.say, found.open) == ("marked", 4.5, "Good.", [])

    def test_no_points_are_not_0_points(self):
        found = byhand.with_points(_open("ada", ""), [byhand.Row("ada", "", "01-5", "")])
        assert found.open == ["01-5"]

    def test_0_points_are_points(self):
        found = byhand.with_points(_open("ada", ""), [byhand.Row("ada", "", "01-5", "0")])
        assert (found.open, found.total) == ([], 0)

    def test_points_for_an_answer_that_seemed_empty_count(self):
        marks = Marks(Submission("ada", ""), [Mark(ITEMS[1], "empty", "nothing")])
        assert byhand.with_points(marks, [byhand.Row("ada", "", "01-5", "2")]).total == 2

    def test_points_of_another_student_do_not(self):
        assert byhand.with_points(_open("ada", ""), [byhand.Row("bob", "", "01-5", "4")]).open == ["01-5"]


# ---- the whole way ----

GRADEBOOK = 'Student,ID,Section,Work (1)\n    Points Possible,,,15\n"Lovelace, Ada",11,A,\n"Noether, Emmy",12,A,9\n'


@pytest.fixture
def course(tmp_path, outcomes):
    """Grade what Ada (with one written answer) and Emmy (with none) handed in: `course(written=path)`."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lovelaceada_11_1_a.ipynb").write_bytes(notebook_of(WRITTEN, EMPTY))
    (tmp_path / "in" / "noetheremmy_12_2_a.ipynb").write_bytes(notebook_of(MARK, EMPTY))
    (tmp_path / "roster.csv").write_text(GRADEBOOK, encoding="utf-8")
    (tmp_path / "points.csv").write_text("exercise,points\n01-1,1\n01-5,6\n01-6,8\n", encoding="utf-8")

    def graded(**options):
        options = {"points": tmp_path / "points.csv", "roster": tmp_path / "roster.csv"} | options
        return grade(tmp_path / "in", tmp_path / "out", Course(**options))

    return graded


@pytest.fixture
def fill(tmp_path):
    """Fill in the template that was written, as a person does: `fill("4")`."""

    def filled(given, comment=""):
        found = rows(tmp_path / "out" / "written.csv")
        found[1][3], found[1][5] = given, comment
        with (tmp_path / "out" / "written.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(found)
        return tmp_path / "out" / "written.csv"

    return filled


class TestWholeWay:
    def test_open_answers_are_named_in_the_table_and_not_0(self, course, tmp_path):
        course()
        header, ada, emmy = rows(tmp_path / "out" / "grades.csv")
        assert header[2:] == ["01-1", "01-5", "01-6", "total", "out of", "to mark by hand", "remarks"]
        assert ada[2:8] == ["1", "open", "0", "1", "15", "01-5"]
        assert emmy[2:8] == ["1", "0", "0", "1", "15", ""]

    def test_template_has_a_row_for_each_open_answer(self, course, tmp_path):
        course()
        assert rows(tmp_path / "out" / "written.csv") == [
            ["student", "id", "exercise", "points", "out of", "comment"], ["Lovelace, Ada", "11", "01-5", "", "6", ""],
        ]  # fmt: skip

    def test_system_gets_no_marks_of_a_student_with_open_answers(self, course, tmp_path):
        report = course()
        assert [row[-1] for row in rows(tmp_path / "out" / "canvas.csv")] == ["Work (1)", "15", "", "1"]
        assert "canvas.csv has no marks yet of 1 student whose written answers are to be marked" in report.remarks

    def test_report_says_what_to_do_next(self, course):
        (words,) = [words for words in course().remarks if words.startswith("1 written answer is to be marked by hand")]
        assert "grade again with --written" in words

    def test_points_that_were_filled_in_complete_all_tables(self, course, tmp_path, fill):
        course()
        report = course(written=fill("4,5", "Name what both share."))
        assert rows(tmp_path / "out" / "grades.csv")[1][2:8] == ["1", "4.5", "0", "5.5", "15", ""]
        assert [row[-1] for row in rows(tmp_path / "out" / "canvas.csv")[2:]] == ["5.5", "1"]
        assert report.remarks == []

    def test_points_and_comment_stay_in_the_table_and_come_back(self, course, tmp_path, fill):
        course()
        course(written=fill("4.5", "-- short"))
        kept = ["Lovelace, Ada", "11", "01-5", "4.5", "6", "'-- short"]
        assert rows(tmp_path / "out" / "written.csv")[1] == kept
        course(written=tmp_path / "out" / "written.csv")
        assert rows(tmp_path / "out" / "written.csv")[1] == kept

    def test_comment_is_told_without_the_sign_that_keeps_it_from_being_a_formula(self, course, tmp_path, fill):
        course()
        course(written=fill("4", "-- short"))
        assert course(written=tmp_path / "out" / "written.csv").marks[0].marks[1].say == "-- short"

    def test_points_that_were_filled_in_are_never_written_over(self, course, tmp_path, fill):
        course()
        path = fill("4")
        with pytest.raises(
            ValueError, match=r"written: .*written\.csv holds points that would be lost, of Lovelace, Ada"
        ):
            course()
        assert rows(path)[1][3] == "4"

    def test_template_in_which_nothing_is_filled_in_may_be_written_over(self, course, tmp_path):
        course()
        course()
        assert rows(tmp_path / "out" / "written.csv")[1][3] == ""

    def test_points_from_another_file_may_replace_them(self, course, tmp_path, fill):
        course()
        other = tmp_path / "mine.csv"
        fill("4").rename(other)
        course(written=other)
        assert course(written=other).marks[0].total == 5

    def test_row_of_nobody_is_kept_and_told(self, course, tmp_path):
        (tmp_path / "mine.csv").write_text("student,id,exercise,points\nGauss,99,01-5,3\n", encoding="utf-8")
        report = course(written=tmp_path / "mine.csv")
        assert rows(tmp_path / "out" / "written.csv")[2] == ["Gauss", "99", "01-5", "3", "", ""]
        assert "written.csv has a row for Gauss, of whom there is no submission" in report.remarks

    def test_page_has_the_answer_as_text_and_the_rubric(self, course, tmp_path):
        course()
        found = (tmp_path / "out" / "feedback" / "Lovelace-Ada_11.html").read_text(encoding="utf-8")
        assert "Because &lt;b&gt;A&lt;/b&gt; is invertible." in found
        assert f"<li>2: {TASKS['01-5'].rubric[0].earned_by}</li>" in found
        assert "1 of 15 points</strong>, and still to be marked by hand: 01-5</p>" in found
        assert "to be marked, of 6" in found

    def test_page_has_the_points_and_the_comment_when_they_are_there(self, course, tmp_path, fill):
        course()
        course(written=fill("4", "Name A & its inverse."))
        found = (tmp_path / "out" / "feedback" / "Lovelace-Ada_11.html").read_text(encoding="utf-8")
        assert "✓ 4 of 6</td><td>Name A &amp; its inverse.</td>" in found
        assert "still to be marked" not in found

    def test_without_such_exercises_no_table_is_written(self, course, tmp_path):
        (tmp_path / "checked.csv").write_text("exercise,points\n01-1,1\n", encoding="utf-8")
        course(points=tmp_path / "checked.csv")
        assert not (tmp_path / "out" / "written.csv").exists()

    def test_chapter_is_known_by_an_answer_alone(self, tmp_path, outcomes):
        (tmp_path / "in").mkdir()
        only = new_notebook(cells=[new_markdown_cell(WRITTEN)])
        nbformat.write(only, tmp_path / "in" / "ada.ipynb")
        report = grade(tmp_path / "in", tmp_path / "out", Course())
        assert {mark.item.exercise[:2] for mark in report.marks[0].marks} == {"01"}

    def test_command_says_how_many_are_to_be_marked_and_takes_the_points(self, course, tmp_path, fill, capsys):
        folder, out = str(tmp_path / "in"), str(tmp_path / "out")
        options = ["course", "grade", folder, "--out", out, "--points", str(tmp_path / "points.csv")]
        assert main(options) == 0
        assert capsys.readouterr().out.splitlines()[0] == "lovelaceada: 1 of 15 points, 1 answer to mark by hand"
        assert main([*options, "--written", str(fill("6"))]) == 0
        assert capsys.readouterr().out.splitlines()[0] == "lovelaceada: 7 of 15 points"


def test_page_shows_pictures_and_code_of_an_answer():
    parts = [written.Part("code", "x < 1"), written.Part("picture", PNG)]
    one = Mark(ITEMS[1], "open", "to be marked by hand", answer=written.Answer(parts))
    found = page(Marks(Submission("ada", ""), [one]))
    assert "<pre>x &lt; 1</pre>" in found
    assert f'src="data:image/png;base64,{PNG}"' in found


def test_page_says_where_the_rubric_has_other_points():
    item = Item("01-5", "a title", "★★", 12, "20")
    found = page(Marks(Submission("ada", ""), [Mark(item, "open", "to be marked by hand")]))
    assert "6 points; the exercise counts 12 here, so scale them" in found
