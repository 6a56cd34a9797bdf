"""The commands about images in quarantine: list them, release one."""

from typing import Annotated

import typer

from cli import show
from cli.deployment import LOCAL, connect
from cli.options import Env, Json, app, print_json, state
from cli.quarantine import Reviewer
from ics.quarantine import reason
from ics.request import split_uri

quarantine = typer.Typer(no_args_is_help=True, help="Images that the routing policy hides from all but reviewers.")
app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def list_(env: Env = LOCAL, json_: Json = False) -> None:
    """List the images in quarantine, the longest there first.

    Example: `ics quarantine list --env dev`
    """
    found = Reviewer(connect(env, state())).entries()
    if json_:
        print_json(found)
    elif not found:
        show.out.print("No image is in quarantine.")
    for one in found if not json_ else ():
        said = f"{one['label']!r} at {one['confidence']:.3f}, since {one['quarantined_at']}, run {one['run']}"
        show.facts({one["s3_uri"]: [""], "  label": [said], "  version": [one["version"] or "-"]})


@quarantine.command()
def release(
    uri: Annotated[str, typer.Argument(metavar="URI", help="The image, s3://bucket/key, as list shows it.")],
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with who and when.")],
    version: Annotated[str | None, typer.Option(metavar="ID", help="Which version, where several are there.")] = None,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Make an image readable again, once it is written down who does so, and why.

    Example: `ics quarantine release s3://my-bucket/incoming/2026/a.png --because "a toy, see ticket 12" --env dev`
    """
    try:
        because = reason(because)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--because") from error
    try:
        split_uri(uri)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="URI") from error
    record = Reviewer(connect(env, state())).release(uri, because, version)
    if json_:
        print_json(record)
    else:
        show.out.print(f"Released by {record['released_by']}: {uri}", soft_wrap=True, markup=False)
