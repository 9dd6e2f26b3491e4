"""The plan of the sessions, beside the chapters that it plans."""

import re

import pytest

from aecore.exercises import exercises
from chapters import ROOT, chapters

PAGE = (ROOT / "book" / "lecturers.md").read_text(encoding="utf-8")
COURSE = PAGE[: PAGE.index("## Set up the tools")]
# "Session 3: Decoders" and what follows up to the next.
SESSIONS = {int(part.split(":")[0]): part for part in re.split(r"^### Session ", COURSE, flags=re.M)[1:]}
NUMBERED = {int(name[:2]): name for name in chapters() if int(name[:2]) < 90}
UNFINISHED: set[int] = set()


def source(number):
    return (ROOT / "chapters" / f"{NUMBERED[number]}.md").read_text(encoding="utf-8")


def rows(session):
    """Return the first cell and the rest of each row of a session's table."""
    cells = re.findall(r"^\| (\d+–\d+) \| (.*) \|$", session, re.M)
    return [(*tuple(int(minute) for minute in when.split("–")), what) for when, what in cells]


def test_every_chapter_has_its_session():
    assert sorted(SESSIONS) == sorted(NUMBERED)


@pytest.fixture(params=sorted(NUMBERED))
def number(request):
    return request.param


def test_session_has_the_title_of_its_chapter(number):
    assert SESSIONS[number].splitlines()[0] == f"{number}: {re.search('^# (.*)$', source(number), re.M)[1]}"


def test_session_fills_ninety_minutes_without_gaps(number):
    times = rows(SESSIONS[number])
    assert [start for start, _, _ in times] == [0, *(end for _, end, _ in times[:-1])]
    assert times[-1][1] == 90


def test_sections_that_a_session_names_are_in_the_chapter(number):
    named = [words for _, _, what in rows(SESSIONS[number]) for words in re.findall(r"\*([^*]+)\*", what)]
    headings = re.findall(r"^## (.*)$", source(number), re.M)
    assert named
    assert [words for words in named if words not in headings] == []


def test_session_has_an_exercise_of_its_chapter_and_asks_for_a_prediction(number):
    session = SESSIONS[number]
    found = re.findall(r"In class: Exercise (\d+)\.(\d)", session)
    assert len(found) == 1
    assert f"{number:02d}-{found[0][1]}" in exercises()
    assert int(found[0][0]) == number
    assert "Ask" in session


def test_session_asks_for_a_prediction_only_where_the_chapter_does(number):
    asked = len(re.findall(r"\bAsk\b", SESSIONS[number]))
    if number not in UNFINISHED:
        assert asked <= len(re.findall(r"\{admonition\} Predict", source(number)))


def test_session_has_objectives_as_verbs_two_questions_and_errors(number):
    session = SESSIONS[number]
    objectives = session.split("**Objectives.**")[1].split("\n\n")[0]
    assert objectives.split()[:2] == ["Students", "can"]
    assert len(re.findall(r"\*[a-z]+\*", objectives)) >= 3
    exam = session.split("**Exam.**")[1].split("\n\n")[0]
    assert re.findall(r"\(([ab])\)", exam) == ["a", "b"]
    assert len(re.findall(r"\s\*[^*]+\*", exam)) == 2  # a sketch of an answer to each
    assert "**Common errors.**" in session


def test_exercises_that_the_weeks_set_are_there():
    listed = re.findall(r"\b(\d+)\.(\d)\b", COURSE[: COURSE.index("## The sessions")])
    assert listed
    assert [one for one in listed if f"{int(one[0]):02d}-{one[1]}" not in exercises()] == []
