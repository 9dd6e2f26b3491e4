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
import copy
import functools
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .. import config, files
from ..locks import exclusive
from ..training.state import put_back, tensors_of
from .measured import Measured
from .run import NoWeights, Run

PUBLISHED = Path(__file__).parent.parent / "published"
FORMAT = 2  # of a stored run; the fingerprint has its own
LARGEST_PUBLISHED = 2 * 1024 * 1024
WEIGHTS, FACTS, MEASURED = "weights.safetensors", "run.json", "measured.safetensors"
DATA_PARTS = {"train", "valid"}  # of a fingerprint: what differs when only the data do
# What reading JSON, or NumPy's arrays, raises where the file is damaged; a header may claim any size.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError)
_UNREADABLE_ARRAYS = (*_UNREADABLE, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


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
    with _reported(name):
        if matches and _ships_weights(line):
            return _published_run(line, model)
    with _reported(name):
        folder = own_folder(name, wanted)
        if (folder / FACTS).exists():
            return load(folder, model, wanted)
    with _reported(name):
        if matches and not weights:
            return _published_run(line, None)
    return None


def find_for_other_data(name: str, parts: Mapping[str, str], model: nn.Module, weights: bool = True) -> Run | None:
    """Return the published run of that name where it differs from `parts` in nothing but the data, or None."""
    line = _published_line(name)
    apart = differences(line["parts"], parts) if line is not None else set()
    if not apart or apart - DATA_PARTS:
        return None
    with _reported(name):
        if _ships_weights(line):
            return _for_other_data(_published_run(line, model))
    with _reported(name):
        if not weights:
            return _for_other_data(_published_run(line, None))
    return None


def mismatch(name: str, parts: Mapping[str, str]) -> str | None:
    """Return in words how a published run of that name differs from what is wanted, or None where there is none."""
    line = _published_line(name)
    if line is None or not (apart := differences(line["parts"], parts)):
        return None
    words = {"train": "other data", "valid": "other data", "start": "other starting weights"}
    told = sorted({words.get(part, f"another {part}") for part in apart})
    return f"{name} is published, but for {' and '.join(told)}"


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """Return the names of the parts of two fingerprints that are not the same."""
    return {part for part in one.keys() | other.keys() if one.get(part) != other.get(part)}


@contextlib.contextmanager
def _reported(name: str, what_now: str = "Without another copy the run is trained again.") -> Iterator[None]:
    """Report a damaged run in a line and go on."""
    try:
        yield
    except DamagedRun as damage:
        config.log.warning(f"{name}: {damage}; it is not used. {what_now}")


# ---- one's own ----


def own_folder(name: str, wanted: str) -> Path:
    """Return where a reader's own run of that name and fingerprint lies, or would lie."""
    return config.runs_root() / f"{name}-{wanted[:12]}"


def stamp(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever a run is stored in `folder`; None where there is none."""
    try:
        found = (folder / FACTS).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def save(run: Run, folder: Path) -> None:
    """Write a run into `folder`: first the weights, then the facts. What is measured on it later is stored there too.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_weights(tensors_of(run.model), folder / WEIGHTS)
    (folder / MEASURED).unlink(missing_ok=True)  # it tells of the training before
    facts = {**run.facts(), "format": FORMAT, "weights_sha256": files.sha256(folder / WEIGHTS)}
    files.write_text(folder / FACTS, json.dumps(with_checksum(facts), indent=1, sort_keys=True, allow_nan=False) + "\n")
    run.keep = functools.partial(_keep_measured, folder)


def load(folder: Path, model: nn.Module, wanted: str | None = None) -> Run:
    """Return the run in `folder`, its weights put into `model`.

    Args:
        folder: of the run.
        model: of its kind.
        wanted: the fingerprint that it must have; None: any.

    Raises:
        DamagedRun: a file is missing, torn or changed, or it is another run.
    """
    facts = read_facts(folder)
    if wanted not in (None, facts.get("fingerprint")):
        raise DamagedRun(f"{folder / FACTS} tells of another run than the folder's name")
    load_weights(folder / WEIGHTS, facts["weights_sha256"], model)
    run = _run_of(folder / FACTS, facts, model, _read_measured(folder, facts["fingerprint"], facts["date"]))
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
    except (OSError, *_UNREADABLE) as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DamagedRun(f"{path} is not a run of format {FORMAT}")
    return _checked(path, facts)


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write weights and buffers, whole or not at all.

    Args:
        weights: a model's tensors by name.
        path: of the file.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()}
    with files.atomic_write(path) as part:
        try:
            save_file(weights, part)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from error


def load_weights(path: Path, sha256: str, model: nn.Module) -> None:
    """Put the weights in a file into a model, and switch it to evaluation.

    Raises:
        DamagedRun: the file is missing, has another SHA-256, or does not fit the model, which then stays as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    content = _read_weights(path, sha256)
    try:
        weights = unpacked(content)
    except SafetensorError as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    here = tensors_of(model)
    needed = model.state_dict().keys()  # buffers that are registered with persistent=False may be missing in old files
    shapes = {name: value.shape for name, value in here.items() if name in needed or name in weights}
    if shapes != {name: value.shape for name, value in weights.items()}:
        raise DamagedRun(f"{path} does not fit this model: it holds other weights, or some of other shapes")
    put_back(model, {**here, **weights})
    model.eval()


def _read_weights(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file of weights.

    Raises:
        DamagedRun: it is missing or has another SHA-256.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedRun(f"{path} is missing") from None
    except OSError as error:
        raise DamagedRun(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedRun(f"{path} is damaged: its SHA-256 is not the one that was noted with it")
    return content


def _keep_measured(folder: Path, run: Run) -> None:
    """Write what was measured on a run, together with what another process has found meanwhile."""
    from safetensors.torch import save

    for key, entry in _read_measured(folder, run.fingerprint, run.date).items():
        run.measured.setdefault(key, entry)
    entries, tensors = run.measured.packed()
    content = {"fingerprint": run.fingerprint, "date": run.date, "entries": entries}
    # safetensors wants one tensor at least.
    packed = save({**tensors, "": torch.zeros(1)}, {"measured": json.dumps(with_checksum(content))})
    with contextlib.suppress(OSError), files.atomic_write(folder / MEASURED) as part:  # if not kept, measured again
        part.write_bytes(packed)


def _read_measured(folder: Path, fingerprint: str, date: str) -> Measured:
    """Return what was measured on a run; nothing where the file is missing, damaged or of another training."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    path = folder / MEASURED
    try:
        # Read whole: tensors of a file that stays open change with it, and Windows could not replace it.
        packed = path.read_bytes()
        content = _checked(path, json.loads(_metadata_of(packed)["measured"]))
        if (content["fingerprint"], content["date"]) != (fingerprint, date):
            return Measured()
        return Measured.unpacked(content["entries"], unpacked(packed))
    except FileNotFoundError:
        return Measured()
    except (OSError, *_UNREADABLE, SafetensorError) as error:
        config.log.warning(f"{path} cannot be read: {error}. What it held is measured again.")
        return Measured()


def _metadata_of(packed: bytes) -> dict[str, str]:
    # A safetensors file begins with the length of its header, 8 bytes, and the header, which is JSON.
    length = int.from_bytes(packed[:8], "little")
    return json.loads(packed[8 : 8 + length])["__metadata__"]


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
        return dict(_page(chapter)["data"])
    except _UNREADABLE:
        return {}


def _page(chapter: str) -> dict:
    """Return what `page.json` says: "data", and "float32", the runs whose weights are shipped unrounded."""
    try:
        return dict(json.loads((PUBLISHED / chapter / "page.json").read_text(encoding="utf-8")))
    except (OSError, *_UNREADABLE):
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


def record(name: str, wanted: str, date: str | None = None) -> Record:
    """Return the stored run of that name and fingerprint.

    Args:
        name, wanted: of the run.
        date: when the training ended, of the one that the page used: one's own and the published one may both be
            there, from different machines. None takes one's own.

    Raises:
        DamagedRun: there is none, or it is damaged.
    """
    folder, line = own_folder(name, wanted), _published_line(name)
    own = read_facts(folder) if (folder / FACTS).exists() else None
    matches = line is not None and line["fingerprint"] == wanted
    if own is not None and not (matches and line["date"] == date):
        same = matches and line["date"] == own["date"]  # published from here
        measured = _all_measured(line) if same else _read_measured(folder, wanted, own["date"])
        return Record(own, measured, folder / WEIGHTS)
    if not matches:
        raise DamagedRun(f"{name}: no run of fingerprint {wanted[:12]} is stored")
    facts, weights = {key: value for key, value in line.items() if key != "measured"}, None
    if _ships_weights(line):
        weights = _published_weights(name)
    elif own is not None and own["date"] == line["date"]:  # published with its numbers alone, where it was trained
        facts["weights_sha256"], weights = own["weights_sha256"], folder / WEIGHTS
    return Record(facts, _all_measured(line), weights)


def publish(chapter: str, records: Iterable[Record], weights: Iterable[str], data: Mapping[str, str]) -> None:
    """Write a chapter's runs into the package, in place of those that are there.

    Args:
        chapter: its number, "02".
        records: of all runs that its page uses and that begin with its number.
        weights: names of those whose weights are shipped as well, in float16, or unrounded where the chapter's
            `page.json` names them under "float32", because rounding changed a digit that the page shows.
        data: name and the beginning of the fingerprint of each data set of the page.

    Raises:
        ValueError: weights are not here, or too large to be shipped.
        DamagedRun: weights are not those that were stored.
    """
    folder, shipped, lines, arrays = PUBLISHED / chapter, set(weights), [], {}
    unrounded = sorted(shipped.intersection(_page(chapter).get("float32", ())))
    for found in sorted(records, key=lambda found: found.facts["name"]):
        name = found.facts["name"]
        facts = {key: value for key, value in found.facts.items() if key != "weights_sha256"}
        if name in shipped:
            facts["weights_sha256"] = _publish_weights(name, found, halve=name not in unrounded)
        entries, tensors = found.measured.packed(f"{name}/")
        arrays |= tensors
        lines.append(json.dumps(with_checksum({**facts, "measured": entries}), sort_keys=True))
    _write_arrays(folder / "arrays.npz", arrays)
    page = {"data": dict(data), **({"float32": unrounded} if unrounded else {})}
    files.write_text(folder / "page.json", json.dumps(page, indent=1, sort_keys=True) + "\n")
    files.write_text(folder / "runs.jsonl", "".join(line + "\n" for line in lines))
    for path in folder.glob("weights/*.safetensors"):  # last: until now a line still named them
        if path.stem not in shipped:
            path.unlink()


def _publish_weights(name: str, found: Record, halve: bool) -> str:
    """Ship a run's weights, in float16 if asked, and return the file's SHA-256; those that are shipped already stay."""
    from safetensors.torch import load as unpacked
    from safetensors.torch import save

    path = _published_weights(name)
    if found.weights is None:
        raise ValueError(f"{name}: its weights are wanted, but they are not here")
    content = _read_weights(found.weights, found.facts["weights_sha256"])
    if halve and found.weights != path:
        content = save({part: _halved(value) for part, value in unpacked(content).items()})
    if len(content) > LARGEST_PUBLISHED:
        raise ValueError(
            f"{name}: its weights have {len(content):,} bytes, more than {LARGEST_PUBLISHED:,}; publish its numbers "
            "alone, with weights=False in the call of fit"
        )
    if found.weights != path:
        with files.atomic_write(path) as part:
            part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _halved(value: Tensor) -> Tensor:
    """Return a tensor in float16; integers, and what would become infinite there (above 65,504), as they are."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if torch.equal(half.isfinite(), value.isfinite()) else value


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


def _ships_weights(line: Mapping) -> bool:
    return "weights_sha256" in line


def _published_weights(name: str) -> Path:
    return PUBLISHED / name[:2] / "weights" / f"{name}.safetensors"


def _lines_of(folder: Path) -> dict[str, dict]:
    """Return the facts of a chapter's published runs by their name; damaged lines are reported and left out."""
    path = folder / "runs.jsonl"
    try:
        found = path.stat()
        return _read_lines(path, (found.st_mtime_ns, found.st_size, found.st_ino))
    except OSError:
        return {}


@functools.lru_cache(maxsize=64)
def _read_lines(path: Path, state: tuple) -> dict[str, dict]:
    # `state` is there for the cache: a file that was written again is read again.
    lines = {}
    # A byte that is no text spoils its own line alone.
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        with _reported(f"{path.parent.name}/{path.name}, line {number}"):
            try:
                facts = _checked(path, json.loads(text))
                if facts["format"] != FORMAT:
                    raise DamagedRun(f"it is no run of format {FORMAT}")
                lines[facts["name"]] = facts
            except _UNREADABLE as error:
                raise DamagedRun(f"it cannot be read: {error}") from error
    return lines


def _published_run(line: Mapping, model: nn.Module | None) -> Run:
    """Return a published run; without a model its numbers alone. What else is measured goes to one's own store.

    With a model, what was measured can be measured again: damage to it is reported, and the run is used.
    """
    name = line["name"]
    if model is None:
        measured = _all_measured(line)
    else:
        load_weights(_published_weights(name), line["weights_sha256"], model)
        measured = Measured()
        with _reported(name, "It is measured again."):
            measured = _all_measured(line)
    run = _run_of(PUBLISHED / name[:2], line, NoWeights(name) if model is None else model, measured)
    run.keep = functools.partial(_keep_measured, own_folder(name, line["fingerprint"]))
    return run


def _for_other_data(run: Run) -> Run:
    run.other_data = True
    return run


def _all_measured(line: Mapping) -> Measured:
    """Return what was published with a run, and what was measured on it here since.

    Raises:
        DamagedRun: the file of the published tensors does not hold them.
    """
    name, path = line["name"], PUBLISHED / line["name"][:2] / "arrays.npz"
    try:
        measured = Measured.unpacked(line["measured"], _arrays_of(path, f"{name}/"))
    except (OSError, *_UNREADABLE_ARRAYS) as error:
        raise DamagedRun(f"{path} does not hold what was measured on {name}: {error}") from error
    for key, entry in _read_measured(own_folder(name, line["fingerprint"]), line["fingerprint"], line["date"]).items():
        measured.setdefault(key, entry)
    return measured


def _arrays_of(path: Path, beginning: str) -> dict[str, Tensor]:
    """Return the tensors in a published `arrays.npz` whose names begin so; none where there is no file."""
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.startswith(beginning)]
        # Read whole, which checks the CRC, before NumPy believes what the header says about the size.
        arrays = {name: np.lib.format.read_array(io.BytesIO(file.read(name)), allow_pickle=False) for name in names}
    return {name.removesuffix(".npy"): torch.from_numpy(array) for name, array in arrays.items()}


def _run_of(path: Path, facts: Mapping, model: nn.Module | NoWeights, measured: Measured) -> Run:
    try:
        return Run.of(copy.deepcopy(dict(facts)), model, measured)
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


def training_lock(folder: Path, name: str, wait: bool = True) -> AbstractContextManager[bool]:
    """Let one process at a time train the run of a folder; others wait until it has stored it, or has ended.

    Args:
        folder: of the run.
        name: of the run, for the line that says who waits.
        wait: False does not wait.

    Returns:
        A context, which gives whether no other process has it.
    """
    return exclusive(folder / ".lock", f"{name}: another process trains this run", wait)


class _Tried(Exception):
    """Ends a write that was only tried."""


def is_writable(folder: Path) -> None:
    """Raise an OSError where a folder cannot be written: now, not after an hour of training."""
    # Given up before the name appears, so that a kill leaves nothing here but a half file, as any other write does.
    with contextlib.suppress(_Tried), files.atomic_write(folder / FACTS):
        raise _Tried
