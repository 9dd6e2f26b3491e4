"""The repository's address stands in pyproject.toml; everything else follows it."""

import re
import shutil

import nbformat
import pytest
import yaml

import address
from aecore.publishing import code_hash
from chapters import ROOT, chapters

OLD = address.address()[0]
NEW = "https://github.com/someone/another-name"
FOLLOWS = {path.relative_to(ROOT).as_posix() for path in address._files(ROOT)} | {"pyproject.toml"}

CHAPTER = f"""---
jupytext:
  formats: ipynb,md:myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

See [the source]({OLD}/blob/main/aecore).

```{{code-cell}} ipython3
:tags: [setup, hide-input]

old = 1
```

```{{code-cell}} ipython3
---
tags: [other]
---
kept = 1
```
"""


@pytest.fixture
def repository(tmp_path):
    """A copy of what depends on the address, with one small published chapter beside it."""
    for path in [*address._files(ROOT), ROOT / "pyproject.toml"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (tmp_path / "chapters").mkdir(exist_ok=True)
    (tmp_path / "chapters" / "99_small.md").write_text(CHAPTER, encoding="utf-8")
    cells = [
        nbformat.v4.new_markdown_cell(f"See [the source]({OLD}/blob/main/aecore)."),
        nbformat.v4.new_code_cell("old = 1", metadata={"tags": ["setup", "hide-input"]}),
        nbformat.v4.new_code_cell("kept = 1", metadata={"tags": ["other"]}),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["aecore"] = {"code_sha256": code_hash(notebook)}
    nbformat.write(notebook, tmp_path / "chapters" / "99_small.ipynb")
    return tmp_path


def move(root):
    """Change the address in pyproject.toml and run the tool."""
    settings = root / "pyproject.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace(OLD, NEW), encoding="utf-8")
    for path, text in list(address.changes(root)):
        path.write_text(text, encoding="utf-8")


def small(root):
    return nbformat.read(root / "chapters" / "99_small.ipynb", as_version=4)


def test_everything_agrees_with_pyproject():
    different = [path.relative_to(ROOT).as_posix() for path, _ in address.changes()]
    assert different == [], "run `make address`"


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "_config.yml"])
def test_address_is_named_in(name):
    assert OLD in (ROOT / name).read_text(encoding="utf-8")


def test_config_has_the_address_and_the_branch():
    written = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    assert (written["url"], written["branch"]) == address.address()


def test_config_has_the_address_of_the_pages():
    written = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["html"]
    assert written["baseurl"] == address.pages()


def test_colab_links_of_the_readme_open_the_readers_notebooks():
    repository = OLD.removeprefix("https://github.com/")
    linked = re.findall(
        r"colab\.research\.google\.com/github/([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    assert linked == [f"{repository}/blob/editions/reader/{name}.ipynb" for name in chapters()]


def test_the_pages_are_where_github_shows_those_of_a_repository():
    assert address._pages("https://github.com/Some-One/a-Name") == "https://some-one.github.io/a-Name/"


def test_the_branch_of_the_editions_is_the_one_that_a_release_writes():
    script = (ROOT / ".ci" / "push-editions").read_text(encoding="utf-8")
    assert f"branch={address.EDITIONS}\n" in script


def test_no_other_file_names_the_address():
    name = OLD.removeprefix("https://")
    kinds = {".py", ".md", ".yml", ".toml", ".cff", ".ipynb", ".txt", ".css", ".html"}
    hidden = {".venv", ".git", "_build", "build"}
    others = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*")
        if path.suffix in kinds and not hidden & set(path.relative_to(ROOT).parts)
        and not any(part.endswith(".egg-info") for part in path.parts)
        and name in path.read_text(encoding="utf-8")
    ]  # fmt: skip
    assert set(others) <= FOLLOWS


def test_after_a_move_the_old_address_is_gone(repository):
    move(repository)
    old = OLD.split("github.com/")[1], address._pages(OLD)
    texts = {p.name: p.read_text("utf-8") for p in repository.rglob("*") if p.is_file()}
    assert [name for name, text in texts.items() if any(address in text for address in old)] == []


def test_after_a_move_nothing_is_left_to_do(repository):
    move(repository)
    assert list(address.changes(repository)) == []


def test_a_move_writes_the_set_up_cell_into_the_notebook(repository):
    move(repository)
    assert small(repository).cells[1].source == address.setup_cell(repository)
    assert f"git+{NEW}" in small(repository).cells[1].source


def test_a_move_writes_the_set_up_cell_into_the_markdown(repository):
    import jupytext

    move(repository)
    twin = jupytext.read(repository / "chapters" / "99_small.md")
    assert [cell.source for cell in twin.cells if cell.cell_type == "code"] == [
        address.setup_cell(repository),
        "kept = 1",
    ]


def test_a_move_keeps_other_cells_and_ids(repository):
    ids = [cell.id for cell in small(repository).cells]
    move(repository)
    assert [cell.id for cell in small(repository).cells] == ids
    assert small(repository).cells[2].source == "kept = 1"


def test_a_published_chapter_stays_published_after_a_move(repository):
    move(repository)
    assert small(repository).metadata["aecore"]["code_sha256"] == code_hash(small(repository))


def test_a_stale_chapter_stays_stale_after_a_move(repository):
    path = repository / "chapters" / "99_small.ipynb"
    stale = small(repository)
    stale.metadata["aecore"]["code_sha256"] = "0" * 64
    nbformat.write(stale, path)
    move(repository)
    assert small(repository).metadata["aecore"]["code_sha256"] == "0" * 64
