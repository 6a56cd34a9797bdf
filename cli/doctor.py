"""What may keep ICS from working here: tools, packages, account, deployment, endpoints, subscriptions, quotas.

Nothing is changed. What may not be read is a warning, for who only runs ICS need not have every right.
"""

import importlib.metadata
import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from packaging.requirements import Requirement

from cli.deployment import LOCAL, ROOT, EnvironmentUnavailable, reach
from local import control
from stacks.config import ConfigError, DeployConfig, load_config

PYTHON = (3, 11)
NODE = 20
STACKS = ("data", "model", "pipeline", "learning")


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it is, what was seen, and what to do where it is not ok."""

    name: str
    level: Literal["ok", "warning", "problem"]
    found: str
    do: str = ""


Client = Callable[[str], Any]


def examine(environment: str, state: Path) -> Iterator[Check]:
    """Look at this machine, then at the environment; each finding as soon as it is known.

    Args:
        environment: the environment's name.
        state: the folder of the local AWS.
    """
    yield python()
    yield packages((ROOT / "requirements.txt").read_text("utf-8"))
    yield node()
    yield cdk()
    if environment == LOCAL:
        yield loopback(state)
    else:
        yield docker()
    try:
        config = load_config(environment)
        session, endpoint_url = reach(environment, state)
    except ConfigError as error:
        yield Check("environment", "problem", str(error), "correct environments/*.toml")
        return
    except EnvironmentUnavailable as error:
        found, _, do = str(error).partition(". ")
        yield Check("environment", "problem", found, do)
        return

    def client(service: str) -> Any:
        patience = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})
        return session.client(service, endpoint_url=endpoint_url, config=patience)

    who = _read("credentials", lambda: [account(config, client, session.region_name)])
    yield from who
    if who[0].level == "problem":
        return
    yield from _read("stacks", lambda: stacks(config, client))
    yield from _read("endpoints", lambda: endpoints(config, client))
    if config.events is not None:
        yield from _read("uploads", lambda: uploads(config, client))
    yield from _read("subscriptions", lambda: subscriptions(config, client))
    yield from _read("Lambda quota", lambda: [lambda_quota(config, client)])
    if environment != LOCAL:  # the local AWS has no instances to count
        yield from _read("SageMaker quota", lambda: sagemaker_quotas(config, client))


def python() -> Check:
    """This interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Check("Python", "problem", version, "make clean, then make PYTHON=python3.12 up")
    return Check("Python", "ok", version)


def packages(locked: str) -> Check:
    """Whether what is installed is what `requirements.txt`, given as text, pins for this platform."""
    wrong = []
    pinned = [Requirement(text) for text in re.findall(r"^[A-Za-z0-9][^\\\n]*==[^\\\n]*", locked, re.MULTILINE)]
    for requirement in pinned:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} instead of {str(requirement.specifier).lstrip('=')}")
    if wrong:
        return Check("packages", "problem", "; ".join(wrong), "rm .venv/installed, then make up")
    return Check("packages", "ok", f"{len(pinned)} as locked")


def node() -> Check:
    """Node, which the CDK CLI needs."""
    version = _version("node", "--version")
    if version is None or int(version.split(".")[0]) < NODE:
        return Check("Node", "problem", version or "not found", f"install Node {NODE} or later: https://nodejs.org")
    return Check("Node", "ok", version)


def cdk() -> Check:
    """The CDK CLI, which deploys: the project's own, as pinned."""
    pinned = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]["aws-cdk"]
    version = _version(str(ROOT / "node_modules" / ".bin" / "cdk"), "--version")
    if version is None or version != pinned:
        return Check("CDK CLI", "problem", f"{version or 'not found'}; {pinned} is pinned", "npm ci")
    return Check("CDK CLI", "ok", version)


def docker() -> Check:
    """Docker, which builds the serving image; whoever does not deploy does without."""
    version = _version("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        return Check("Docker", "warning", "not running", "needed to deploy, not to run: start or install Docker")
    return Check("Docker", "ok", version)


def loopback(state: Path) -> Check:
    """Whether the local AWS listens, or could: `localhost` is this machine, and its last port is free."""
    running = control.status(state)
    if running is not None:
        return Check("loopback", "ok", f"listening at {running.endpoint_url}")
    remembered = state / "port"
    port = int(remembered.read_text()) if remembered.exists() else 0
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo("localhost", None)}
        if not addresses <= {"127.0.0.1", "::1"}:
            raise OSError(f"localhost is {', '.join(sorted(addresses))}")
        with socket.create_server(("127.0.0.1", port)):
            return Check("loopback", "ok", f"port {port} is free" if port else "ports are free")
    except OSError as error:
        if port:
            return Check("loopback", "warning", f"port {port}: {error}", "nothing: another port will be taken")
        return Check("loopback", "problem", str(error), "see that localhost is 127.0.0.1 in /etc/hosts")


def account(config: DeployConfig, client: Client, region: str | None) -> Check:
    """Whose credentials these are, and whether they are for the environment's own account and region."""
    try:
        identity = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return Check("credentials", "problem", str(error), "sign in: aws sso login; choose: export AWS_REGION=...")
    found = f"{identity['Arn']} in {region}"
    for what, wanted, is_ in (("account", config.account, identity["Account"]), ("region", config.region, region)):
        if wanted is not None and wanted != is_:
            return Check("credentials", "problem", found, f"the environment is {what} {wanted}: sign in there")
    return Check("credentials", "ok", found)


def stacks(config: DeployConfig, client: Client) -> Iterator[Check]:
    """Whether each of the environment's stacks is deployed, and its last deployment went well."""
    deploy = "ics up" if config.environment == LOCAL else f"make deploy ENV={config.environment}"
    formation = client("cloudformation")
    stacks = [stack for stack in STACKS if stack != "model" or config.endpoints]
    for name in (f"ics-{config.environment}-{stack}" for stack in stacks):
        try:
            status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            yield Check(name, "problem", "not deployed", deploy)
            continue
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            yield Check(name, "ok", status)
        elif status in ("UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
            yield Check(name, "warning", status, "works as before its last update; look at its events, deploy again")
        else:
            yield Check(name, "problem", status, "look at the stack's events, then deploy again")


def endpoints(config: DeployConfig, client: Client) -> Iterator[Check]:
    """Whether each model's endpoint answers."""
    sagemaker = client("sagemaker")
    for name in map(config.endpoint_name, config.endpoints):
        try:
            status = sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            status = "not there"
        if status == "InService":
            yield Check(name, "ok", status)
        elif status in ("Updating", "SystemUpdating"):
            yield Check(name, "warning", status, "answers as before until the update is done")
        else:
            yield Check(name, "problem", status, "runs will fail: deploy again; look at the endpoint's log")


def uploads(config: DeployConfig, client: Client) -> Iterator[Check]:
    """Whether uploads are handed to StartRun, and whether some could not be."""
    name = f"ics-{config.environment}-start-run"
    mappings = client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    state = mappings[0]["State"] if mappings else "not there"
    if state == "Enabled":
        yield Check("uploads", "ok", "start runs")
    else:
        yield Check("uploads", "problem", f"the trigger of {name} is {state}", "enable it in the Lambda console")
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=f"ics-{config.environment}-uploads-dead")["QueueUrl"]
    wanted = "ApproximateNumberOfMessages"
    waiting = int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[wanted])["Attributes"][wanted])
    if waiting:
        do = f"docs/runbooks/dead-letters.md; then ics redrive --env {config.environment}"
        yield Check("dead letters", "problem", f"about {waiting:,} uploads could not be given to a run", do)
    else:
        yield Check("dead letters", "ok", "none")


def subscriptions(config: DeployConfig, client: Client) -> Iterator[Check]:
    """Whether everyone whom the environment names is told: subscribed, and confirmed."""
    wanted = [
        *(("email", address) for address in config.alert_emails),
        *(("sqs", queue) for queue in config.alert_queues),
        *(("https", url) for url in config.alert_https),
    ]
    if not wanted:
        yield Check("subscriptions", "warning", "nobody is told", "add alert_emails to the environment's TOML")
        return
    described = client("cloudformation").describe_stacks(StackName=f"ics-{config.environment}-data")["Stacks"][0]
    topics = [
        one["OutputValue"] for one in described["Outputs"] if one["OutputKey"] in ("AlertTopicArn", "MailTopicArn")
    ]
    lists = client("sns").get_paginator("list_subscriptions_by_topic")
    there = {
        (one["Protocol"], one["Endpoint"].rpartition(":")[2] if one["Protocol"] == "sqs" else one["Endpoint"]): one
        for topic in topics
        for page in lists.paginate(TopicArn=topic)
        for one in page["Subscriptions"]
    }
    for protocol, endpoint in wanted:
        name, one = f"alerts by {protocol}", there.get((protocol, endpoint))
        if one is None:
            yield Check(name, "problem", f"{endpoint} is not subscribed", "deploy again; unconfirmed ones last 48 h")
        elif not one["SubscriptionArn"].startswith("arn:"):  # `PendingConfirmation` or `Deleted`
            yield Check(name, "problem", f"{endpoint}: {one['SubscriptionArn']}", "its reader must confirm by e-mail")
        else:
            yield Check(name, "ok", endpoint)


def lambda_quota(config: DeployConfig, client: Client) -> Check:
    """Whether the account lets as many functions run at once as a run has children (each runs one at a time)."""
    limits = client("lambda").get_account_settings()["AccountLimit"]
    free = limits["UnreservedConcurrentExecutions"]
    found = f"{free:,} concurrent executions for max_concurrency {config.max_concurrency:,}"
    if free < config.max_concurrency:
        return Check("Lambda quota", "problem", found, "raise the quota, or lower max_concurrency")
    return Check("Lambda quota", "ok", found)


def sagemaker_quotas(config: DeployConfig, client: Client) -> Iterator[Check]:
    """Whether the account may have as many instances of each type as the environment's endpoints want."""
    wanted: Counter[str] = Counter()
    for model in config.endpoints.values():
        wanted[model.instance_type] += model.instance_count
    pages = client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas: Mapping[str, float] = {one["QuotaName"]: one["Value"] for page in pages for one in page["Quotas"]}
    for kind, count in wanted.items():
        quota = quotas.get(f"{kind} for endpoint usage")
        name = f"{kind} quota"
        if quota is None:
            yield Check(name, "warning", "not listed", "see Service Quotas in the console")
        elif quota < count:
            yield Check(name, "problem", f"{quota:g} instances, {count} wanted", "ask for more in Service Quotas")
        else:
            yield Check(name, "ok", f"{quota:g} instances, {count} wanted")


def _read(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """The findings, or a warning that AWS did not let us look."""
    try:
        return list(look())
    except (BotoCoreError, ClientError) as error:
        return [Check(name, "warning", f"could not be read: {error}", "grant the read, or ask who may")]


def _version(*command: str) -> str | None:
    """The first version number that a command prints, or None where it cannot be run."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(\.\d+)+", ran.stdout) if ran.returncode == 0 else None
    return found and found[0]
