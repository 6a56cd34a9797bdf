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
    alert_topic: str
    state_machine: str
    models: tuple[str, ...]

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

    def _client(self, service: str, **options: Any) -> Any:
        config = Config(retries={"mode": "standard", "max_attempts": 4}, max_pool_connections=16, **options)
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)


def connect(name: str, state: Path) -> Deployment:
    """Find a deployed environment.

    Raises:
        EnvironmentUnavailable: not running, not deployed, unknown, or no credentials; says what to do.
    """
    endpoint_url = None
    if name == LOCAL:
        running = control.status(state)
        if running is None:
            raise EnvironmentUnavailable("The local environment is not running. Start it with: ics up")
        session = local_session(running)
        endpoint_url = running.endpoint_url
    else:
        known = sorted(path.stem for path in (ROOT / "environments").glob("*.toml"))
        if name not in known:
            raise EnvironmentUnavailable(f"There is no environment {name!r}. There are: {', '.join(known)}")
        session = boto3.Session()
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
        alert_topic=outputs["AlertTopicArn"],
        state_machine=outputs["StateMachineArn"],
        models=tuple(outputs["Models"].split(",")),
    )


def local_session(aws: control.LocalAws) -> boto3.Session:
    """A session with the local AWS's own credentials, whatever the user's are."""
    environment = aws.environment()
    return boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=aws.region,
    )
