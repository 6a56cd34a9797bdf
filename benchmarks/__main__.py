"""`python -m benchmarks`: measure, write docs/performance.md and its pictures; exit 1 where a goal is missed."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import contenders, imports, modelled, photo, pipeline, report, servers, volume
from benchmarks.figures import REPEATS, Figure, Part, as_json, from_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, FOUND = "performance.md", "performance.json"
PICTURES = {"pipeline": "performance.svg", "server": "performance-servers.svg"}


def main() -> int:
    """Measure; 0 where every goal is met, 1 where one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=PARTS, help="measure this part alone; the page keeps what was found of the other"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer images and repeats, to look; the page is not written"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    options = parser.parse_args()
    parts = {}
    for name in [options.only] if options.only else PARTS:
        parts[name] = PARTS[name](options.quick)
        for one in parts[name].figures:
            said = f"{one.name}, {one.other}: {one.measured():.3g}x, goal {one.goal:g}x, met: {one.met()}"
            print(said, file=sys.stderr, flush=True)
    found = {name: as_json(part) for name, part in parts.items()}
    print(json.dumps(found, indent=2) if options.json else report.markdown(parts, PICTURES))
    if not options.quick:
        write(parts, DOCS)
    return 0 if all(part.met() for part in parts.values()) else 1


def write(measured: dict[str, Part], docs: Path) -> None:
    """Write what was found, the page and the pictures; parts that were not measured stay as they were found before."""
    before = json.loads((docs / FOUND).read_text("utf-8")) if (docs / FOUND).exists() else {}
    parts = {name: from_json(found) for name, found in before.items()} | measured
    found = {name: as_json(part) for name, part in parts.items()}
    (docs / FOUND).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (docs / PAGE).write_text(report.markdown(parts, PICTURES), "utf-8")
    for name, part in parts.items():
        if name not in PICTURES:
            continue
        (docs / PICTURES[name]).write_text(report.svg(part), "utf-8")


def measure_pipeline(quick: bool) -> Part:
    """What runs cost, what functions cost to start, and a photo."""
    return Part(_today(), report.machine(), list(_pipeline(quick=quick)))


def measure_servers(quick: bool) -> Part:
    """What the model server costs beside others."""
    figures, costs, starts = servers.measure(quick=quick)
    return Part(_today(), report.machine(), figures, costs, starts, contenders.versions())


def measure_volume(quick: bool) -> Part:
    """How soon an upload has its row, and what an image costs in runs of any size."""
    with pipeline.local_aws() as bench:
        figures = [volume.measure_upload(bench, 3 if quick else 20)]
        figures += volume.measure(bench, [2_000] if quick else [10_000, 100_000], 1 if quick else 3)
    return Part(_today(), report.machine(), figures)


def model_cost(_quick: bool) -> Part:
    """What a million images cost on AWS, predicted."""
    return Part(_today(), report.machine(), list(modelled.measure()))


PARTS: dict[str, Callable[[bool], Part]] = {
    "pipeline": measure_pipeline,
    "volume": measure_volume,
    "cost": model_cost,
    "server": measure_servers,
}


def _pipeline(*, quick: bool) -> Iterator[Figure]:
    repeats = 2 if quick else REPEATS
    with pipeline.local_aws() as bench:
        yield pipeline.measure_naive(bench, 300 if quick else 1_000, repeats)
        yield pipeline.measure_loop(bench, 1_000 if quick else 10_000, repeats)
    yield imports.measure(repeats)
    yield photo.measure(repeats)


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    sys.exit(main())
