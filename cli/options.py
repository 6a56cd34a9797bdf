"""What the commands share: the application, common options, shell completion, JSON on stdout."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import runs
from cli.deployment import LOCAL, ROOT, connect, environments
from stacks.config import ConfigError, load_config

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Classify the images in S3, with answers you can trust. Everything also runs on this machine: start with "
    "`ics up`, then `ics classify my-pictures/`.",
)


def state() -> Path:
    """The folder that holds everything local; tests use one of their own."""
    return Path(os.environ.get("ICS_STATE") or ROOT / ".ics")


def complete_environment(incomplete: str) -> list[str]:
    """The environments that begin so."""
    return [name for name in environments() if name.startswith(incomplete)]


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """The latest runs that begin so; nothing where the environment cannot be reached, for a shell wants no errors."""
    logging.disable()
    try:
        deployment = connect(context.params.get("env") or os.environ.get("ICS_ENV") or LOCAL, state())
        return [name for name in runs.names(deployment) if name.startswith(incomplete)]
    except Exception:  # whatever it is, the person is in the middle of typing
        return []


def complete_model(context: typer.Context, incomplete: str) -> list[str]:
    """The models that begin so and that the environment's TOML names; nothing where it cannot be read."""
    try:
        named = load_config(context.params.get("env") or os.environ.get("ICS_ENV") or LOCAL).models
    except ConfigError:
        return []
    return [name for name in named if name.startswith(incomplete)]


Env = Annotated[
    str,
    typer.Option(
        "--env",
        envvar="ICS_ENV",
        metavar="NAME",
        help="The environment: local, or one deployed on AWS.",
        autocompletion=complete_environment,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="One of the environment's models, else its default one.",
        autocompletion=complete_model,
    ),
]
SkipClassified = Annotated[
    bool | None,
    typer.Option(
        "--skip-classified/--classify-again",
        help="Use what is known of an image by the same version of the model, or ask again; else as the environment "
        "says.",
    ),
]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The run's name, as classify and start print it.", autocompletion=complete_run),
]


def env_option(env: str) -> str:
    """What to add to a command so that it means this environment."""
    return "" if env == LOCAL else f" --env {env}"


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
