"""Runs: what was trained, on what, where, how long; the store of one's own and the published ones.

A run is a folder with `run.json` (everything but the weights) and `weights.safetensors`. `run.json` is
written last and holds the weights' SHA-256 and its own, so a run is complete and unchanged or it does not
count. What was measured on the trained model lies beside them in `measured.json`; a published run may consist of
this and `run.json` alone, since the weights of many runs would be too large to ship. No file that is read here can run
code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from . import files, profile
from .data.images import Images
from .fingerprints import FORMAT, code_of
from .metrics import Scores, evaluate
from .models.autoencoder import evaluating
from .training import History, Plan

PUBLISHED = Path(__file__).parent / "published"
LARGEST_PUBLISHED = 2 * 1024 * 1024
MEASURED = "measured.json"


@dataclass
class Run:
    """One training and what came of it.

    Args:
        name: chosen by the caller, "02-conv"; may be None for a run that is not stored.
        fingerprint: of everything that the result depends on.
        model: the trained model; of a run that was published without its weights, a stand-in that says so.
        plan, loss, history: how it was trained and what happened.
        data: name, number, source, note and fingerprint of the images.
        date: when the training ended, UTC, "2026-11-22 14:03".
        seconds: how long the training took, validation included.
        machine, versions: where.
    """

    name: str | None
    fingerprint: str
    model: nn.Module
    plan: Plan
    loss: str
    history: History
    data: dict
    date: str
    seconds: float
    machine: str
    versions: dict[str, str]

    def __repr__(self) -> str:
        valid = self.history.valid_loss[-1] if len(self.history) else float("nan")
        if self.history.interrupted:
            return f"Run {self.name}: interrupted after {len(self.history)} of {self.plan.epochs} epochs"
        return f"Run {self.name}: {len(self.history)} epochs, validation {self.loss} {valid:.5f}, {self.story()}"

    def story(self) -> str:
        """When, where and how long, in words."""
        return f"trained {self.date[:10]} on {self.machine}, {self.seconds:,.0f} s"

    def measure(self, function: Callable[[nn.Module, Images], object], images: Images) -> object:
        """Return `function(model, images)`, computed once and then kept with the run.

        So a page can show what was found on a model whose weights are too large to be published. Another function
        (its code counts), or other images, are measured anew.

        Args:
            function: takes the trained model, in evaluation, and the images; returns numbers, words, lists or dicts.
            images: what to measure on.

        Returns:
            What the function returned, as JSON gives it back: tuples become lists.

        Raises:
            WeightsNotPublished: this was not measured before, and the weights are not there.
        """
        place = own_folder(self.name, self.fingerprint) if self.name else None
        key = _key_of(function, images)
        for folder in filter(None, (place, self.name and PUBLISHED / self.name)):
            if (known := _measured(folder, self)) and key in known:
                return known[key]["value"]
        with torch.no_grad(), evaluating(self.model):
            value = json.loads(json.dumps(function(self.model, images)))
        if place is not None and (place / "run.json").exists():
            entry = {"what": function.__name__, "images": images.name, "value": value}
            _write_measured(place, self, {**_measured(place, self), key: entry})
        return value

    def score(self, images: Images) -> Scores:
        """Return the scores of the clipped reconstructions, kept as `measure` keeps them; `each` is empty."""
        return Scores(**self.measure(_clipped_scores, images), each={})

    def facts(self) -> dict:
        """Everything but the weights, ready for JSON."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "model"}
        return {**kept, "plan": self.plan.as_dict(), "history": self.history.as_dict(), "format": FORMAT}


class DamagedRun(OSError):
    """A stored run cannot be read; the message names the file and what is wrong with it."""


class WeightsNotPublished(RuntimeError):
    """A run's numbers were published without its weights, and something asks for these."""


class _NoWeights:
    """Stands where the model of a run without weights would stand, and says so to whoever uses it."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def __call__(self, *batch) -> None:
        raise WeightsNotPublished(
            f"the weights of {self.__dict__['name']!r} are not part of the book, only what was measured on them. To "
            "train the model anew, leave out numbers_only=True in the call of fit."
        )

    def __getattr__(self, attribute: str) -> None:
        if attribute.startswith("__"):  # asked by Python itself, when it copies or prints
            raise AttributeError(attribute)
        self()


def home() -> Path:
    """Return the folder of one's own runs: `$AECORE_RUNS`, or `~/.cache/aecore/runs`."""
    return Path(os.environ.get("AECORE_RUNS") or Path.home() / ".cache" / "aecore" / "runs")


def save(run: Run, folder: Path) -> None:
    """Write a run into `folder`: first the weights, then the facts.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Copies, since safetensors refuses weights that two layers share.
    weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in run.model.state_dict().items()}
    with files.written_whole(folder / "weights.safetensors") as part:
        try:
            save_file(weights, part)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from error
    facts = {**run.facts(), "weights_sha256": files.sha256(folder / "weights.safetensors")}
    files.write_text(folder / "run.json", sealed(facts))
    files.remove_parts(folder)


def sealed(facts: dict) -> str:
    """Return the text of a `run.json`: the facts, and the SHA-256 that shows whether one was changed."""
    return json.dumps({**facts, "facts_sha256": _seal(facts)}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def load(folder: Path, model: nn.Module) -> Run:
    """Return the run in `folder`, its weights put into `model`.

    Raises:
        DamagedRun: a file is missing, torn or changed.
    """
    from safetensors.torch import load as unpacked

    facts, path = read_facts(folder), folder / "weights.safetensors"
    if not path.exists():
        raise DamagedRun(f"{path} is missing")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != facts["weights_sha256"]:
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one in run.json")
    model.load_state_dict(unpacked(content))
    model.eval()
    return _run_of(facts, model)


def _run_of(facts: dict, model: nn.Module | _NoWeights) -> Run:
    facts = {name: value for name, value in facts.items() if name not in ("format", "weights_sha256")}
    plan, history = Plan(**facts.pop("plan")), History.from_dict(facts.pop("history"))
    return Run(model=model, plan=plan, history=history, **facts)


def read_facts(folder: Path) -> dict:
    """Return what `run.json` in `folder` says.

    Raises:
        DamagedRun: the file is missing or is no run of this format.
    """
    path = folder / "run.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    expected = {f.name for f in dataclasses.fields(Run)} - {"model"} | {"format", "weights_sha256", "facts_sha256"}
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.keys() != expected:
        raise DamagedRun(f"{path} is not a run of format {FORMAT}")
    if facts.pop("facts_sha256") != _seal(facts):
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one that it states")
    return facts


def find(name: str, wanted: str, model: nn.Module, numbers_only: bool = False) -> Run | None:
    """Return the stored run of that name and fingerprint, published ones first, or None.

    A damaged run is reported and passed over; nothing is deleted. A published run without weights is passed over
    as well, and taken at last where `numbers_only` says that its numbers are enough.
    """
    places = [PUBLISHED / name, own_folder(name, wanted)]
    for folder in [place for place in places if not _lacks_weights(place)]:
        if not (folder / "run.json").exists():
            continue
        try:
            if read_facts(folder)["fingerprint"] == wanted:
                return load(folder, model)
        except DamagedRun as damage:
            profile.log.warning(f"{name}: {damage}; it is not used. Without another copy the run is trained again.")
    if numbers_only and _lacks_weights(places[0]) and (facts := read_facts(places[0]))["fingerprint"] == wanted:
        return _run_of(facts, _NoWeights(name))
    return None


def _lacks_weights(folder: Path) -> bool:
    """Whether a run was published with its numbers alone."""
    return (folder / MEASURED).exists() and not (folder / "weights.safetensors").exists()


def is_known(name: str, wanted: str) -> bool:
    """Return whether a run of that name and fingerprint was published, or begun here; it may be unfinished."""
    try:
        return own_folder(name, wanted).exists() or read_facts(PUBLISHED / name)["fingerprint"] == wanted
    except DamagedRun:
        return False


def own_folder(name: str, wanted: str) -> Path:
    """Return where a reader's own run of that name and fingerprint lies, or would lie."""
    return home() / f"{name}-{wanted[:12]}"


def published() -> list[dict]:
    """Return the facts of all published runs, by name."""
    return [read_facts(path.parent) for path in sorted(PUBLISHED.glob("*/run.json"))]


def publish(name: str, wanted: str, numbers_only: bool = False) -> Path:
    """Copy a run from one's own store into the package, and return its new folder.

    Args:
        name, wanted: of the run.
        numbers_only: leave its weights out, which the chapter does not need.

    Raises:
        ValueError: its weights are too large to be shipped.
        DamagedRun: the run in the store is not whole.
    """
    source, target = own_folder(name, wanted), PUBLISHED / name
    facts, weights = read_facts(source), (source / "weights.safetensors").read_bytes()
    if len(weights) > LARGEST_PUBLISHED and not numbers_only:
        raise ValueError(
            f"{name}: its weights have {len(weights):,} bytes, more than {LARGEST_PUBLISHED:,}; publish its numbers "
            "alone, with numbers_only=True in the call of fit"
        )
    if hashlib.sha256(weights).hexdigest() != facts["weights_sha256"]:
        raise DamagedRun(f"{source / 'weights.safetensors'} is damaged")
    if numbers_only:
        run = _run_of(facts, _NoWeights(name))
        _write_measured(target, run, _measured(source, run))  # also where it is empty: it marks a run without weights
        (target / "weights.safetensors").unlink(missing_ok=True)
    else:
        with files.written_whole(target / "weights.safetensors") as part:
            part.write_bytes(weights)
        if (source / MEASURED).exists():
            files.write_text(target / MEASURED, (source / MEASURED).read_text(encoding="utf-8"))
    files.write_text(target / "run.json", (source / "run.json").read_text(encoding="utf-8"))
    return target


# ---- what was measured on a run ----


def _clipped_scores(model: nn.Module, images: Images) -> dict:
    scores = dataclasses.asdict(evaluate(model, images, clip=True))
    del scores["each"]
    return scores


def _key_of(function: Callable, images: Images) -> str:
    return hashlib.sha256(f"{code_of(function)}\n{images.fingerprint}".encode()).hexdigest()[:16]


def _measured(folder: Path, run: Run) -> dict:
    """Return what was measured on a run, by key; nothing where the file is missing, damaged or of another training."""
    try:
        content = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
        right = content.pop("sha256") == _seal(content) and content["fingerprint"] == run.fingerprint
        return content["values"] if right and content["date"] == run.date else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_measured(folder: Path, run: Run, values: dict) -> None:
    content = {"fingerprint": run.fingerprint, "date": run.date, "values": values}
    text = json.dumps({**content, "sha256": _seal(content)}, sort_keys=True)  # on one line: pictures have many numbers
    with contextlib.suppress(OSError):  # what cannot be kept is measured again
        files.write_text(folder / MEASURED, text + "\n")


def _seal(facts: dict) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
