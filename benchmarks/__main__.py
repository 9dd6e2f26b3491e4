"""`python -m benchmarks`: measure, keep the results, write tables and plots. `make bench` calls this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import report
from .cases import CASES
from .contestants import CONTESTANTS
from .measure import QUICK_REPETITIONS, REPETITIONS, OtherWork, Settings, WorkerFailed, measure

# What is not whole may not take the place of what is.
ASIDE = report.ROOT / "_build" / "benchmarks"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast is fit, beside other loops?")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few images, numbers without meaning")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument(
        "--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME",
        help="the bare step must be among them",
    )  # fmt: skip
    parser.add_argument("--repetitions", type=int, help=f"rounds (default {REPETITIONS}, quick {QUICK_REPETITIONS})")
    parser.add_argument(
        "--results", type=Path,
        help="folder (default benchmarks/results for a whole measurement, _build/benchmarks for any other)",
    )  # fmt: skip
    parser.add_argument("--report", action="store_true", help="measure nothing, write tables and plots again")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Do what the command line asks for; end with a message where a measurement would mean nothing."""
    asked = arguments(given)
    if asked.report:
        _report(asked.results or report.RESULTS)
        return
    usual = QUICK_REPETITIONS if asked.quick else REPETITIONS
    repetitions = usual if asked.repetitions is None else asked.repetitions
    try:
        settings = Settings(tuple(asked.cases), tuple(asked.contestants), repetitions, asked.quick)
        result = measure(settings)
    except (OtherWork, ValueError, WorkerFailed) as error:
        sys.exit(str(error))
    folder = (asked.results or (report.RESULTS if settings.is_whole else ASIDE)).resolve()
    slug = report.keep(result, folder)
    _report(folder)
    print(f"results: {slug}.json in {folder}")


def _report(folder: Path) -> None:
    folder = folder.resolve()
    print(report.write(folder, report.PICTURES if folder == report.RESULTS else folder))


if __name__ == "__main__":
    main()
