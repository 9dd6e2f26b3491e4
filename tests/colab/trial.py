"""Run each notebook as Colab would: alone in an empty folder, on a machine that has torch but not aecore. `make colab`.

A wheel of aecore is built; a clean virtual environment gets Colab's Python, torch, torchvision and NumPy, and what
executes a notebook. Then the set-up cell of each reader's notebook, which is what the Colab buttons open, installs
aecore, from the wheel instead of the repository's address, and the notebook runs to its end under the quick profile.
Where AECORE_DATA names a folder with the data, the chapter itself, with its solutions and checks, runs under the full
profile, and there it must find every run and every measurement in the package: another Python or torch may not make a
reader train. `make colab CHAPTERS="05 07"` runs these alone. Exit status 1 when a cell
fails, when the set-up cell did not install aecore, when it changed the version of torch, torchvision or NumPy, or when
something was trained.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "tools"))
from address import address  # noqa: E402 (the tools are no package)
from aecore.course.editions import make  # noqa: E402

PYTHON = "python3.13"  # and the versions that Colab had in November 2026
THERE = ("torch==2.11.0", "torchvision==0.26.0", "numpy==2.1.*", "ipykernel", "nbclient", "nbformat")
KEPT = ("torch", "torchvision", "numpy")
STORED = ("run.json", "measured.safetensors")  # what a training, or something measured anew, leaves in the store
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
"""


def run(*command: str | Path, **options) -> str:
    """Run a command, let its errors through, and return what it printed."""
    return subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, **options
    ).stdout


def versions(python: Path) -> dict[str, str]:
    """Return the versions of all packages in an environment."""
    return {p["name"]: p["version"] for p in json.loads(run(python, "-m", "pip", "list", "--format=json"))}


def with_wheel(source: Path, target: Path, wheel: Path) -> None:
    """Copy a notebook; its set-up cell then installs the wheel instead of a release or of the main branch."""
    online = re.compile(rf"git\+{re.escape(address()[0])}(@v[\d.]+)?")
    text, count = online.subn(wheel.as_uri(), source.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{source.name}: git+{address()[0]} stands {count} times in it, not once")
    target.write_text(text, encoding="utf-8")


def trial(notebook: Path, python: Path, wheel: Path, folder: Path) -> None:
    """Run one chapter's notebook as readers have it in the environment of `python`; compare the versions before and
    after."""
    folder.mkdir()
    with_wheel(folder.parent / "editions" / "reader" / notebook.name, folder / notebook.name, wheel)
    before = versions(python)
    if "aecore" in before:
        raise SystemExit("aecore is installed already; the set-up cell would have nothing to do")
    seconds = execute(folder / notebook.name, python, {"AECORE_PROFILE": "quick", "AECORE_DATA": str(folder / "d")})
    after = versions(python)
    changed = {name: (before[name], after.get(name)) for name in before if after.get(name) != before[name]}
    if "aecore" not in after or any(name in changed for name in KEPT):
        raise SystemExit(f"{notebook.name}: aecore {after.get('aecore')}, changed versions {changed}")
    added = sorted(set(after) - set(before))
    kept = ", ".join(f"{n} {after[n]}" for n in KEPT)
    print(f"{notebook.name}: {seconds:.0f} s; kept {kept}; changed {changed or 'nothing'}")
    print(f"  installed by the set-up cell: {', '.join(added)}")
    if data := os.environ.get("AECORE_DATA"):
        shutil.copy(notebook, folder)  # aecore is there by now, so that the set-up cell installs nothing
        seconds = execute(folder / notebook.name, python, {"AECORE_PROFILE": "full", "AECORE_DATA": data})
        if anew := sorted(path.parent.name for path in folder.rglob("*") if path.name in STORED):
            raise SystemExit(f"{notebook.name}: under the full profile these were not found as published: {anew}")
        print(f"  full profile, from the stored runs: {seconds:.0f} s")
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "aecore")


def execute(notebook: Path, python: Path, settings: dict[str, str]) -> float:
    """Run a notebook with an empty store of its own beside it; return the seconds."""
    foreign = ("AECORE_", "PYTHON", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"AECORE_PROGRESS": "0", "AECORE_RUNS": str(notebook.parent / "runs"), **settings}
    started = time.perf_counter()
    run(python, "-c", EXECUTE, notebook.name, cwd=notebook.parent, env=env)
    return time.perf_counter() - started


def main() -> None:
    """Build, prepare, run every notebook."""
    chosen = tuple(sys.argv[1:]) or ("",)
    notebooks = sorted(path for path in ROOT.glob("chapters/*.ipynb") if path.name.startswith(chosen))
    if not notebooks:
        raise SystemExit(f"chapters/ has no notebook whose name begins with {' or '.join(chosen)}")
    if shutil.which(PYTHON) is None:
        raise SystemExit(f"{PYTHON} is not there, which Colab has: install it, from python.org or with pyenv")
    if "AECORE_DATA" not in os.environ:
        print("AECORE_DATA is not set: the notebooks run under the quick profile only")
    scratch = Path(tempfile.mkdtemp(prefix="aecore-colab-"))
    try:
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, ROOT)
        wheel = next(scratch.glob("aecore-*.whl"))
        run(shutil.which(PYTHON), "-m", "venv", scratch / "venv")
        python = scratch / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", *THERE)
        make(scratch / "editions", ROOT / "chapters")
        for notebook in notebooks:
            trial(notebook, python, wheel, scratch / notebook.stem)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{len(notebooks)} passed, 0 failed")


if __name__ == "__main__":
    main()
