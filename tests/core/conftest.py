"""What the tests of the package share: folders of their own, the CPU, small images, a silent plotting backend."""

from __future__ import annotations

import linecache
import os
import signal
import subprocess
import sys
import types

import matplotlib as mpl
import pytest
import torch

from aecore import config, journal, machine
from aecore.data import Images, Splits
from aecore.runs import store

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _own_world(tmp_path, monkeypatch):
    """Full profile, empty folders for data, runs and published runs, nothing in the journal, the CPU."""
    monkeypatch.setenv("AECORE_PROFILE", "full")
    monkeypatch.setenv("AECORE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AECORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("AECORE_PROGRESS", "0")
    for name in ("AECORE_RETRAIN", "AECORE_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(journal, "_entries", [])
    monkeypatch.setattr(journal, "_page_data", {})
    monkeypatch.setattr(machine, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard():
    """Ctrl-C as at a terminal; a shell that runs these tests in the background lets them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Threads gain nothing on images of 4×4, and on a busy machine they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _log_for_caplog(monkeypatch):
    """aecore's log as it is before `setup`: it passes lines on, so that `caplog` sees them."""
    monkeypatch.setattr(config.log, "propagate", True)
    monkeypatch.setattr(config.log, "handlers", [])
    level = config.log.level
    config.log.setLevel("INFO")
    yield
    config.log.setLevel(level)


@pytest.fixture
def precision_as_planned(monkeypatch):
    """A plan's bfloat16 is used, whatever the processor: slow on some, but the same arithmetic."""
    from aecore.training import loop

    monkeypatch.setattr(loop, "chosen_precision", lambda model, objective, batch, plan: (plan.precision, None))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:  # to import it takes longer than most tests
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def noise():
    """Make `Images` of random bytes: `noise(24, 1, 4, 4)`."""

    def make(*shape, seed=0, name="noise"):
        generator = torch.Generator().manual_seed(seed)
        return Images(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), name=name)

    return make


@pytest.fixture
def splits(noise):
    """24 / 8 / 8 random images of 1×4×4."""
    return Splits(noise(24, 1, 4, 4), noise(8, 1, 4, 4, seed=1), noise(8, 1, 4, 4, seed=2))


@pytest.fixture
def in_a_cell(monkeypatch):
    """Run source text as Jupyter runs a cell: the text is kept by name, and no file belongs to the module."""
    count = iter(range(1000))

    def run(source):
        name, text = f"<cell {next(count)}>", source
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        module = types.ModuleType("a_notebook")
        monkeypatch.setitem(sys.modules, "a_notebook", module)
        exec(compile(text, name, "exec"), module.__dict__)
        return module

    return run


@pytest.fixture
def python(tmp_path):
    """Run a line of Python in a new process and return what it printed."""

    def run(code, **environment):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return answer.stdout.strip()

    return run


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """A function that writes a book of a few chapters, cells by name, and returns the folder of its chapters."""
    import nbformat
    from nbformat.v4 import new_notebook

    config = (
        "parse: {myst_enable_extensions: [colon_fence, dollarmath]}\nbibtex_bibfiles: [works.bib]\n"
        "repository: {url: https://example.org/book, branch: trunk}\n"
    )

    def written(**chapters):
        root = tmp_path_factory.mktemp("book")
        (root / "_config.yml").write_text(config, encoding="utf-8")
        (root / "works.bib").write_text("", encoding="utf-8")
        (root / "chapters").mkdir()
        for name, cells in chapters.items():
            nbformat.write(new_notebook(cells=cells), root / "chapters" / f"{name}.ipynb")
        return root / "chapters"

    return written
