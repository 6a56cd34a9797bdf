"""What the bench found as `docs/performance.md` and its pictures."""

import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from benchmarks.figures import Cost, Figure, Part

_INTRODUCTION = """\
# Performance

`make bench` wrote this page. It measures CPU time over whole process trees, because that is what is paid for, and
because wall time on a shared machine swings several-fold. What is compared is measured in turns, in one run, after a
warm-up that does not count; a figure is the median over the pairs, its spread the smallest and the largest.
"""

_PIPELINE = """\
## A run of the pipeline

What counts is the CPU time of the emulator, its Lambda workers, the model server and the client. Both sides of the
first two figures must give equal labels, or there is no figure.
"""

_PIPELINE_NOTES = """\
The usual design and ICS run on the same local AWS, against the same model server, with the same images; at most four
functions run at once in either. The plain loop is one process that keeps nothing: no record, no retry, no alert. ICS's
side holds all of it: planning, staging, routing, rows, receipts, the summary and the alert. What the emulator does for
a request is counted on both sides.
"""

_VOLUME = """\
## Runs of any size

The first figure is time, from an upload's end to the moment at which its row is listed, with the window in which
uploads are gathered at 0. The others are CPU time as above, and the most memory that any of the pipeline's processes,
its Lambda workers, held at once. Every run is reconciled: each image has its row as often as it is listed.
"""

_COST = """\
## A million images on AWS

Not measured: predicted by `ics plan` from the templates of `prod` and the price list `cli/prices.toml`, with 10 ms to
decode an image and 5 ms to infer it, and 2 of 100 images that wait for reviewers; without the endpoint, storage and
transfer. The usual design is predicted by the same model. [operations.md](operations.md#what-a-run-will-cost) says what
is assumed.
"""

_SERVERS = """\
## The model server

Beside it: {others}.
The raw limit decodes and computes in a loop, a process a core, and does nothing else. There are two nets with random
weights, a tiny one for 32 x 32 pixels and one of MobileNetV2's layers for 224 x 224, and JPEGs cut from photographs.
All have the same ONNX Runtime and the same decoder, simplejpeg.

All run at once; each gets full load for a second, in turns. All must give the limit's labels, and its confidences
within 0.0001, with every answer, or there is no figure. Where 32 pictures come in a request, each server gets them in
one body, in its own way: ICS as JSON Lines, MLServer by its V2 protocol, the others as a list of base64 in JSON.
Figures are with 8 connections, unless they say otherwise.
"""

_SERVERS_NOTES = """\
A peer answers label and confidence; ICS adds four alternatives and the model's version, checks each picture before it
is decoded, and logs every request. FastAPI has no queue, no limit and no errors but the framework's own. MLServer runs
in one process, because its workers do not start with the current uvloop. CPU time is of the server alone; the load
comes from a process of its own.
"""


_WIDTH, _LEFT, _LONGEST, _TOP = 940, 28, 540, 64
_INK, _ICS, _OTHER, _LIMIT, _MISSED = "#1b2733", "#1f7a8c", "#b8c4ce", "#465664", "#b23a48"


def markdown(parts: Mapping[str, Part], pictures: Mapping[str, str]) -> str:
    """The page of these parts, `pipeline`, `volume`, `cost`, `server`; `pictures` are the files of their pictures."""
    sections = {"pipeline": _pipeline, "volume": _volume, "cost": _cost, "server": _server}
    return "\n".join(
        [
            _INTRODUCTION,
            *(make(parts[name], pictures.get(name, "")) for name, make in sections.items() if name in parts),
        ]
    )


def svg(part: Part) -> str:
    """The picture of a part."""
    return bars(part.costs) if part.costs else pairs(part.figures)


def _pipeline(part: Part, picture: str) -> str:
    return "\n".join(
        (
            _PIPELINE,
            f"![Costs of ICS beside the usual ways, each pair to its own scale]({picture})\n",
            _figures(part),
            _PIPELINE_NOTES,
            _measured(part),
        )
    )


def _volume(part: Part, _picture: str) -> str:
    return "\n".join((_VOLUME, _figures(part), _measured(part)))


def _cost(part: Part, _picture: str) -> str:
    return "\n".join((_COST, _figures(part), f"Predicted on {part.date}.\n"))


def _server(part: Part, picture: str) -> str:
    names = [f"{name} {version}" for name, version in part.versions.items()]
    return "\n".join(
        (
            _SERVERS.format(others=f"{', '.join(names[:-1])} and {names[-1]}"),
            f"![CPU time an image of each server, each load to its own scale]({picture})\n",
            _figures(part),
            *(f"### With {load}\n\n{_costs(list(costs))}" for load, costs in groupby(part.costs, lambda one: one.load)),
            _starts(part),
            _SERVERS_NOTES,
            _measured(part),
        )
    )


def _figures(part: Part) -> str:
    """The table of a part's figures."""
    rows = [
        f"| {one.name} | {one.other} | {_medians(one)} | {_goal(one)} "
        f"| **{_factor(one.measured())}**{_details(one)} "
        f"| {_factor(one.ratios()[0])} to {_factor(one.ratios()[-1])} | {'yes' if one.met() else '**no**'} |"
        for one in part.figures
    ]
    header = "| ICS | against | medians | goal | measured | spread | met |", "|---|---|---|---|---|---|---|"
    return "\n".join([*header, *rows, ""])


def _costs(costs: Sequence[Cost]) -> str:
    """The table of what each server costs under a load, with each number of connections."""
    numbers = " / ".join(str(number) for number in dict.fromkeys(one.connections for one in costs))
    header = (
        f"| with {numbers} connections | CPU-ms an image | limit / server | images/s | p50, ms | p99, ms |",
        "|---|---|---|---|---|---|",
    )
    limits = {one.connections: one.cpu_ms for one in costs if one.p50 is None}
    rows = []
    for server in dict.fromkeys(one.server for one in costs):
        its = [one for one in costs if one.server == server]
        cells = (
            [f"{one.cpu_ms:.3g}" for one in its],
            [f"{limits[one.connections] / one.cpu_ms:.2f}" for one in its],
            [f"{one.rate:,.0f}" for one in its],
            [f"{one.p50:.3g}" for one in its if one.p50 is not None],
            [f"{one.p99:.3g}" for one in its if one.p99 is not None],
        )
        rows.append(f"| {server} | {' | '.join(' / '.join(cell) for cell in cells)} |")
    return "\n".join([*header, *rows, ""])


def _starts(part: Part) -> str:
    rows = [f"| {one.server} | {one.seconds:.2f} | {one.cpu_seconds:.2f} |" for one in part.starts]
    return "\n".join(["| start to first answer | s | CPU-s |", "|---|---|---|", *rows, ""])


def _measured(part: Part) -> str:
    numbers = " or ".join(map(str, sorted({len(one.pairs) for one in part.figures})))
    return f"Measured on {part.date}: {part.machine}; median of {numbers}.\n"


def machine() -> str:
    """What it was measured on: processor, cores, system and Python; no names."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    return (
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def pairs(figures: Sequence[Figure]) -> str:
    """Two bars a figure, the other and ICS, each pair scaled to its longer one."""
    parts, step = [], 112
    for number, one in enumerate(figures):
        top = _TOP + step * number
        sides = zip(one.medians(), (_plain(one.other).partition(":")[0], "ICS"), (_OTHER, _ICS), strict=True)
        parts.append(_text(_LEFT, top + 14, _plain(one.name)))
        for row, (cost, label, colour) in enumerate(sides):
            length = cost * _LONGEST / max(one.medians())
            parts += _bar(top + 24 + 30 * row, length, colour, f"{label}: {cost:,.3g} {one.unit}")
        parts.append(
            f'<text x="{_WIDTH - 24}" y="{top + 71}" font-size="22" font-weight="bold" text-anchor="end" '
            f'fill="{_ICS if one.met() else _MISSED}">{_factor(one.measured())}</text>'
        )
    return _picture("CPU time, ICS beside the usual ways", parts, _TOP + step * len(figures))


def bars(costs: Sequence[Cost], connections: int = 8) -> str:
    """A bar a server and load, with so many connections, each load scaled to its longest."""
    parts, top = [], _TOP
    for load, there in groupby([one for one in costs if one.connections == connections], lambda one: one.load):
        shown = sorted(there, key=lambda one: one.cpu_ms)
        parts.append(_text(_LEFT, top + 14, load))
        for row, one in enumerate(shown):
            colour = _LIMIT if one.p50 is None else _ICS if one.server.startswith("ICS") else _OTHER
            length = one.cpu_ms * _LONGEST / shown[-1].cpu_ms
            parts += _bar(top + 24 + 30 * row, length, colour, f"{one.server}: {one.cpu_ms:,.3g} CPU-ms an image")
        top += 44 + 30 * len(shown)
    return _picture("CPU time of model servers, the same nets and pictures", parts, top)


def _picture(title: str, parts: Sequence[str], height: int) -> str:
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" font-family="Helvetica, Arial, sans-serif">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="{_LEFT}" y="36" font-size="19" font-weight="bold" fill="{_INK}">{escape(title)}</text>',
            *parts,
            "</svg>",
            "",
        )
    )


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y}" font-size="14" fill="{_INK}">{escape(text)}</text>'


def _bar(y: int, length: float, colour: str, label: str) -> tuple[str, str]:
    length = max(2, length)
    return (
        f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="24" rx="3" fill="{colour}"/>',
        f'<text x="{_LEFT + length + 9:.1f}" y="{y + 17}" font-size="13" fill="#465664">{escape(label)}</text>',
    )


def _goal(one: Figure) -> str:
    limits = "".join(f", {name} &le; {limit:g}" for name, limit in one.limits.items())
    return f"{'&ge;' if one.to_reach else '&le;'} {one.goal:g}x{limits}"


def _details(one: Figure) -> str:
    return "".join(f", {name} {value:.2g}" for name, value in one.details.items())


def _medians(one: Figure) -> str:
    other, ics = one.medians()
    return f"{ics:.3g} against {other:.3g} {one.unit}"


def _factor(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2f}x"


def _plain(text: str) -> str:
    return text.replace("`", "")
