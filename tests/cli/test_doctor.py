"""`ics doctor` without a deployment: each thing that can be wrong, as AWS's clients would answer."""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli import doctor
from cli.deployment import ROOT
from stacks.config import DeployConfig, load_config

Answers = Mapping[str, list[tuple[str, dict[str, Any] | str]]]
Clients = Callable[[Answers], Callable[[str], Any]]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Clients that give these answers, by service: an operation's result, or the code of its error."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    def made(answers: Answers) -> Callable[[str], Any]:
        def client(service: str) -> Any:
            made = boto3.client(service, region_name="eu-west-1")  # type: ignore[call-overload]
            stub = Stubber(made)
            for operation, answer in answers[service]:
                if isinstance(answer, str):
                    stub.add_client_error(operation, answer, "does not exist" if answer == "Missing" else "denied")
                else:
                    stub.add_response(operation, answer)
            stub.activate()
            return made

        return client

    return made


def config(**changes: Any) -> DeployConfig:
    dev = load_config("dev")
    return DeployConfig(**{**{name: getattr(dev, name) for name in DeployConfig.__dataclass_fields__}, **changes})


def levels(checks: Any) -> dict[str, str]:
    return {check.name: check.level for check in checks}


def test_installed_packages_are_held_against_the_locked_ones() -> None:
    assert doctor.packages((ROOT / "requirements.txt").read_text()).level == "ok"
    boto = importlib.metadata.version("boto3")
    here = f"boto3=={boto} \\\n    --hash=sha256:0\nno-such==1 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n"
    assert doctor.packages(here).level == "ok"
    wrong = doctor.packages(here + "boto3==0.1 \\\nno-such-package==2\n")
    assert (wrong.level, wrong.found) == ("problem", f"boto3 {boto} instead of 0.1; no-such-package is missing")


@pytest.mark.parametrize(("prints", "level"), [("v20.1.0", "ok"), ("v18.19.0", "problem"), (None, "problem")])
def test_node_is_20_or_later(prints: str | None, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if prints:
        (tmp_path / "node").write_text(f"#!/bin/sh\necho {prints}\n")
        (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.node().level == level
    assert doctor.docker().level == "warning"  # not there, and only needed to deploy


def test_credentials_are_for_the_environments_own_account_and_region(clients: Clients) -> None:
    who = {"UserId": "me", "Account": "111111111111", "Arn": "arn:aws:iam::111111111111:user/me"}
    client = clients({"sts": [("get_caller_identity", who)]})
    assert doctor.account(config(), client, "eu-west-1").level == "ok"
    assert doctor.account(config(account="111111111111", region="eu-west-1"), client, "eu-west-1").level == "ok"
    assert doctor.account(config(account="222222222222"), client, "eu-west-1").level == "problem"
    assert doctor.account(config(region="us-east-1"), client, "eu-west-1").level == "problem"
    assert doctor.account(config(), clients({"sts": [("get_caller_identity", "ExpiredToken")]}), None).do


def test_each_stack_and_endpoint_is_judged(clients: Clients) -> None:
    def stack(status: str) -> tuple[str, dict[str, Any]]:
        return "describe_stacks", {"Stacks": [{"StackName": "s", "CreationTime": 0, "StackStatus": status}]}

    client = clients(
        {
            "cloudformation": [
                stack("UPDATE_COMPLETE"),
                stack("ROLLBACK_COMPLETE"),
                ("describe_stacks", "Missing"),
                stack("CREATE_COMPLETE"),
            ]
        }
    )
    found = list(doctor.stacks(config(), client))
    assert levels(found) == {
        "ics-dev-data": "ok",
        "ics-dev-model": "problem",
        "ics-dev-pipeline": "problem",
        "ics-dev-learning": "ok",
    }
    assert found[2].do == "make deploy ENV=dev"
    (check,) = doctor.endpoints(config(), clients({"sagemaker": [("describe_endpoint", "ValidationException")]}))
    assert (check.level, check.found) == ("problem", "not there")


def test_who_is_not_subscribed_or_has_not_confirmed_is_not_told(clients: Clients) -> None:
    topic = "arn:aws:sns:eu-west-1:1:alerts"
    outputs = {
        "Outputs": [{"OutputKey": "AlertTopicArn", "OutputValue": topic}, {"OutputKey": "Other", "OutputValue": "x"}]
    }
    subscribed = [
        {"Protocol": "email", "Endpoint": "new@example.com", "SubscriptionArn": "PendingConfirmation"},
        {"Protocol": "email", "Endpoint": "ops@example.com", "SubscriptionArn": f"{topic}:1"},
        {"Protocol": "sqs", "Endpoint": "arn:aws:sqs:eu-west-1:1:alarms", "SubscriptionArn": f"{topic}:2"},
    ]
    client = clients(
        {
            "cloudformation": [
                ("describe_stacks", {"Stacks": [{"StackName": "s", "CreationTime": 0, "StackStatus": "x", **outputs}]})
            ],
            "sns": [("list_subscriptions_by_topic", {"Subscriptions": subscribed})],
        }
    )
    told = config(
        alert_emails=("new@example.com", "ops@example.com", "gone@example.com"),
        alert_queues=("alarms",),
        alert_https=("https://example.com/hook",),
    )
    found = [(check.level, check.found) for check in doctor.subscriptions(told, client)]
    assert found == [
        ("problem", "new@example.com: PendingConfirmation"),
        ("ok", "ops@example.com"),
        ("problem", "gone@example.com is not subscribed"),
        ("ok", "alarms"),
        ("problem", "https://example.com/hook is not subscribed"),
    ]
    assert [check.level for check in doctor.subscriptions(config(alert_emails=()), client)] == ["warning"]


def test_quotas_that_would_bite_are_problems(clients: Clients) -> None:
    client = clients(
        {
            "lambda": [("get_account_settings", {"AccountLimit": {"UnreservedConcurrentExecutions": 10}})],
            "service-quotas": [
                ("list_service_quotas", {"Quotas": [{"QuotaName": "ml.c6g.large for endpoint usage", "Value": 1.0}]})
            ],
        }
    )
    assert doctor.lambda_quota(config(max_concurrency=10), client).level == "ok"
    assert doctor.lambda_quota(config(max_concurrency=11), client).level == "problem"
    assert levels(doctor.sagemaker_quotas(config(), client)) == {"ml.c6g.large quota": "ok"}
    assert levels(doctor.sagemaker_quotas(load_config("prod"), client)) == {"ml.c6g.large quota": "problem"}


def test_without_credentials_the_rest_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    *_, last = doctor.examine("dev", tmp_path)
    assert (last.name, last.level) == ("credentials", "problem")
    assert "aws sso login" in last.do


def test_a_denied_read_is_a_warning(clients: Clients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Session:
        region_name = "eu-west-1"

        def client(self, service: str, **_: Any) -> Any:
            return clients(
                {
                    "sts": [
                        ("get_caller_identity", {"UserId": "me", "Account": "1" * 12, "Arn": "arn:aws:iam::1:user/me"})
                    ],
                    "cloudformation": [("describe_stacks", "AccessDenied")],
                    "sagemaker": [("describe_endpoint", "AccessDeniedException")],
                    "lambda": [("get_account_settings", "AccessDeniedException")],
                    "service-quotas": [("list_service_quotas", "AccessDeniedException")],
                }
            )(service)

    monkeypatch.setattr(doctor, "reach", lambda *_: (Session(), None))
    found = levels(doctor.examine("prod", tmp_path))
    assert {found[name] for name in ("stacks", "endpoints", "Lambda quota", "SageMaker quota")} == {"warning"}
