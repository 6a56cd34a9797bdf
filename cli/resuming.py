"""Resume a run that has ended: start an execution that finishes it, named after the run."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from cli import runs
from cli.deployment import LOCAL, Deployment
from ics.request import MAX_RUN_NAME


class NotResumable(Exception):
    """The run cannot be resumed as it stands; the message says what to do."""


@dataclass(frozen=True)
class Resumed:
    """The run, and the execution that was started to finish it."""

    run: str
    execution: str


def resume(deployment: Deployment, name: str) -> Resumed:
    """Start an execution that resumes the run, or the run that `name` itself resumes.

    Raises:
        RunNotFound: there is no such run.
        NotResumable: it, or an earlier resume of it, is still running.
    """
    execution = runs.describe(deployment, name)
    _see_that_it_has_ended(deployment, execution["name"], execution["status"])
    run = runs.resumed_by(execution) or name
    if run != name:
        _see_that_it_has_ended(deployment, run, runs.describe(deployment, run)["status"])
    number = 1
    while True:
        end = f"-resume-{number}"
        resuming = run[: MAX_RUN_NAME - len(end)] + end
        try:
            runs.start(deployment, resuming, {"resume": run})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
            earlier = runs.describe(deployment, resuming)
            _see_that_it_has_ended(deployment, resuming, earlier["status"])
            number += 1
        else:
            return Resumed(run, resuming)


def _see_that_it_has_ended(deployment: Deployment, name: str, status: str) -> None:
    if status == "RUNNING":
        which = name if deployment.name == LOCAL else f"{name} --env {deployment.name}"
        raise NotResumable(f"{name} is still running. Follow it: ics watch {which}. Or stop it first: ics stop {which}")
