"""What is said of a new model: its figures for model.json and metrics.json, and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.recipe import Recipe


@dataclass(frozen=True)
class Report:
    """A calibrated graph's figures: `metrics` as model.json holds them, `table` the same as Markdown for the card."""

    temperature: float
    metrics: Mapping[str, Any]
    table: str


def card(recipe: Recipe, report: Report, version: str, parameters: int, command: str, sizes: str) -> str:
    """The model card, Markdown: what a person wrote in the recipe, and what was measured."""
    return f"""\
# {recipe.name}
{recipe.card.reads}

| | |
|---|---|
| version | `{version}` |
| network | {recipe.net.name}, {parameters:,} parameters |
| made by | `{command}` |
| learned from | {sizes} |
| temperature | {report.temperature:.4f} |

## Data
{recipe.card.data}

## Figures

Measured through onnxruntime on the shipped graph. ECE: expected calibration error, 15 equal-width bins. *Accepted*: of
a confidence of at least 0.94, the default threshold.

{report.table}

## Use and limits
{recipe.card.limits}
"""
