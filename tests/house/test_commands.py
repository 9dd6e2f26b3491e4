"""The commands and the names that pages show are those of the package."""

import argparse
import re
import shlex

import pytest

import aecore.distributed
from aecore import cli
from chapters import ROOT

PAGES = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(page, language):
    """Return what stands in the code blocks of a language, with broken lines joined."""
    found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def commands():
    """Return every call of `aecore` that a page shows, as a list of words without what starts it."""
    for page in PAGES:
        for line in (line for block in blocks(page, "bash") for line in block.splitlines()):
            call = re.search(r"(?:^|\s)(?:-m )?aecore ((?:[a-z]+)\b.*)", line)
            if call:
                words = shlex.split(call[1], comments=True)
                yield pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_that_a_page_shows_is_understood(words):
    assert isinstance(cli._parser().parse_args(words), argparse.Namespace)


def imports():
    """Return every line of Python on a page that imports something of aecore."""
    for page in PAGES:
        for line in (line.strip() for block in blocks(page, "python") for line in block.splitlines()):
            if re.match(r"(from|import) aecore\b", line):
                yield pytest.param(line, id=f"{page.name}: {line}")


@pytest.mark.parametrize("line", list(imports()))
def test_what_a_page_imports_is_there(line):
    exec(line, {})


def test_what_a_page_calls_of_distributed_is_there():
    blocks_ = [block for page in PAGES for block in blocks(page, "python")]
    shown = {name for block in blocks_ for name in re.findall(r"distributed\.(\w+)", block)}
    assert {name: hasattr(aecore.distributed, name) for name in shown} == {
        "process_group": True, "first_rank_first": True,
    }  # fmt: skip
