"""Files that stand where the plan says, and agree with each other."""

import re
import stat
import tomllib

import pytest
import yaml

from address import address
from aecore.runs.store import LARGEST_PUBLISHED
from chapters import ROOT

PUBLISHED = ROOT / "aecore" / "published"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXTS = {".py", ".md", ".yml", ".toml", ".cff", ".txt", ".css", ".html", ".bib", ".svg"}
HIDDEN = {".venv", ".git", "_build", "build", "dist", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}


def texts():
    """Yield the text files of the repository."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        if (
            path.is_file()
            and path.suffix in TEXTS
            and not HIDDEN & set(inside.parts)
            and ".egg-info" not in str(inside)
        ):
            yield path


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "LICENSE", "CITATION.cff", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml",
        "constraints.txt", "environment.yml", "_config.yml", "_toc.yml", ".ci/run", ".github/workflows/ci.yml",
        "book/index.md", "book/running.md", "book/notation.md", "book/glossary.md", "book/references.md",
        "book/references.bib", "aecore/published",
    ],
)  # fmt: skip
def test_is_there(name):
    assert (ROOT / name).exists()


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & stat.S_IXUSR


def test_workflow_runs_what_ci_runs_on_the_default_branch():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    triggers = workflow[True]
    assert [triggers[kind]["branches"] for kind in ("push", "pull_request")] == [[address()[1]]] * 2
    assert "bash .ci/run" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]


@pytest.mark.parametrize(
    "command", ["book", "test", "chapters", "editions", "publish", "address", "colab", "lint", "clean", "help"]
)
def test_makefile_has_the_command_and_explains_it(command):
    assert re.search(rf"^{command}:.*## \w", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "book/running.md"])
def test_commands_of_the_documents_exist(document):
    named = set(re.findall(r"(?:^|`|&& )make ([a-z]+)", (ROOT / document).read_text(encoding="utf-8"), re.M))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert named
    assert named <= known


def test_version_is_the_same_everywhere():
    import aecore

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert aecore.__version__ == citation["version"]
    # pyproject.toml takes it from the package, so that it stands in one place of the code.
    assert "version" in SETTINGS["project"]["dynamic"]
    assert SETTINGS["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "aecore.__version__"}


def test_the_newest_changes_are_those_of_the_version():
    heading = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    if re.fullmatch(r"[\d.]+", citation["version"]):  # 0.3.0.dev0 has no part of its own yet
        assert heading.groups() == (citation["version"], citation["date-released"])


def test_licences_of_the_project_are_those_of_the_licence_file():
    # SPDX: both apply, since the wheel holds code and, in aecore/published, weights and records.
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert SETTINGS["project"]["license"] == "BSD-3-Clause AND CC-BY-4.0"
    assert all(words in text for words in ("BSD 3-Clause License", "(CC BY 4.0)", "aecore/published/"))


def test_licence_expression_has_a_build_tool_that_reads_it():
    # PEP 639: setuptools reads an expression from version 77 on.
    assert SETTINGS["build-system"]["requires"] == ["setuptools>=77"]


def test_types_of_the_package_are_announced():
    assert (ROOT / "aecore" / "py.typed").read_bytes() == b""
    assert "py.typed" in SETTINGS["tool"]["setuptools"]["package-data"]["aecore"]


def test_citation_has_what_the_format_requires():
    # Citation File Format 1.2.0: these four keys are required; an entity among the authors has a name.
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_licence_names_both_licences():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "BSD 3-Clause License" in text
    assert "creativecommons.org/licenses/by/4.0/" in text


def test_no_file_holds_a_path_of_one_machine():
    folders = "|".join(["home", "root", "Users", "work"])
    path_of_a_machine = re.compile(rf"(?<![\w.~$}}/])/(?:{folders})/\w")
    found = [path.relative_to(ROOT).as_posix() for path in texts() if path_of_a_machine.search(path.read_text("utf-8"))]
    assert found == []


def test_published_runs_are_small():
    files = [path for path in PUBLISHED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25e6
    assert max((path.stat().st_size for path in files if path.suffix == ".safetensors"), default=0) <= LARGEST_PUBLISHED


def test_published_chapters_hold_what_the_plan_says_and_nothing_else():
    allowed = re.compile(
        r"\d\d/(runs\.jsonl|arrays\.npz|page\.json|codec\.weights|weights/(\d\d-[\w.+-]+)\.safetensors)"
    )
    found = [path.relative_to(PUBLISHED).as_posix() for path in PUBLISHED.rglob("*") if path.is_file()]
    assert [path for path in found if not allowed.fullmatch(path)] == []
