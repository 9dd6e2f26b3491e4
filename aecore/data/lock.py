"""A lock between processes, so that two of them never download into the same file."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .. import config

POLL_SECONDS = 0.1
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what a lock that another process holds is reported as


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time into the block; the others wait, and say so once.

    The operating system gives the lock back when a process ends, however it ends, so none is ever left behind.

    Args:
        path: of the lock file, which is there as long as the lock is held.

    Raises:
        OSError: the file cannot be made.
    """
    stream = _acquire(path)
    try:
        yield
    finally:
        # Removed before it is given back: one who waits for it sees that its file is gone and begins again.
        with contextlib.suppress(OSError):  # Windows does not remove a file that another process has open
            path.unlink()
        stream.close()


def _acquire(path: Path) -> BinaryIO:
    waiting = False
    while True:
        stream = path.open("ab")
        if _try_lock(stream) and _is_the_file_at(path, stream):
            return stream
        stream.close()
        if not waiting:
            config.log.info(f"waiting for another process, which holds {path}")
            waiting = True
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
        # Some network file systems know no locks: better two downloads at once there than none.
        return error.errno not in HELD
    return True


def _is_the_file_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
