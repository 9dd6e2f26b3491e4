"""Publishing a chapter: execute it on the real data, keep its outputs, say what it was made on."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import os
import tempfile
from pathlib import Path

from . import files, machine
from .runs import store

_COLOURS_OF_A_DRAWING = 4096  # lines and text have fewer, with all the mixtures at their edges; photographs have more


def code_hash(notebook) -> str:
    """Return the SHA-256 of a notebook's code cells, in order; text may change, code may not."""
    cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(cells, ensure_ascii=False).encode()).hexdigest()


def publish(path: Path) -> dict:
    """Execute a notebook under the full profile, store its outputs, its provenance and its runs.

    Args:
        path: of the `.ipynb`; its `.md` twin must hold the same cells.

    Returns:
        The facts that were written into the notebook's metadata under "aecore".

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the notebook on disk is as it was.
        ValueError: the twins differ, or a run's weights are too large to be shipped.
    """
    import jupytext
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    text = jupytext.read(path.with_suffix(".md"))
    if [c.source for c in text.cells] != [c.source for c in notebook.cells]:
        raise ValueError(f"{path.name} and its .md twin differ; run 'jupytext --sync {path.with_suffix('.md')}' first")
    facts = _execute(notebook, path.parent)
    notebook.metadata["aecore"] = _metadata(notebook, facts)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, which would change with every publication
        for output in cell.get("outputs", ()):
            if png := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = base64.b64encode(_smaller(base64.b64decode(png))).decode()
    _store_runs(path.stem[:2], facts)
    with files.atomic_write(path) as part:  # last, so that no page names a run that is not there
        nbformat.write(notebook, part)
    return dict(notebook.metadata["aecore"])


def _smaller(png: bytes) -> bytes:
    """Return a figure in fewer bytes: drawings with a palette of 256 colours, which nobody can tell apart from the
    mixtures at the edges of their lines; photographs, which have many colours, with every pixel as it is."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    if image.mode == "RGB" and image.getcolors(_COLOURS_OF_A_DRAWING):
        image = image.quantize(256, dither=Image.Dither.NONE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return min(out.getvalue(), png, key=len)


def _execute(notebook, folder: Path) -> list[dict]:
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as scratch:
        journal = Path(scratch) / "journal.jsonl"
        journal.touch()  # a chapter may use neither data nor runs
        env = {**os.environ, "AECORE_PROFILE": "full", "AECORE_JOURNAL": str(journal), "AECORE_PROGRESS": "0"}
        client = NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute(env=env)
        return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]


def _metadata(notebook, facts: list[dict]) -> dict:
    return {
        "profile": "full",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "device": machine.description(),
        "versions": machine.versions(),
        "data": [{k: v for k, v in fact.items() if k != "kind"} for fact in facts if fact["kind"] == "data"],
        "runs": sorted({fact["name"] for fact in facts if fact["kind"] == "run"}),
        "code_sha256": code_hash(notebook),
    }


def _store_runs(chapter: str, facts: list[dict]) -> None:
    """Copy the runs that a chapter used into the package, with what it measured, and remove those that it did not."""
    used = [fact for fact in facts if fact["kind"] == "run" and fact["name"].startswith(f"{chapter}-")]
    keys = {(fact["run"], fact["key"]) for fact in facts if fact["kind"] == "measurement"}
    records = {fact["name"]: store.record(fact["name"], fact["fingerprint"], fact["date"]) for fact in used}
    for name, found in records.items():  # what an earlier version of a cell measured is left behind
        for key in [key for key in found.measured if (name, key) not in keys]:
            del found.measured[key]
    data = {fact["name"]: fact["fingerprint"] for fact in facts if fact["kind"] == "data"}
    # Weights are shipped where any cell asked for them.
    store.publish(chapter, records.values(), {fact["name"] for fact in used if fact["weights"]}, data)
