"""Thousands of damaged `.aec` files: what a decoder makes of them.

    python tests/campaigns/damaged_files.py                         # 10,000 damaged files
    python tests/campaigns/damaged_files.py --files 1000 --weights codec.weights

A damaged file must be an error that says so, or give the very picture; one whose checksum was mended by somebody who
means it, an error or some picture; and nothing else, in little memory. Prints as JSON what happened, and ends with
status 1 where anything else did. A short version is in tests/core/test_compressive.py; `exact_files.py` is about files
that are whole.
"""

from __future__ import annotations

import argparse
import collections
import json
import resource
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from aecore.codec import CodecError, container
from aecore.models import CompressiveAutoencoder, PictureCodec

KINDS = ("flip", "flips", "cut", "longer", "zeros", "swapped", "mended header", "mended values", "random values")


def small_codec() -> PictureCodec:
    """Return a codec with drawn weights, which is all that this needs."""
    torch.manual_seed(0)
    return CompressiveAutoencoder((3, 32, 32), 16, 12, (4, 2)).codec()


def drawn(rng: np.random.Generator, height: int, width: int, channels: int) -> torch.Tensor:
    """Return a random picture (1, channels, height, width), smooth with some noise."""
    small = torch.from_numpy(rng.random((1, channels, -(-height // 8), -(-width // 8)), dtype=np.float32))
    smooth = F.interpolate(small, size=(height, width), mode="bilinear")
    noise = torch.from_numpy(rng.normal(0, 0.05, smooth.shape).astype(np.float32))
    return (smooth + noise).clamp(0, 1)


def mended(data: bytes) -> bytes:
    """Return a file with the checksum that belongs to its bytes."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def damaged(kind: str, file: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one kind of damage; `other` is another file of the same model."""
    data, place = bytearray(file), int(rng.integers(0, len(file)))
    if kind in ("flip", "flips"):
        for at in rng.integers(0, len(file), 1 if kind == "flip" else 8):
            data[at] ^= 1 << rng.integers(0, 8)
    elif kind == "cut":
        del data[place:]
    elif kind == "longer":
        data[place:place] = rng.bytes(int(rng.integers(1, 50)))
    elif kind == "zeros":
        data[place : place + 20] = bytes(len(data[place : place + 20]))
    elif kind == "swapped":  # the header of one file with the values of another
        content = container.unpack(file)
        return container.pack(content._replace(payload=container.unpack(other).payload))
    elif kind == "mended header":
        at = int(rng.integers(4, 20))
        data[at] = int(rng.integers(0, 256))
        return mended(bytes(data))
    elif kind == "mended values":
        data[int(rng.integers(20, len(file) - 4))] ^= 1 << rng.integers(0, 8)
        return mended(bytes(data))
    else:
        content = container.unpack(file)
        return container.pack(content._replace(payload=rng.bytes(int(rng.integers(0, 3000)))))
    return bytes(data)


def damage(codec: PictureCodec, count: int) -> dict:
    """Decode so many damaged files and return how often what happened, the slowest, and what must not happen."""
    rng, happened, wrong, slowest = np.random.default_rng(0), collections.Counter(), [], 0.0
    files = [codec.compress(drawn(rng, *rng.integers(1, 90, 2), 1 + 2 * (n % 2)), 1 + 3 * n / 11)[0] for n in range(12)]
    pictures = [codec.decompress([file]) for file in files]
    for number in range(count):
        kind, which = KINDS[number % len(KINDS)], int(rng.integers(0, len(files)))
        data = damaged(kind, files[which], files[which - 1], rng)
        start = time.perf_counter()
        try:
            found = codec.decompress([data])
            same = found.shape == pictures[which].shape and torch.equal(found, pictures[which])
            outcome = "the picture" if same else "another picture"
        except CodecError:
            outcome = "an error that says so"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        slowest = max(slowest, time.perf_counter() - start)
        happened[f"{kind}: {outcome}"] += 1
        allowed = ("the picture", "an error that says so", *(("another picture",) if "mended" in kind else ()))
        if outcome not in allowed or (outcome == "the picture" and data != files[which] and "mended" not in kind):
            wrong.append(f"number {number}, {kind}: {outcome}")
    return {"happened": dict(sorted(happened.items())), "slowest_s": round(slowest, 2), "wrong": wrong}


def main() -> int:
    """Run the campaign; return 1 where anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--weights", help="of a trained codec; without, one with drawn weights is used")
    options = parser.parse_args()
    codec = PictureCodec.from_bytes(Path(options.weights).read_bytes()) if options.weights else small_codec()
    found = {"damaged files": damage(codec, options.files)}
    found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return int(bool(found["damaged files"]["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
