"""SageMaker Runtime API reference, InvokeEndpoint; Developer Guide, "Data capture"; CloudFormation template reference,
AWS::SageMaker::Model, EndpointConfig, Endpoint."""

import asyncio
import base64
import io
import json
import os
import tarfile
import uuid

import pytest
from botocore.exceptions import ClientError

from local.sagemaker import runtime
from local.sagemaker.faults import Faults
from local.sagemaker.hosting import Endpoint, Hosting, Variant


def artifact(aws, bucket, **files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    key = f"{uuid.uuid4().hex}/model.tar.gz"
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=packed.getvalue())
    return f"s3://{bucket}/{key}"


def template(name, model_data, bucket, percent=100):
    version = uuid.uuid4().hex[:8]
    return {
        "Resources": {
            "Model": {
                "Type": "AWS::SageMaker::Model",
                "Properties": {
                    "ModelName": f"{name}-{version}",
                    "ExecutionRoleArn": "arn:aws:iam::418205530617:role/any",
                    "PrimaryContainer": {"Image": "image:1", "ModelDataUrl": model_data, "Environment": {"A": "b"}},
                },
            },
            "Config": {
                "Type": "AWS::SageMaker::EndpointConfig",
                "Properties": {
                    "EndpointConfigName": f"{name}-{version}",
                    "ProductionVariants": [
                        {
                            "VariantName": "AllTraffic",
                            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                            "InitialInstanceCount": 1,
                            "InstanceType": "ml.c6g.large",
                            "InitialVariantWeight": 1,
                        }
                    ],
                    "DataCaptureConfig": {
                        "EnableCapture": True,
                        "InitialSamplingPercentage": percent,
                        "DestinationS3Uri": f"s3://{bucket}/capture",
                        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                        "CaptureContentTypeHeader": {
                            "JsonContentTypes": ["application/json", "application/jsonlines"],
                            "CsvContentTypes": ["text/csv"],
                        },
                    },
                },
            },
            "Endpoint": {
                "Type": "AWS::SageMaker::Endpoint",
                "Properties": {
                    "EndpointName": name,
                    "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                },
            },
        },
        "Outputs": {
            "ModelRef": {"Value": {"Ref": "Model"}},
            "ConfigRef": {"Value": {"Ref": "Config"}},
            "EndpointRef": {"Value": {"Ref": "Endpoint"}},
            "EndpointName": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}},
        },
    }


class Deployed:
    """A stack with one endpoint, capturing into its bucket."""

    def __init__(self, aws, **files):
        self.aws = aws
        self.name = f"e-{uuid.uuid4().hex[:8]}"
        self.bucket = aws.bucket()
        self.put("create_stack", weights_txt="first", **files)

    def put(self, operation, environment=None, **files):
        body = template(self.name, artifact(self.aws, self.bucket, **files), self.bucket)
        if environment:
            body["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"] = environment
        getattr(self.aws.client("cloudformation"), operation)(StackName=self.name, TemplateBody=json.dumps(body))

    def ended(self):
        def settled():
            (stack,) = self.aws.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
            return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

        return self.aws.wait_for(settled)

    def invoke(self, body=b"{}", wish=None, **options):
        if wish:
            options["CustomAttributes"] = json.dumps(wish)
        return self.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.name, Body=body, **{"ContentType": "application/json", **options}
        )

    def weights(self):
        return json.loads(self.invoke()["Body"].read())["weights"]

    def error(self, **options):
        with pytest.raises(ClientError) as refused:
            self.invoke(**options)
        return refused.value.response

    def captured(self):
        s3 = self.aws.client("s3")
        listed = s3.list_objects_v2(Bucket=self.bucket, Prefix="capture/").get("Contents", [])
        lines = []
        for item in listed:
            content = s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()
            lines += [(item["Key"], json.loads(line)) for line in content.splitlines()]
        return lines


@pytest.fixture(scope="module")
def endpoint(aws):
    deployed = Deployed(aws)
    assert deployed.ended()["StackStatus"] == "CREATE_COMPLETE"
    return deployed


def test_the_emulator_still_refuses_the_types(unpatched):
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        unpatched.client("cloudformation").create_stack(
            StackName="x", TemplateBody=json.dumps(template("x", "s3://b/k", "b"))
        )


def test_references_and_descriptions(aws, endpoint):
    (stack,) = aws.client("cloudformation").describe_stacks(StackName=endpoint.name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["EndpointRef"] == f"arn:aws:sagemaker:us-east-1:418205530617:endpoint/{endpoint.name}"
    assert outputs["EndpointName"] == endpoint.name
    sagemaker = aws.client("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName=endpoint.name)
    assert (described["EndpointStatus"], described["EndpointArn"]) == ("InService", outputs["EndpointRef"])
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    assert config["EndpointConfigArn"] == outputs["ConfigRef"]
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert (model["ModelArn"], model["PrimaryContainer"]["Image"]) == (outputs["ModelRef"], "image:1")
    assert endpoint.name in [item["EndpointName"] for item in sagemaker.list_endpoints()["Endpoints"]]
    with pytest.raises(ClientError) as refused:
        sagemaker.describe_endpoint(EndpointName="none")
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_an_invocation_and_its_capture(aws, endpoint):
    answer = endpoint.invoke(b'{"a": 1}\n', {"note": 1}, ContentType="application/jsonlines", Accept="application/json",
                             InferenceId="run-1-0")  # fmt: skip
    told = json.loads(answer["Body"].read())
    assert told == {
        "weights": "first",
        "bytes": 9,
        "content_type": "application/jsonlines",
        "accept": "application/json",
    }
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("application/json", "seen")
    endpoint.invoke(b"\x89PNG\xff", ContentType="image/png", InferenceId="run-1-1")
    endpoint.invoke(b"1,2\n", ContentType="text/csv", InferenceId="run-1-2")

    def lines():
        by_id = {line["eventMetadata"].get("inferenceId"): (key, line) for key, line in endpoint.captured()}
        return by_id if {"run-1-0", "run-1-1", "run-1-2"} <= set(by_id) else None

    by_id = aws.wait_for(lines)
    key, line = by_id["run-1-0"]
    assert key.startswith(f"capture/{endpoint.name}/AllTraffic/")
    assert line["eventMetadata"]["inferenceTime"][:13].replace("-", "/").replace("T", "/") == "/".join(
        key.split("/")[3:7]
    )
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "application/jsonlines",
        "mode": "INPUT",
        "data": '{"a": 1}\n',
        "encoding": "JSON",
    }
    assert json.loads(line["captureData"]["endpointOutput"]["data"]) == told
    assert line["captureData"]["endpointOutput"]["encoding"] == "JSON"
    assert line["eventMetadata"]["customAttributes"] == ['{"note": 1}']
    assert line["eventVersion"] == "0"
    picture = by_id["run-1-1"][1]["captureData"]["endpointInput"]
    assert (picture["encoding"], base64.b64decode(picture["data"])) == ("BASE64", b"\x89PNG\xff")
    assert by_id["run-1-2"][1]["captureData"]["endpointInput"]["encoding"] == "CSV"


def test_errors_have_awss_shapes(aws, endpoint):
    for status, side in ((400, "client"), (500, "server")):
        response = endpoint.error(wish={"status": status})
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert response["Error"]["Code"] == "ModelError"
        assert response["Error"]["Message"].startswith(f"Received {side} error ({status}) from primary with message")
        assert response["OriginalStatusCode"] == status
        assert json.loads(response["OriginalMessage"])["weights"] == "first"
        assert response["LogStreamArn"].startswith("arn:aws:logs:")
    response = endpoint.error(wish={"drop": True})
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
    response = endpoint.error(body=b"x" * 6_291_457)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationError", 400)
    assert json.loads(endpoint.invoke(b"x" * 6_291_456)["Body"].read())["bytes"] == 6_291_456
    with pytest.raises(ClientError) as refused:
        aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="none", Body=b"")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert refused.value.response["Error"]["Message"] == "Endpoint none of account 418205530617 not found."


def test_a_killed_server_is_replaced(aws, endpoint):
    def pid():
        return aws.about("endpoints")[endpoint.name]["variants"]["AllTraffic"]["pid"]

    killed = pid()
    os.kill(killed, 9)
    aws.wait_for(lambda: pid() != killed)
    refused = set()

    def answers():
        try:
            return endpoint.weights()
        except ClientError as error:
            refused.add(error.response["Error"]["Code"])
            return None

    assert aws.wait_for(answers) == "first"
    assert refused <= {"ServiceUnavailable", "ModelError"}


def test_an_update_answers_throughout_and_a_bad_one_rolls_back(aws):
    deployed = Deployed(aws)
    assert deployed.ended()["StackStatus"] == "CREATE_COMPLETE"

    def process():
        return aws.about("endpoints")[deployed.name]["variants"]["AllTraffic"]["pid"]

    def answers_until_updated():
        answers = []

        def updated():
            answers.append(deployed.weights())  # raises where nobody answers
            (stack,) = aws.client("cloudformation").describe_stacks(StackName=deployed.name)["Stacks"]
            return stack["StackStatus"] == "UPDATE_COMPLETE"

        aws.wait_for(updated)
        return set(answers)

    first = process()
    deployed.put("update_stack", weights_txt="second")
    assert answers_until_updated() <= {"first", "second"}
    assert deployed.weights() == "second"
    assert process() == first  # a new artifact alone: the server goes over to it by itself

    for environment in (None, {"A": "c"}):
        deployed.put("update_stack", environment, weights_txt="third", broken="")
        assert deployed.ended()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        assert (deployed.weights(), process()) == ("second", first)

    deployed.put("update_stack", {"A": "c"}, weights_txt="fourth")
    assert answers_until_updated() <= {"second", "fourth"}
    assert deployed.weights() == "fourth"
    aws.wait_for(lambda: not alive(first))
    aws.client("cloudformation").delete_stack(StackName=deployed.name)
    aws.wait_for(lambda: deployed.name not in aws.about("endpoints"))
    with pytest.raises(ClientError, match="not found"):
        deployed.weights()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_artifact_cannot_leave_its_folder(aws):
    deployed = Deployed(aws, **{"../escaped.txt": "outside"})
    assert deployed.ended()["StackStatus"] == "ROLLBACK_COMPLETE"
    assert not list(aws.state.rglob("escaped.txt"))


class Silent:
    """A model server that is there and never answers."""

    ready = True
    in_flight = 0

    class client:  # noqa: N801
        @staticmethod
        async def request(*_):
            await asyncio.Event().wait()


def invoked(*variants):
    hosting = Hosting(None, None)
    hosting.endpoints["e"] = Endpoint("e", "c", "Creating", None, variants, None, 0, 0)
    answer = asyncio.run(runtime.Runtime(hosting, None, Faults()).invoke("e", {}, b""))
    return answer.status, answer.headers["x-amzn-errortype"], json.loads(answer.body)


def test_a_model_has_its_time(monkeypatch):
    assert runtime.MODEL_SECONDS == 60
    monkeypatch.setattr(runtime, "MODEL_SECONDS", 0.01)
    status, kind, body = invoked(Variant("v", 1, Silent(), "role"))
    assert (status, kind, body["OriginalStatusCode"]) == (424, "ModelError", 0)
    assert body["OriginalMessage"].startswith("Your invocation timed out while waiting for a response from container")


def test_an_endpoint_that_is_being_created_is_not_ready():
    status, kind, _ = invoked()
    assert (status, kind) == (429, "ModelNotReadyException")
