"""`python -m training MODEL --data PATH`: makes an artifact from a data set, start to finish."""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from ics.artifact import ModelSpec
from training import digits
from training.calibrate import fit_temperature, probabilities
from training.data import DataError
from training.evaluate import THRESHOLD, graph_logits, measure, metrics, table_row
from training.export import to_onnx, write_artifact
from training.recipe import Recipe
from training.train import ResumeError, Schedule, fit

RECIPES = {recipe.name: recipe for recipe in (digits.RECIPE,)}

EXAMPLES = """\
examples:
  python -m training digits --data mnist.npz              train with the defaults and write models/digits
  python -m training digits --data mnist.npz --resume     go on after an interruption
  python -m training digits --data mnist.npz --epochs 2 --out /tmp/digits     a quick look, shipped model untouched
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with 2 and a message where it cannot be understood."""
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", choices=sorted(RECIPES), help="which model to make")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="the data set; for digits MNIST as an npz with\ntrain_x, train_y, test_x, test_y",
    )
    parser.add_argument("--out", type=Path, help="the artifact's folder (default: models/MODEL)")
    parser.add_argument("--epochs", type=int, default=Schedule.epochs, help="at most so many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=Schedule.seed, help="of split, weights and augmentation (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=torch.get_num_threads(),
        help="CPU threads (default: all; another number gives\nother last bits, and so another model)",
    )
    parser.add_argument("--checkpoint", type=Path, help="written after every epoch (default: runs/training/MODEL.pt)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser.parse_args(arguments)


def make(
    recipe: Recipe,
    data: Path,
    out: Path,
    schedule: Schedule,
    checkpoint: Path,
    console: Console,
    *,
    resume: bool = False,
) -> ModelSpec:
    """Load, train, export, calibrate on the exported graph's validation answers, measure, write the artifact to `out`.

    Raises DataError and ResumeError as `Recipe.load` and `fit` do.
    """
    dataset = recipe.load(data, schedule.seed)
    net = fit(recipe, dataset.train, dataset.validation, schedule, checkpoint, console, resume=resume)
    graph = to_onnx(net, recipe.input)
    temperature = fit_temperature(graph_logits(graph, dataset.validation.images), dataset.validation.labels)
    measured = {
        described: measure(graph_logits(graph, part.images), part.labels, temperature)
        for described, part in {dataset.described: dataset.test, **dataset.elsewhere}.items()
    }
    unsure = probabilities(graph_logits(graph, dataset.nothing), temperature).max(axis=1)
    nothing = {
        f"share_at_{THRESHOLD}": float((unsure >= THRESHOLD).mean()),
        "images": len(dataset.nothing),
        "data": dataset.nothing_described,
    }
    test, *elsewhere = (metrics(described, figures) for described, figures in measured.items())
    spec = ModelSpec(
        name=recipe.name,
        kind="classification",
        labels=recipe.labels,
        input=recipe.input,
        output="logits",
        temperature=temperature,
        version=hashlib.sha256(graph).hexdigest(),
        metrics={**test, "elsewhere": elsewhere, "nothing": nothing},
    )
    card = recipe.card.format(
        version=spec.version,
        temperature=temperature,
        epochs=schedule.epochs,
        seed=schedule.seed,
        train=len(dataset.train),
        validation=len(dataset.validation),
        figures="\n".join(table_row(described, figures) for described, figures in measured.items()),
        nothing=f"{nothing['images']} {nothing['data']}",
        nothing_share=nothing[f"share_at_{THRESHOLD}"],
    )
    write_artifact(out, graph, spec, card)
    return spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the model that the command line names: 0 done, 2 unusable data or checkpoint, 130 interrupted."""
    args = parse(arguments)
    console = Console()
    torch.set_num_threads(args.threads)
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # it warns that torchvision is absent; nothing here needs it
    out = args.out or Path("models") / args.model
    checkpoint = args.checkpoint or Path("runs/training") / f"{args.model}.pt"
    schedule = Schedule(epochs=args.epochs, seed=args.seed)
    try:
        spec = make(RECIPES[args.model], args.data, out, schedule, checkpoint, console, resume=args.resume)
    except (DataError, ResumeError) as error:
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
