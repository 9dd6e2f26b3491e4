"""`aecore course`: submissions of every kind are run and marked; copies are made; tables go in and out.

The first part runs submissions in processes of their own, a few for all of its tests. The rest needs none.
"""

import csv
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from aecore.cli import main
from aecore.course import answers, checks, kernel, marking, nbgrader, points, rosters, submissions, versions
from aecore.course.feedback import page
from aecore.course.grading import Course, grade
from aecore.course.handout import Handout, make
from aecore.course.marking import Mark, Marks
from aecore.course.points import Item
from aecore.course.running import Limits, Outcome, run
from aecore.course.submissions import Submission
from aecore.exercises import Function, check, checked

BANK = checked()
# A cell may take so long that a busy machine gets through it; the cell that waits for ever waits as long.
PATIENT = Limits(cell_seconds=20, seconds=300)
MSE = "(lambda x, x_hat: (x - x_hat).square().flatten(1).mean(1))"


def book_of(*cells):
    return new_notebook(cells=[new_code_cell(cell) for cell in cells])


def marked(outcome, numbers, version=0):
    """Return the best mark of each exercise after a run: {"01-1": ("right", "right")}."""
    items = {number: Item(number, BANK[number].title, "★", 1, "5") for number in numbers}
    best = {}
    for one in marking._marks(outcome, items, version):
        number = one.item.exercise
        best[number] = marking._better(best[number], one) if number in best else one
    return {number: (one.state, one.say) for number, one in best.items()}


# ---- submissions that run ----

STRANGE = {
    "overwritten": "ae.check = lambda *given, **named: print('✓ 01-1: right')\nanswer = 7\nae.check('01-1', answer)",
    "forged": "print('✓ 01-2: right')\nfrom aecore.exercises import Verdict\nVerdict('01-2', 'right', 'right')",
    "patched": "import aecore.exercises.checking as c\nc.Number.judge = lambda self, given: None\n"
    "c.Verdict.ok = True\nae.check('02-1', 1)",
    "right in spite of it": "answer = 100 / 784\nae.check('01-1', answer)",
    "line deleted": "ae.check('02-3', answer)",
    "first half of a cell": "answer = 451_584",
    "second half of a cell": "ae.check('02-3', answer)",
    "stub": "answer = ...\nae.check('03-3', answer)",
    "copy of the stub with the answer": "answer = 16\nae.check('03-3', answer)",
    "stub again": "answer = ...\nae.check('03-3', answer)",
    "two in one cell": "answer = 14_156_288\nae.check('04-1', answer)\nanswer = 1\nae.check('04-2', answer)",
    "timed": f"%%time\nanswer = {MSE}\nae.check('01-3', answer)",
    "guessed": "for guess in range(100):\n    ae.check('03-1', guess)",  # 24 is right
    "function that raises": "def f(n, kernel, stride, padding):\n    return [][n]\nae.check('02-2', f)",
    "not Python": "answer = = 3\nae.check('05-1', answer)",
    "error before the check": "answer = 1 / 0\nae.check('05-4', answer)",
    "by keyword": "ae.check(exercise='06-1', answer=16.4)",
    "imported": "from aecore import check\ncheck('06-5', 0.01)",
    "reset": "%reset -f\nimport aecore as ae\nae.check('01-4', lambda x, m, c: (x - m) @ c.T @ c + m)",
    "captured": "from IPython.utils.capture import capture_output\nwith capture_output():\n    ae.check('90-1', 1.23)",
    "elsewhere": "import os\nos.chdir('/')\nae.check('90-2', 154)",
    "network": "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=3)",
    "look-up": "import socket\nsocket.getaddrinfo('example.org', 80)",
    "interfaces": "lines = open('/proc/net/dev').read().split('\\n')[2:]\n"
    "assert [line.split(':')[0].strip() for line in lines if line] == ['lo']",
    "memory": "import torch\nhuge = torch.zeros(10**12)",
    # np.empty asks for memory and does not fill it, which would take the machine seconds.
    "memory in steps": "import numpy as np\npile = []\nwhile True:\n    pile.append(np.empty(2**30, np.uint8))",
    "garbage": "import builtins\n"
    "builtins.__aecore_hand_in__._stream.write('{\"exercise\": 1}\\n[[[\\n' + '[' * 10**5 + '\\n')",
    "environment": "assert os.environ['AECORE_PROFILE'] == 'quick', 'full'\n"
    "secret = [name for name in os.environ if 'TOKEN' in name]\nassert secret == [], secret\n"
    "assert os.path.expanduser('~') != '/' and not os.listdir(os.path.expanduser('~/../work'))",
    "much output": "for i in range(3000):\n    print('line of a long output', i)",
    "after all that": "ae.check('06-4', 3)",
}


@pytest.fixture(scope="module")
def strange():
    """The outcome of one notebook with everything strange in it."""
    os.environ["SOME_TOKEN"] = "secret"
    try:
        return run(book_of("import aecore as ae\nimport os", *STRANGE.values()), set(BANK), PATIENT)
    finally:
        del os.environ["SOME_TOKEN"]


@pytest.fixture(scope="module")
def strange_marks(strange):
    return marked(strange, BANK)


def place(name):
    """Return the position of a strange cell in its notebook."""
    return 1 + list(STRANGE).index(name)


class TestStrangeNotebook:
    @pytest.mark.parametrize(
        "number",
        ["01-1", "02-3", "03-3", "04-1", "04-2", "01-3", "06-1", "06-5", "01-4", "90-1", "90-2"],
    )
    def test_right_answer_counts_however_it_is_written(self, strange_marks, number):
        assert strange_marks[number] == ("right", "right")

    def test_overwritten_check_judges_nothing(self, strange):
        (one,) = [one for one in strange.handed_in if one.cell == place("overwritten")]
        assert (one.exercise, one.answer) == ("01-1", 7)

    def test_forged_verdict_is_no_answer(self, strange_marks):
        assert "01-2" not in strange_marks

    def test_judge_that_was_replaced_in_the_notebook_judges_nothing(self, strange_marks):
        assert strange_marks["02-1"][0] == "wrong"

    def test_answer_of_another_exercise_is_not_judged_where_the_line_was_deleted(self, strange):
        assert place("line deleted") not in {one.cell for one in strange.handed_in}
        assert "name 'answer' is not defined" in strange.stopped[place("line deleted")]

    def test_last_guess_of_a_loop_counts(self, strange_marks):
        assert strange_marks["03-1"] == ("wrong", "not yet: 99 is too large")

    def test_function_that_raises_gets_its_error_back(self, strange_marks):
        message = "not yet: your function stopped with IndexError: list index out of range"
        assert strange_marks["02-2"] == ("wrong", message)

    def test_cell_that_is_no_python_is_named(self, strange_marks):
        assert strange_marks["05-1"][0] == "stopped"
        assert "this cell is not Python: invalid syntax, line 1" in strange_marks["05-1"][1]

    def test_cell_that_stopped_before_its_check_is_named(self, strange_marks):
        assert strange_marks["05-4"] == (
            "stopped", "no answer: this cell stopped with ZeroDivisionError: division by zero",
        )  # fmt: skip

    @pytest.mark.parametrize("name", ["network", "look-up"])
    def test_there_is_no_network(self, strange, name):
        assert "there is no network while a submission is graded" in strange.stopped[place(name)]

    def test_there_is_no_way_out_for_other_programs_either(self, strange):
        code = "from aecore.course.kernel import leave_network; raise SystemExit(not leave_network())"
        if subprocess.run([sys.executable, "-c", code], check=False).returncode:
            pytest.skip("this system gives no process a network of its own")
        assert place("interfaces") not in strange.stopped

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
    @pytest.mark.parametrize(("name", "error"), [("memory", "RuntimeError"), ("memory in steps", "MemoryError")])
    def test_memory_is_limited(self, strange, name, error):
        assert f"this cell stopped with {error}" in strange.stopped[place(name)]

    def test_profile_is_quick_and_the_environment_holds_no_secret(self, strange):
        assert place("environment") not in strange.stopped

    def test_cells_after_all_that_still_run(self, strange_marks):
        assert strange_marks["06-4"] == (
            "wrong", "not yet: wanted a function, got a whole number; hand over its name without brackets",
        )  # fmt: skip

    def test_only_these_cells_stopped(self, strange):
        names = [
            "line deleted",
            "not Python",
            "error before the check",
            "network",
            "look-up",
            "memory",
            "memory in steps",
        ]
        # Whether there are interfaces depends on the system; the test above knows when.
        assert sorted(strange.stopped.keys() - {place("interfaces")}) == [place(name) for name in names]


@pytest.fixture(scope="module")
def ended():
    """The outcome of a notebook with cells that end the process or never end."""
    notebook = book_of(
        "import aecore as ae\nimport os, time",
        "ae.check('01-1', 0.128)",
        "ae.check('01-2', 50_992)\nos._exit(0)",
        f"ae.check('01-3', {MSE})",
        "while True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass\nae.check('01-4', 1)",
        "ae.check('02-1', 4616)",
    )
    return run(notebook, set(BANK), Limits(cell_seconds=8, seconds=300))


@pytest.fixture(scope="module")
def ended_marks(ended):
    return marked(ended, BANK)


class TestNotebookThatEnds:
    def test_answer_that_was_handed_in_before_the_end_counts(self, ended_marks):
        assert ended_marks["01-2"] == ("right", "right")

    @pytest.mark.parametrize("number", ["01-1", "01-3", "02-1"])
    def test_answers_around_the_cells_count(self, ended_marks, number):
        assert ended_marks[number] == ("right", "right")

    def test_cell_that_ends_the_process_is_named(self, ended):
        assert ended.stopped[2].startswith("this cell ended the Python process")

    def test_cell_that_does_not_end_is_named(self, ended, ended_marks):
        assert ended.stopped[4] == "this cell did not finish within 8 s and was stopped"
        assert ended_marks["01-4"] == ("stopped", f"no answer: {ended.stopped[4]}")

    def test_other_cells_did_not_stop(self, ended):
        assert sorted(ended.stopped) == [2, 4]


def answers_of(number):
    """Return code for every known mistake of an exercise and for its right answer, in this order."""
    right = "right" if isinstance(BANK[number], Function) else "answer"
    wrong = [f"bank['{number}'].mistakes[{i}].answer" for i in range(len(BANK[number].mistakes))]
    return [*wrong, f"bank['{number}'].{right}"]


@pytest.fixture(scope="module")
def bank_marks():
    """What each known mistake and each right answer of the bank gets after the way through another process."""
    told = [(number, code) for number in BANK for code in answers_of(number)]
    cells = [f"ae.check('{number}', {code})" for number, code in told]
    joined = "\n".join(cells)
    outcome = run(
        book_of("import aecore as ae\nfrom aecore.exercises import exercises\nbank = exercises()", joined),
        set(BANK), PATIENT,
    )  # fmt: skip
    given = {number: [] for number in BANK}
    for one in sorted(outcome.handed_in, key=lambda one: one.place):
        given[one.exercise].append(check(one.exercise, one.answer))
    return given


@pytest.mark.parametrize("number", BANK)
class TestBank:
    def test_right_answer_gets_its_points(self, bank_marks, number):
        assert bank_marks[number][-1].ok

    def test_known_mistakes_get_none_and_their_hints(self, bank_marks, number):
        wanted = [f"not yet: {mistake.say}" for mistake in BANK[number].mistakes]
        assert [verdict.message for verdict in bank_marks[number][:-1]] == wanted


# ---- the whole way: copies are made, handed in and graded ----


def exercise(number, text, stub, solution):
    """The cells of an exercise as a chapter has them."""
    return [
        new_markdown_cell(f":::{{exercise}} A question\n:label: ex-{number}\n\n{text}\n:::"),
        new_code_cell(f'{stub}\nae.check("{number}", answer)'),
        new_markdown_cell(f":::{{solution-start}} ex-{number}\n:::\n\nBecause."),
        new_code_cell(solution),
        new_markdown_cell(":::{solution-end}\n:::"),
    ]


CHAPTER = [
    new_markdown_cell("# Lines\n\nSee [the next](02_planes.ipynb)."),
    new_code_cell("import aecore as ae\nimport torch"),
    *exercise("01-1", "A code of 100 values.", "answer = ...", 'assert ae.check("01-1", 100 / (28 * 28)).ok'),
    *exercise("01-2", "A code of 32 values.", "answer = ...", 'assert ae.check("01-2", 2 * 784 * 32 + 32 + 784).ok'),
    *exercise(
        "01-3", "Write a function.", "def mse(x, x_hat):\n    return ...\n\n\nanswer = ...  # put mse here",
        'def solution(x, x_hat):\n    d = x - x_hat\n    return d.square().flatten(1).mean(1)\n\n\n'
        'assert ae.check("01-3", solution).ok',
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def chapters(small_book):
    """The folder of the chapters of a small book."""
    return small_book(**{"01_lines": CHAPTER, "02_planes": [new_markdown_cell("# Planes")]})


@pytest.fixture(scope="module")
def made(chapters, tmp_path_factory):
    """Make copies: `made(seed=3)` is the folder with them."""

    def copies(**options):
        out = tmp_path_factory.mktemp("copies")
        make(out, chapters, Handout(["01"], **options))
        return out

    return copies


def notebook_in(folder, *path):
    return nbformat.read(folder.joinpath(*path, "01_lines.ipynb"), as_version=4)


def texts(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def codes(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


GRADEBOOK = """\
Student,ID,SIS User ID,SIS Login ID,Section,Exercises 1 (77),Current Score
"    Points Possible",,,,,14,(read only)
"Lovelace, Ada",11,,ada,A,,
"Noether, Emmy",12,,emmy,A,5,
"Hilbert, David",13,,david,A,5,
"""


def by_check(folder):
    """Write a points.csv of the exercises of chapter 1 that a check judges."""
    rows = [f"{number},{BANK[number].worth.points}" for number in ("01-1", "01-2", "01-3", "01-4")]
    (folder / "points.csv").write_text("\n".join(["exercise,points", *rows]), encoding="utf-8")
    return folder / "points.csv"


@pytest.fixture(scope="module")
def graded(made, tmp_path_factory):
    """The folder with what came out of grading a zip file of Canvas's, and the report."""
    copies = made(seed=3, format="nbgrader")
    folder = tmp_path_factory.mktemp("graded")
    (folder / "gradebook.csv").write_text(GRADEBOOK, encoding="utf-8")
    bare = notebook_in(copies, "source")
    for cell in bare.cells:
        cell.metadata = {}
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("lovelaceada_11_901_01_lines.ipynb", nbformat.writes(bare))
        archive.writestr("noetheremmy_LATE_12_902_01_lines-1.ipynb", nbformat.writes(notebook_in(copies, "release")))
        archive.writestr("gausscarl_14_903_01_lines.ipynb", "<html>Sign in</html>")
        archive.writestr("=cmd_15_904_notes.pdf", b"%PDF")
    # Those that a person marks have tests of their own, in test_written.py.
    given = by_check(folder)
    course = Course(points=given, roster=folder / "gradebook.csv", versions=copies / "versions.csv", limits=PATIENT)
    report = grade(folder / "all.zip", folder / "out", course)
    return folder / "out", report


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


class TestWholeWay:
    def test_solution_gets_all_points_though_its_metadata_is_lost(self, graded):
        assert rows(graded[0] / "grades.csv")[3] == ["Lovelace, Ada", "11", "1", "2", "4", "0", "7", "11", "", ""]

    def test_untouched_copy_gets_none(self, graded):
        assert rows(graded[0] / "grades.csv")[4][:8] == ["Noether, Emmy", "12", "0", "0", "0", "0", "0", "11"]

    def test_late_work_is_named(self, graded):
        assert rows(graded[0] / "grades.csv")[4][9] == "handed in late"

    def test_file_that_is_no_notebook_gets_a_line(self, graded):
        (row,) = [row for row in rows(graded[0] / "grades.csv") if row[1] == "14"]
        assert row[6:] == ["0", "11", "", "01_lines.ipynb is no notebook: the file holds no JSON"]

    def test_submission_without_a_notebook_gets_a_line_and_its_name_is_no_formula(self, graded):
        (row,) = [row for row in rows(graded[0] / "grades.csv") if row[1] == "15"]
        assert row[0] == "'=cmd"
        assert row[9] == "no notebook (.ipynb) among the files: notes.pdf"

    def test_student_who_handed_nothing_in_has_a_row(self, graded):
        assert rows(graded[0] / "grades.csv")[-1] == ["Hilbert, David", *[""] * 8, "nothing handed in"]

    def test_gradebook_has_the_points_in_its_own_scale_and_keeps_what_is_not_graded(self, graded):
        found = rows(graded[0] / "canvas.csv")
        assert found[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Exercises 1 (77)"]
        assert [row[-1] for row in found[1:]] == ["14", "8.91", "0", "5"]  # 7 / 11 of 14

    def test_each_student_has_a_page(self, graded):
        found = sorted(path.name for path in (graded[0] / "feedback").iterdir())
        assert found == ["Lovelace-Ada_11.html", "Noether-Emmy_12.html", "cmd_15.html", "gausscarl_14.html"]

    def test_page_has_the_title_of_the_students_version(self, graded):
        title = BANK["01-2"].version(versions.drawn(3)).title
        assert title in (graded[0] / "feedback" / "Lovelace-Ada_11.html").read_text(encoding="utf-8")

    def test_report_names_whom_the_roster_lacks_and_that_marks_were_scaled(self, graded):
        assert graded[1].remarks == [
            "=cmd is not in gradebook.csv",
            "gausscarl is not in gradebook.csv",
            "the system has 14 points for this work and the exercises 11: the marks were scaled",
        ]


class TestHandout:
    def test_student_copy_has_stubs_and_no_solution(self, made):
        copy = notebook_in(made(), "student")
        assert len(codes(copy)) == 4
        assert "Because." not in texts(copy)

    @pytest.mark.parametrize("edition", ["student", "instructor"])
    def test_copy_says_what_an_exercise_is_worth(self, made, edition):
        text = texts(notebook_in(made(), edition))
        assert "**Exercise 1.1: A question**\n\n*★ · 1 point · about 3 minutes*\n\nA code of 100" in text
        assert "*★★ · 4 points · about 15 minutes*" in text

    def test_instructor_copy_has_the_solutions(self, made):
        assert "Because." in texts(notebook_in(made(), "instructor"))

    def test_points_are_those_of_the_bank(self, made):
        assert rows(made() / "points.csv")[:2] == [
            ["exercise", "title", "level", "points", "minutes", "marked"],
            ["01-1", "code values over image values", "★", "1", "3", "by its check"],
        ]

    def test_link_to_a_chapter_that_is_not_handed_out_leads_to_the_repository(self, made):
        assert "[the next](https://example.org/book/blob/trunk/chapters/02_planes.ipynb)" in texts(
            notebook_in(made(), "student")
        )

    def test_with_a_seed_numbers_differ_from_the_book_and_the_check_knows_it(self, made):
        out = made(seed=3)
        version = versions.drawn(3)
        number = BANK["01-1"].versions.changes(version)["100"]
        copy = notebook_in(out, "student")
        assert f"A code of {number} values." in texts(copy)
        assert codes(copy)[1] == f'answer = ...\nae.check("01-1", answer, version={version})'

    def test_exercise_without_versions_is_checked_as_before(self, made):
        assert codes(notebook_in(made(seed=3), "student"))[3].endswith('\nae.check("01-3", answer)')

    def test_answers_of_the_version_are_in_a_table(self, made):
        out = made(seed=3)
        version = versions.drawn(3)
        assert rows(out / "versions.csv") == [["id", "student", "version"], ["", "*", str(version)]]
        answer = BANK["01-1"].version(version).answer
        assert rows(out / "answers.csv")[1][2:] == [
            "01-1", f"{BANK['01-1'].versions.changes(version)['100']} for 100", f"{answer:.6g}",
        ]  # fmt: skip

    def test_with_a_roster_each_student_has_a_folder_and_a_version(self, made, tmp_path):
        (tmp_path / "gradebook.csv").write_text(GRADEBOOK, encoding="utf-8")
        out = made(seed=3, roster=tmp_path / "gradebook.csv")
        assert sorted(p.name for p in (out / "student").iterdir()) == [
            "hilbertdavid_13",
            "lovelaceada_11",
            "noetheremmy_12",
        ]
        assert len({row[2] for row in rows(out / "versions.csv")[1:]}) == 3

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"roster": Path("x.csv")}, "roster: .* a seed is needed"),
            ({"roster": Path("x.csv"), "seed": 1, "format": "nbgrader"}, "format: nbgrader hands one copy to all"),
            ({"format": "docx"}, "format: wanted plain or nbgrader, got 'docx'"),
        ],
    )
    def test_what_does_not_go_together_is_said(self, made, options, words):
        with pytest.raises(ValueError, match=words):
            made(**options)

    def test_chapter_that_is_not_there_suggests_the_nearest(self, chapters, tmp_path):
        with pytest.raises(ValueError, match=r"chapters: there is no chapter '1'\. Did you mean '01'"):
            make(tmp_path, chapters, Handout(["1"]))

    def test_number_that_the_text_lacks_is_an_error(self, tmp_path, chapters):
        from aecore.course.questions import Questions

        with pytest.raises(ValueError, match="the text of ex-01-1 does not hold the number 100"):
            Questions(version=3).text("ex-01-1", "A code of 1001 values, or 100.5, or 1,100.")

    def test_numbers_that_are_drawn_are_not_replaced_again(self, monkeypatch):
        from aecore.course import questions
        from aecore.exercises.checking import Number, versions_of

        sum_of = versions_of(lambda a, b: Number("sum", a + b, ()), a=("1", "2"), b=("2", "3"))
        monkeypatch.setattr(questions, "exercises", lambda: {"01-1": sum_of})
        assert questions.Questions(version=4).text("ex-01-1", "1 and 2") == "2 and 3"


class TestNbgrader:
    def test_every_exercise_is_a_cell_for_the_answer_and_one_that_tests_it(self, made):
        copy = notebook_in(made(format="nbgrader"), "release")
        told = [cell.metadata.nbgrader for cell in copy.cells if "nbgrader" in cell.metadata]
        assert [(one.grade_id, one.grade, one.solution, one.locked) for one in told] == [
            (name, *flags)
            for number in ("01-1", "01-2", "01-3")
            for name, flags in ((f"{number}-answer", (False, True, False)), (number, (True, False, True)))
        ]

    def test_test_cell_has_the_points_and_the_version_of_the_scheme(self, made):
        copy = notebook_in(made(format="nbgrader"), "release")
        told = {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader for cell in copy.cells if cell.metadata}
        assert [told[number].points for number in ("01-1", "01-2", "01-3")] == [1, 2, 4]
        assert {one.schema_version for one in told.values()} == {3}

    def test_test_cell_fails_where_the_verdict_is_not_right(self, made):
        test = next(c for c in codes(notebook_in(made(format="nbgrader"), "release")) if c.startswith("verdict"))
        import aecore as ae

        exec(test, {"ae": ae, "answer": 100 / 784})
        with pytest.raises(AssertionError, match="turn it round"):
            exec(test, {"ae": ae, "answer": 7.84})

    def test_source_has_the_solution_between_the_marks(self, made):
        source = codes(notebook_in(made(format="nbgrader"), "source"))
        assert source[1] == "### BEGIN SOLUTION\nanswer = 100 / (28 * 28)\n### END SOLUTION"
        assert source[5].endswith("flatten(1).mean(1)\n\nanswer = solution\n### END SOLUTION")

    def test_source_of_another_version_has_its_answer(self, made):
        source = codes(notebook_in(made(format="nbgrader", seed=3), "source"))
        assert (
            source[1]
            == f"### BEGIN SOLUTION\nanswer = {BANK['01-1'].version(versions.drawn(3)).answer!r}\n### END SOLUTION"
        )

    def test_exercise_without_a_solution_is_an_error(self, made):
        with pytest.raises(ValueError, match="exercise 01-1 has no solution that checks itself"):
            nbgrader._with_cells(notebook_in(made(), "student"), {"01-9": ""})


# ---- checks in code ----


class TestChecks:
    @pytest.mark.parametrize(
        "code",
        [
            'ae.check("01-1", answer)', "check('01-1', answer)", 'x = ae.check("01-1", answer).ok',
            'print(aecore.check(exercise="01-1", answer=answer))', 'if True:\n    ae.check("01-1", answer)',
            '!ls\nae.check("01-1", answer)', '%%time\nae.check("01-1", answer)', 'ae.check("01-1", answer);',
            'def f():\n    ae.check("01-1", answer)', 'ae.check("01-1", answer, 0)',
            '\n%%capture out\nae.check("01-1", answer)',
        ],
    )  # fmt: skip
    def test_are_found(self, code):
        assert checks.checks_in(checks.parsed(code), BANK) == [checks.Check("01-1", "answer")]

    @pytest.mark.parametrize(
        "code",
        ['# ae.check("01-1", answer)', 'text = \'ae.check("01-1", answer)\'', 'ae.check("01-9", answer)', "ae.check()",
         'ae.check("01-1")', 'ae.checks("01-1", answer)', 'ae.check(*all)', 'ae.check("01-1", *all)', "ae.check(1, 2)"],
    )  # fmt: skip
    def test_that_are_none_are_not_found(self, code):
        assert checks.checks_in(checks.parsed(code), BANK) == []

    def test_version_is_read(self):
        assert checks.checks_in(checks.parsed('ae.check("01-1", a, version=7)'), BANK)[0].version == 7

    def test_in_a_cell_that_is_no_python_are_found_by_their_words(self):
        assert checks.anywhere_in('answer = = 1\nae.check("01-1", answer)', BANK) == [checks.Check("01-1", "")]

    @pytest.mark.parametrize("code", ["a\0b", "(" * 500 + ")" * 500])
    def test_code_that_cannot_be_parsed_is_a_syntax_error(self, code):
        with pytest.raises(SyntaxError):
            checks.parsed(code)

    def test_warnings_of_the_parser_are_not_shown(self, recwarn):
        checks.parsed('pattern = "\\d"\nx = 1 is 1')
        assert list(recwarn) == []

    def test_names_are_forgotten_below_what_has_to_come_first(self):
        code = '"""Text\nof two lines."""\nfrom __future__ import annotations\nx = 1'
        lines = checks.handing_in(code, BANK, 0, {"answer"}).split("\n")
        assert lines[3:5] == ["globals().pop('answer', None)", "x = 1"]

    @pytest.mark.parametrize(
        ("code", "answer"),
        [
            ('check("01-1", 3)', 3),
            ('check("01-1", 1 if True else 2)', 1),
            ('check("01-1", answer := 4)', 4),
            ('check("01-1", (\n    5\n))', 5),
            ('check(answer=6, exercise="01-1")', 6),
            ('f"{3:>{4}}"; check("01-1", f"{1}{chr(10)}é")', "1\né"),
            ('"é"; check("01-1", "ü")', "ü"),
            ('check("01-1", [one for one in (1, 2)])', [1, 2]),
            ('check("01-1", 7)\r\nx = 1', 7),
        ],
    )
    def test_answer_of_any_form_is_handed_in(self, code, answer):
        seen, checked = [], []

        def hand_in(*told):
            seen.append(told)
            return told[1]

        space = {checks.HAND_IN: hand_in, "check": lambda exercise, answer: checked.append(answer)}
        exec(checks.handing_in(code, BANK, 8), space)
        assert seen == [("01-1", answer, 8, 0)]
        assert checked == [answer]

    def test_check_in_a_check_hands_both_in(self):
        seen = []
        space = {checks.HAND_IN: lambda *told: seen.append(told) or told[1], "check": lambda exercise, answer: answer}
        exec(checks.handing_in('check("01-1", check("01-2", 3))', BANK, 8), space)
        assert seen == [("01-2", 3, 8, 1), ("01-1", 3, 8, 0)]

    def test_version_is_written_into_the_call_and_nothing_else_changes(self):
        code = 'ä = "é"  # ü\nae.check("01-1", ä)  # ö\nae.check("01-3", f)'
        assert checks.with_version(code, 5, {"01-1"}) == code.replace('"01-1", ä)', '"01-1", ä, version=5)')


# ---- answers on their way ----


class Odd:
    """A type that does not come over."""


def _line_with(answer):
    return b'{"exercise": "01-1", "cell": 0, "place": 0, "answer": ' + answer + b"}"


class TestAnswers:
    @pytest.mark.parametrize(
        "value",
        [..., None, True, False, 3, -(10**40), 0.1, float("inf"), "word", [1, 2.5, "x"], [[1], [2]]],
        ids=repr,
    )
    def test_plain_value_comes_over_as_it_is(self, value):
        found = answers.decoded(json.loads(json.dumps(answers.encoded(value))))
        assert (type(found), found) == (type(value), value)

    def test_tuple_comes_over_as_a_list(self):
        assert answers.decoded(answers.encoded((1, 2))) == [1, 2]

    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]
    )
    def test_tensor_comes_over_with_type_and_shape(self, dtype):
        tensor = torch.arange(6).reshape(2, 1, 3).to(dtype)
        found = answers.decoded(json.loads(json.dumps(answers.encoded(tensor))))
        assert found.dtype == dtype
        assert torch.equal(found, tensor)

    @pytest.mark.parametrize(
        "tensor",
        [
            torch.tensor(2.5),
            torch.zeros(0, 3),
            torch.rand(3, 2).T,
            torch.ones(2, requires_grad=True),
            torch.eye(2).to_sparse(),
        ],
        ids=["no dimension", "empty", "transposed", "gradient", "sparse"],
    )
    def test_tensor_of_any_kind_comes_over(self, tensor):
        assert torch.equal(answers.decoded(answers.encoded(tensor)), tensor.detach().to_dense())

    def test_bfloat16_comes_over_as_float32(self):
        assert torch.equal(answers.decoded(answers.encoded(torch.ones(2).bfloat16())), torch.ones(2))

    def test_array_stays_an_array(self):
        found = answers.decoded(answers.encoded(np.array([[1.0], [2.0]])[::-1]))
        assert isinstance(found, np.ndarray)
        assert found.tolist() == [[2.0], [1.0]]

    @pytest.mark.parametrize(
        "value",
        [Odd(), {"a": 1}, {1}, 1j, torch.zeros(2, dtype=torch.complex64), b"x", np.array([None]), print],
        ids=lambda value: type(value).__name__,  # not the address of an object, which each process has another of
    )
    def test_of_anything_else_the_name_of_its_type_comes_over(self, value):
        assert type(answers.decoded(answers.encoded(value))).__name__ == type(value).__name__

    def test_tensor_of_too_many_values_comes_over_by_name(self):
        assert answers.encoded(torch.zeros(1).expand(2_000_000)) == {"kind": "other", "name": "Tensor"}

    def test_list_in_itself_ends(self):
        endless = []
        endless.append(endless)
        assert json.dumps(answers.encoded(endless))

    @pytest.mark.parametrize(
        "line",
        [
            b"", b"[", b"3", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"exercise": "01-1", "cell": 0, "place": 0}',
            b'{"exercise": "01-1", "cell": "x", "place": 0, "answer": {"kind": "dots"}}',
            b'{"exercise": "01-1", "cell": 1e999, "place": 0, "answer": {"kind": "dots"}}',
            _line_with(b'{"kind": "int", "value": 3}'),
            _line_with(b'{"kind": "plain", "value": {}}'),
            _line_with(b'{"kind": "float", "value": "x"}'),
            _line_with(b'{"kind": "array", "type": "object", "shape": [], "value": ""}'),
            _line_with(b'{"kind": "array", "type": "S1", "shape": [1], "value": "AA=="}'),
            _line_with(b'{"kind": "array", "type": "int64", "shape": [9], "value": ""}'),
            _line_with(b'{"kind": "array", "type": "int8", "shape": [-1, -1], "value": "AA=="}'),
        ],
        ids=lambda line: line[-60:].decode("latin-1")[:60],
    )  # fmt: skip
    def test_line_that_no_recorder_writes_is_left_out(self, tmp_path, line):
        good = json.dumps({"exercise": "01-2", "answer": answers.encoded(5), "cell": 1, "place": 0}).encode()
        (tmp_path / "answers").write_bytes(line + b"\n" + good + b"\n")
        assert answers.read(tmp_path / "answers") == [("01-2", 5, 1, 0)]

    def test_function_comes_over_as_what_it_returns(self, tmp_path):
        record = answers.Recorder(tmp_path / "answers")
        assert record("01-3", BANK["01-3"].right, 4, 1) is BANK["01-3"].right
        (one,) = answers.read(tmp_path / "answers")
        assert (one.cell, one.place) == (4, 1)
        assert check("01-3", one.answer).ok

    def test_without_a_file_nothing_was_handed_in(self, tmp_path):
        assert answers.read(tmp_path / "none") == []


# ---- what a kernel may do ----


class TestNoNetwork:
    @pytest.mark.parametrize(
        ("event", "address"),
        [
            ("socket.connect", ("192.0.2.1", 80)),
            ("socket.getaddrinfo", "example.org"),
            ("socket.sendto", ("192.0.2.1", 9)),
        ],
    )
    def test_what_leads_outside_is_refused(self, event, address):
        import socket

        with socket.socket() as one:
            arguments = (address, 80, 0, 0, 0) if event == "socket.getaddrinfo" else (one, address)
            with pytest.raises(PermissionError, match="there is no network while a submission is graded"):
                kernel.refuse_network(event, arguments)

    @pytest.mark.parametrize("address", [("127.0.0.1", 80), ("::1", 80, 0, 0), "here.socket", ("localhost", 1)])
    def test_what_stays_on_the_machine_is_not(self, address):
        import socket

        with socket.socket() as one:
            assert kernel.refuse_network("socket.connect", (one, address)) is None

    def test_other_events_are_not(self):
        assert kernel.refuse_network("open", ("file", "r", 0)) is None


# ---- whose a file is ----


class TestSubmissions:
    @pytest.mark.parametrize(
        ("path", "whose"),
        [
            ("lovelaceada_123_456_01_lines.ipynb", ("lovelaceada", "123", False, "01_lines.ipynb")),
            ("lovelaceada_LATE_123_456_a_1_2_b.ipynb", ("lovelaceada", "123", True, "a_1_2_b.ipynb")),
            ("gómez2maría_7_8_x-1.ipynb", ("gómez2maría", "7", False, "x-1.ipynb")),
            ("anon_a1B2c_456_x.ipynb", ("anon_a1B2c", "anon_a1B2c", False, "x.ipynb")),
            ("LATE_anon_a1B2c_456_x.ipynb", ("anon_a1B2c", "anon_a1B2c", True, "x.ipynb")),
            ("Ada Lovelace_123_assignsubmission_file_/x.ipynb", ("Ada Lovelace", "123", False, "x.ipynb")),
            ("Ada Lovelace_123_assignsubmission_file/sub/x.ipynb", ("Ada Lovelace", "123", False, "x.ipynb")),
            ("Ada Lovelace_123_assignsubmission_file_x_1.ipynb", ("Ada Lovelace", "123", False, "x_1.ipynb")),
            ("PS1/Ada Lovelace_123_assignsubmission_file_/x.ipynb", ("Ada Lovelace", "123", False, "x.ipynb")),
            ("Teilnehmer_in_99_assignsubmission_file_/x.ipynb", ("Teilnehmer_in", "99", False, "x.ipynb")),
            ("ada/01_lines.ipynb", ("ada", "", False, "01_lines.ipynb")),
            ("ada.ipynb", ("ada", "", False, "ada.ipynb")),
            ("ada/2024_11_12_homework.ipynb", ("ada", "", False, "2024_11_12_homework.ipynb")),
            ("ada/work_11_12_homework.ipynb", ("ada", "", False, "work_11_12_homework.ipynb")),
            ("2024_11_12_homework.ipynb", ("2024_11_12_homework", "", False, "2024_11_12_homework.ipynb")),
        ],
    )  # fmt: skip
    def test_name_and_number_come_from_the_path(self, tmp_path, path, whose):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x", encoding="utf-8")
        (one,) = submissions.read(tmp_path)
        assert (one.name, one.id, one.late, *one.files) == whose

    def test_files_of_one_student_come_together(self, tmp_path):
        for name in ("ada_1_2_x.ipynb", "ada_1_3_y.ipynb", "bob_2_4_x.ipynb"):
            (tmp_path / name).write_text(name, encoding="utf-8")
        found = submissions.read(tmp_path)
        assert [(one.name, sorted(one.files)) for one in found] == [
            ("ada", ["x.ipynb", "y.ipynb"]),
            ("bob", ["x.ipynb"]),
        ]

    def test_two_files_of_one_name_are_both_kept(self, tmp_path):
        for name in ("ada_1_2_x.ipynb", "ada_1_3_x.ipynb"):
            (tmp_path / name).write_text(name, encoding="utf-8")
        assert len(submissions.read(tmp_path)[0].notebooks) == 2

    def test_zip_file_in_the_folder_is_opened(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("ada_1_2_x.ipynb", "x")
            archive.writestr("of/bob/x.ipynb", "x")
            archive.writestr("__MACOSX/._ada_1_2_x.ipynb", "x")
        assert [one.name for one in submissions.read(tmp_path)] == ["ada", "of"]

    def test_hidden_files_and_tables_are_nobodys(self, tmp_path):
        for name in (".DS_Store", "grades.csv", ".ipynb_checkpoints/ada-checkpoint.ipynb", "ada.ipynb"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x", encoding="utf-8")
        assert [one.name for one in submissions.read(tmp_path)] == ["ada"]

    def test_damaged_zip_file_is_an_error_with_its_name(self, tmp_path):
        (tmp_path / "all.zip").write_bytes(b"PK\3\4 nothing")
        with pytest.raises(OSError, match=r"all\.zip cannot be read as a zip file"):
            submissions.read(tmp_path / "all.zip")

    def test_empty_folder_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="folder: there is no file of a student"):
            submissions.read(tmp_path)

    def test_folder_that_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="folder: there is no folder or zip file"):
            submissions.read(tmp_path / "none")

    def test_unknown_system_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="lms: wanted canvas or moodle, got 'blackboard'"):
            submissions.read(tmp_path, "blackboard")


class TestOpened:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "the file is empty"),
            (b"<html>", "the file holds no JSON"),
            (b"\xff\xfe\x00", "the file holds no JSON"),
            (b"[" * 100_000, "the file holds no JSON"),
            (b"[1]", "JSON, but not of a notebook"),
            (b'{"a": 1}', "JSON, but not of a notebook"),
            (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}', "its cells cannot be read"),
            (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "its cells cannot be read"),
            (b'{"nbformat": 99, "cells": []}', "its cells cannot be read"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_is_no_notebook_is_said(self, content, words):
        with pytest.raises(ValueError, match=words):
            marking.opened(content)

    def test_notebook_of_an_old_format_is_read(self):
        old = {
            "nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""},
            "worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"], "outputs": [], "language": "python"}]}],
        }  # fmt: skip
        assert marking.opened(json.dumps(old).encode()).cells[0].source == "x = 1"

    def test_mark_at_the_beginning_of_a_file_does_no_harm(self):
        assert len(marking.opened(b"\xef\xbb\xbf" + nbformat.writes(book_of("x = 1")).encode()).cells) == 1


# ---- marks ----


@pytest.fixture
def outcomes(monkeypatch):
    """Have notebooks "run" with these outcomes, one after the other, and no process started."""

    def give(*outcomes):
        left = list(outcomes)
        monkeypatch.setattr(marking, "run", lambda notebook, known, limits: left.pop(0))

    return give


def handed(number, answer, cell=0, place=0):
    return answers.HandedIn(number, answer, cell, place)


def submission(*names):
    content = nbformat.writes(book_of('answer = 1\nae.check("01-1", answer)')).encode()
    return Submission("ada", "1", files=dict.fromkeys(names or ("a.ipynb",), content))


ITEMS = points.of_chapters(["01"])[:2]


class TestMark:
    def test_better_of_two_notebooks_counts(self, outcomes):
        outcomes(Outcome([handed("01-1", 0.128)]), Outcome([handed("01-1", 3)]))
        assert marking.mark(submission("a.ipynb", "b.ipynb"), ITEMS, 0, PATIENT).total == 1

    def test_last_answer_of_one_check_counts(self, outcomes):
        outcomes(Outcome([handed("01-1", 0.128), handed("01-1", 3)]))
        assert marking.mark(submission(), ITEMS, 0, PATIENT).total == 0

    def test_version_of_the_lecturer_is_judged_whatever_the_check_says(self, outcomes):
        outcome = Outcome([handed("01-1", 100 / 784)], checked={0: [checks.Check("01-1", "answer", 0)]})
        outcomes(outcome)
        found = marking.mark(submission(), ITEMS, 7, PATIENT)
        assert found.total == 0
        assert found.remarks == [
            "checks in the notebook name version 0 of the questions; judged was version 7 (versions.csv)"
        ]

    def test_exercise_that_nothing_checks_is_missing(self, outcomes):
        outcomes(Outcome())
        found = marking.mark(submission(), ITEMS, 0, PATIENT)
        assert [(one.state, one.say) for one in found.marks] == [
            ("missing", "no check of this exercise is in the notebook")
        ] * 2

    def test_deleted_line_is_said_by_the_name_that_it_assigned(self, outcomes):
        stopped = {0: "this cell stopped with NameError: name 'answer' is not defined"}
        outcomes(Outcome(stopped=stopped, checked={0: [checks.Check("01-1", "answer")]}))
        (first, _) = marking.mark(submission(), ITEMS, 0, PATIENT).marks
        assert first.say == "no answer: nothing is assigned to `answer` for this exercise"

    def test_cell_that_stopped_is_named_by_its_place_and_its_first_line(self, outcomes):
        outcomes(Outcome(stopped={0: "this cell stopped with ValueError: no"}))
        found = marking.mark(submission(), ITEMS, 0, PATIENT)
        assert found.stopped == ["cell 1 of 1 (answer = 1): this cell stopped with ValueError: no"]

    def test_assertion_of_a_verdict_is_not_told_twice(self, outcomes):
        stopped = {0: "this cell stopped with AssertionError: ✗ 01-1: not yet"}
        outcomes(Outcome([handed("01-1", 3)], stopped, {0: [checks.Check("01-1", "answer")]}))
        assert marking.mark(submission(), ITEMS, 0, PATIENT).stopped == []

    def test_points_of_the_lecturer_count(self, outcomes, tmp_path):
        (tmp_path / "points.csv").write_text("exercise,points\n01-1,2.5\n", encoding="utf-8")
        outcomes(Outcome([handed("01-1", 0.128)]))
        found = marking.mark(submission(), points.read(tmp_path / "points.csv"), 0, PATIENT)
        assert (found.total, found.out_of) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exercise,points\n01-9,1\n", r"unknown exercise '01-9'\. Did you mean"),
        ("exercise,points\n01-1,many\n", "wanted a number from 0 for exercise 01-1 .* got 'many'"),
        ("exercise,points\n01-1,-1\n", "wanted a number from 0"),
        ("exercise,points\n01-1,1\n01-1,1\n", "exercise 01-1 stands twice"),
        ("exercise\n01-1\n", "the columns exercise and points"),
        ("", "the columns exercise and points"),
    ],
)
def test_points_that_are_wrong_are_named(tmp_path, text, words):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        points.read(tmp_path / "points.csv")


@pytest.mark.parametrize("text", ["student,version\nada,x\n", "student\nada\n", ""])
def test_versions_that_are_wrong_are_an_error(tmp_path, text):
    (tmp_path / "versions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="versions: wanted a"):
        versions.read(tmp_path / "versions.csv")


def test_version_is_found_by_number_then_by_name_then_for_all(tmp_path):
    (tmp_path / "versions.csv").write_text("id,student,version\n11,Ada,1\n12,Ada,2\n,*,3\n", encoding="utf-8")
    found = versions.read(tmp_path / "versions.csv")
    assert [found.of("11", "Ada"), found.of("", "Ada"), found.of("99", "Bob")] == [1, 2, 3]


# ---- tables of the systems ----

WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Maximum grade,Last modified (grade),Feedback comments
Participant 501,Ada Lovelace,ada@example.org,Submitted,,10.00,-,
Participant 502,Emmy Noether,emmy@example.org,No submission,4.00,10.00,-,old
"""


def marks_of(total, out_of=4, say="right", name="ada", number=""):
    marks = [Mark(Item("01-1", "a < b", "★", total, "3"), "right", say)]
    if out_of > total:
        marks.append(Mark(Item("01-2", "rest", "★", out_of - total, "3"), "wrong", "not yet: 3 < 4 & <b>"))
    return Marks(Submission(name, number), marks)


@pytest.fixture
def roster(tmp_path):
    def write(text):
        (tmp_path / "roster.csv").write_text(text, encoding="utf-8")
        return rosters.read(tmp_path / "roster.csv")

    return write


class TestCanvas:
    @pytest.mark.parametrize(
        ("name", "number", "found"),
        [
            ("x", "12", "12"),
            ("lovelaceada", "", "11"),
            ("Lovelace, Ada", "", "11"),
            ("nobody", "", None),
            ("x", "1", None),
        ],
    )
    def test_student_is_found_by_number_else_by_name(self, roster, name, number, found):
        student = roster(GRADEBOOK).student_of(name, number)
        assert (student and student.id) == found

    def test_name_that_two_have_finds_nobody(self, roster):
        twice = GRADEBOOK + '"Lovelace, Ada",19,,ada2,B,,\n'
        assert roster(twice).student_of("lovelaceada", "") is None

    def test_row_of_points_and_row_of_posting_are_no_students(self, roster):
        text = GRADEBOOK.replace('"    Points', ',,,,,Manual Posting,\n"    Points')
        assert [one.id for one in roster(text).students] == ["11", "12", "13"]

    def test_points_are_not_scaled_where_the_system_has_as_many(self, roster):
        text, remarks = roster(GRADEBOOK).filled({"11": marks_of(3, out_of=14)})
        assert text.splitlines()[2] == '"Lovelace, Ada",11,,ada,A,3'
        assert remarks == []

    @pytest.mark.parametrize("assignment", ["Exercises 2 (78)", "Exercises 2"])
    def test_column_is_chosen_by_its_name(self, roster, assignment):
        text = GRADEBOOK.replace("Exercises 1 (77),", "Exercises 1 (77),Exercises 2 (78),").replace(",14,", ",14,4,")
        assert roster(text).filled({}, assignment)[0].splitlines()[0].endswith("Section,Exercises 2 (78)")

    def test_where_there_are_several_columns_one_has_to_be_named(self, roster):
        text = GRADEBOOK.replace("Exercises 1 (77),", "Exercises 1 (77),Exercises 2 (78),").replace(",14,", ",14,4,")
        with pytest.raises(ValueError, match=r"got ''; there is 'Exercises 1 \(77\)', 'Exercises 2 \(78\)'"):
            roster(text).filled({})

    def test_semicolons_stay(self, roster):
        text = "Student;ID;Section;Work (1)\nLovelace, Ada;11;A;\n"
        assert roster(text).filled({"11": marks_of(2)})[0] == "Student;ID;Section;Work (1)\nLovelace, Ada;11;A;2\n"


class TestMoodle:
    def test_grade_and_feedback_are_filled_and_other_rows_stay(self, roster):
        text, remarks = roster(WORKSHEET).filled({"501": marks_of(1)})
        ada, emmy = list(csv.DictReader(text.splitlines()))
        assert (ada["Grade"], emmy["Grade"], emmy["Feedback comments"]) == ("2.5", "4.00", "old")
        assert ada["Feedback comments"] == (
            "1 of 4 points<br>01-1: 1 of 1. right<br>01-2: 0 of 3. not yet: 3 &lt; 4 &amp; &lt;b&gt;"
        )
        assert remarks == ["the system has 10 points for this work and the exercises 4: the marks were scaled"]

    def test_student_is_found_by_the_number_of_the_participant(self, roster):
        assert roster(WORKSHEET).student_of("Somebody Else", "502").name == "Emmy Noether"

    def test_worksheet_without_comments_gets_grades_and_a_remark(self, roster):
        text = WORKSHEET.replace(",Feedback comments", "").replace(",-,old", ",-").replace(",-,\n", ",-\n")
        filled, remarks = roster(text).filled({"501": marks_of(4)})
        assert "501,Ada Lovelace,ada@example.org,Submitted,10," in filled
        assert remarks[0].startswith("roster.csv has no column Feedback comments")


def test_table_of_another_kind_names_its_columns(roster):
    with pytest.raises(ValueError, match="roster: wanted Canvas's exported gradebook .* got the columns a, b"):
        roster("a,b\n1,2\n")


def test_roster_of_the_other_system_is_an_error(tmp_path):
    (tmp_path / "a.ipynb").write_text("{}", encoding="utf-8")
    (tmp_path / "roster.csv").write_text(WORKSHEET, encoding="utf-8")
    with pytest.raises(ValueError, match=r"lms: .*roster\.csv is an export of moodle, not of canvas"):
        grade(tmp_path, tmp_path / "out", Course(roster=tmp_path / "roster.csv", lms="canvas"))


class TestGrade:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "in").mkdir()
        return tmp_path / "in"

    def put(self, folder, name):
        (folder / name).write_bytes(submission().files["a.ipynb"])

    def test_two_submissions_of_one_student_count_once(self, folder, tmp_path, outcomes):
        self.put(folder, "ada_501_1_a.ipynb")
        self.put(folder, "Ada Lovelace.ipynb")
        (tmp_path / "w.csv").write_text(WORKSHEET, encoding="utf-8")
        outcomes(Outcome([handed("01-1", 3)]), Outcome([handed("01-1", 0.128)]))
        report = grade(folder, tmp_path / "out", Course(points=by_check(tmp_path), roster=tmp_path / "w.csv"))
        assert report.remarks[0] == "Ada Lovelace has two submissions; the marks of the one with more points count"
        assert rows(tmp_path / "out" / "moodle.csv")[1][4] == "0.91"  # 1 of 11 points, of 10

    def test_version_is_that_of_the_number_that_the_roster_has_for_a_name(self, folder, tmp_path, outcomes):
        self.put(folder, "Ada Lovelace.ipynb")
        (tmp_path / "w.csv").write_text(WORKSHEET, encoding="utf-8")
        (tmp_path / "versions.csv").write_text("id,student,version\n501,,7\n", encoding="utf-8")
        outcomes(Outcome([handed("01-1", BANK["01-1"].version(7).answer)]))
        course = Course(roster=tmp_path / "w.csv", versions=tmp_path / "versions.csv")
        assert grade(folder, tmp_path / "out", course).marks[0].total == 1

    def test_pages_of_two_students_of_one_name_are_two(self, folder, tmp_path, outcomes):
        self.put(folder, "a b.ipynb")
        self.put(folder, "a-b.ipynb")
        outcomes(Outcome(), Outcome())
        grade(folder, tmp_path / "out", Course())
        assert sorted(path.name for path in (tmp_path / "out" / "feedback").iterdir()) == ["a-b-2.html", "a-b.html"]

    def test_folder_without_exercises_is_an_error(self, folder, tmp_path):
        (folder / "ada.ipynb").write_text(nbformat.writes(book_of("x = 1")), encoding="utf-8")
        with pytest.raises(
            ValueError, match="no notebook in .* checks an exercise of the book; say which with --points"
        ):
            grade(folder, tmp_path / "out", Course())

    @pytest.fixture
    def second_fails(self, monkeypatch):
        """Have the second notebook fail to run, and the others be right in exercise 01-1."""
        left = [None, OSError("no kernel"), None]

        def fails_once(*arguments):
            if error := left.pop(0):
                raise error
            return Outcome([handed("01-1", 0.128)])

        monkeypatch.setattr(marking, "run", fails_once)

    def test_submission_that_the_machine_cannot_run_is_named_and_the_rest_graded(self, folder, tmp_path, second_fails):
        for name in ("ada.ipynb", "bob.ipynb", "eve.ipynb"):
            self.put(folder, name)
        report = grade(folder, tmp_path / "out", Course())
        assert [one.total for one in report.marks] == [1, 0, 1]
        assert rows(tmp_path / "out" / "grades.csv")[2][-1] == "NOT GRADED: no kernel"

    def test_submission_that_was_not_graded_gets_no_mark_in_the_system(self, folder, tmp_path, second_fails):
        self.put(folder, "Ada Lovelace.ipynb")
        self.put(folder, "Emmy Noether.ipynb")
        (tmp_path / "w.csv").write_text(WORKSHEET, encoding="utf-8")
        grade(folder, tmp_path / "out", Course(points=by_check(tmp_path), roster=tmp_path / "w.csv"))
        assert [row[4] for row in rows(tmp_path / "out" / "moodle.csv")[1:]] == ["0.91", "4.00"]

    def test_several_at_a_time_come_in_the_order_of_their_names(self, folder, tmp_path, monkeypatch):
        names = [f"student-{letter}" for letter in "abcdef"]
        for name in names:
            self.put(folder, f"{name}.ipynb")
        # The first two wait for each other, so that both have to be under way at a time.
        together = threading.Barrier(2, timeout=60)
        waiting = iter([True, True])
        monkeypatch.setattr(marking, "run", lambda *a: (next(waiting, False) and together.wait(), Outcome())[1])
        report = grade(folder, tmp_path / "out", Course(jobs=2))
        assert [one.submission.name for one in report.marks] == names

    def test_no_job_is_an_error(self, folder, tmp_path):
        with pytest.raises(ValueError, match="jobs: wanted 1 or more, got 0"):
            grade(folder, tmp_path / "out", Course(jobs=0))

    def test_where_nothing_can_be_run_it_is_an_error(self, folder, tmp_path, monkeypatch):
        self.put(folder, "ada.ipynb")
        monkeypatch.setattr(marking, "run", lambda *arguments: (_ for _ in ()).throw(OSError("no kernel")))
        with pytest.raises(OSError, match="no kernel"):
            grade(folder, tmp_path / "out", Course())

    def test_table_is_written_after_each_submission(self, folder, tmp_path, outcomes):
        self.put(folder, "ada.ipynb")
        self.put(folder, "bob.ipynb")
        outcomes(Outcome(), Outcome())
        lengths = []
        grade(
            folder, tmp_path / "out", Course(), lambda marks: lengths.append(len(rows(tmp_path / "out" / "grades.csv")))
        )
        assert lengths == [2, 3]

    def test_marks_are_told_as_soon_as_they_are_there(self, folder, tmp_path, outcomes):
        self.put(folder, "ada.ipynb")
        self.put(folder, "bob.ipynb")
        outcomes(Outcome(), Outcome())
        told = []
        grade(folder, tmp_path / "out", Course(), lambda marks: told.append(marks.submission.name))
        assert told == ["ada", "bob"]


def test_page_shows_what_comes_from_a_submission_as_text():
    found = page(marks_of(1, name="<script>x</script>"))
    assert "<script>" not in found
    assert "not yet: 3 &lt; 4 &amp; &lt;b&gt;" in found


# ---- the commands ----


def test_command_makes_copies(chapters, tmp_path, capsys):
    assert main(["course", "make", str(tmp_path / "out"), "--chapters", "01", "--folder", str(chapters)]) == 0
    assert "3 files in" in capsys.readouterr().out


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["course", "grade", str(tmp_path / "none")]) == 1
    assert "aecore course: folder: there is no folder or zip file" in capsys.readouterr().err


def test_command_prints_a_line_for_each_student(tmp_path, capsys, outcomes):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ipynb").write_bytes(submission().files["a.ipynb"])
    outcomes(Outcome([handed("01-1", 0.128)]))
    options = ["--out", str(tmp_path / "out"), "--points", str(by_check(tmp_path))]
    assert main(["course", "grade", str(tmp_path / "in"), *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "ada: 1 of 11 points"
