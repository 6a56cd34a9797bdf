"""`python -m training RECIPE --data PATH`: makes an artifact from a data set, start to finish."""

import argparse
import dataclasses
import hashlib
import json
import logging
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from ics.artifact import ModelSpec
from training import classification
from training.data import DataError
from training.export import to_onnx, write_artifact
from training.recipe import Recipe, RecipeError, load_recipe, recipe_names
from training.report import card, write_report
from training.train import ResumeError, fit

EXAMPLES = """\
examples:
  python -m training digits --data mnist.npz              train with the recipe's settings, into models/digits
  python -m training digits --data mnist.npz --resume     go on after an interruption
  python -m training digits --data mnist.npz --epochs 2 --out /tmp/digits     a quick look, shipped model untouched
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with 2 and a message where it cannot be understood."""
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", help=f"a file ending in .toml, or one of:\n{', '.join(recipe_names())}")
    parser.add_argument("--data", type=Path, required=True, help="the data set, as the recipe's loader reads it")
    parser.add_argument("--out", type=Path, help="the artifact's folder (default: models/RECIPE)")
    parser.add_argument("--epochs", type=int, help="at most so many (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="of split, weights and augmentation (default: the recipe's)")
    parser.add_argument(
        "--threads",
        type=int,
        default=torch.get_num_threads(),
        help="CPU threads (default: all; another number gives\nother last bits, and so another model)",
    )
    parser.add_argument("--checkpoint", type=Path, help="written after every epoch (default: runs/training/RECIPE.pt)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser.parse_args(arguments)


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
        command=f"python -m training {recipe.name} --data … --epochs {schedule.epochs} --seed {schedule.seed}",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the model that the command line names: 0 done, 2 unusable data or checkpoint, 130 interrupted."""
    args = parse(arguments)
    console = Console()
    torch.set_num_threads(args.threads)
    # it warns that torchvision is absent; nothing here needs it
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        recipe = load_recipe(args.recipe)
        changed = {name: getattr(args, name) for name in ("epochs", "seed") if getattr(args, name) is not None}
        recipe = dataclasses.replace(recipe, schedule=dataclasses.replace(recipe.schedule, **changed))
        out = args.out or Path("models") / recipe.name
        checkpoint = args.checkpoint or Path("runs/training") / f"{recipe.name}.pt"
        spec = make(recipe, args.data, out, checkpoint, console, resume=args.resume)
    except (DataError, RecipeError, ResumeError) as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; go on with --resume")
        return 130
    console.print_json(json.dumps(spec.metrics))
    console.print(f"wrote {out}, version {spec.version}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
