"""The commands about an environment: bring it up, say how it is, examine it, bring it down."""

import dataclasses
from typing import Annotated

import typer

from cli import dead_letters, show, web
from cli import doctor as examination
from cli.deployment import LOCAL, ROOT, connect
from cli.options import Env, Json, app, print_json, state
from local import control, deploy
from stacks.config import load_config


@app.command()
def up() -> None:
    """Start the local AWS and deploy ICS into it. Quick when nothing changed.

    Example: `ics up`
    """
    aws = bring_up()
    page = f", its page at {aws.page_url}/" if has_page() else ""
    show.out.print(f"ICS is up at {aws.endpoint_url}{page}", soft_wrap=True)
    show.out.print(f"Next: {show.COMMAND} classify PATH...   or   {show.COMMAND} demo", style="dim")


@app.command()
def down(
    forget: Annotated[
        bool, typer.Option("--forget", help="Also delete what it holds: buckets, runs, results, messages.")
    ] = False,
) -> None:
    """Stop the local AWS and everything it started. What it holds is there again with the next `ics up`.

    Example: `ics down`
    """
    show.out.print("ICS is down." if control.stop(state(), forget=forget) else "ICS was not running.")


@app.command()
def status(env: Env = LOCAL, json_: Json = False) -> None:
    """Show what is deployed: buckets, models and their endpoints, the latest runs.

    Example: `ics status --env dev`
    """
    deployment = connect(env, state())
    models = dict.fromkeys(deployment.models, "without an endpoint")
    for model in deployment.endpoints:
        described = deployment.sagemaker.describe_endpoint(EndpointName=f"ics-{env}-{model}")
        models[model] = described["EndpointStatus"]
    latest = deployment.states.list_executions(stateMachineArn=deployment.state_machine, maxResults=5)["executions"]
    found = {
        "environment": env,
        "endpoint_url": deployment.endpoint_url,
        "images": f"s3://{deployment.images_bucket}",
        "results": f"s3://{deployment.results_bucket}",
        "state_machine": deployment.state_machine,
        "models": models,
        "runs": [{"run": one["name"], "status": one["status"]} for one in latest],
    }
    if json_:
        print_json(found)
        return
    show.facts(
        {
            "environment": [env],
            "endpoint": [deployment.endpoint_url or "AWS"],
            "images": [f"s3://{deployment.images_bucket}"],
            "results": [f"s3://{deployment.results_bucket}"],
            "models": [f"{model} {status_}" for model, status_ in models.items()],
            "latest runs": [f"{one['name']} {one['status']}" for one in latest] or ["none yet"],
        }
    )


@app.command()
def doctor(env: Env = LOCAL, json_: Json = False) -> None:
    """Say what may keep ICS from working here, and what to do. Exit status 0 where there is no problem, else 2.

    Tools and packages; with --env NAME also credentials, stacks, endpoints, alert subscriptions and quotas on AWS.

    Example: `ics doctor --env dev`
    """
    found = []
    for check in examination.examine(env, state()):
        found.append(check)
        if not json_:
            show.check(check.name, check.level, check.found, check.do)
    if json_:
        print_json([dataclasses.asdict(check) for check in found])
    if any(check.level == "problem" for check in found):
        raise typer.Exit(2)


@app.command()
def redrive(env: Env = LOCAL, json_: Json = False) -> None:
    """Send dead letters, uploads that could not be given to a run, back to be tried again.

    What was classified meanwhile is not classified again. First mend what kept them: docs/runbooks/dead-letters.md

    Example: `ics redrive --env dev`
    """
    sent, kept = dead_letters.redrive(connect(env, state()))
    if json_:
        print_json({"sent": sent, "kept": kept})
    else:
        show.out.print(f"Sent back {sent:,} dead letters." if sent or kept else "There are no dead letters.")
    if kept:
        show.err.print(f"SQS did not take {kept:,}: they are still there. Try again.", style="yellow")
        raise typer.Exit(2)


def has_page() -> bool:
    """Whether the local environment has a page and an HTTP API."""
    return load_config(LOCAL).web is not None


def bring_up() -> control.LocalAws:
    """Start the local AWS and deploy into it, where that is not done yet; show how far it is."""
    with show.err.status("Starting the local AWS") as spinner:
        aws = control.start(state())
        deploy.deploy(aws, ROOT, spinner.update)
        if has_page():
            deployment = connect(LOCAL, state())
            spinner.update("Building the page")
            web.build()
            web.publish(deployment, web.find(deployment, state()))
    return aws
