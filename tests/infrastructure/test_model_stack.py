"""ModelStack: what SageMaker gets, what it captures, and names that follow what they name."""

import json
import tarfile
from dataclasses import replace

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template

from stacks.artifact import pack_artifact
from stacks.config import ROOT, load_config
from stacks.model_stack import ModelStack


def test_the_endpoint_has_its_computed_name_and_captures_both_json_types(assembly):
    config = load_config(assembly.environment)
    endpoints = assembly.model.of("SageMaker::Endpoint").values()
    assert [item["EndpointName"] for item in endpoints] == [config.endpoint_name(name) for name in config.endpoints]
    for item in assembly.model.of("SageMaker::EndpointConfig").values():
        capture = item["DataCaptureConfig"]
        assert capture["EnableCapture"] is True
        assert capture["InitialSamplingPercentage"] == 100
        assert capture["CaptureOptions"] == [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
        assert capture["CaptureContentTypeHeader"] == {
            "JsonContentTypes": ["application/json", "application/jsonlines"]
        }
        assert capture["DestinationS3Uri"]["Fn::Join"][1][-1] == "/capture"


def test_the_container_has_no_network_and_server_errors_roll_an_update_back(assembly):
    for model in assembly.model.of("SageMaker::Model").values():
        assert model["EnableNetworkIsolation"] is True
    for endpoint in assembly.model.of("SageMaker::Endpoint").values():
        (alarm,) = endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
        assert assembly.model.of("CloudWatch::Alarm")[alarm["AlarmName"]["Ref"]]["MetricName"] == "Invocation5XXErrors"


def test_the_order_is_role_model_configuration_endpoint(assembly):
    resources = assembly.model.resources

    def the(kind):
        return next(key for key, resource in resources.items() if resource["Type"] == f"AWS::{kind}")

    role, model = the("IAM::Role"), the("SageMaker::Model")
    config, endpoint = the("SageMaker::EndpointConfig"), the("SageMaker::Endpoint")
    assert role in resources[model]["DependsOn"]
    assert model in resources[config]["DependsOn"]
    assert config in resources[endpoint]["DependsOn"]
    assert resources[role]["Properties"]["Policies"], "the rights are part of the role, so they are there when it is"
    assert resources[model]["Properties"]["ModelName"] in json.dumps(resources[config])
    assert (
        resources[endpoint]["Properties"]["EndpointConfigName"]
        == (resources[config]["Properties"]["EndpointConfigName"])
    )


def test_the_artifact_is_a_tar_with_its_three_files_at_the_root(local):
    names = ["card.md", "model.json", "model.onnx"]
    packed = []
    for archive in local.folder.glob("asset.*.tar.gz"):
        with tarfile.open(archive) as tar:
            assert tar.getnames() == names
            packed.append([tar.extractfile(name).read() for name in names])
    folders = [ROOT / model.artifact for model in load_config("local").endpoints.values()]
    assert sorted(packed) == sorted([(folder / name).read_bytes() for name in names] for folder in folders)


def test_packing_an_artifact_twice_gives_the_same_bytes(tmp_path):
    folder = ROOT / "models/digits"
    first, second = (pack_artifact(folder, tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_only_an_environment_on_aws_builds_an_image_and_for_its_processor(local, prod):
    models = local.model.of("SageMaker::Model").values()
    assert {model["PrimaryContainer"]["Image"] for model in models} == {"ics-serving:local"}
    assert not json.loads((local.folder / "ics-local-model.assets.json").read_text()).get("dockerImages")
    (image,) = json.loads((prod.folder / "ics-prod-model.assets.json").read_text())["dockerImages"].values()
    source = image["source"]
    assert source["platform"] == "linux/arm64"
    assert source["dockerFile"] == "serving/Dockerfile"
    context = prod.folder / source["directory"]
    files = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
    rooms = {name.partition("/")[0] for name in files}
    assert rooms == {"ics", "serving", "models"}
    assert {"serving/Dockerfile", "serving/requirements.txt"} <= files
    artifact = {name for name in files if name.startswith("models/")}
    assert artifact == {f"models/digits/{name}" for name in ("card.md", "model.json", "model.onnx")}  # and no report/
    assert not [name for name in files if "__pycache__" in name]


@pytest.fixture(scope="module")
def names():
    """A function: the Model, EndpointConfig and Endpoint names of `local` with a changed digits model."""

    def of(serving_image=None, **changes):
        config = load_config("local")
        models = {"digits": replace(config.models["digits"], **changes)}
        image = serving_image or config.serving_image
        config = replace(config, models=models, serving_image=image, web=None)
        stack = cdk.Stack(cdk.App(), "results")
        results = s3.Bucket.from_bucket_name(stack, "Bucket", "results")
        model = ModelStack(stack, "model", config, results=results, topic=sns.Topic(stack, "Topic"))
        resources = Template.from_stack(model).to_json()["Resources"].values()
        kinds = {"Model": "ModelName", "EndpointConfig": "EndpointConfigName", "Endpoint": "EndpointName"}
        return tuple(
            resource["Properties"][name]
            for kind, name in kinds.items()
            for resource in resources
            if resource["Type"] == f"AWS::SageMaker::{kind}"
        )

    return of


def test_names_change_with_the_properties_and_only_then(names):
    model, config, endpoint = names()
    assert names() == (model, config, endpoint)
    new_instance = names(instance_type="ml.m7g.large")
    assert (new_instance[0], new_instance[2]) == (model, endpoint)
    assert new_instance[1] != config
    assert names(capture_percent=50)[1] not in (config, new_instance[1])
    new_image = names(serving_image="ics-serving:next")
    assert new_image[0] != model
    assert new_image[1] != config, "a configuration that names another model is another configuration"
    assert new_image[2] == endpoint
    assert all(len(name) <= 63 for name in (model, config, endpoint))
