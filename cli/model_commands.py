"""The commands about models: which an environment serves, what is wrong with an artifact, how to make one."""

import dataclasses
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import show
from cli.deployment import LOCAL, ROOT
from cli.options import Env, Json, app, print_json
from cli.outcome import progress
from cli.training_commands import artifact
from ics.artifact import load_spec, spec_to_json
from stacks.config import RekognitionModel, load_config
from training.data import DataError
from training.recipe import RecipeError, recipe_names

model = typer.Typer(no_args_is_help=True, help="The models: which there are, and how to bring your own.")
app.add_typer(model, name="model")


class Colour(StrEnum):
    """What a model sees of a picture."""

    grey = "grey"
    rgb = "rgb"


class Polarity(StrEnum):
    """What a model of drawings or writing was trained on."""

    light_on_dark = "light-on-dark"
    dark_on_light = "dark-on-light"
    any = "any"


@model.command("list")
def list_(env: Env = LOCAL, json_: Json = False) -> None:
    """Show the models that an environment's TOML names: kind, labels, input, version and figures.

    Example: `ics model list --env dev`
    """
    config = load_config(env)
    found = {name: load_spec(folder) for name, folder in config.artifacts.items()}
    asked = {name: model for name, model in config.models.items() if isinstance(model, RekognitionModel)}
    if json_:
        own = [(name, {**spec_to_json(spec), "name": name}) for name, spec in found.items()]
        others = [(name, {"name": name, **dataclasses.asdict(model)}) for name, model in asked.items()]
        print_json(
            [
                {**fields, "backend": config.models[name].backend, "default": name == config.default_model}
                for name, fields in own + others
            ]
        )
        return
    for name, spec in found.items():
        taken = spec.input
        kinds = "characters" if spec.kind == "text" else "labels"
        labels = ("" if spec.kind == "text" else ", ").join(spec.labels)
        show.facts(
            {
                name: [
                    f"{spec.kind}, backend {config.models[name].backend}, version {spec.version[:12]}"
                    + ", default" * (name == config.default_model)
                ],
                "  reads": [
                    f"{taken.width} x {taken.height} {taken.colour}, {config.artifacts[name].relative_to(ROOT)}"
                ],
                f"  {kinds}": [f"{len(spec.labels)}: {labels if len(labels) <= 60 else labels[:59] + '…'}"],
                "  figures": [show.figures(spec.metrics)],
            }
        )
    for name, model_ in asked.items():
        what = model_.custom_labels_version_arn or "DetectLabels"
        show.facts(
            {
                name: ["detection, backend rekognition" + ", default" * (name == config.default_model)],
                "  asks": [f"{what}: up to {model_.max_labels} labels from {model_.min_confidence:g}"],
            }
        )


@model.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact: model.onnx, model.json, card.md.")],
    json_: Json = False,
) -> None:
    """Say what is wrong with a model artifact, and how to mend it. Exit status 0 where there is no problem, else 2.

    Example: `ics model check models/digits`
    """
    from cli.artifact_check import examine  # noqa: PLC0415 - the runtime takes half a second to import

    found = []
    for one in examine(folder):
        found.append(one)
        if not json_:
            show.check(one.name, one.level, one.found, one.do)
    problems = sum(one.level == "problem" for one in found)
    if json_:
        print_json([dataclasses.asdict(one) for one in found])
    else:
        warnings = sum(one.level == "warning" for one in found)
        said = "It cannot be served." if problems else "It can be served."
        show.out.print(f"\n{said} {problems} problems, {warnings} warnings.")
    if problems:
        raise typer.Exit(2)


@model.command()
def pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file.")],
    labels: Annotated[Path, typer.Option(metavar="FILE", help="A label a line, in the order of the graph's answers.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the artifact goes; its name is the model's.")],
    colour: Annotated[Colour, typer.Option(help="grey: one channel. rgb: three, red first.")],
    input_: Annotated[
        str | None, typer.Option("--input", metavar="WxH", help="Width and height, where the graph takes any.")
    ] = None,
    scale: Annotated[float, typer.Option(help="What pixels are divided by first.")] = 255.0,
    mean: Annotated[str, typer.Option(help="Then subtracted: a number, or one a channel, as in 0.5,0.4,0.4.")] = "0",
    std: Annotated[str, typer.Option(help="Then divided by: a number, or one a channel.")] = "1",
    polarity: Annotated[Polarity, typer.Option(help="Ink and ground of what it learned from.")] = Polarity.any,
    temperature: Annotated[float, typer.Option(help="What logits are divided by, if you have fitted it.")] = 1.0,
) -> None:
    """Make an artifact of an ONNX file: its preparation of pixels goes into the graph, its softmax is undone.

    Example: `ics model pack flowers.onnx --labels labels.txt --colour rgb --mean 0.5 --std 0.5 --out models/flowers`
    """
    from cli.artifact_pack import Preparation, pack  # noqa: PLC0415 - as above

    try:
        names = labels.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{labels}: {error}", param_hint="--labels") from error
    preparation = Preparation(
        colour=colour.value,
        size=_size(input_),
        polarity=polarity.value,
        scale=scale,
        mean=_numbers(mean, "--mean"),
        std=_numbers(std, "--std"),
    )
    try:
        spec = pack(file, out, labels=names, preparation=preparation, temperature=temperature)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--out") from error
    show.out.print(f"{out} is a {spec.kind} model of {len(spec.labels)} labels, version {spec.version[:12]}.")
    show.out.print(f"Next: fill in {out / 'card.md'}, then   {show.COMMAND} model check {out}", style="dim")


@model.command()
def quantize(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="An artifact's folder, or the name of a model.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="PATH", help="Labelled pictures, as `ics evaluate` reads them.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the artifact goes. [default: MODEL-int8, beside it]")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Pictures to calibrate on. [default: a quarter, at most 300]")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help=f"Read PATH as this recipe does: {', '.join(recipe_names())}."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of a test part that a recipe draws. [default: the recipe's]")
    ] = None,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Make a smaller and mostly faster artifact of a model, in 8-bit integers, and measure what that loses.

    Some of the pictures calibrate it, all others are answered by both. The figures are in its card and `model.json`.
    Needs no torch.

    Example: `ics model quantize digits --data mnist.npz --out /tmp/digits-int8`
    """
    from cli import quantization  # noqa: PLC0415 - as above
    from training.samples import find_samples  # noqa: PLC0415

    folder = artifact(name, env)
    out = out or folder.resolve().with_name(f"{folder.resolve().name}-int8")
    try:
        with show.err.status("Looking for pictures"):
            samples = find_samples(data, load_spec(folder), recipe, seed)
        with progress() as bar:
            task = bar.add_task("Quantizing, then measuring", total=2 * len(samples.samples))
            found = quantization.quantize(folder, out, samples, images=images, advance=lambda: bar.advance(task))
    except (DataError, RecipeError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--out") from error
    if json_:
        print_json({"folder": str(out), **found})
        return
    quantization.table(found)
    skipped = f"; {len(found['skipped'])} could not be used: --json lists them" if found["skipped"] else ""
    show.out.print(
        f"{out} was calibrated on {found['calibrated_on']:,} pictures, measured on {found['images']:,}{skipped}.",
        soft_wrap=True,
    )
    show.out.print(f"Next: {show.COMMAND} model check {out}", style="dim", soft_wrap=True)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", text)
    if found is None:
        raise typer.BadParameter(f"{text!r}; it must be width x height, as in 224x224", param_hint="--input")
    return int(found[1]), int(found[2])


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; it must be numbers, as in 0.5,0.4,0.4", param_hint=option) from error
