"""The `ics` command. Exit status: 0 done, 1 the run ended failed, 2 usage, environment or a problem found."""

from botocore.exceptions import BotoCoreError, ClientError

from cli import (
    accuracy,
    accuracy_command,
    environment_commands,
    export_command,
    model_commands,
    plan_command,
    policy_commands,
    quarantine,
    quarantine_commands,
    result_commands,
    resuming,
    run_commands,
    runs,
    shard_command,
    show,
    stopping,
    training_commands,
    web_commands,
)
from cli.deployment import EnvironmentUnavailable
from cli.options import app
from ics.errors import InvalidArtifact, InvalidDefinition, InvalidLabels, InvalidPrices, RequestError
from local import control, deploy
from stacks.config import ConfigError

COMMANDS = (
    environment_commands,
    run_commands,
    result_commands,
    plan_command,
    shard_command,
    export_command,
    model_commands,
    policy_commands,
    quarantine_commands,
    training_commands,
    accuracy_command,
    web_commands,
)
"""The modules whose commands `app` holds: to import them is to add them."""


def main() -> None:
    """Run the command; every expected error becomes one readable line and exit status 2."""
    try:
        app()
    except (
        EnvironmentUnavailable,
        runs.RunNotFound,
        resuming.NotResumable,
        stopping.NotSummarized,
        control.LocalAwsError,
        deploy.DeployError,
        ConfigError,
        InvalidArtifact,
        quarantine.QuarantineError,
        accuracy.EvaluationError,
    ) as error:
        show.problem(str(error))
    except (RequestError, InvalidLabels, InvalidPrices, InvalidDefinition) as error:
        show.problem(f"{type(error).__name__}: {error}")
    except (BotoCoreError, ClientError) as error:
        show.problem(f"AWS: {error}")
    else:
        return
    raise SystemExit(2)
