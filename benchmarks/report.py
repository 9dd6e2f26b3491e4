"""Tables, plots and sentences from the results files: nothing in them is typed by hand."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

from aecore import files, session

from . import environment
from .contestants import FLOOR

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "book" / "_static"
TABLES = "tables.md"
OURS = ("fit", "fit, bfloat16")
PROPER = {"python": "Python", "torch": "PyTorch", "numpy": "NumPy", "pillow": "Pillow"}

QUICK = """\
:::{warning}
These are the numbers of a smoke test, with so few images that they mean nothing.
:::
"""
NO_GPU = """\
No GPU has been measured beside the other libraries yet. The same command measures one, and its tables and its plot
will then follow here.
"""


# ---- numbers ----


def load(folder: Path = RESULTS) -> dict[str, dict]:
    """Return the results by their slugs, those of processors first."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: (item[1]["machine"]["device"] != "cpu", item[0])))


def seconds_per_epoch(case: dict, name: str) -> list[float]:
    """Return a contestant's seconds for one epoch, one value for each repetition in which it took part."""
    return [seconds / case["epochs"] for seconds in case["contestants"][name]["seconds"] if seconds is not None]


def images_per_second(case: dict, name: str) -> float:
    """Return how many images a contestant trains on in a second, by its median repetition."""
    return case["images"] / statistics.median(seconds_per_epoch(case, name))


def speed_ratios(case: dict, name: str, other: str) -> list[float]:
    """Return how many times as fast `name` was as `other` in each round of both, where they ran within a short time."""
    pairs = zip(*(case["contestants"][one]["seconds"] for one in (name, other)), strict=True)
    return [theirs / own for own, theirs in pairs if None not in (own, theirs)]


def speed_ratio(case: dict, name: str, other: str) -> float:
    """Return the median over the rounds: what slows the machine down for a while slows both and cancels."""
    return statistics.median(speed_ratios(case, name, other))


# ---- text ----


def markdown(results: dict[str, dict]) -> str:
    """Return the part of the page that is made from the results: for each machine its tables and its plot."""
    parts = ["<!-- Written by `make bench` from the JSON files beside this one. Changes by hand are lost. -->\n"]
    for slug, result in results.items():
        parts.append(f"### {result['machine']['name']}\n")
        parts += [QUICK] if result["quick"] else []
        parts.append(measured_with(result))
        for case in result["cases"].values():
            parts += [case_sentence(case), table(case, with_gpu=result["machine"]["device"] == "cuda")]
        parts.append(picture(slug, result))
    if not any(result["machine"]["device"] == "cuda" for result in results.values()):
        parts.append(NO_GPU)
    return "\n".join(parts)


def measured_with(result: dict) -> str:
    """Return the sentences on date, versions and settings."""
    machine, settings = result["machine"], result["settings"]
    versions = ", ".join(f"{PROPER.get(name, name)} {version}" for name, version in result["versions"].items())
    beside = "" if machine["device"] == "cpu" else f" beside {machine['processor']}"
    return (
        f"Measured on {result['date']}{beside} under {machine['system']} with {versions}. "
        f"Each step takes {settings['batch_size']} images at learning rate {settings['lr']:g}; "
        f"each table shows the median and the range of {settings['repetitions']} repetitions, or of as many as stand "
        "behind a name.\n"
    )


def case_sentence(case: dict) -> str:
    """Return the title of a case and its size."""
    epochs = "one epoch" if case["epochs"] == 1 else f"{case['epochs']} epochs"
    return (
        f"**{case['title']}**: {case['weights']:,} weights, {case['macs']:,} multiply–adds for each image. "
        f"A repetition trains {epochs} of {case['images']:,} images.\n"
    )


def table(case: dict, with_gpu: bool) -> str:
    """Return one case as a table, the contestants in the order in which they are registered."""
    head = ["Loop", "Seconds per epoch", "Range", "Images per second", "Speed, floor = 100 %", "Memory, MB"]
    head += ["GPU memory, MB"] if with_gpu else []
    lines = [_line(head), _line([":--"] + ["--:"] * (len(head) - 1))]
    for name, found in case["contestants"].items():
        seconds = seconds_per_epoch(case, name)
        rounds = len(found["seconds"])
        cells = [
            _name(name) if len(seconds) == rounds else f"{_name(name)} ({len(seconds)})",
            _figures(statistics.median(seconds)),
            f"{_figures(min(seconds))}–\u2060{_figures(max(seconds))}",  # the invisible joiner keeps them in one line
            _figures(images_per_second(case, name)),
            _figures(100 * speed_ratio(case, name, FLOOR)),
            _megabytes(found["memory_mb"]),
        ]
        lines.append(_line(cells + ([_megabytes(found["gpu_memory_mb"])] if with_gpu else [])))
    for name, why in case["left_out"].items():
        lines.append(_line([_name(name), why] + [""] * (len(head) - 2)))
    return "\n".join(lines) + "\n"


def picture(slug: str, result: dict) -> str:
    """Return the plot with what it shows for those who cannot see it, and a caption."""
    shown = [f"{case['title']}: " + ", ".join(_bar_in_words(case)) for case in result["cases"].values()]
    return (
        f"```{{image}} /{PICTURES.relative_to(ROOT).as_posix()}/{picture_name(slug)}\n"
        f":alt: Bars for the speed of each loop in per cent of the bare step. {'. '.join(shown)}.\n"
        ":class: wide\n:align: center\n```\n\n"
        ":::{div} caption\n"
        "How fast each loop trains, the bare step being 100 %. A bar is the median over the rounds, a dot is one "
        f"round.{_conclusion(result)}\n:::\n"
    )


def _conclusion(result: dict) -> str:
    """Return what the plot says of `fit`, or nothing where somebody left it out of a measurement of their own."""
    ratios = [speed_ratio(case, "fit", FLOOR) for case in result["cases"].values() if "fit" in case["contestants"]]
    if not ratios:
        return ""
    least, most = _figures(100 * min(ratios)), _figures(100 * max(ratios))
    return f" On this machine `fit` is {least} to {most} % as fast as the bare step."


def picture_name(slug: str) -> str:
    """Return the file name of a machine's plot."""
    return f"speed-{slug}.png"


def _bar_in_words(case: dict) -> list[str]:
    return [f"{name} {_figures(100 * speed_ratio(case, name, FLOOR))} %" for name in case["contestants"]]


def _name(name: str) -> str:
    return f"`fit`{name.removeprefix('fit')}" if name in OURS else name


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figures(value: float) -> str:
    """Return a positive number with three significant digits, and never with an exponent."""
    rounded = float(f"{value:.3g}")  # first, since 99.96 becomes 100 and needs no place after the point
    places = 2 - math.floor(math.log10(rounded))
    return f"{rounded:,.{max(places, 0)}f}"


def _megabytes(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


# ---- plot ----


def plot(result: dict, path: Path, stamp: str) -> None:
    """Draw the speeds of one machine into a PNG.

    Args:
        result: of that machine.
        path: of the picture.
        stamp: the SHA-256 of the results file; it goes into the PNG, so that an old plot is found out.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(result["cases"].values())
    with plt.rc_context(session.PLOT_STYLE):
        rows = max(len(case["contestants"]) for case in cases)
        # One below the other: side by side the words would be too small to read on the page.
        figure, panels = plt.subplots(len(cases), 1, figsize=(6.5, len(cases) * (0.25 * rows + 0.9)), squeeze=False)
        for axes, case in zip(panels[:, 0], cases, strict=True):
            _draw_case(axes, case)
        figure.suptitle(result["machine"]["name"], fontsize=10)
        with files.atomic_write(path) as part:
            figure.savefig(part, format="png", metadata={"Description": stamp})
        plt.close(figure)


def _draw_case(axes, case: dict) -> None:
    names = list(case["contestants"])
    for row, name in enumerate(names):
        ratios = [100 * ratio for ratio in speed_ratios(case, name, FLOOR)]
        colour = "#0072B2" if name in OURS else "#BBBBBB"
        axes.barh(row, statistics.median(ratios), color=colour, height=0.7)
        if name != FLOOR:
            axes.plot(ratios, [row] * len(ratios), "o", color="black", markersize=2.5)
    axes.axvline(100, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("speed, bare step = 100 %")
    axes.set_title(case["title"], fontsize=10)


# ---- files ----


def keep(result: dict, folder: Path) -> str:
    """Write the results of a machine into `folder`; return their slug."""
    slug = environment.slug(result["machine"])
    files.write_text(folder / f"{slug}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return slug


def write(folder: Path = RESULTS, pictures: Path = PICTURES) -> str:
    """Write the tables into `folder` and a plot for each machine into `pictures`; return the tables."""
    results = load(folder)
    for slug, result in results.items():
        plot(result, pictures / picture_name(slug), files.sha256(folder / f"{slug}.json"))
    text = markdown(results)
    files.write_text(folder / TABLES, text)
    return text
