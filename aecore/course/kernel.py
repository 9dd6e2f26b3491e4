"""The process in which a submission runs: `python -m aecore.course.kernel -f connection.json`.

Before it becomes an IPython kernel it gives up the network, accepts limits, and takes the recorder into the built-in
names, where nothing that a notebook defines or deletes can stand in front of it for long. This keeps an accident (an
endless list, a download, a full disk) from harming the machine that grades. It is no sandbox: the code of a submission
runs with the rights of whoever grades.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

SETTINGS = "AECORE_COURSE_KERNEL"  # the environment variable through which the grader says what holds
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER and CLONE_NEWNET of Linux
_LARGEST_FILE = 2**30
_LOOKS_OUTSIDE = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})
_HERE = (None, "", b"", "localhost", b"localhost", "127.0.0.1", "::1")


def main(arguments: list[str]) -> None:
    """Run a kernel until it is shut down."""
    settings = json.loads(os.environ.pop(SETTINGS))
    leave_network()
    accept_limits(settings["megabytes"], settings["seconds"])
    sys.addaudithook(refuse_network)
    from ipykernel.kernelapp import IPKernelApp

    from .answers import Recorder
    from .checks import HAND_IN

    setattr(builtins, HAND_IN, Recorder(settings["answers"]))
    IPKernelApp.launch_instance(argv=arguments)


def leave_network() -> bool:
    """Move this process, and all that it starts, into a network of its own without a way out; return whether the system
    allowed it, which only Linux does."""
    if sys.platform != "linux":
        return False
    user, group = os.getuid(), os.getgid()
    unshare = ctypes.CDLL(None).unshare
    if unshare(_NEW_NETWORK) == 0:  # as root
        return True
    if unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text, encoding="utf-8")
    return True


def refuse_network(event: str, arguments: tuple) -> None:
    """Refuse what leads out of this machine, as an audit hook: Python code cannot take it away again.

    Raises:
        PermissionError: a connection or a look-up was asked for.
    """
    if event in _LOOKS_OUTSIDE and not _is_local(arguments):
        raise PermissionError("there is no network while a submission is graded")


def accept_limits(megabytes: int, seconds: int) -> None:
    """Limit what this process may take, and each that it starts; a system without such limits goes without.

    Args:
        megabytes: of memory that it writes to.
        seconds: of processor time.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    # What a library maps but never writes to counts as address space, not as data: PyTorch maps gigabytes of it.
    limits = {
        "RLIMIT_DATA": megabytes * 2**20,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": _LARGEST_FILE,
        "RLIMIT_CORE": 0,
    }
    for name, wanted in limits.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def _is_local(arguments: tuple) -> bool:
    """Tell whether a call stays on this machine. The first argument is a socket, or the host that is looked up."""
    if not hasattr(arguments[0], "family"):
        return arguments[0] in _HERE
    address = arguments[1]
    return (
        address[0] in _HERE if isinstance(address, tuple) else isinstance(address, str | bytes)
    )  # else a file's socket


if __name__ == "__main__":
    main(sys.argv[1:])
