"""The figures of an evaluation as people read them in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cli import show

Figures = Mapping[str, Any]

CONFUSED = 15
"""Confusions that are listed where the matrix is wider than the terminal."""

NAMED = 10
"""Images, or lines, that are named of each kind; metrics.json has more."""


def show_figures(found: Figures) -> None:
    """All of metrics.json that a person looks for first."""
    accuracy, labels = found["accuracy"], found["labels"]
    if not accuracy["of"]:
        show.out.print(Text("No prediction has a label that counts, so there is no accuracy.", "bold yellow"))
    else:
        named = " ".join((found["model"], found["model_version"][:12])).strip()
        text = f"{accuracy['value']:.2%} right{_reach(accuracy)}: {accuracy['count']:,} of {accuracy['of']:,} images"
        show.out.print(Text(f"{named}: {text}" if named else text, "bold"))
        _facts(found)
        if found["classes"]:
            _classes(found["classes"])
            _confusion(found["confusion"])
        _thresholds(found["thresholds"], found["threshold"])
    held = ("conflicting", "withdrawn", "unknown", "failed", "of_other_versions")
    counted = ", ".join(f"{labels[name]:,} {name.replace('_', ' ')}" for name in held)
    show.out.print(f"{labels['images']:,} images have labels: {labels['counted']:,} counted, {counted}")
    _named(found)


def _facts(found: Figures) -> None:
    facts = {}
    for name, title in (("cer", "CER"), ("wer", "WER"), ("ece", "ECE"), ("macro_f1", "macro F1")):
        if found.get(name):
            facts[title] = [f"{found[name]['value']:.4f}{_reach(found[name], '.4f')}"]
    for decision, one in found["decisions"].items():
        facts[decision] = [f"{one['value']:.2%} right{_reach(one)} of {one['of']:,}"]
    for one in found["versions"]:
        if one["model_version"] != found["model_version"] and one["images"]:
            facts[f"{one['model_version'][:12] or 'no version'}"] = [
                f"{one['accuracy']['value']:.2%} right of {one['images']:,}: another version"
            ]
    show.facts(facts)


def _classes(classes: Mapping[str, Figures]) -> None:
    table = _table("class", "images", "precision", "recall", "F1", "95%")
    for label, one in classes.items():
        f1 = one["f1"]
        table.add_row(
            Text(label or "(nothing)"),
            f"{one['images']:,}",
            _percent(one["precision"]["value"]),
            _percent(one["recall"]["value"]),
            f"{f1['value']:.3f}",
            f"{f1['low']:.3f} to {f1['high']:.3f}",
        )
    show.out.print(table)


def _confusion(confusion: Figures) -> None:
    """The matrix, truth down and answers across; where it is too wide, its largest mistakes."""
    labels, counts = confusion["labels"], confusion["counts"]
    wide = max(len(text) for row in counts for text in (*map(str, row), *labels)) + 2
    if wide * (len(labels) + 1) + 8 <= show.out.width:
        show.out.print(Text("truth \\ answer", "dim"))
        show.out.print(Text(" " * wide + "".join(f"{label:>{wide}}" for label in labels), "bold"))
        for label, row in zip(labels, counts, strict=True):
            line = Text(f"{label:>{wide}}", "bold")
            for other, count in zip(labels, row, strict=True):
                line.append(f"{count or '·':>{wide}}", "green" if label == other else "red" if count else "dim")
            show.out.print(line)
        show.out.print()
        return
    table = _table("truth", "taken for", "times")
    mistakes = [
        (count, truth, said)
        for truth, row in zip(labels, counts, strict=True)
        for said, count in zip(labels, row, strict=True)
        if count and truth != said
    ]
    for count, truth, said in sorted(mistakes, key=lambda one: (-one[0], one[1:]))[:CONFUSED]:
        table.add_row(Text(truth), Text(said), f"{count:,}")
    show.out.print(table)


def _thresholds(thresholds: Sequence[Figures], used: float) -> None:
    """What a threshold costs and lets through."""
    table = _table("threshold", "accepted", "errors that pass", "to people", "errors found")
    for one in thresholds:
        images = one["accepted"] + one["to_people"]
        table.add_row(
            f"{one['threshold']:g}{' (used)' if one['threshold'] == used else ''}",
            f"{one['accepted']:,}",
            f"{one['wrong_accepted']:,} ({_percent(one['wrong_accepted'], one['accepted'])})",
            f"{one['to_people']:,} ({_percent(one['to_people'], images)})",
            f"{one['wrong_to_people']:,}",
        )
    show.out.print(table)


def _named(found: Figures) -> None:
    """What was held out, and why; lines that nobody could read."""
    for one in found["conflicts"][:NAMED]:
        said = ", ".join(f"{label['by'] or 'somebody'} says {label['label']!r}" for label in one["labels"])
        show.out.print(Text(f"conflict: {one['s3_uri']}: {said}", "yellow"), soft_wrap=True)
    for one in found["unknown"][:NAMED]:
        show.out.print(Text(f"unknown: {one['s3_uri']}: no row is about it", "yellow"), soft_wrap=True)
    if found["bad_lines"]:
        show.out.print(Text(f"{found['bad_lines']:,} lines could not be understood:", "yellow"))
    for one in found["bad"][:NAMED]:
        show.out.print(Text(f"  {one['file']} line {one['line']}: {one['problem']}", "yellow"), soft_wrap=True)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _reach(figure: Figures, form: str = ".1%") -> str:
    return f" ({figure['low']:{form}} to {figure['high']:{form}})"


def _percent(part: float | None, whole: int | None = None) -> str:
    if part is None or whole == 0:
        return "-"
    return f"{part if whole is None else part / whole:.1%}"
