"""Files that are whole or not there: every file that aecore writes goes through this module."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

# A file that is being written: a dot, the name that it will have, the number of the process, what mkstemp draws.
_PART = re.compile(r"\.(?P<target>.+)\.(?P<process>\d+)\.\w+\.part")


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    The bytes are on the disk before the name appears (flush, fsync, rename), so a reader sees the old
    file or the new one, never half of one. After an error the temporary file is removed and an older
    file of that name still stands. What a killed process has left of the same file is removed first, or kills at
    every write would fill the disk in the end.

    Raises:
        OSError: the folder cannot be made or written; the message names it and says what to do.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(path.parent, of=path.name)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise OSError(
            f"cannot write {path.name} in {path.parent}: {error.strerror}. Make that folder writable, or choose "
            f"another one with the environment variable AECORE_RUNS (runs) or AECORE_DATA (data)."
        ) from error
    part = Path(name)
    try:
        yield part
        part.chmod(_usual_mode())
        _flush_to_disk(part)
        os.replace(part, path)
        _flush_to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def remove_parts(folder: str | Path, of: str | None = None) -> None:
    """Remove temporary files in `folder` that killed processes have left; those that cannot be removed stay.

    Those of processes that still run stay as well: another training may write in the same folder at this moment.

    Args:
        folder: where to look, not below it.
        of: the name that the files were to have; None: any.
    """
    for part in Path(folder).glob(".*.part"):
        found = _PART.fullmatch(part.name)
        if found and of in (None, found["target"]) and not _is_alive(int(found["process"])):
            with contextlib.suppress(OSError):
                part.unlink()


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_alive(process: int) -> bool:
    """Return whether a process of that number runs on this machine; on Windows, where asking would end it, say yes."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):  # too large a number is nobody's
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _usual_mode() -> int:
    # mkstemp makes files that only their owner may read; a finished file has the mode of any other.
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _flush_to_disk(path: Path) -> None:
    # Opening a folder to flush its entry is not possible on Windows; there the rename alone has to do.
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
