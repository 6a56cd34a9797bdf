"""From a data set to an artifact: load, learn, export, calibrate, measure, write."""

import dataclasses
import hashlib
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from ics.artifact import ModelSpec
from training import classification, text
from training.backbone import load_backbone, transfer
from training.export import to_onnx, with_properties, write_artifact
from training.recipe import Recipe
from training.report import card, write_report
from training.train import fit


def make(
    recipe: Recipe,
    data: Path,
    out: Path,
    checkpoint: Path,
    console: Console,
    *,
    backbone: Path | None = None,
    origin: str | None = None,
    resume: bool = False,
) -> ModelSpec:
    """Load, train, export, calibrate on the exported graph's validation answers, measure, write the artifact to `out`.

    With `backbone`, an ONNX or safetensors file, that net learns on instead of the recipe's. `origin` is how the
    recipe was called before it was given another name, for the card.

    Raises:
        DataError, RecipeError, ResumeError: the data, the recipe, the backbone or the checkpoint cannot be used.
    """
    schedule = recipe.schedule
    brought = None if backbone is None else load_backbone(backbone, recipe)
    if brought is not None:
        recipe = dataclasses.replace(recipe, input=brought.input)
    kind = {"classification": classification, "text": text}[recipe.kind]
    dataset = kind.load(recipe, data, schedule.seed)
    for skipped in dataset.skipped:
        console.print(f"skipped {skipped.source}: {skipped.reason}", markup=False, soft_wrap=True, highlight=False)
    if brought is None:
        fitted = fit(kind.task(recipe, dataset), schedule, checkpoint, console, resume=resume)
    else:
        fitted = transfer(recipe, dataset, brought, checkpoint, console, resume=resume)
    graph = to_onnx(fitted.net, recipe.input)
    if isinstance(dataset, text.TextData):
        graph = with_properties(graph, dataset.properties)
    report = kind.report(graph, recipe, dataset)
    spec = ModelSpec(
        name=recipe.name,
        kind=recipe.kind,
        labels=dataset.labels,
        input=recipe.input,
        output="logits",
        temperature=report.temperature,
        version=hashlib.sha256(graph).hexdigest(),
        metrics=report.metrics,
    )
    learning = f"--epochs {schedule.epochs}"
    if backbone is not None:
        learning = f"--backbone {backbone.name} --epochs {recipe.backbone.epochs}"
    asked = recipe.name if origin is None else f"{origin} --name {recipe.name}"
    description = card(
        recipe,
        report,
        spec.version,
        network=recipe.net.name if brought is None else brought.described,
        parameters=sum(parameter.numel() for parameter in fitted.net.parameters()),
        command=f"ics train {asked} --data … {learning} --seed {schedule.seed}",
        sizes="{train:,} pictures; {validation:,} others chose epoch and temperature".format(**dataset.sizes),
    )
    write_artifact(out, graph, spec, description)
    write_report(
        out / "report",
        recipe,
        spec,
        report,
        sizes=dataset.sizes,
        skipped=Counter(skipped.reason for skipped in dataset.skipped),
        history=fitted.history,
        made_with={
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "onnx", "onnxruntime", "pillow")},
        },
    )
    return spec
