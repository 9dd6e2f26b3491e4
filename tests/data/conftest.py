"""What the tests of `aecore.data` share: a data folder of their own, tiny files in the real formats, a web server."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from aecore import journal
from aecore.data import from_array
from aecore.data.catalogue import CATALOGUE


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty `$AECORE_DATA`, the profile full, and a machine whose only network is its own loopback."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("AECORE_DATA", str(folder))
    monkeypatch.setenv("AECORE_PROFILE", "full")
    monkeypatch.delenv("AECORE_JOURNAL", raising=False)
    monkeypatch.setattr(journal, "_entries", [])
    look_up = socket.getaddrinfo

    def loopback_only(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, "no network in the tests")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", loopback_only)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return folder


@pytest.fixture
def official_counts(monkeypatch):
    """Declare that a set officially has so few images (train, of those for validation, test), and which ones."""

    def declare(name, *counts, fingerprints=()):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], counts=counts, fingerprints=fingerprints))

    return declare


@pytest.fixture
def write_cache(root):
    """Write a cache by hand, as aecore.data.cache describes it, with as many images as the set officially has.

    `says` changes what meta says, `changes` whole entries; None leaves one out.
    """

    def write(key, value=7, shape=(1, 28, 28), says=None, **changes):
        name = key.split("-")[0]
        for part in ("train", "valid", "test"):
            count = CATALOGUE[name].count_of(part)
            meta = {"set": key, "part": part, "count": count, "stand_in": "-standin" in key}
            meta |= {"source": f"by hand, {value}", "licence": "free", "note": "a note", **(says or {})}
            meta = {entry: word for entry, word in meta.items() if word is not None}
            entries = {
                "pixels": np.full((count, *shape), value, np.uint8),
                "labels": np.arange(count) % 10,
                "meta": np.array(json.dumps(meta)),
                **changes,
            }
            np.savez(root / f"{key}-{part}.npz", **{name: item for name, item in entries.items() if item is not None})

    return write


def idx_bytes(array) -> bytes:
    """The IDX format of MNIST: two zeros, type 8 (unsigned byte), number of axes, lengths, values."""
    array = np.asarray(array, dtype=np.uint8)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def digits(count, seed=0):
    """So many random 28×28 pictures and labels that are not sorted."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count)[::-1] % 10
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), labels.astype(np.uint8)


def write_part(raw, name, pixels, labels):
    """Write the images and labels of one part as IDX files."""
    (raw / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
    (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


@pytest.fixture
def write_idx():
    """Return `write_part`, for tests that change one file."""
    return write_part


@pytest.fixture
def write_mnist(root):
    """Write MNIST/raw with so many training and test images; returns their pixels and labels."""

    def write(train=24, test=4, folder=root):
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        made = digits(train), digits(test, seed=1)
        for part, word in zip(made, ("train", "t10k"), strict=True):
            write_part(raw, word, *part)
        return made

    return write


@pytest.fixture
def mnist(write_mnist, official_counts):
    """A folder MNIST/raw with 24 + 4 images, taken for the official set; 2 of the 24 validate."""
    made = write_mnist()
    official_counts("mnist", 24, 2, 4, fingerprints=mnist_fingerprints(*made))
    return made


def mnist_fingerprints(train, test):
    """What `load` makes of these 24 + 4 pixels and labels: 22 train, the last 2 validate."""
    parts = [(train[0][:22], train[1][:22]), (train[0][22:], train[1][22:]), test]
    return tuple(from_array(pixels, labels).fingerprint for pixels, labels in parts)


@pytest.fixture
def write_emnist(root):
    def write(train, test):
        raw = root / "EMNIST" / "raw"
        raw.mkdir(parents=True)
        write_part(raw, "emnist-balanced-train", *train)
        write_part(raw, "emnist-balanced-test", *test)
        return raw

    return write


@pytest.fixture
def write_stl10(root):
    """Write stl10_binary with random images: 20 to train, 10 to test; returns the first bytes of the train file."""

    def write(train=20, test=10):
        folder = root / "stl10_binary"
        folder.mkdir()
        rng = np.random.default_rng(0)
        (folder / "class_names.txt").write_text("\n".join(f"thing{number}" for number in range(10)))
        for word, count in (("train", train), ("test", test)):
            pixels = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
            (folder / f"{word}_X.bin").write_bytes(pixels.tobytes())
            (folder / f"{word}_y.bin").write_bytes(bytes(number % 10 + 1 for number in range(count)))
        return folder

    return write


@pytest.fixture
def write_photos(root):
    """Write numbered PNG files of one colour and given (width, height) into a folder below `$AECORE_DATA`."""

    def write(folder, sizes):
        (root / folder).mkdir(parents=True)
        for number, (width, height) in enumerate(sizes):
            Image.new("RGB", (width, height), (number, 100, 200)).save(root / folder / f"{number:04d}.png")

    return write


class Server:
    """A web server on the loopback: serves `files`, understands Range, remembers requests, can misbehave.

    `break_after`: bytes of an answer after which it breaks off. `headers`: more of them, or other ones; None leaves
    one out. `drip`: seconds between single bytes.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.break_after: int | None = None
        self.understands_range = True
        self.headers: dict[str, str | None] = {}
        self.drip = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *args: None  # the tests hang up on it
        self.address = f"http://127.0.0.1:{self._http.server_port}/"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path.lstrip("/"), wanted))
        body = self.files.get(handler.path.lstrip("/"))
        if body is None:
            handler.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.understands_range else 0
        if start >= len(body):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        for name, value in {"Content-Length": str(len(body) - start), **self.headers}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        end = len(body) if self.break_after is None else start + self.break_after
        if not self.drip:
            handler.wfile.write(body[start:end])
            return
        for place in range(start, end):
            handler.wfile.write(body[place : place + 1])
            time.sleep(self.drip)

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()
