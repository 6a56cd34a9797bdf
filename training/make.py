"""From a data set to an artifact: load, learn, export, calibrate, measure, write."""

import hashlib
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from ics.artifact import ModelSpec
from training import classification
from training.export import to_onnx, write_artifact
from training.recipe import Recipe
from training.report import card, write_report
from training.train import fit


def make(
    recipe: Recipe, data: Path, out: Path, checkpoint: Path, console: Console, *, resume: bool = False
) -> ModelSpec:
    """Load, train, export, calibrate on the exported graph's validation answers, measure, write the artifact to `out`.

    Raises:
        DataError, RecipeError, ResumeError: the data, the recipe or the checkpoint cannot be used.
    """
    schedule = recipe.schedule
    dataset = classification.load(recipe, data, schedule.seed)
    for skipped in dataset.skipped:
        console.print(f"skipped {skipped.source}: {skipped.reason}", markup=False, soft_wrap=True, highlight=False)
    fitted = fit(classification.task(recipe, dataset), schedule, checkpoint, console, resume=resume)
    graph = to_onnx(fitted.net, recipe.input)
    report = classification.report(graph, recipe, dataset)
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
    text = card(
        recipe,
        report,
        spec.version,
        parameters=sum(parameter.numel() for parameter in fitted.net.parameters()),
        command=f"ics train {recipe.name} --data … --epochs {schedule.epochs} --seed {schedule.seed}",
        sizes=f"{len(dataset.train):,} pictures; {len(dataset.validation):,} others chose epoch and temperature",
    )
    write_artifact(out, graph, spec, text)
    write_report(
        out / "report",
        recipe,
        spec,
        report,
        sizes={part: len(getattr(dataset, part)) for part in ("train", "validation", "test")},
        skipped=Counter(skipped.reason for skipped in dataset.skipped),
        history=fitted.history,
        made_with={
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "onnx", "onnxruntime", "pillow")},
        },
    )
    return spec
