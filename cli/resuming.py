"""Resume a run that has ended: start an execution that finishes it, named after the run."""

import itertools
from dataclasses import dataclass

from botocore.exceptions import ClientError

from cli import runs, show
from cli.deployment import Deployment
from cli.options import env_option
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
    for number in itertools.count(1):
        end = f"-resume-{number}"
        resuming = run[: MAX_RUN_NAME - len(end)] + end
        try:
            earlier = runs.describe(deployment, resuming)  # to start one that runs already is no error to AWS
        except runs.RunNotFound:
            pass
        else:
            if runs.resumed_by(earlier) == run:  # else it is another's, whose long name begins alike
                _see_that_it_has_ended(deployment, resuming, earlier["status"])
            continue
        try:
            runs.start(deployment, resuming, {"resume": run})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
        else:
            return Resumed(run, resuming)
    raise AssertionError("a number is free")


def _see_that_it_has_ended(deployment: Deployment, name: str, status: str) -> None:
    if status == "RUNNING":
        which = f"{name}{env_option(deployment.name)}"
        raise NotResumable(
            f"{name} is still running. Follow it: {show.COMMAND} watch {which}. "
            f"Or stop it first: {show.COMMAND} stop {which}"
        )
