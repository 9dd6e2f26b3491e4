"""Checkpoints: the last states of a training that is under way, each in one file that is whole or does not count."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from .. import distributed, files
from .state import State

FORMAT = 2
KEPT = 2  # were the newest damaged, the one before it is there
SECONDS = 60.0


class Checkpoints:
    """Saves a training's state now and then, and brings it back after an interruption.

    A file's name holds the epoch, the step, and the beginning of the SHA-256 of what is in it, so no file
    can be torn or changed unnoticed. Of several processes only rank 0 writes; all of them read, so the folder
    must be one that they share.

    Args:
        folder: where they lie; None keeps none.
        fingerprint: of the run; the checkpoint of another run is not taken.
        seconds: between two of them. The first comes after so many seconds, so a short training writes none.
        tell: called with a sentence when a training goes on, and when a file cannot be written or read; neither
            ends the training.

    Attributes:
        newest: the file that was written or taken last, or None.
    """

    def __init__(
        self,
        folder: Path | None = None,
        fingerprint: str = "",
        seconds: float = SECONDS,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.folder, self.fingerprint, self.seconds, self.tell = folder, fingerprint, seconds, tell
        self.saved_at = time.perf_counter()
        self.newest: Path | None = None

    def is_due(self) -> bool:
        """Return whether it is time for the next one."""
        return self.folder is not None and time.perf_counter() - self.saved_at >= self.seconds

    def save(self, state: State) -> bool:
        """Write the state, and remove all but it and the one before; return whether it is now on the disk.

        A state that holds NaN is not written, and neither is any where the disk is full: then the ones from
        before stay.
        """
        self.saved_at = time.perf_counter()
        if self.folder is None or distributed.rank() > 0 or not state.is_finite():
            return False
        content = _packed(state, self.fingerprint)
        path = self.folder / f"{state.epoch:05d}-{state.step:07d}-{_digest(content)}.safetensors"
        try:
            with files.atomic_write(path) as part:
                part.write_bytes(content)
        except OSError as error:
            place = f"epoch {state.epoch}, step {state.step}"
            reason = str(error).rstrip(".")
            self.tell(f"the checkpoint of {place} could not be written to {self.folder}: {reason}. Training goes on.")
            return False
        self._remove_others(path)
        self.newest = path
        return True

    def resume(self, state: State) -> bool:
        """Bring `state` to the newest checkpoint that is whole; return whether there was one.

        Raises:
            ValueError: the processes of one training do not see the same checkpoint.
        """
        if self.folder is not None and distributed.rank() == 0:
            files.remove_parts(self.folder)
        there = self._newest_first()
        found = next(filter(None, map(self._read, there)), None)
        distributed.check_agreement(
            "the checkpoint to go on from",
            found[0].name if found else "none",
            "AECORE_RUNS must be a folder that all processes share.",
        )
        if found is None:
            if there:
                self.tell("no checkpoint can be used; training begins anew")
            return False
        self.newest, tensors, facts = found
        state.restore(tensors, facts)
        self.tell(f"going on from epoch {state.epoch}, step {state.step}")
        return True

    def clear(self) -> None:
        """Remove them all: the run is stored, or is to begin anew."""
        if self.folder is not None and distributed.rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"), reverse=True) if self.folder is not None else []

    def _remove_others(self, path: Path) -> None:
        # One that was made at a later step could not be used, or training would not be here again.
        there = self._newest_first()
        earlier = [other for other in there if other <= path]
        for other in [other for other in there if other > path] + earlier[KEPT:]:
            _remove(other)

    def _read(self, path: Path) -> tuple[Path, dict, dict] | None:
        """Return what a checkpoint holds; tell of one that is damaged, remove it, and return None."""
        from safetensors.torch import load

        try:
            content = path.read_bytes()
        except OSError as error:
            self.tell(f"the checkpoint {path} cannot be read: {error}; it is not used")
            return None
        if _digest(content) != path.stem.rpartition("-")[2]:
            self.tell(f"the checkpoint {path} is damaged: its SHA-256 is not the one in its name; it is not used")
            if distributed.rank() == 0:
                _remove(path)
            return None
        facts = _facts_in(content)
        if (facts["format"], facts["fingerprint"]) != (FORMAT, self.fingerprint):
            self.tell(f"the checkpoint {path} belongs to another run, or to another version of aecore; it is not used")
            return None
        return path, load(content), facts


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # what cannot be removed does no harm
        path.unlink()


def _packed(state: State, fingerprint: str) -> bytes:
    from safetensors.torch import save

    facts = {"format": FORMAT, "fingerprint": fingerprint, **state.as_facts()}
    return save(state.as_tensors(), {"facts": json.dumps(facts, allow_nan=False)})


def _facts_in(content: bytes) -> dict:
    # A safetensors file begins with the length of its header, 8 bytes, and the header, which is JSON.
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
