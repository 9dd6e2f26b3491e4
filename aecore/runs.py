"""Runs: what was trained, on what, where, how long; the store of one's own and the published ones.

A run is a folder with `run.json` (everything but the weights) and `weights.safetensors`. `run.json` is
written last and holds the weights' SHA-256 and its own, so a run is complete and unchanged or it does not
count. No file that is read here can run code.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import linecache
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from . import files, profile
from .data.images import Splits
from .training import History, Plan

FORMAT = 1  # part of every fingerprint: raise it when the same settings no longer give the same run
PUBLISHED = Path(__file__).parent / "published"
LARGEST_PUBLISHED = 2 * 1024 * 1024


@dataclass
class Run:
    """One training and what came of it.

    Args:
        name: chosen by the caller, "02-conv"; may be None for a run that is not stored.
        fingerprint: of everything that the result depends on.
        model: the trained model.
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

    def facts(self) -> dict:
        """Everything but the weights, ready for JSON."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "model"}
        return {**kept, "plan": self.plan.as_dict(), "history": self.history.as_dict(), "format": FORMAT}


class DamagedRun(OSError):
    """A stored run cannot be read; the message names the file and what is wrong with it."""


def home() -> Path:
    """Return the folder of one's own runs: `$AECORE_RUNS`, or `~/.cache/aecore/runs`."""
    return Path(os.environ.get("AECORE_RUNS") or Path.home() / ".cache" / "aecore" / "runs")


def fingerprint(model: nn.Module, data: Splits, plan: Plan, loss: Callable, start: str) -> str:
    """Return 64 hexadecimal digits that change with anything that the trained weights depend on."""
    parts = {
        "format": FORMAT,
        "plan": plan.as_dict(),
        "model": describe(model),
        "loss": _code_of(loss),
        "train": data.train.fingerprint,
        "valid": data.valid.fingerprint,
        "start": start if start == "seed" else _hash_of_weights(model),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def describe(model: nn.Module) -> str:
    """Return a model's layers, shapes and, where its classes are the reader's own, their code.

    Classes of torch and of aecore are told by name and settings. A class that is written in a notebook
    is told by its syntax tree as well: a change to its code makes another run, a change to its comments
    does not.
    """
    own = {type(m) for m in model.modules() if not type(m).__module__.startswith(("torch.", "aecore."))}
    code = sorted(_code_of(cls) for cls in own)
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    frozen = [f"{name} is frozen" for name, weight in model.named_parameters() if not weight.requires_grad]
    return "\n".join([repr(model), *shapes, *frozen, *code])


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
    if hashlib.sha256(content).hexdigest() != facts.pop("weights_sha256"):
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one in run.json")
    model.load_state_dict(unpacked(content))
    model.eval()
    facts.pop("format")
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


def find(name: str, wanted: str, model: nn.Module) -> Run | None:
    """Return the stored run of that name and fingerprint, published ones first, or None.

    A damaged run is reported and passed over; nothing is deleted.
    """
    for folder in (PUBLISHED / name, own_folder(name, wanted)):
        if not (folder / "run.json").exists():
            continue
        try:
            if read_facts(folder)["fingerprint"] == wanted:
                return load(folder, model)
        except DamagedRun as damage:
            profile.log.warning(f"{name}: {damage}; it is not used. Without another copy the run is trained again.")
    return None


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


def publish(name: str, wanted: str) -> Path:
    """Copy a run from one's own store into the package, and return its new folder.

    Raises:
        ValueError: its weights are too large to be shipped.
        DamagedRun: the run in the store is not whole.
    """
    source, target = own_folder(name, wanted), PUBLISHED / name
    facts, weights = read_facts(source), (source / "weights.safetensors").read_bytes()
    if len(weights) > LARGEST_PUBLISHED:
        raise ValueError(f"{name}: its weights have {len(weights):,} bytes, more than {LARGEST_PUBLISHED:,}")
    if hashlib.sha256(weights).hexdigest() != facts["weights_sha256"]:
        raise DamagedRun(f"{source / 'weights.safetensors'} is damaged")
    with files.written_whole(target / "weights.safetensors") as part:
        part.write_bytes(weights)
    files.write_text(target / "run.json", (source / "run.json").read_text(encoding="utf-8"))
    return target


def _seal(facts: dict) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _hash_of_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _code_of(thing) -> str:
    """Return a name for a function or class; for one that is not aecore's, its code without comments as well.

    Of a function's own code the numbers, words and models count too that it takes from around it:
    `def loss(x, x_hat): return weight * …` is another loss when `weight` changes.
    """
    name = f"{thing.__module__}.{thing.__qualname__}"
    if thing.__module__.startswith(("torch.", "aecore.")):
        return name
    taken = {}
    if inspect.isfunction(thing):
        around = inspect.getclosurevars(thing)
        taken = {**around.globals, **around.nonlocals}
    values = [f"{key}={_value_of(value, thing)}" for key, value in sorted(taken.items())]
    return "\n".join([name, _source_of(thing), *values])


def _value_of(value: object, user: Callable) -> str:
    if isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    if isinstance(value, nn.Module):
        return describe(value) + _hash_of_weights(value)
    return _code_of(value) if inspect.isfunction(value) and value is not user else type(value).__name__


def _source_of(thing) -> str:
    """Return the code of a function or class, without comments and in one layout for all versions of Python."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(thing))))
    except SyntaxError as error:
        raise ValueError(f"{thing.__qualname__}: its code is part of a longer statement; write it as a def") from error
    except (OSError, TypeError):  # a class from a notebook: Python finds no file for it, but its methods know the cell
        methods = [method for method in vars(thing).values() if inspect.isfunction(method)]
        cell = "".join(linecache.getlines(methods[0].__code__.co_filename)) if methods else ""
        found = [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.ClassDef) and n.name == thing.__name__]
        if not found:
            raise ValueError(f"{thing.__qualname__}: its code cannot be found; define it in a cell or file") from None
        return ast.unparse(found[-1])
