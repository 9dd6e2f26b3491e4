"""The command `aecore`: what is here, fetch data, train, publish, set and grade work, compress pictures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, config, distributed, machine

if TYPE_CHECKING:  # importing it takes torch along, which half of the commands do not need
    from .objectives import Objective

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C has ended


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0; 1 after an error that was explained; 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    from .training import TrainingDiverged

    try:
        with distributed.process_group():
            config.speak()
            status = options.run(options) or 0
            sys.stdout.flush()  # what little is written may lie there until the end
            return status
    except BrokenPipeError:  # the reader of our output has seen enough, as `aecore doctor | head` has
        # Or Python itself would try to write the rest at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, ValueError, TrainingDiverged, distributed.ProcessLost) as error:
        print(f"aecore {options.command}: {error}", file=sys.stderr)
        return 1


def doctor(options: argparse.Namespace) -> None:
    """Say what this machine has, which data lies where, and which runs are published."""
    from .runs import store

    print(f"aecore {__version__} · {machine.versions_line()} · {machine.description()}")
    print(f"profile: {config.profile()} (AECORE_PROFILE)")
    print(f"own runs: {config.runs_root()} (AECORE_RUNS), {_writable(config.runs_root())}")
    print("\nData (AECORE_DATA)")
    _list_data()
    print("\nPublished runs")
    published, weights = store.published(), store.published_weights()
    for chapter in sorted({facts["name"][:2] for facts in published}):
        names = [facts["name"] for facts in published if facts["name"][:2] == chapter]
        shipped = [weights[name].stat().st_size for name in names if name in weights]
        days = sorted(facts["date"][:10] for facts in published if facts["name"] in names)
        told = f"{len(shipped)} with weights, {sum(shipped) / 1e6:.2f} MB" if shipped else "numbers only"
        when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        print(f"  chapter {chapter}: {len(names)} run{'s' if len(names) > 1 else ''} of {when}, {told}")
    if not published:
        print("  none")


def data(options: argparse.Namespace) -> None:
    """List the data sets, or fetch those that are named."""
    from .data import load

    for name in options.names:
        load(name, stand_in=options.stand_in)
    if not options.names:
        _list_data()


def train(options: argparse.Namespace) -> int:
    """Train a model by name and print its scores on the test images; several processes with torchrun."""
    from .data import load
    from .experiment import fit
    from .metrics import evaluate
    from .models import create, get
    from .training import Plan

    get(options.model)  # what is wrong is said before anything is downloaded
    plan = Plan(
        epochs=options.epochs, batch_size=options.batch_size, lr=options.lr, crop=options.crop, flip=options.flip,
        schedule=options.schedule, patience=options.patience, precision=options.precision, seed=options.seed,
    )  # fmt: skip
    with distributed.first_rank_first():
        size = {} if options.size is None else {"size": options.size}
        splits = load(options.data, stand_in=options.stand_in, **size)
    model = create(options.model, splits.shape, options.code_size, options.stride)
    run = fit(model, splits, plan, objective=_objective(options, splits.shape[1]), name=options.name)
    if run.history.interrupted:
        return INTERRUPTED
    scores = evaluate(run.model, splits.test)
    if distributed.rank() == 0:
        print(scores)
    return 0


def _objective(options: argparse.Namespace, size: int) -> Objective:
    """Return what suits the model: the bound of a variational one, two sizes for a joint one, else the pixels."""
    from .objectives import ELBO, JointResolutions, Reconstruction

    if options.model == "variational":
        return ELBO(options.beta)
    if options.model == "joint":
        largest = options.crop or size
        return JointResolutions((largest, largest // 2))
    return Reconstruction()


def publish(options: argparse.Namespace) -> None:
    """Execute a chapter under the full profile and store its outputs and its runs."""
    from .publishing import publish

    found = sorted(Path(options.folder).glob(f"{options.chapter}_*.ipynb"))
    if not found:
        raise ValueError(f"chapter: there is no {options.folder}/{options.chapter}_….ipynb")
    for path in found:
        facts = publish(path)
        print(f"published {path}: {facts['date']}, {facts['device']}, {len(facts['runs'])} runs")


def editions(options: argparse.Namespace) -> None:
    """Make the notebooks that readers, students and instructors open from the chapters."""
    with _extra_course():
        from .course.editions import make
    made = make(Path(options.out), Path(options.chapters))
    print(f"{len(made)} notebooks in {options.out}")


def course(options: argparse.Namespace) -> None:
    """Make the copies of chapters that are set as coursework, or grade what was handed in."""
    options.course(options)


def _make(options: argparse.Namespace) -> None:
    """Write student copies, instructor copies and points.csv."""
    with _extra_course():
        from .course import handout
    numbers = [number.strip() for number in options.chapters.split(",") if number.strip()]
    roster = Path(options.roster) if options.roster else None
    wanted = handout.Handout(numbers, options.seed, options.format, roster)
    made = handout.make(Path(options.out), Path(options.folder), wanted)
    print(f"{len(made)} files in {options.out}")


def _grade(options: argparse.Namespace) -> None:
    """Grade a folder or zip file of submissions: grades.csv, a page for each student, and what the system imports."""
    with _extra_course():
        from .course import grading, running

    tables = ("points", "versions", "written", "roster")
    given = {name: Path(path) for name in tables if (path := getattr(options, name))}
    limits = running.Limits(options.cell_seconds, options.seconds, options.megabytes)
    told = {name: getattr(options, name) for name in ("lms", "assignment", "jobs")}
    wanted = grading.Course(**given, **told, limits=limits)

    def tell(marks) -> None:
        remarks = f"  ({'; '.join(marks.remarks)})" if marks.remarks else ""
        still = f", {len(marks.open)} answer{'s' * (len(marks.open) > 1)} to mark by hand" if marks.open else ""
        print(f"{marks.submission.name}: {marks.total:g} of {marks.out_of:g} points{still}{remarks}", flush=True)

    report = grading.grade(Path(options.submissions), Path(options.out), wanted, tell)
    for remark in report.remarks:
        print(f"note: {remark}")
    print(f"{len(report.marks)} submissions graded; {len(report.files)} files in {options.out}")


@contextmanager
def _extra_course() -> Iterator[None]:
    """Say of a library that is missing how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; the extra 'course' brings it: python -m pip install -e '.[course]'") from error


def compress(options: argparse.Namespace) -> None:
    """Write a picture (PNG or JPEG) as an .aec file."""
    from . import compression

    codec = compression.load_codec(options.weights)
    print(compression.compress(options.picture, options.out, options.quality, codec, options.refine))


def decompress(options: argparse.Namespace) -> None:
    """Write the picture of an .aec file as a PNG."""
    from . import compression

    print(compression.decompress(options.file, options.out, compression.load_codec(options.weights)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aecore", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(run) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        return command

    add(doctor)
    fetch = add(data)
    fetch.add_argument("names", nargs="*", help="what to fetch; nothing lists all sets")
    fetch.add_argument("--stand-in", action="store_true", help="accept a stand-in that lies in the data folder")
    _add_training(add(train))
    chapter = add(publish)
    chapter.add_argument("chapter", help="its number, 02")
    chapter.add_argument("--folder", default="chapters")
    copies = add(editions)
    copies.add_argument("out", help="the folder to write into, one below it for each edition")
    copies.add_argument("--chapters", default="chapters", help="the folder of the notebooks")
    _add_course(add(course))
    to_file, to_picture = add(compress), add(decompress)
    to_file.add_argument("picture", help="a PNG or JPEG file")
    to_file.add_argument("--quality", type=float, default=2, help="1 to 4, also between two of them: 2.5 (default: 2)")
    to_file.add_argument(
        "--refine", type=int, default=0, metavar="STEPS",
        help="optimise the code for this picture: 100 steps take half a minute a megapixel on one core (default: 0)",
    )  # fmt: skip
    to_picture.add_argument("file", help="an .aec file")
    for command, what in ((to_file, "the .aec file"), (to_picture, "the PNG file")):
        command.add_argument("-o", "--out", required=True, help=f"{what} to write")
        command.add_argument("--weights", help="the weights of another codec than the published one")
    return parser


def _add_course(command: argparse.ArgumentParser) -> None:
    steps = command.add_subparsers(dest="step", required=True)
    copies = steps.add_parser("make", help=_make.__doc__)
    copies.set_defaults(course=_make)
    copies.add_argument("out", help="the folder to write into")
    copies.add_argument("--chapters", required=True, help="their numbers with commas, 01,02")
    copies.add_argument("--seed", type=int, help="a whole number: questions get other numbers than the book's")
    copies.add_argument("--format", default="plain", choices=("plain", "nbgrader"))
    copies.add_argument("--roster", help="an export of Canvas or Moodle: with a seed, other numbers for each student")
    copies.add_argument("--folder", default="chapters", help="the folder of the notebooks")
    marks = steps.add_parser("grade", help=_grade.__doc__)
    marks.set_defaults(course=_grade)
    marks.add_argument("submissions", help="their folder, or the zip file that Canvas or Moodle gives")
    marks.add_argument("--out", default="grades", help="the folder to write into")
    marks.add_argument("--points", help="a points.csv; without one, all exercises of the chapters that occur")
    marks.add_argument("--versions", help="the versions.csv of copies that were made with a seed")
    marks.add_argument("--written", help="a written.csv in which you filled in the points of answers in sentences")
    marks.add_argument("--roster", help="Canvas's exported gradebook or Moodle's grading worksheet, to be filled")
    marks.add_argument("--lms", choices=("canvas", "moodle"), help="whose file names the submissions have")
    marks.add_argument(
        "--assignment", default="", help="the column of Canvas's gradebook to fill, where it has several"
    )
    marks.add_argument("--jobs", type=int, default=1, help="how many notebooks are run at a time, 1 GB each (1)")
    marks.add_argument("--cell-seconds", type=int, default=120, help="that a cell may take (120)")
    marks.add_argument("--seconds", type=int, default=900, help="that a notebook may take (900)")
    marks.add_argument("--megabytes", type=int, default=4096, help="of memory that a notebook may take (4096)")


def _add_training(command: argparse.ArgumentParser) -> None:
    from .models import MODELS
    from .training.plan import PRECISIONS, SCHEDULES

    command.add_argument("--model", default="linear", help=_one_of(MODELS))
    command.add_argument("--data", default="mnist")
    command.add_argument("--size", type=int, help="side of the centre crop of each photograph of div2k")
    command.add_argument("--stand-in", action="store_true", help="accept a stand-in that lies in the data folder")
    command.add_argument("--code-size", type=int, help="values in the code (default: 32; on a grid 8 channels)")
    command.add_argument("--stride", type=int, help="pixels for one place of a code that is a grid (4)")
    command.add_argument("--beta", type=float, default=1e-3, help="weight of a variational model's divergence (0.001)")
    command.add_argument("--epochs", type=int, default=20)
    command.add_argument("--batch-size", type=int, default=128)
    command.add_argument("--lr", type=float, default=3e-3)
    command.add_argument("--schedule", default="cosine", help=_one_of(SCHEDULES))
    command.add_argument("--patience", type=int, help="stop after so many epochs without a lower validation loss")
    command.add_argument("--crop", type=int, help="train on windows of so many pixels, drawn at random")
    command.add_argument("--flip", action="store_true", help="mirror half of the images")
    command.add_argument("--precision", default="float32", help=f"{_one_of(PRECISIONS)}; this one where it is faster")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--name", help="under which the run is stored")


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _list_data() -> None:
    from .data import available

    for entry in available():
        print(f"  {entry['name']:8} {entry['where']:28} {entry['bytes'] / 1e6:7.1f} MB  {entry['what']}")


def _writable(folder: Path) -> str:
    import os

    nearest = next(p for p in [folder, *folder.parents] if p.exists())
    return "writable" if os.access(nearest, os.W_OK) else "NOT writable"


if __name__ == "__main__":
    sys.exit(main())
