"""The commands about the routing policy: show it, check a file, set it. No deployment is needed for any."""

import json
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from cli import show
from cli.deployment import LOCAL, Deployment, connect
from cli.options import Env, Json, app, print_json, state
from ics import paths
from ics.artifact import load_spec
from ics.errors import InvalidPolicy
from ics.policy import EMPTY, PolicyFile, parse_policy
from stacks.config import load_config

policy = typer.Typer(no_args_is_help=True, help="The routing policy: which answers are accepted, watched, hidden.")
app.add_typer(policy, name="policy")

PolicyPath = Annotated[Path, typer.Argument(metavar="FILE", help="A policy.toml.")]


@policy.command("show")
def show_(env: Env = LOCAL, json_: Json = False) -> None:
    """Show the routing policy that the next run will follow, and its version, which is in each row.

    Example: `ics policy show --env dev`
    """
    stored = read(connect(env, state()))
    file = EMPTY if stored is None else parse_policy(stored)
    if json_:
        print_json({"version": file.version, "policy": file.table})
        return
    if stored is None:
        show.out.print(f"There is no policy: the environment's threshold applies. Version {file.version}")
        return
    show.out.print(f"Version {file.version}", style="dim")
    show.out.print(stored.decode().rstrip(), markup=False, soft_wrap=True)


@policy.command()
def check(path: PolicyPath, env: Env = LOCAL, json_: Json = False) -> None:
    """Say whether a policy is valid for an environment, and what of it can have no effect. Nothing is changed.

    Example: `ics policy check policy.toml --env dev`
    """
    file = _read_file(path, tuple(load_config(env).models), env)
    idle = unanswered(file, env)
    if json_:
        print_json({"version": file.version, "policy": file.table, "unanswered": idle})
        return
    _warn(idle)
    show.out.print(f"{path} is valid. Version {file.version}")


@policy.command("set")
def set_(path: PolicyPath, env: Env = LOCAL, json_: Json = False) -> None:
    """Make a file the routing policy of an environment: runs that start from now on follow it.

    Example: `ics policy set policy.toml --env dev`
    """
    deployment = connect(env, state())
    file = _read_file(path, deployment.models, env)
    before = _flat_of(read(deployment))
    deployment.s3.put_object(
        Bucket=deployment.results_bucket, Key=paths.POLICY, Body=path.read_bytes(), ContentType="application/toml"
    )
    after, idle = file.flat(), unanswered(file, env)
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    if json_:
        changes = {key: {"before": before.get(key), "after": after.get(key)} for key in changed}
        print_json({"version": file.version, "changes": changes, "unanswered": idle})
        return
    for key in changed:
        for sign, side, colour in (("-", before, "red"), ("+", after, "green")):
            if key in side:
                show.out.print(f"{sign} {key} = {side[key]}", style=colour, markup=False, soft_wrap=True)
    _warn(idle)
    show.out.print(f"{'Set' if changed else 'Nothing changed'}. Version {file.version}")


def read(deployment: Deployment) -> bytes | None:
    """The environment's policy file, None where it has none."""
    try:
        answer = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=paths.POLICY)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    content: bytes = answer["Body"].read()
    return content


def unanswered(file: PolicyFile, env: str) -> list[str]:
    """The labels with rules that no model of the environment can answer, by their keys: misspelt, most likely.

    A text model answers whatever it reads, and Rekognition's labels are thousands, so that none is out of their reach.
    """
    config = load_config(env)
    labels: dict[str, set[str]] = {name: set() for name in config.models}
    open_ = config.models.keys() - config.artifacts.keys()
    for name, folder in config.artifacts.items():
        spec = load_spec(folder)
        labels[name] = set(spec.labels)
        if spec.kind == "text":
            open_.add(name)
    found = []
    own = ((name, rules.get("labels", {})) for name, rules in file.table.get("models", {}).items())
    for model_name, rules in [("", file.table.get("labels", {})), *own]:
        asked = [model_name] if model_name else list(labels)
        start = f"models.{model_name}.labels" if model_name else "labels"
        if not open_.intersection(asked):
            known = set().union(*(labels[name] for name in asked))
            found += [f"{start}.{json.dumps(label, ensure_ascii=False)}" for label in rules if label not in known]
    return found


def _read_file(path: Path, models: tuple[str, ...], env: str) -> PolicyFile:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="FILE") from error
    file = parse_policy(content)
    for name in file.models:
        if name not in models:
            raise InvalidPolicy(f"models.{name}: environment {env!r} has no such model; it has: {', '.join(models)}")
    return file


def _flat_of(stored: bytes | None) -> dict[str, str]:
    """The settings of what is stored; none where it cannot be understood, so that a valid file can replace it."""
    try:
        return parse_policy(stored or b"").flat()
    except InvalidPolicy:
        return {}


def _warn(idle: list[str]) -> None:
    for key in idle:
        show.err.print(f"{key}: no model of this environment answers this label", style="yellow", markup=False)
