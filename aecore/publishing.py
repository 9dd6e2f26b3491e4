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

from . import files, profile, runs

_COLOURS_OF_A_DRAWING = 4096  # lines and text have fewer, with all the mixtures at their edges; photographs have more


class Provenance:
    """The line "Figures on this page: …"; a notebook shows it, a page keeps it."""

    def __init__(self, facts: list[dict]) -> None:
        self.facts = facts

    def __repr__(self) -> str:
        parts = [f"{profile.current()} profile", *self._data(), *self._runs()]
        today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        where = f"{profile.machine()}, {profile.versions_line()}"
        return f"Figures on this page: {'; '.join(parts)}. Computed {today} on {where}."

    def _data(self) -> list[str]:
        return [
            f"{fact['source']}{' (' + fact['note'] + ')' if fact.get('note') else ''}, data {fact['fingerprint'][:8]}"
            for fact in self.facts
            if fact["kind"] == "data"
        ]

    def _runs(self) -> list[str]:
        found = [fact for fact in self.facts if fact["kind"] == "run"]
        if not found:
            return []
        days = sorted({fact["date"][:10] for fact in found})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        where = ", ".join(sorted({fact["machine"] for fact in found}))
        return [f"{len(found)} training runs of {when} on {where}"]

    def _repr_html_(self) -> str:
        import html

        return f'<p class="provenance">{html.escape(repr(self))}</p>'


def provenance() -> Provenance:
    """Return what the figures of this session were made from: data, runs, machine, versions."""
    return Provenance(profile.journal())


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
    _store_runs(path.stem[:2], [fact for fact in facts if fact["kind"] == "run"])
    with files.written_whole(path) as part:  # last, so that no page names a run that is not there
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
        "device": profile.machine(),
        "versions": profile.versions(),
        "data": [{k: v for k, v in fact.items() if k != "kind"} for fact in facts if fact["kind"] == "data"],
        "runs": sorted(fact["name"] for fact in facts if fact["kind"] == "run"),
        "code_sha256": code_hash(notebook),
    }


def _store_runs(chapter: str, used: list[dict]) -> None:
    """Copy the runs that a chapter used into the package, and remove those of it that it uses no more."""
    import shutil

    # Weights are shipped where any cell asked for them.
    needed = {fact["name"] for fact in used if not fact.get("numbers_only")}
    for fact in used:
        if _is_own(fact):
            runs.publish(fact["name"], fact["fingerprint"], numbers_only=fact["name"] not in needed)
    names = {fact["name"] for fact in used}
    for folder in runs.PUBLISHED.glob(f"{chapter}-*"):
        if folder.name not in names:
            shutil.rmtree(folder)


def _is_own(fact: dict) -> bool:
    """Say whether the run that was used lies in one's own store; otherwise it was the published one."""
    folder = runs.own_folder(fact["name"], fact["fingerprint"])
    return (folder / "run.json").exists() and runs.read_facts(folder)["date"] == fact["date"]
