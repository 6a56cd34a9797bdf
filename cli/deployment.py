"""A deployed environment: its resources by name, and AWS clients that reach it, locally or in the caller's account."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, TokenRetrievalError

from local import control

ROOT = Path(__file__).resolve().parents[1]
LOCAL = "local"
LONGEST_FUNCTION = 910
"""Seconds to wait for a function's answer: Lambda's own limit is 900."""


class EnvironmentUnavailable(Exception):
    """The environment cannot be used as it is; the message says what to do next."""


@dataclass(frozen=True)
class Deployment:
    """One environment's resources, as its stacks' outputs name them."""

    name: str
    session: boto3.Session
    endpoint_url: str | None
    images_bucket: str
    results_bucket: str
    working_bucket: str
    table: str
    alert_topic: str
    mail_topic: str
    state_machine: str
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    reviewer_role: str
    training_role: str | None = None
    upload_queue: str | None = None
    dead_letters: str | None = None

    @cached_property
    def s3(self) -> Any:
        """An S3 client; addresses buckets by path, as the emulator needs and AWS allows."""
        return self._client("s3", s3={"addressing_style": "path"})

    @cached_property
    def states(self) -> Any:
        """A Step Functions client."""
        return self._client("stepfunctions")

    @cached_property
    def sagemaker(self) -> Any:
        """A SageMaker client."""
        return self._client("sagemaker")

    @cached_property
    def functions(self) -> Any:
        """A Lambda client; waits as long as a function may take, and never invokes one a second time by itself."""
        return self._client("lambda", read_timeout=LONGEST_FUNCTION, retries={"total_max_attempts": 1})

    @cached_property
    def sns(self) -> Any:
        """An SNS client."""
        return self._client("sns")

    @cached_property
    def sqs(self) -> Any:
        """An SQS client."""
        return self._client("sqs")

    @cached_property
    def logs(self) -> Any:
        """A CloudWatch Logs client."""
        return self._client("logs")

    def check_model(self, name: str | None) -> None:
        """See that the environment serves this model, before anything is uploaded for it; None is its default one.

        Raises:
            EnvironmentUnavailable: it does not; names those there are.
        """
        if name is not None and name not in self.models:
            there = ", ".join(self.models)
            raise EnvironmentUnavailable(f"There is no model {name!r} in environment {self.name!r}. There are: {there}")

    def _client(self, service: str, **options: Any) -> Any:
        defaults: dict[str, Any] = {"retries": {"mode": "standard", "max_attempts": 4}, "max_pool_connections": 16}
        config = Config(**defaults | options)
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)


def environments() -> list[str]:
    """The names of all environments."""
    return sorted(path.stem for path in (ROOT / "environments").glob("*.toml"))


def reach(name: str, state: Path) -> tuple[boto3.Session, str | None]:
    """A session for an environment's account, and the endpoint to use instead of AWS's own.

    Raises:
        EnvironmentUnavailable: there is no such environment, or it is the local one and not running.
    """
    if name not in environments():
        raise EnvironmentUnavailable(f"There is no environment {name!r}. There are: {', '.join(environments())}")
    if name != LOCAL:
        return boto3.Session(), None
    running = control.status(state)
    if running is None:
        raise EnvironmentUnavailable("The local environment is not running. Start it with: ics up")
    return local_session(running), running.endpoint_url


def connect(name: str, state: Path) -> Deployment:
    """Find a deployed environment.

    Raises:
        EnvironmentUnavailable: not running, not deployed, unknown, or no credentials; says what to do.
    """
    session, endpoint_url = reach(name, state)
    outputs: dict[str, str] = {}
    try:
        formation = session.client("cloudformation", endpoint_url=endpoint_url)
        for stack in ("data", "pipeline"):
            described = formation.describe_stacks(StackName=f"ics-{name}-{stack}")["Stacks"][0]
            outputs |= {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())}
    except (NoCredentialsError, TokenRetrievalError) as error:
        raise EnvironmentUnavailable("No AWS credentials. Sign in, for example with: aws sso login") from error
    except NoRegionError as error:
        raise EnvironmentUnavailable(
            "No AWS region. Choose one, for example with: export AWS_REGION=us-east-1"
        ) from error
    except ClientError as error:
        if "does not exist" not in str(error):
            raise EnvironmentUnavailable(f"AWS refused: {error}") from error
        deploy = "ics up" if name == LOCAL else f"make deploy ENV={name}"
        raise EnvironmentUnavailable(f"Environment {name!r} is not deployed here. Deploy it with: {deploy}") from error
    except BotoCoreError as error:
        raise EnvironmentUnavailable(f"AWS cannot be reached: {error}") from error
    return Deployment(
        name=name,
        session=session,
        endpoint_url=endpoint_url,
        images_bucket=outputs["ImagesBucketName"],
        results_bucket=outputs["ResultsBucketName"],
        working_bucket=outputs["WorkingBucketName"],
        table=outputs["TableName"],
        alert_topic=outputs["AlertTopicArn"],
        mail_topic=outputs["MailTopicArn"],
        state_machine=outputs["StateMachineArn"],
        models=tuple(outputs["Models"].split(",")),
        endpoints=tuple(name for name in outputs["Endpoints"].split(",") if name != "none"),
        reviewer_role=outputs["ReviewerRoleArn"],
        training_role=outputs.get("TrainingRoleArn"),
        upload_queue=outputs.get("UploadQueueUrl"),
        dead_letters=outputs.get("DeadLetterQueueUrl"),
    )


def local_session(aws: control.LocalAws) -> boto3.Session:
    """A session with the local AWS's own credentials, whatever the user's are."""
    environment = aws.environment()
    return boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=aws.region,
    )
