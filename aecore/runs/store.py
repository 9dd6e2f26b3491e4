"""Where runs lie: one's own, a folder each, and the published ones, a few files for each chapter.

A run of one's own is a folder with `run.json` (everything but the weights), `weights.safetensors`, and, once something
was measured, `measured.safetensors`. `run.json` is written last and holds the weights' SHA-256 and its own, so a run is
complete and unchanged or it does not count.

A published chapter is a folder `published/NN` with `runs.jsonl` (facts and measurements, a run a line, each with its
checksum), `arrays.npz` (the tensors that were measured), `page.json` (the data that the page was made from) and
`weights/<name>.safetensors` for the few runs whose model a reader uses. No file that is read here can run code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .. import config, files
from .measured import Measured
from .run import NoWeights, Run

PUBLISHED = Path(__file__).parent.parent / "published"
FORMAT = 2  # of a stored run; the fingerprint has its own
LARGEST_PUBLISHED = 2 * 1024 * 1024
WEIGHTS, FACTS, MEASURED = "weights.safetensors", "run.json", "measured.safetensors"
DATA_PARTS = {"train", "valid"}  # of a fingerprint: what differs when only the data do


class DamagedRun(OSError):
    """A stored run cannot be read; the message names the file and what is wrong with it."""


# ---- to look for a run ----


def find(name: str, wanted: str, model: nn.Module, weights: bool = True) -> Run | None:
    """Return the stored run of that name and fingerprint, or None.

    A published one with weights is taken first, then one's own, and a published one without weights where `weights` is
    False, which says that its numbers are enough. A damaged run is reported and passed over; nothing is deleted.
    """
    line = _published_line(name)
    matches = line is not None and line["fingerprint"] == wanted
    ships_weights = matches and _published_weights(name).exists()
    with _reported(name):
        if ships_weights:
            return _published_run(line, model)
    with _reported(name):
        folder = own_folder(name, wanted)
        if (folder / FACTS).exists():
            return load(folder, model)
    with _reported(name):
        if matches and not weights:
            return _published_run(line, None)
    return None


def find_for_other_data(name: str, parts: Mapping[str, str], model: nn.Module, weights: bool = True) -> Run | None:
    """Return the published run of that name where it differs from `parts` in nothing but the data, or None."""
    line = _published_line(name)
    if line is None or differences(line["parts"], parts) - DATA_PARTS or not differences(line["parts"], parts):
        return None
    if weights and not _published_weights(name).exists():
        return None
    with _reported(name):
        run = _published_run(line, model if weights or _published_weights(name).exists() else None)
        run.other_data = True
        return run
    return None


def mismatch(name: str, parts: Mapping[str, str]) -> str | None:
    """Return in words how a published run of that name differs from what is wanted, or None where there is none."""
    line = _published_line(name)
    if line is None or not (apart := differences(line["parts"], parts)):
        return None
    words = {"train": "training images", "valid": "validation images", "start": "starting weights"}
    return f"{name} is published, but for another {' and '.join(words.get(part, part) for part in sorted(apart))}"


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """Return the names of the parts of two fingerprints that are not the same."""
    return {part for part in one.keys() | other.keys() if one.get(part) != other.get(part)}


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """Report a damaged run in a line and go on."""
    try:
        yield
    except DamagedRun as damage:
        config.log.warning(f"{name}: {damage}; it is not used. Without another copy the run is trained again.")


# ---- one's own ----


def own_folder(name: str, wanted: str) -> Path:
    """Return where a reader's own run of that name and fingerprint lies, or would lie."""
    return config.runs_root() / f"{name}-{wanted[:12]}"


def save(run: Run, folder: Path) -> None:
    """Write a run into `folder`: first the weights, then the facts. What is measured on it later is stored there too.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_weights(run.model.state_dict(), folder / WEIGHTS)
    facts = {**run.facts(), "format": FORMAT, "weights_sha256": files.sha256(folder / WEIGHTS)}
    files.write_text(folder / FACTS, json.dumps(with_checksum(facts), indent=1, sort_keys=True, allow_nan=False) + "\n")
    run.keep = functools.partial(_keep_measured, folder)


def load(folder: Path, model: nn.Module) -> Run:
    """Return the run in `folder`, its weights put into `model`.

    Raises:
        DamagedRun: a file is missing, torn or changed.
    """
    facts = read_facts(folder)
    load_weights(folder / WEIGHTS, facts["weights_sha256"], model)
    run = _run_of(folder / FACTS, facts, model, _read_measured(folder, facts))
    run.keep = functools.partial(_keep_measured, folder)
    return run


def read_facts(folder: Path) -> dict:
    """Return what `run.json` in `folder` says.

    Raises:
        DamagedRun: the file is missing or is no run of this format.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DamagedRun(f"{path} is not a run of format {FORMAT}")
    return _checked(path, facts)


def write_weights(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None = None) -> None:
    """Write weights and buffers, whole or not at all.

    Args:
        weights: a model's `state_dict`.
        path: of the file.
        dtype: of floating-point values in the file; None: as they are.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()}
    if dtype is not None:
        weights = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    with files.atomic_write(path) as part:
        try:
            save_file(weights, part)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from error


def load_weights(path: Path, sha256: str, model: nn.Module) -> None:
    """Put the weights in a file into a model, and switch it to evaluation.

    Raises:
        DamagedRun: the file is missing or has another SHA-256.
    """
    from safetensors.torch import load as unpacked

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedRun(f"{path} is missing") from None
    except OSError as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one that was noted with it")
    model.load_state_dict(unpacked(content))
    model.eval()


def _keep_measured(folder: Path, run: Run) -> None:
    from safetensors.torch import save_file

    entries, tensors = run.measured.packed()
    content = {"fingerprint": run.fingerprint, "date": run.date, "entries": entries}
    # safetensors wants one tensor at least.
    tensors = {**tensors, "": torch.zeros(1)}
    with contextlib.suppress(OSError), files.atomic_write(folder / MEASURED) as part:  # if not kept, measured again
        save_file(tensors, part, {"measured": json.dumps(with_checksum(content))})


def _read_measured(folder: Path, facts: Mapping) -> Measured:
    """Return what was measured on a run; nothing where the file is missing, damaged or of another training."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / MEASURED, "pt") as file:
            content = _checked(folder / MEASURED, json.loads(file.metadata()["measured"]))
            if (content["fingerprint"], content["date"]) != (facts["fingerprint"], facts["date"]):
                return Measured()
            return Measured.unpacked(content["entries"], {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        return Measured()


# ---- the published ones ----


def published() -> list[dict]:
    """Return the facts of all published runs, by chapter and name."""
    return [line for folder in sorted(PUBLISHED.glob("[0-9][0-9]")) for line in _lines_of(folder).values()]


def published_weights() -> dict[str, Path]:
    """Return the files of the weights that are published, by the name of the run."""
    return {path.stem: path for path in sorted(PUBLISHED.glob("[0-9][0-9]/weights/*.safetensors"))}


def data_of_page(chapter: str) -> dict[str, str]:
    """Return the beginning of the fingerprint of each data set that a published chapter was made from, by its name."""
    try:
        return json.loads((PUBLISHED / chapter / "page.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


@dataclass
class Record:
    """A stored run without its model: what `publish` copies.

    Args:
        facts: as in `run.json` or a line of `runs.jsonl`, without the measurements.
        measured: on it.
        weights: the file that they lie in, or None.
    """

    facts: dict
    measured: Measured
    weights: Path | None


def record(name: str, wanted: str) -> Record:
    """Return the stored run of that name and fingerprint, one's own before a published one.

    Raises:
        DamagedRun: there is none, or it is damaged.
    """
    folder, line = own_folder(name, wanted), _published_line(name)
    if (folder / FACTS).exists():
        facts = read_facts(folder)
        return Record(facts, _read_measured(folder, facts), folder / WEIGHTS)
    if line is None or line["fingerprint"] != wanted:
        raise DamagedRun(f"{name}: no run of fingerprint {wanted[:12]} is stored")
    weights = _published_weights(name)
    facts = {key: value for key, value in line.items() if key != "measured"}
    return Record(facts, _published_measured(line), weights if weights.exists() else None)


def publish(chapter: str, records: Iterable[Record], weights: Iterable[str], data: Mapping[str, str]) -> None:
    """Write a chapter's runs into the package, in place of those that are there.

    Args:
        chapter: its number, "02".
        records: of all runs that its page uses and that begin with its number.
        weights: names of those whose weights are shipped as well, in float16.
        data: name and the beginning of the fingerprint of each data set of the page.

    Raises:
        ValueError: weights are not here, or too large to be shipped.
    """
    folder, shipped, lines, arrays = PUBLISHED / chapter, set(weights), [], {}
    for found in sorted(records, key=lambda found: found.facts["name"]):
        name = found.facts["name"]
        facts = {key: value for key, value in found.facts.items() if key != "weights_sha256"}
        if name in shipped:
            facts["weights_sha256"] = _publish_weights(name, found.weights)
        entries, tensors = found.measured.packed(f"{name}/")
        arrays |= tensors
        lines.append(json.dumps(with_checksum({**facts, "measured": entries}), sort_keys=True))
    for path in folder.glob("weights/*.safetensors"):
        if path.stem not in shipped:
            path.unlink()
    _write_arrays(folder / "arrays.npz", arrays)
    files.write_text(folder / "page.json", json.dumps({"data": dict(data)}, indent=1, sort_keys=True) + "\n")
    files.write_text(folder / "runs.jsonl", "".join(line + "\n" for line in lines))


def _publish_weights(name: str, source: Path | None) -> str:
    """Ship a run's weights in float16, and return the SHA-256 of the file."""
    from safetensors.torch import load as unpacked

    path = _published_weights(name)
    if source is None:
        raise ValueError(f"{name}: its weights are wanted, but they are not here")
    if source != path:
        write_weights(unpacked(source.read_bytes()), path, torch.float16)
    if (size := path.stat().st_size) > LARGEST_PUBLISHED:
        path.unlink()
        raise ValueError(
            f"{name}: its weights have {size:,} bytes, more than {LARGEST_PUBLISHED:,}; publish its numbers alone, "
            "with weights=False in the call of fit"
        )
    return files.sha256(path)


def _write_arrays(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as one compressed file whose bytes depend on nothing else; no file where there are none."""
    if not tensors:
        path.unlink(missing_ok=True)
        return
    with files.atomic_write(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(tensors):
            # A date of its own would make other bytes each time.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open(entry, "w") as stream:
                np.lib.format.write_array(stream, tensors[name].numpy(), allow_pickle=False)


def _published_line(name: str) -> dict | None:
    return _lines_of(PUBLISHED / name[:2]).get(name)


def _published_weights(name: str) -> Path:
    return PUBLISHED / name[:2] / "weights" / f"{name}.safetensors"


def _lines_of(folder: Path) -> dict[str, dict]:
    """Return the facts of a chapter's published runs by their name; damaged lines are reported and left out."""
    path = folder / "runs.jsonl"
    try:
        return _read_lines(path, path.stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=64)
def _read_lines(path: Path, changed: int) -> dict[str, dict]:
    # `changed` is there for the cache: a file that was written again is read again.
    lines = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        with _reported(f"{path.parent.name}/{path.name}, line {number}"):
            try:
                facts = json.loads(text)
                lines[facts["name"]] = _checked(path, facts)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DamagedRun(f"it cannot be read: {error}") from error
    return lines


def _published_run(line: Mapping, model: nn.Module | None) -> Run:
    """Return a published run; without a model its numbers alone. What else is measured goes to one's own store."""
    name, folder = line["name"], own_folder(line["name"], line["fingerprint"])
    if model is not None:
        load_weights(_published_weights(name), line["weights_sha256"], model)
    measured = _published_measured(line)
    for key, entry in _read_measured(folder, line).items():
        measured.setdefault(key, entry)
    run = _run_of(PUBLISHED / name[:2], line, NoWeights(name) if model is None else model, measured)
    run.keep = functools.partial(_keep_measured, folder)
    return run


def _published_measured(line: Mapping) -> Measured:
    path = PUBLISHED / line["name"][:2] / "arrays.npz"
    try:
        return Measured.unpacked(line["measured"], _Arrays(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedRun(f"{path} does not hold what {line['name']} needs: {error}") from error


class _Arrays(Mapping[str, Tensor]):
    """The tensors in a published `arrays.npz`, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> Tensor:
        with np.load(self.path, allow_pickle=False) as file:
            return torch.from_numpy(file[name])

    def __iter__(self) -> Iterator[str]:
        with np.load(self.path, allow_pickle=False) as file:
            return iter(file.files)

    def __len__(self) -> int:
        return len(list(iter(self)))


def _run_of(path: Path, facts: Mapping, model: nn.Module | NoWeights, measured: Measured) -> Run:
    try:
        return Run.of(dict(facts), model, measured)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedRun(f"{path} does not tell of a run that this version of aecore knows: {error}") from error


# ---- checksums, and one training at a time ----


def with_checksum(facts: Mapping) -> dict:
    """Return facts with the SHA-256 that shows whether one was changed."""
    return {**facts, "facts_sha256": _checksum(facts)}


def _checked(path: Path, facts: Mapping) -> dict:
    facts = dict(facts)
    if facts.pop("facts_sha256", None) != _checksum(facts):
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one that it states")
    return facts


def _checksum(facts: Mapping) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def training_lock(folder: Path, name: str) -> Iterator[None]:
    """Let one process at a time train the run of a folder; others wait until it has stored it, or has ended.

    The system gives the lock back when its process ends, however that comes about. Where there are no such locks
    (Windows), nobody waits.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            config.log.info(f"{name}: another process trains this run; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class _Tried(Exception):
    """Ends a write that was only tried."""


def is_writable(folder: Path) -> None:
    """Raise an OSError where a folder cannot be written: now, not after an hour of training."""
    # Given up before the name appears, so that a kill leaves nothing here but a half file, as any other write does.
    with contextlib.suppress(_Tried), files.atomic_write(folder / FACTS):
        raise _Tried
