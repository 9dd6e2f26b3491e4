"""One notebook, run in a process of its own: what it handed in, and which of its cells stopped and why.

A cell that ends the process or does not finish costs what it holds and no more. The notebook is run again without it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from . import answers, checks, kernel
from .answers import HandedIn

_NAME = "aecore-course"
_STARTING = 120  # seconds that a kernel may take to start, on a busy machine
_MOST_RUNS = 4  # of one notebook; each but the last ended at a cell that is left out from then on
_LONGEST = 300  # characters of an error
# All that a kernel gets of the environment: no token and no password of whoever grades.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "OMP_NUM_THREADS", "TZ")
_UNHEARD = logging.getLogger("aecore.course.kernel")  # what nbclient says of a kernel that dies stands in the outcome
_UNHEARD.addHandler(logging.NullHandler())
_UNHEARD.propagate = False


@dataclass(frozen=True)
class Limits:
    """What one notebook may take: seconds for a cell, seconds for all of it, and megabytes of memory."""

    cell_seconds: int = 120
    seconds: int = 900
    megabytes: int = 4096


@dataclass
class Outcome:
    """What a run left: what was handed in, why which cells stopped, and in which cells which exercises are checked."""

    handed_in: list[HandedIn] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)
    checked: dict[int, list[checks.Check]] = field(default_factory=dict)


def run(notebook: NotebookNode, known: Collection[str], limits: Limits) -> Outcome:
    """Run a notebook under the quick profile, in an empty folder, without a network.

    Args:
        notebook: as it was handed in; which kernel it names plays no part.
        known: the exercises whose checks count.
        limits: what it may take.

    Raises:
        OSError: no kernel can be started on this machine, or not within the limits.
    """
    outcome = Outcome()
    sources = _prepared(notebook, known, outcome)
    deadline = time.monotonic() + limits.seconds
    left_out: set[int] = set()
    before: list[HandedIn] = []  # what cells handed in before they ended the process
    for _ in range(_MOST_RUNS):
        with _scratch() as folder:
            stopped = dict(outcome.stopped)
            pending = {cell: code for cell, code in sources.items() if cell not in left_out}
            end = asyncio.run(_Run(folder, limits, deadline).run(pending, stopped))
            handed_in = answers.read(folder / "answers.jsonl")
        outcome.handed_in = before + handed_in
        if end is None or not any(cell > end and cell not in left_out for cell in outcome.checked):
            break
        left_out.add(end)
        before += [one for one in handed_in if one.cell == end]
        outcome.stopped[end] = stopped[end]
        if time.monotonic() >= deadline:
            break
    outcome.stopped = stopped
    return outcome


def _prepared(notebook: NotebookNode, known: Collection[str], outcome: Outcome) -> dict[int, str]:
    """Return the code of each cell that is Python, with checks that hand in and names that are forgotten in between."""
    codes = {
        i: cell.source for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()
    }
    for cell, code in codes.items():
        try:
            found = checks.checks_in(checks.parsed(code), known)
        except SyntaxError as error:
            line = f", line {error.lineno}" if error.lineno else ""
            outcome.stopped[cell] = _shortened(f"this cell is not Python: {error.msg}{line}")
            found = checks.named_in(code, known)
        if found:
            outcome.checked[cell] = found
    shared = _shared_names(outcome)
    sources, forget = {}, False
    for cell, code in codes.items():
        if cell not in outcome.stopped:
            sources[cell] = checks.handing_in(code, known, cell, shared if forget else ())
            forget = cell in outcome.checked
    return sources


def _shared_names(outcome: Outcome) -> set[str]:
    """Return the names that hold the answers of more than one exercise, one after the other."""
    users: dict[str, set[str]] = {}
    for found in outcome.checked.values():
        for check in found:
            users.setdefault(check.name, set()).add(check.exercise)
    return {name for name, exercises in users.items() if name and len(exercises) > 1}


class _Quiet(NotebookClient):
    """A client that keeps no output: what a submission prints is no evidence, and may be without end."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "status" and msg["content"].get("execution_state") == "idle":
            raise CellExecutionComplete()


class _Run:
    """One run of the cells of a notebook in a fresh process."""

    def __init__(self, folder: Path, limits: Limits, deadline: float) -> None:
        self._folder, self._limits, self._deadline = folder, limits, deadline
        self._reply: dict = {}

    async def run(self, sources: dict[int, str], stopped: dict[int, str]) -> int | None:
        """Run cells, note in `stopped` which of them failed and why, and return the cell at which the process ended."""
        notebook = new_notebook(cells=[new_code_cell(code) for code in sources.values()])
        client = _Quiet(notebook, km=self._manager(), allow_errors=True, startup_timeout=_STARTING)
        client.log = _UNHEARD
        client.on_cell_executed = self._note
        try:
            await self._start(client)
            for place, cell in enumerate(sources):
                end = await self._one(client, place)
                if end:
                    stopped[cell] = end
                    return cell
                if self._reply.get("status") == "error":
                    stopped[cell] = _error(self._reply)
            return None
        finally:
            await self._stop(client)

    async def _one(self, client: NotebookClient, place: int) -> str:
        """Run one cell and return what ended the process, or ""."""
        left = self._deadline - time.monotonic()
        if left < 1:
            return f"the time for the whole notebook, {self._limits.seconds} s, was over"
        client.timeout = max(1, int(min(self._limits.cell_seconds, left)))
        self._reply = {}
        try:
            await client.async_execute_cell(client.nb.cells[place], place)
        except CellTimeoutError:
            return f"this cell did not finish within {client.timeout} s and was stopped"
        except DeadKernelError:
            return "this cell ended the Python process, or needed more memory or time than there is"
        except Exception as error:  # a submission holds the key to its kernel's messages and can send any
            return _shortened(f"this cell broke the connection to its kernel: {type(error).__name__}")
        return ""

    def _note(self, execute_reply: dict | None = None, **_: object) -> None:
        self._reply = (execute_reply or {}).get("content", {})

    async def _start(self, client: NotebookClient) -> None:
        try:
            await client.async_start_new_kernel(
                cwd=str(self._folder / "work"), env=self._environment(), stdout=DEVNULL, stderr=DEVNULL
            )
            await client.async_start_new_kernel_client()
        except (RuntimeError, DeadKernelError) as error:
            raise OSError(
                f"no kernel for a submission can be started: {error}. See whether `{sys.executable} -m ipykernel "
                f"--version` works, and allow more memory than {self._limits.megabytes} megabytes"
            ) from error

    async def _stop(self, client: NotebookClient) -> None:
        if client.kc is not None:
            client.kc.stop_channels()
        if client.km.has_kernel:
            await client.km.shutdown_kernel(now=True)

    def _manager(self) -> AsyncKernelManager:
        """Return a manager whose kernel talks through files where it can, as it has no network."""
        place = self._folder / "kernels" / _NAME
        place.mkdir(parents=True)
        spec = {"argv": [sys.executable, "-m", kernel.__name__, "-f", "{connection_file}"], "display_name": _NAME}
        (place / "kernel.json").write_text(json.dumps({**spec, "language": "python"}), encoding="utf-8")
        specs = KernelSpecManager(kernel_dirs=[str(place.parent)], ensure_native_kernel=False)
        through = {} if os.name == "nt" else {"transport": "ipc", "ip": str(self._folder / "k")}
        connection = str(self._folder / "connection.json")
        return AsyncKernelManager(kernel_spec_manager=specs, kernel_name=_NAME, connection_file=connection, **through)

    def _environment(self) -> dict[str, str]:
        """Return the environment of the kernel: folders of its own, the quick profile, and this very package."""
        told = {"megabytes": self._limits.megabytes, "seconds": self._limits.seconds}
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **{name: str(self._folder / name.lower()) for name in ("HOME", "TMPDIR", "AECORE_DATA", "AECORE_RUNS")},
            "MPLCONFIGDIR": str(self._folder / "mpl"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "AECORE_PROFILE": "quick",
            "AECORE_PROGRESS": "0",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            kernel.SETTINGS: json.dumps({**told, "answers": str(self._folder / "answers.jsonl")}),
        }


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a new folder for one run, with all that the kernel's environment names; it is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ae-"))  # short: the path of a socket has about a hundred characters
    try:
        for name in ("work", "home", "tmpdir", "mpl"):
            (folder / name).mkdir()
        for fonts in _font_lists():
            shutil.copy(fonts, folder / "mpl")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _font_lists() -> list[Path]:
    """Return Matplotlib's lists of fonts, which take seconds to make."""
    import matplotlib

    return list(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))


def _error(reply: dict) -> str:
    return _shortened(f"this cell stopped with {reply.get('ename', 'an error')}: {reply.get('evalue', '')}")


def _shortened(text: str) -> str:
    """Return a text from a submission in one line without control characters."""
    line = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"
