"""Deploying does nothing twice: neither the synthesis nor the deployment."""

import shutil
from pathlib import Path

import boto3
import pytest

from local import control
from local.deploy import DeployError, deploy


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    state = tmp_path_factory.mktemp("deploy")
    yield control.start(state)
    control.stop(state)


def test_deploying_a_cdk_app(aws, tmp_path):
    shutil.copytree(Path(__file__).with_name("cdk_app"), tmp_path / "app")
    content = tmp_path / "app" / "stacks" / "content.txt"
    content.parent.mkdir()

    def change(text):
        content.write_text(text)
        steps.clear()
        return deploy(aws, tmp_path / "app", steps.append)

    def parameter(name):
        client = boto3.client(
            "ssm", endpoint_url=aws.endpoint_url, region_name=aws.region, aws_access_key_id=aws.account,
            aws_secret_access_key="x",
        )  # fmt: skip
        return client.get_parameter(Name=name)["Parameter"]["Value"]

    steps = []
    assert change("one")
    assert sorted(steps) == ["Bootstrapping the account", "Deploying the stacks", "Synthesizing the templates"]
    assert (parameter("/first"), parameter("/second")) == ("local one", "local one")

    assert not change("one")
    assert steps == []

    assert not change("one\n")  # another source, the same templates
    assert steps == ["Synthesizing the templates"]

    assert change("two")
    assert steps == ["Synthesizing the templates", "Deploying the stacks"]
    assert parameter("/second") == "local two"

    with pytest.raises(DeployError, match="'Nonsense' is not supported"):
        change("broken")
    assert change("two\n")  # what failed half-way is deployed again

    control.stop(aws.state)
    assert control.start(aws.state).endpoint_url == aws.endpoint_url
    assert not change("two\n")  # what was deployed is there again
    assert parameter("/second") == "local two"

    control.stop(aws.state, forget=True)
    control.start(aws.state)
    assert change("two\n")  # nothing is deployed in a new emulator
    assert sorted(steps) == ["Bootstrapping the account", "Deploying the stacks"]
