"""`python -m benchmarks`: measure, write docs/performance.md and its picture; exit 1 where a goal is missed."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import imports, photo, pipeline, report
from benchmarks.figures import REPEATS, Figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURE = "performance.md", "performance.svg"


def main() -> int:
    """Measure all figures; 0 where every goal is met, 1 where one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer images and repeats, to look; the page is not written"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    figures = []
    for one in measure(quick=options.quick):
        figures.append(one)
        print(f"{one.name}: {one.measured():.3g}x, goal {one.goal:g}x, met: {one.met()}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(report.as_json(figures), indent=2))
    else:
        print(report.markdown(figures, PICTURE))
    if not options.quick:
        (DOCS / PAGE).write_text(report.markdown(figures, PICTURE), "utf-8")
        (DOCS / PICTURE).write_text(report.svg(figures), "utf-8")
    return 0 if all(one.met() for one in figures) else 1


def measure(*, quick: bool) -> Iterator[Figure]:
    """The figures, one after the other."""
    repeats = 2 if quick else REPEATS
    with pipeline.local_aws() as bench:
        yield pipeline.measure_naive(bench, 300 if quick else 1_000, repeats)
        yield pipeline.measure_loop(bench, 1_000 if quick else 10_000, repeats)
    yield imports.measure(repeats)
    yield photo.measure(repeats)


if __name__ == "__main__":
    sys.exit(main())
