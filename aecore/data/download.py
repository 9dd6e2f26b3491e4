"""Downloads: nothing half-written ever stands under a final name, and nothing unchecked is unpacked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import stat
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .. import config
from ..files import sha256 as sha256_of
from ..files import write_text
from ..locks import exclusive
from .catalogue import CATALOGUE, folders_of, has_files
from .errors import DownloadFailed

DIV2K_BASE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
# folder in the archive: (archive, bytes, SHA-256), from the checksum list of TensorFlow Datasets
DIV2K_FILES = {
    "DIV2K_train_LR_bicubic/X2": (
        "DIV2K_train_LR_bicubic_X2.zip", 925_390_592,
        "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850",
    ),
    "DIV2K_valid_LR_bicubic/X2": (
        "DIV2K_valid_LR_bicubic_X2.zip", 117_763_600,
        "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57",
    ),
}  # fmt: skip
TORCHVISION = {
    "mnist": ("MNIST", {}),
    "emnist": ("EMNIST", {"split": "balanced"}),
    "cifar10": ("CIFAR10", {}),
    "stl10": ("STL10", {}),
}
TIMEOUT_SECONDS = 30  # without a byte, after which a connection counts as dead
MIN_RATE = 2000  # bytes a second, on average over TIMEOUT_SECONDS: what drips slower would never end
BLOCK = 1 << 18  # bytes


def get(name: str, root: Path) -> None:
    """Download a set into its folder below `root`, unless another process is just doing so: then wait for it.

    Raises:
        DownloadFailed: the set has no download, the network or the server failed, or a file is not the right one.
    """
    if name not in TORCHVISION and name != "div2k":
        raise DownloadFailed(f"there is none; put the files into {root / CATALOGUE[name].folders[0][0]} yourself")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with exclusive(root / f".{name}.lock"):
            if folders_of(name, root) is not None:  # another process was faster
                return
            config.log.info(f"{name}: downloading {CATALOGUE[name].download_mb:,} MB to {root}")
            if name == "div2k":
                get_div2k(root)
            else:
                get_with_torchvision(name, root)
    except DownloadFailed:
        raise
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, zipfile.BadZipFile) as error:
        raise DownloadFailed(" ".join(str(error).split()) or type(error).__name__) from error


def get_with_torchvision(name: str, root: Path) -> None:
    """Let torchvision download and check a set in a scratch folder, then move the result to its place."""
    from torchvision import datasets

    class_name, options = TORCHVISION[name]
    folder = CATALOGUE[name].folders[0][0]
    with _scratch(root) as scratch, _socket_timeout():
        getattr(datasets, class_name)(scratch, download=True, **options)
        for archive in [*(scratch / folder).glob("*.gz"), *(scratch / folder).glob("*.zip")]:
            archive.unlink()  # unpacked beside it; EMNIST's alone takes half a gigabyte
        _move(scratch / folder, root / folder)


def get_div2k(root: Path, base: str | None = None) -> None:
    """Download, check and unpack the two halves of DIV2K (halved by bicubic resizing) that are not there yet.

    Args:
        root: folder of all data.
        base: address in front of the archives' names; `DIV2K_BASE` when None.
    """
    for folder, (archive, size, sha256) in DIV2K_FILES.items():
        if not has_files(root / folder):
            path = fetch((base or DIV2K_BASE) + archive, root / archive, size, sha256)
            unzip(path, root, folder)
            _write_receipt(root / folder, archive, sha256)
            path.unlink(missing_ok=True)


def came_by_download(folder: Path) -> bool:
    """Say whether `get_div2k` made this folder from the checked archive, and it has as many files and bytes still."""
    for name, (archive, _, sha256) in DIV2K_FILES.items():
        if folder.parts[-2:] == Path(name).parts:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                return json.loads(_receipt(folder).read_text(encoding="utf-8")) == _facts(folder, archive, sha256)
    return False


def _write_receipt(folder: Path, archive: str, sha256: str) -> None:
    """Write beside the folder what it was unpacked from: the pictures themselves have no published checksums."""
    write_text(_receipt(folder), json.dumps(_facts(folder, archive, sha256), indent=1) + "\n")


def _receipt(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.download.json")


def _facts(folder: Path, archive: str, sha256: str) -> dict[str, str | int]:
    sizes = [file.stat().st_size for file in folder.iterdir()]
    return {"archive": archive, "sha256": sha256, "files": len(sizes), "bytes": sum(sizes)}


def fetch(url: str, path: Path, size: int, sha256: str) -> Path:
    """Download one file and check it; a download that broke off goes on where it stopped.

    Args:
        url: its address.
        path: where to put it; until it is checked it is called `<path>.part`. Other processes that want the same
            file wait meanwhile.
        size: bytes it must have.
        sha256: digest it must have, 64 hexadecimal digits.

    Returns:
        `path`.

    Raises:
        DownloadFailed: the connection broke or dripped, or something else answered, for example the login page of
            a network (what came before is kept, call again); or what came is not the wanted file (deleted).
    """
    with exclusive(path.with_name(path.name + ".lock")):
        if path.exists() and sha256_of(path) == sha256:  # another process was faster
            return path
        part = path.with_name(path.name + ".part")
        if not part.exists() or part.stat().st_size < size:
            _receive(url, part, size)
        _check(url, part, size, sha256)
        os.replace(part, path)
        return path


def _check(url: str, part: Path, size: int, sha256: str) -> None:
    seen = part.stat().st_size
    if seen != size:
        problem = f"is {'truncated' if seen < size else 'too long'}: {seen:,} bytes, wanted {size:,}"
    elif (digest := sha256_of(part)) != sha256:
        problem = f"has the wrong SHA-256 {digest}, wanted {sha256}"
    else:
        return
    part.unlink()
    raise DownloadFailed(f"the file from {url} {problem}. It was deleted, and nothing was unpacked.")


def _receive(url: str, part: Path, size: int) -> None:
    """Append to `part` what the server has of the file beyond it, `size` bytes in all and no more."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            # 206 means that the server goes on where we stopped; with 200 it begins again, and so do we.
            start = have if response.status == 206 else 0
            if problem := _problem(response, start, size, have):
                raise DownloadFailed(f"{url}: {problem}. Nothing of it was written.{_kept(part)}")
            _append(response, part, start, size)
    except DownloadFailed:
        raise
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "code", None) == 416:  # the server's file ends before ours does: `_check` finds it wrong
            return
        raise DownloadFailed(f"{url}: {error}.{_kept(part)}") from error
    if part.stat().st_size < size:
        raise DownloadFailed(f"{url}: the connection broke before the end.{_kept(part)}")


def _problem(response: http.client.HTTPResponse, start: int, size: int, have: int) -> str:
    """Return why an answer cannot be the wanted file from byte `start` on, or "": to be asked before writing."""
    if response.headers.get_content_type() == "text/html":
        return "a web page came instead of the file; does your network ask you to log in first?"
    content_range = response.headers.get("Content-Range")
    if response.status == 206 and content_range and not content_range.startswith(f"bytes {start}-"):
        return f"the server answered with {content_range!r} where byte {start:,} was to come next"
    length = response.headers.get("Content-Length")
    if length is None:
        # It may be the file, but what was kept is not given up for it.
        return "the server begins again and does not say how long its file is" if have and not start else ""
    if not length.isdecimal():
        return f"the server answered with the length {length!r}"
    promised = start + int(length)
    if promised != size:
        kind = "truncated" if promised < size else "too long"
        return f"the server's file is {kind}: {promised:,} bytes, wanted {size:,}"
    return ""


def _append(response: http.client.HTTPResponse, part: Path, start: int, size: int) -> None:
    from tqdm.auto import tqdm

    have, window = start, time.monotonic() + TIMEOUT_SECONDS
    wanted = have + MIN_RATE * TIMEOUT_SECONDS
    with (
        part.open("ab" if start else "wb") as stream,
        tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
    ):
        # read1 returns what one packet brought; read would wait for a whole block, however slowly it drips.
        while block := response.read1(min(BLOCK, size - have)):
            stream.write(block)
            bar.update(len(block))
            have += len(block)
            if time.monotonic() > window:
                if have < min(wanted, size):
                    raise TimeoutError(f"fewer than {MIN_RATE:,} bytes a second for {TIMEOUT_SECONDS} seconds")
                window, wanted = time.monotonic() + TIMEOUT_SECONDS, have + MIN_RATE * TIMEOUT_SECONDS


def _kept(part: Path) -> str:
    if not part.exists() or part.stat().st_size == 0:
        return ""
    return f" The {part.stat().st_size:,} bytes that came are kept; load again to go on from there."


def unzip(archive: Path, root: Path, folder: str) -> None:
    """Unpack `archive` and move its `folder` to `root / folder`, whole or not at all.

    Raises:
        DownloadFailed: a member would land outside (absolute path, `..`) or is a link, or `folder` is not in it.
    """
    with _scratch(root) as scratch:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                _refuse_unsafe(member, archive)
            file.extractall(scratch)
        if not has_files(scratch / folder):
            raise DownloadFailed(f"{archive.name} does not hold the folder {folder}")
        _move(scratch / folder, root / folder)


def _refuse_unsafe(member: zipfile.ZipInfo, archive: Path) -> None:
    name = member.filename.replace("\\", "/")
    outside = name.startswith("/") or ".." in name.split("/") or ":" in name
    # The upper 16 bits hold the Unix file mode.
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        kind = "would be written outside its folder" if outside else "is a link"
        raise DownloadFailed(f"{archive.name} was not unpacked: its member {member.filename!r} {kind}")


def _move(source: Path, target: Path) -> None:
    if has_files(target):  # another process was faster
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()
    os.rename(source, target)


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    # Below `root`, because a move to its place must not cross file systems.
    folder = Path(tempfile.mkdtemp(dir=root, prefix=".download-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _socket_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
