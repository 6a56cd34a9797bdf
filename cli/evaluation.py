"""What people see of an evaluation: figures with their intervals, what thresholds do, classes, the worst mistakes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cli import show
from ics.artifact import ModelSpec
from training.data import Skipped
from training.evaluate import Evaluated
from training.measures import as_text
from training.samples import Samples

SHOWN = 12
"""Classes, mistakes, skipped files and unknown labels that are shown; --json and --out have all."""

PICTURES = 30
"""Mistakes on the contact sheet."""

BAR = 10
"""Characters of a full bar."""


def evaluation(found: Mapping[str, Any], evaluated: Evaluated, samples: Samples) -> None:
    """Print it all; `found` is what `training.measures.figures` found, with the model's name."""
    skipped = [*samples.skipped, *evaluated.skipped]
    show.out.print(
        Text(f"\n{found['model']}", "bold") + Text(f" {found['version'][:12]} on {samples.described}", "dim"),
        soft_wrap=True,
    )
    _figures(found)
    _thresholds(found["thresholds"], found["threshold"], found["images"])
    if "classes" in found:
        _classes(found["classes"])
    else:
        _characters(found["character_confusions"])
    _mistakes(evaluated)
    _left_out(skipped, samples.unknown, found["kind"])


def _figures(found: Mapping[str, Any]) -> None:
    table = _table("", "", ("95% interval", "right"), ("counted", "right"))
    exact = found["kind"] == "text"
    for name, key in (
        ("lines read without a mistake" if exact else "accuracy", "accuracy"),
        ("macro F1", "macro_f1"),
        ("character error rate", "cer"),
        ("word error rate", "wer"),
        ("calibration error (ECE)", "ece"),
        (f"accepted at {found['threshold']:g}", "accepted"),
        ("  accuracy of the accepted", "accuracy_of_accepted"),
        ("  wrong answers sent to people", "wrong_below_threshold"),
    ):
        one = found.get(key)
        if one is None:
            continue
        counted = f"{one['count']:,} of {one['of']:,}" if "of" in one else ""
        table.add_row(name, Text(_percent(one["value"]), "bold"), _interval(one), Text(counted, "dim"))
    show.out.print(table)


def _thresholds(rows: Sequence[Mapping[str, Any]], chosen: float, images: int) -> None:
    table = _table("threshold", "", ("accepted", "right"), ("wrong among them", "right"), ("to people", "right"))
    for row in rows:
        accepted, style = row["accepted"], "bold" if row["threshold"] == chosen else ""
        wrong = f"{row['wrong_accepted'] / accepted:.2%}" if accepted else "-"
        table.add_row(
            f"{row['threshold']:g}",
            _bar(accepted / images),
            f"{accepted / images:.1%}",
            f"{wrong}  ({row['wrong_accepted']:,})",
            f"{row['to_people']:,}",
            style=style,
        )
    show.out.print(table)


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> None:
    """In the model's order where they are few, else the worst first."""
    there = [(label, one) for label, one in classes.items() if one["images"] or one["f1"] is not None]
    if len(there) > SHOWN:
        there.sort(key=lambda each: (each[1]["f1"]["value"], each[0]))
    table = _table(
        "class", ("pictures", "right"), "", ("recall", "right"), ("95% interval", "right"), ("precision", "right"),
        ("F1", "right"),
    )  # fmt: skip
    for label, one in there[:SHOWN]:
        table.add_row(
            Text(label),
            f"{one['images']:,}",
            _bar(one["recall"]["value"] or 0.0),
            _percent(one["recall"]["value"], 1),
            _interval(one["recall"]),
            _percent(one["precision"]["value"], 1),
            _percent(one["f1"]["value"], 1),
        )
    show.out.print(table)
    if len(there) > SHOWN:
        show.out.print(f"the worst first, and {len(there) - SHOWN:,} more classes: --json has them", style="dim")


def _characters(confusions: Sequence[Mapping[str, Any]]) -> None:
    if not confusions:
        return
    table = _table("character", "read as", ("times", "right"), "")
    for one in confusions[:SHOWN]:
        names = [" " if not part else "space" if part == " " else part for part in (one["true"], one["read"])]
        table.add_row(*map(Text, names), f"{one['count']:,}", _bar(one["count"] / confusions[0]["count"]))
    show.out.print(table)


def _mistakes(evaluated: Evaluated) -> None:
    worst = evaluated.worst(SHOWN)
    if not worst:
        show.out.print("No mistake.", style="green")
        return
    table = _table("the surest mistakes", "true", "said", ("confidence", "right"))
    for row in worst:
        sample, said = evaluated.samples[row], evaluated.answers.said[row]
        table.add_row(
            Text(sample.source),
            Text(sample.true),
            Text(said or "(nothing)"),
            f"{evaluated.answers.confidence[row]:.3f}",
        )
    show.out.print(table)


def _left_out(skipped: Sequence[Skipped], unknown: Mapping[str, int], kind: str) -> None:
    if skipped:
        show.err.print(Text(f"Not counted, for they cannot be used: {len(skipped):,}", "yellow"))
        for one in skipped[:SHOWN]:
            show.err.print(Text(f"  {one.source}: {one.reason}"), soft_wrap=True)
        if len(skipped) > SHOWN:
            show.err.print(f"  … and {len(skipped) - SHOWN:,} more: --json has them", style="dim")
    if unknown:
        what = (
            "Characters that the model cannot read"
            if kind == "text"
            else "Not counted, for the model has no such label"
        )
        listed = [f"{label!r} {count:,}" for label, count in sorted(unknown.items(), key=lambda one: -one[1])]
        more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
        show.err.print(Text(f"{what}: {', '.join(listed[:SHOWN])}{more}", "yellow"), soft_wrap=True)


def write(folder: Path, found: Mapping[str, Any], evaluated: Evaluated, spec: ModelSpec) -> None:
    """Write metrics.json, the answers a line each, and the pictures: those of a training, and the surest mistakes."""
    from training.plots import contact_sheet, save, write_pictures  # noqa: PLC0415 - matplotlib may be absent

    with show.err.status("Drawing"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(as_text(found), "utf-8")
        answers = evaluated.answers
        rows = zip(evaluated.samples, answers.said, answers.confidence.tolist(), strict=True)
        (folder / "answers.jsonl").write_text(
            "".join(
                json.dumps(
                    {"source": sample.source, "true": sample.true, "said": said, "confidence": confidence},
                    ensure_ascii=False,
                )
                + "\n"
                for sample, said, confidence in rows
            ),
            "utf-8",
        )
        write_pictures(folder, spec.kind, spec.labels, answers, threshold=found["threshold"])
        worst = [
            (evaluated.samples[row].pixels(spec), answers.true[row], answers.said[row], float(answers.confidence[row]))
            for row in evaluated.worst(PICTURES)
        ]
        wrong = len(answers) - int(answers.right.sum())
        save(contact_sheet(worst, spec.kind, wrong), folder / "mistakes.png")
    show.err.print(f"wrote metrics.json, answers.jsonl and pictures to {folder}", style="dim", soft_wrap=True)


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, justify = (column, "left") if isinstance(column, str) else column
        table.add_column(
            name,
            justify="right" if justify == "right" else "left",
            overflow="fold",
            no_wrap=not name.endswith("mistakes"),
        )
    return table


def _percent(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}%}"


def _interval(one: Mapping[str, Any]) -> Text:
    return Text("-" if one["low"] is None else f"{one['low']:.1%} to {one['high']:.1%}", "dim")


def _bar(share: float) -> Text:
    full = round(share * BAR)
    return Text("━" * full, "cyan") + Text("─" * (BAR - full), "bright_black")
