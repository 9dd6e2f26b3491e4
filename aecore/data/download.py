"""Downloads: nothing half-written ever stands under a final name, and nothing unchecked is unpacked."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import stat
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .. import config
from ..files import sha256 as sha256_of
from .catalogue import CATALOGUE, has_files
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
SECONDS_OF_SILENCE = 30  # after which a connection counts as dead


def get(name: str, root: Path) -> None:
    """Download a set into its folder below `root`.

    Raises:
        DownloadFailed: the set has no download, the network or the server failed, or a file is not the right one.
    """
    if name not in TORCHVISION and name != "div2k":
        raise DownloadFailed(f"there is none; put the files into {root / CATALOGUE[name].places[0][0]} yourself")
    config.log.info(f"{name}: downloading {CATALOGUE[name].download_mb:,} MB to {root}")
    try:
        root.mkdir(parents=True, exist_ok=True)
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
    place = CATALOGUE[name].places[0][0]
    with _scratch(root) as scratch, _no_endless_waiting():
        getattr(datasets, class_name)(scratch, download=True, **options)
        for archive in [*(scratch / place).glob("*.gz"), *(scratch / place).glob("*.zip")]:
            archive.unlink()  # unpacked beside it; EMNIST's alone takes half a gigabyte
        _move(scratch / place, root / place)


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
            path.unlink()


def fetch(url: str, path: Path, size: int, sha256: str) -> Path:
    """Download one file and check it; a download that broke off goes on where it stopped.

    Args:
        url: its address.
        path: where to put it; until it is checked it is called `<path>.part`.
        size: bytes it must have.
        sha256: digest it must have, 64 hexadecimal digits.

    Returns:
        `path`.

    Raises:
        DownloadFailed: the connection broke (what came is kept, call again), or what came is not the
            wanted file (deleted).
    """
    part = path.with_name(path.name + ".part")
    if not part.exists() or part.stat().st_size < size:
        _receive(url, part, size)
    seen = part.stat().st_size
    if seen != size:
        problem = f"is {'truncated' if seen < size else 'too long'}: {seen:,} bytes, wanted {size:,}"
    elif (digest := sha256_of(part)) != sha256:
        problem = f"has the wrong SHA-256 {digest}, wanted {sha256}"
    else:
        os.replace(part, path)
        return path
    part.unlink()
    raise DownloadFailed(f"the file from {url} {problem}. It was deleted, and nothing was unpacked.")


def _receive(url: str, part: Path, size: int) -> None:
    from tqdm.auto import tqdm

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_OF_SILENCE) as response:
            # 206 means that the server goes on where we stopped; with 200 it begins again, and so do we.
            have = have if response.status == 206 else 0
            promised = have + int(response.headers.get("Content-Length") or size - have)
            with (
                part.open("ab" if have else "wb") as stream,
                tqdm(total=promised, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar,
            ):
                while block := response.read(1 << 18):
                    stream.write(block)
                    bar.update(len(block))
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "code", None) == 416:  # the server's file ends before ours does: `fetch` finds it wrong
            return
        raise DownloadFailed(f"{url}: {error}.{_kept(part)}") from error
    if part.stat().st_size < promised:
        raise DownloadFailed(f"{url}: the connection broke before the end.{_kept(part)}")


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
def _no_endless_waiting() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
