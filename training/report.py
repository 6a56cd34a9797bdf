"""What is said of a new model: its figures for model.json and metrics.json, its pictures, and its card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ics.artifact import ModelSpec
from training.measures import Answers, as_text, figures
from training.plots import write_pictures
from training.recipe import Recipe

PICTURES = {
    "curves": "how it was learned",
    "confusion": "what is taken for what",
    "characters": "which characters are misread",
    "reliability": "whether confidence means what it says",
    "risk-coverage": "what a threshold buys",
}
"""The pictures beside metrics.json, by file name; `confusion` is of classifiers, `characters` of text models."""


@dataclass(frozen=True)
class Report:
    """A calibrated graph's figures.

    `metrics` is what model.json holds, `table` the same as Markdown for the card, `tested` what they were counted from:
    the answers to the test part.
    """

    temperature: float
    metrics: Mapping[str, Any]
    table: str
    tested: Answers


def write_report(
    folder: Path,
    recipe: Recipe,
    spec: ModelSpec,
    report: Report,
    *,
    sizes: Mapping[str, int],
    skipped: Mapping[str, int],
    history: Sequence[Mapping[str, float]],
    made_with: Mapping[str, str],
) -> None:
    """Write metrics.json, all that was measured and seen on the way, and the pictures of it.

    `sizes` are those of the data set's parts, `skipped` counts what could not be read by its reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = as_text(
        {
            "name": spec.name,
            "version": spec.version,
            "temperature": spec.temperature,
            "seed": recipe.schedule.seed,
            "schedule": asdict(recipe.schedule),
            "data": {**sizes, "skipped": dict(skipped)},
            "history": history,
            "test": figures(report.tested, spec.kind, spec.labels),
            "metrics": spec.metrics,
            "made_with": made_with,
        }
    )
    (folder / "metrics.json").write_text(text, "utf-8")
    write_pictures(folder, spec.kind, spec.labels, report.tested, history=history)


def card(recipe: Recipe, report: Report, version: str, network: str, parameters: int, command: str, sizes: str) -> str:
    """The model card, Markdown: what a person wrote in the recipe, and what was measured."""
    return f"""\
# {recipe.name}
{recipe.card.reads}

| | |
|---|---|
| version | `{version}` |
| network | {network}, {parameters:,} parameters |
| made by | `{command}` |
| learned from | {sizes} |
| temperature | {report.temperature:.4f}{_caution(recipe.caution)} |

## Data
{recipe.card.data}

## Figures

Measured through onnxruntime on the shipped graph. ECE: expected calibration error, 15 equal-width bins. *Accepted*: of
a confidence of at least 0.94, the default threshold.

{report.table}

All figures: [metrics.json](report/metrics.json). As pictures: {_pictures(recipe.kind)}.

## Use and limits
{recipe.card.limits}
"""


def _caution(caution: float) -> str:
    return (
        f", for a mean confidence {caution:.3g} below the honest one, so that fewer wrong answers pass"
        if caution
        else ""
    )


def _pictures(kind: str) -> str:
    other = "confusion" if kind == "text" else "characters"
    return ", ".join(f"[{what}](report/{name}.png)" for name, what in PICTURES.items() if name != other)
