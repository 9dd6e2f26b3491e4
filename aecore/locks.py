"""A lock between processes, so that two of them never download into the same file, or train the same run."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from . import config

POLL_SECONDS = 0.1
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what a lock that another process holds is reported as


@contextlib.contextmanager
def exclusive(path: Path, why: str = "", wait: bool = True) -> Iterator[bool]:
    """Let one process at a time into the block; the others wait, and say so once.

    The operating system gives the lock back when a process ends, however it ends, so none is ever left behind. Where
    there are no locks, as on some network file systems, nobody waits.

    Args:
        path: of the lock file, which is there as long as the lock is held. Its folder is made.
        why: what the line says that tells of waiting: "02-conv: another process trains this run".
        wait: False does not wait.

    Yields:
        Whether the lock is ours; it always is where one waits.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = _acquire(path, why or f"another process holds {path}", wait)
    try:
        yield stream is not None
    finally:
        if stream is not None:
            # Removed before it is given back: one who waits for it sees that its file is gone and begins again.
            with contextlib.suppress(OSError):  # Windows does not remove a file that another process has open
                path.unlink()
            stream.close()


def _acquire(path: Path, why: str, wait: bool) -> BinaryIO | None:
    told = False
    while True:
        stream = path.open("ab")
        if _try_lock(stream) and _is_the_file_at(path, stream):
            return stream
        stream.close()
        if not wait:
            return None
        if not told:
            config.log.info(f"{why}; waiting for it")
            told = True
        time.sleep(POLL_SECONDS)


def _try_lock(stream: BinaryIO) -> bool:
    """Lock the file and return True, or return False when another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where the file system knows no locks: better two downloads at once there than none.
        return error.errno not in HELD
    return True


def _is_the_file_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
