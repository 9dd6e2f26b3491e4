"""A thousand pictures of all sizes: is what is decoded exactly what the encoder said?

    python tests/campaigns/exact_files.py                         # 1,000 pictures, the published codec
    python tests/campaigns/exact_files.py --pictures 50 --weights codec.weights --keep folder
    python tests/campaigns/exact_files.py --read folder           # on another machine, or with another torch

Sizes go from 1×1 to 2000×3000, spread evenly over their logarithms; every second picture is grey, and every tenth has
refined latents. Each is encoded on one thread and read by a codec that was stored and loaded, on one thread and on two.
The coded values must be those of the encoder, to the last digit; so must the pixels, or they differ by 1 of 255 where a
float lies at a border, which is counted. Prints as JSON what happened, and ends with status 1 where anything else did.

With `--keep`, twenty files, what their values are and their pixels are left in a folder, and `--read` compares with
them what is read there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from damaged_files import drawn

from aecore.codec import container
from aecore.compression import load_codec
from aecore.models import PictureCodec

HIGHEST, WIDEST = 2000, 3000
KEPT = 20
REFINED_PIXELS = 40_000  # larger pictures are not refined here, which would take too long


def on_threads(count: int, function, *arguments):
    """Return what a function gives on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return function(*arguments)
    finally:
        torch.set_num_threads(before)


def written(codec: PictureCodec, x: torch.Tensor, quality: float, refine: int) -> tuple[bytes, torch.Tensor]:
    """Return the file of a picture, and the coded values that the encoder has put into it."""
    said, coded = [], codec._coded

    def watched(*given):
        said.append(coded(*given))
        return said[-1]

    codec._coded = watched
    (file,) = codec.compress(x, quality, refine)
    del codec._coded
    return next(pair for pair in said if pair[0] == file)


def values_of(codec: PictureCodec, file: bytes) -> torch.Tensor:
    """Return the coded values that are read from a file."""
    content = container.unpack(file)
    grid = tuple(-(-length // codec.stride) for length in (content.height, content.width))
    return codec._code_of(content.payload, grid, round((content.quality - 1) * container.QUALITY_STEPS))


def campaign(codec: PictureCodec, count: int, keep: Path | None) -> dict:
    """Return what became of so many pictures."""
    again, rng, start = PictureCodec.from_bytes(codec.to_bytes()), np.random.default_rng(1), time.perf_counter()
    wrong, pixels, size, borders, refined = [], 0, 0, 0, 0
    for number in range(count):
        height, width = (int(np.exp(rng.uniform(0, np.log(most + 1)))) for most in (HIGHEST, WIDEST))
        x, quality = drawn(rng, height, width, 1 + 2 * (number % 2)), float(rng.uniform(1, codec.levels))
        refine = 2 if number % 10 in (4, 9) and height * width <= REFINED_PIXELS else 0
        file, said = on_threads(1, written, codec, x, quality, refine)
        picture = codec._drawn(said, x.shape[1:], round((container.unpack(file).quality - 1) * container.QUALITY_STEPS))
        for threads in (1, 2):
            exact = torch.equal(on_threads(threads, values_of, again, file), said)
            found = on_threads(threads, again.decompress, [file])[0]
            apart = (found - picture).abs().max().item() * 255 if found.shape == x.shape[1:] else 255
            borders += apart > 0
            if not exact or apart > 1.01:
                wrong.append(f"number {number}, {tuple(x.shape)}, {threads} threads")
        pixels, size, refined = pixels + height * width, size + len(file), refined + bool(refine)
        if keep and number < KEPT:
            (keep / f"{number}.aec").write_bytes(file)
            np.savez_compressed(keep / f"{number}.npz", values=said.numpy(), picture=(picture * 255).byte().numpy())
    return {
        "pictures": count, "megapixels": round(pixels / 1e6, 1), "megabytes": round(size / 1e6, 2), "refined": refined,
        "readings with a pixel 1 of 255 apart": borders, "wrong": wrong, "seconds": round(time.perf_counter() - start),
    }  # fmt: skip


def read(codec: PictureCodec, folder: Path) -> dict:
    """Return how the files of a folder are read here, beside what was said where they were made."""
    wrong, borders = [], 0
    files = sorted(folder.glob("*.aec"), key=lambda path: int(path.stem))
    for path in files:
        file, kept = path.read_bytes(), np.load(path.with_suffix(".npz"))
        exact = np.array_equal(values_of(codec, file).numpy(), kept["values"])
        found = (codec.decompress([file])[0] * 255).round().byte().numpy()
        apart = np.abs(found.astype(int) - kept["picture"]).max()
        borders += bool(apart)
        if not exact or apart > 1:
            wrong.append(f"{path.name}: values {'right' if exact else 'WRONG'}, pixels {apart} of 255 apart")
    told = {"torch": torch.__version__, "files": len(files)}
    return told | {"files with a pixel 1 of 255 apart": borders, "wrong": wrong}


def main() -> int:
    """Run the campaign; return 1 where anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--weights", help="of a codec; without, the published one is used")
    parser.add_argument("--keep", type=Path, help="a folder for twenty of the files and what they hold")
    parser.add_argument("--read", type=Path, help="such a folder: read its files instead")
    options = parser.parse_args()
    codec = load_codec(options.weights)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    found = read(codec, options.read) if options.read else campaign(codec, options.pictures, options.keep)
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
