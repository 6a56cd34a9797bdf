"""The figures as `docs/performance.md` and its picture, and as JSON."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure

_INTRODUCTION = """\
# Performance

`make bench` wrote this page. It measures CPU time over the whole process tree (the emulator, its Lambda workers, the
model server and the client), because that is what is paid for, and because wall time on a shared machine swings
several-fold. Both sides of a figure are measured in alternation, in one run, after one warm-up of each that does not
count; a figure is the median over the pairs, its spread the smallest and the largest. Both sides of the first two
figures must give equal labels, or there is no figure.
"""

_NOTES = """\
The usual design and ICS run on the same local AWS, against the same model server, with the same images; at most four
functions run at once in either. The plain loop is one process that keeps nothing: no record, no retry, no alert. ICS's
side holds all of it: planning, staging, routing, rows, receipts, the summary and the alert. What the emulator does for
a request is counted on both sides.
"""


def markdown(figures: Sequence[Figure], picture: str) -> str:
    """The page; `picture` is its file name."""
    rows = [
        f"| {one.name} | {one.other} | {_cost(one)} | {_goal(one)} "
        f"| **{_factor(one, one.measured())}**{_details(one)} "
        f"| {_factor(one, one.ratios()[0])} to {_factor(one, one.ratios()[-1])} | {'yes' if one.met() else '**no**'} |"
        for one in figures
    ]
    return "\n".join(
        (
            _INTRODUCTION,
            f"![Costs of ICS beside the usual ways, each pair to its own scale]({picture})\n",
            "| ICS | against | medians | goal | measured | spread | met |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            _NOTES,
            f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}; median of {len(figures[0].pairs)}.\n",
        )
    )


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    """The figures for programs."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "figures": [
            {
                "name": one.name,
                "against": one.other,
                "unit": one.unit,
                "pairs": [{"other": other, "ics": ics} for other, ics in one.pairs],
                "measured": one.measured(),
                "goal": one.goal,
                "to_reach": one.to_reach,
                **one.details,
                "met": one.met(),
            }
            for one in figures
        ],
    }


def machine() -> str:
    """What it was measured on: processor, cores, system and Python; no names."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    return (
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def svg(figures: Sequence[Figure]) -> str:
    """Two bars a figure, the other and ICS, each pair scaled to its longer one."""
    width, left, longest, step = 940, 28, 540, 112
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{64 + step * len(figures)}" '
        f'viewBox="0 0 {width} {64 + step * len(figures)}" font-family="Helvetica, Arial, sans-serif">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{left}" y="36" font-size="19" font-weight="bold" fill="#1b2733">'
        "CPU time, ICS beside the usual ways</text>",
    ]
    for number, one in enumerate(figures):
        top = 64 + step * number
        scale = longest / max(one.medians())
        parts.append(f'<text x="{left}" y="{top + 14}" font-size="14" fill="#1b2733">{escape(_plain(one.name))}</text>')
        bars = zip(one.medians(), (_plain(one.other).partition(":")[0], "ICS"), ("#b8c4ce", "#1f7a8c"), strict=True)
        for row, (cost, label, colour) in enumerate(bars):
            y = top + 24 + 30 * row
            parts += [
                f'<rect x="{left}" y="{y}" width="{max(2, cost * scale):.1f}" height="24" rx="3" fill="{colour}"/>',
                f'<text x="{left + max(2, cost * scale) + 9:.1f}" y="{y + 17}" font-size="13" fill="#465664">'
                f"{escape(label)}: {cost:,.3g} {one.unit}</text>",
            ]
        parts.append(
            f'<text x="{width - 24}" y="{top + 71}" font-size="22" font-weight="bold" text-anchor="end" '
            f'fill="{"#1f7a8c" if one.met() else "#b23a48"}">{_factor(one, one.measured())}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _goal(one: Figure) -> str:
    limits = "".join(f", {name} &le; {limit:g}" for name, limit in one.limits.items())
    return f"{'&ge;' if one.to_reach else '&le;'} {one.goal:g}x{limits}"


def _details(one: Figure) -> str:
    return "".join(f", {name} {value:.2g}" for name, value in one.details.items())


def _cost(one: Figure) -> str:
    other, ics = one.medians()
    return f"{ics:.3g} against {other:.3g} {one.unit}"


def _factor(one: Figure, ratio: float) -> str:
    return f"{ratio:.1f}x" if one.to_reach else f"{ratio:.2f}x"


def _plain(text: str) -> str:
    return text.replace("`", "")
