"""The commands about the page and the HTTP API: where they are, sign in to the local one, put the page there."""

import sys
import webbrowser
from enum import StrEnum
from typing import Annotated

import typer

from cli import show, web
from cli.deployment import LOCAL, connect
from cli.options import Env, Json, app, print_json, state


class Role(StrEnum):
    """A group of the user pool."""

    viewer = "viewer"
    reviewer = "reviewer"
    operator = "operator"


@app.command(name="open")
def open_(
    env: Env = LOCAL,
    role: Annotated[
        Role | None, typer.Option("--role", help="Open the local page signed in with this role, for an hour.")
    ] = None,
    json_: Json = False,
) -> None:
    """Open the page; with --json, say where page and HTTP API are, and open nothing.

    With --role the address holds a token, which the page takes out of it.

    Example: `ics open --role operator --json`
    """
    deployment = connect(env, state())
    found = web.find(deployment, state())
    made = None if role is None else web.local_token(deployment, found, role.value, state())
    page = found.page if made is None else f"{found.page}#token={made}"
    if json_:
        print_json({"page": page, "api": found.api})
        return
    show.out.print(f"The page is at {found.page}", soft_wrap=True)
    webbrowser.open(page)


@app.command()
def token(
    role: Annotated[Role, typer.Option("--role", help="What the token is to allow.")] = Role.viewer,
    json_: Json = False,
) -> None:
    """Sign in to the local environment and print a token for its HTTP API, good for an hour.

    Its users are made on first use, their passwords kept in the state folder.

    Example: `ics token --role operator`
    """
    deployment = connect(LOCAL, state())
    made = web.local_token(deployment, web.find(deployment, state()), role.value, state())
    if json_:
        print_json({"role": role.value, "token": made})
    else:
        sys.stdout.write(f"{made}\n")


@app.command()
def publish(env: Env = LOCAL, json_: Json = False) -> None:
    """Put the page's files where CloudFront serves them from. `ics up` does so for the local environment.

    Example: `ics publish --env dev`
    """
    deployment = connect(env, state())
    found = web.find(deployment, state())
    web.build()
    files = web.publish(deployment, found)
    if json_:
        print_json({"page": found.page, "files": files})
    else:
        show.out.print(f"Published {files:,} files: {found.page}", soft_wrap=True)
