"""Write book/results.md, a row for each method of the chapters, from the stored runs: python book/tools/results.py.

What was measured is read from aecore/published; nothing is computed, and no number of the page is typed. What stands
here is how a method is called, how many numbers its code has, and which runs it is: names without the seed. Run it
after a chapter was published; a test compares the page with what this would write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "results.md"
CHAPTERS = {path.stem[:2]: path.stem for path in ROOT.glob("chapters/[0-9][0-9]_*.md")}


@dataclass(frozen=True)
class Method:
    """A row: the runs it is the mean of, what to call it, how many numbers its code has; `entry` is one of several
    things that were measured on a run at once."""

    runs: str
    label: str
    numbers: int | None = None
    entry: tuple[str, ...] = ()


def _each(form: str, label: str, sizes: tuple[int, ...]) -> tuple[Method, ...]:
    """Return a row for each size of a code."""
    return tuple(Method(form.format(k), label, k) for k in sizes)


DECODERS = {
    "nearest": "nearest-neighbour upsampling", "shuffle": "pixel shuffle", "shuffle-icnr": "pixel shuffle, ICNR start",
    "shuffle-icnr-blur": "pixel shuffle, ICNR start, blur", "transposed-4": "transposed convolution, width 4",
}  # fmt: skip
SIZES = (1, 2, 4, 10, 32)


def _small(data: str, pca: tuple[int, ...], steps: bool) -> tuple[Method, ...]:
    """Return the rows of chapters 5 to 8 that photographs and digits of 32 × 32 pixels have in common."""
    features = f"08-features-{data}"
    files = [Method(features, f"WebP, quality {q}", None, ("by_webp", f"WebP, quality {q}")) for q in (1, 10, 25)]
    principal = [Method(features, "PCA", k, ("by_pca", f"PCA, {k:,} numbers")) for k in pca]
    rounded = [
        Method(features, f"PCA in steps of {step}", 512, ("pca_in_steps", step)) for step in ("0.2", "0.3", "0.5")
    ]
    return (
        *files, *principal, *(rounded if steps else ()),
        Method(f"07-s0-{data}-upsampling", "S0's baseline", 1000),
        Method(f"07-s0-{data}-shuffle", "S0 with pixel shuffle", 1000),
        *(Method(f"05-{data}-{way}", words, 128) for way, words in DECODERS.items()),
        Method(f"06-s0-{data}-plain-15", "S0's network, fifteen epochs at full size", 1000),
        Method(f"06-s0-{data}-then-10", "progressive resizing, S0's way", 1000),
        Method(f"07-resnet18-{data}", "ResNet-18 from a random start", 1000),
        Method(f"07-resnet18-frozen-{data}", "ResNet-18 pretrained, frozen", 1000),
        Method(f"07-resnet18-tuned-{data}", "ResNet-18 pretrained, fine-tuned", 1000),
        Method(f"08-feature-{data}-upsampling-0123-0.01-15", "S0 with feature loss, weight 0.01", 1000),
    )  # fmt: skip


# What a table holds, by its heading: the set that was measured on, and the rows.
TABLES: dict[tuple[str, str], tuple[Method, ...]] = {
    ("MNIST, 28 × 28", "mnist-test"): (
        *_each("01-linear-{}", "linear", (32, 64, 128, 256)),
        Method("02-s2", "S2's convolutional autoencoder", 392),
        Method("02-mended", "S2's, all changes together", 392),
        *_each("02-strided-conv-{}", "convolutional, strided", (32, 64, 128)),
        Method("02-dense-32", "dense, as many parameters", 32),
        *_each("04-s4-mnist-{}", "dense, S4's settings", SIZES),
        *_each("04-dense-mnist-{}", "dense, trained well", SIZES),
        *_each("04-conv-mnist-{}", "convolutional, trained well", SIZES),
        Method("06-mnist-thick-plain-6", "thick outer layers, at full size", 128),
        Method("06-mnist-thick-then-3", "thick outer layers, progressive", 128),
        Method("06-mnist-fully-plain-6", "fully convolutional, at full size", 128),
        Method("06-mnist-fully-then-3", "fully convolutional, progressive", 128),
    ),
    ("MNIST at 32 × 32", "mnist at 32×32-test"): (
        *_small("mnist", (64, 300), steps=False),
        Method("07-small-second-mnist-64-0.002", "network that starts as PCA", 64),
    ),
    ("CIFAR-10, 32 × 32", "cifar10-test"): (
        *_small("cifar10", (192, 1000), steps=True),
        Method("05-both-linear", "both halves linear", 1000),
        Method("05-linear-decoder", "S0's encoder, linear decoder", 1000),
        Method("05-linear-encoder", "linear encoder, S0's decoder", 1000),
        Method("05-pca-start", "S0's network that starts as PCA", 1000),
        Method("06-thick-plain-8", "thick outer layers, at full size", 128),
        Method("06-thick-then-4", "thick outer layers, progressive", 128),
        Method("06-fully-plain-16", "fully convolutional, at full size", 128),
        Method("06-fully-then-8", "fully convolutional, progressive", 128),
        Method("07-small-second-cifar10-192-0.002", "small network that starts as PCA", 192),
        Method("07-large-second-cifar10-192-0.0006", "large network that starts as PCA", 192),
        Method("08-small-feature-0.01-cifar10-192", "small, starts as PCA, feature loss", 192),
        Method("08-large-feature-0.03-cifar10-192", "large, starts as PCA, feature loss", 192),
        Method("08-large-rounded-feature-0.03-512", "large decoder of rounded PCA, feature loss", 512),
    ),
    ("Letters and digits in place of EMNIST Balanced, 28 × 28", "emnist-standin-test"): (
        Method("03-transposed-2", "transposed convolution, width 2", 128),
        Method("03-transposed-3", "transposed convolution, width 3", 128),
        Method("03-transposed-4", "transposed convolution, width 4", 128),
        Method("03-transposed-deep", "transposed convolutions, deep", 128),
        Method("03-shuffle", "pixel shuffle", 128),
        Method("03-nearest", "nearest-neighbour upsampling", 128),
        Method("03-nearest-wide", "nearest-neighbour upsampling, 64 channels", 128),
        Method("03-bilinear", "bilinear upsampling", 128),
        Method("03-ties-cut", "nearest-neighbour upsampling, ties cut", 128),
    ),
    ("Photographs in place of STL-10", "stl10-standin-test"): (
        *_each("04-s4-stl10-{}", "dense, S4's settings", SIZES),
    ),
    ("Kodak, crops of 344 × 344 drawn at 172 × 172", "kodak-test"): (
        Method("09-photo-high-PCA", "decode and shrink, 32 levels", 22188, ("by_way", "1", "3")),
        Method("09-photo-high-PCA", "decoder fine-tuned, 32 levels", 22188, ("by_way", "2", "3")),
        Method("09-photo-joint", "joint training, 32 levels", 22188, ("by_way", "1", "3")),
        Method("09-photo-low-PCA", "own codec, 32 levels", 22188, ("by_way", "0", "3")),
        Method("09-photo-high-PCA", "JPEG of the small size", None, ("by_files", "JPEG, small", "5")),
        Method("09-photo-high-PCA", "JPEG of the large size, shrunk", None, ("by_files", "JPEG, shrunk", "2")),
        Method("09-photo-high-PCA", "JPEG 2000 for both sizes", None, ("by_files", "JPEG 2000, small", "2")),
    ),
}  # fmt: skip

HEAD = """\
# Results

% Written by book/tools/results.py from the stored runs. Change that, not this.

The methods of the chapters side by side, a table for each data set. Every number comes from runs that are stored with
the package and is the mean over as many seeds as the column before the last says. The chapter of a row tells how it was
trained, how much the seeds differ, and what may be concluded from it.

- **Numbers** are those in the code, not bytes.
- **MSE** is that of test pictures with values in [0, 1], reconstructions clipped. **PSNR** is the mean over the
  pictures, in decibels.
- **Bytes** are the mean of a picture. For WebP, JPEG and JPEG 2000 they are those of whole files. For all others they
  are an ideal length by the frequencies of the rounded numbers, without tables and headers. The numbers are rounded to
  256 levels, and error and judges are those before this rounding; where a row says *in steps*, *rounded* or *levels*,
  they are those after it.
- **Judges** is the accuracy on the reconstructions of three classifiers that were trained on originals.
- An empty place was not measured. ¹ The error on validation pictures: chapter 1 stores no other.
"""


def stored(root: Path = ROOT) -> dict[str, list[dict]]:
    """Return the published runs by their names without the seed: {"02-s2": [run, run, run]}."""
    found: dict[str, list[dict]] = {}
    for path in sorted((root / "aecore" / "published").glob("*/runs.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            run = json.loads(line)
            name, _, seed = run["name"].rpartition("-")
            # The last number of "01-linear-32" is no seed; both names find the run.
            for key in {run["name"], name if seed.isdigit() else run["name"]}:
                found.setdefault(key, []).append(run)
    return found


def values(run: Mapping, images: str, method: Method) -> dict[str, float]:
    """Return what was measured on one run: some of mse, psnr, bytes, accuracy."""
    measured = {one["what"]: one["value"] for one in run["measured"].values() if one["images"] == images}
    if method.entry:
        what, *keys = method.entry
        return _entry(measured[what], tuple(keys)) if what in measured else {}  # rivals: measured once, not per seed
    found = {}
    if scores := measured.get("_clipped_scores"):
        found |= {"mse": scores["mse"], "psnr": scores["psnr_db"]}
    elif "in_steps" not in measured:
        found |= {"validation": run["history"]["valid"]["loss"][-1]}
    for name in ("accuracy", "accuracy_of_digits"):
        if name in measured:
            found["accuracy"] = fmean(measured[name])
    if "of_code" in measured:
        found["bytes"] = measured["of_code"]["bytes"]
    if "in_steps" in measured:
        found |= {"mse": measured["in_steps"]["mse"], "bytes": measured["in_steps"]["bytes"]}
    return found


def _entry(value, keys: tuple[str, ...]) -> dict[str, float]:
    """Return one of several things that were measured at once: a dict of scores, or a point of bytes and decibels."""
    if isinstance(value, list) and isinstance(value[0], dict):  # ways to a picture, with a point for each rounding
        value = value[int(keys[0])]["rates"][int(keys[1])]
    elif len(keys) == 2:
        value = value[keys[0]][int(keys[1])]
    if isinstance(value, list):
        return {"bytes": value[0], "psnr": value[1]}
    value = value[keys[0]]
    scores = value.get("scores")
    found = {"bytes": value["bytes"], "accuracy": fmean(value["accuracy"])}
    return found | ({"mse": scores[1], "psnr": scores[2]} if scores else {"mse": value["mse"]})


def row(method: Method, images: str, runs: Mapping[str, list[dict]]) -> str:
    """Return a method's row of a table in Markdown.

    Raises:
        ValueError: no such run is stored, or nothing was measured on it.
    """
    if method.runs not in runs:
        raise ValueError(f"method {method.label!r}: no run {method.runs!r} is stored; was the chapter published anew?")
    each = [values(run, images, method) for run in runs[method.runs]]
    each = [one for one in each if "mse" in one] or [one for one in each if one]  # some seeds served another purpose
    if not each:
        raise ValueError(f"method {method.label!r}: nothing was measured on {images} for {method.runs!r}")
    means = {name: fmean(one[name] for one in each) for name in each[0] if all(name in one for one in each)}
    error = f"{_figures(means['validation'])}¹" if "validation" in means else _shown(means.get("mse"), _figures)
    cells = [
        method.label,
        _shown(method.numbers, "{:,}".format),
        error,
        _shown(means.get("psnr"), "{:.2f}".format),
        _shown(means.get("bytes"), "{:,.0f}".format),
        _shown(means.get("accuracy"), "{:.3f}".format),
        str(len(each)) if not method.entry or method.entry[0] == "by_way" else "",  # rivals have no seeds
        f"{{doc}}`{int(method.runs[:2])} <../chapters/{CHAPTERS[method.runs[:2]]}>`",
    ]
    return f"| {' | '.join(cells)} |"


def _figures(error: float) -> str:
    """Return an error with three significant digits, without an exponent."""
    return f"{error:.{2 - math.floor(math.log10(error))}f}"


def _shown(value, form) -> str:
    return "" if value is None else form(value)


def page(root: Path = ROOT) -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *_tables(stored(root))])


def _tables(runs: Mapping[str, list[dict]]) -> Iterator[str]:
    for (title, images), methods in TABLES.items():
        yield f"## {title}\n"
        yield "| method | numbers | MSE | PSNR | bytes | judges | seeds | chapter |"
        yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
        yield from (row(method, images, runs) for method in methods)
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page().rstrip("\n") + "\n", encoding="utf-8")
