"""What is stopped is there again when it is started: everything but executions, which nobody ran meanwhile."""

import io
import json
import tarfile
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from local import control, outbox
from tests.local.conftest import Cloud

MODEL = Path(__file__).parents[2] / "models" / "digits"
ROLE = f"arn:aws:iam::{control.ACCOUNT}:role/any"
DOUBLED = "def handler(event, context):\n    print('called')\n    return 2 * event"
WAITS = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}}
PASSES = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": "done", "End": True}}}


@pytest.fixture
def state(tmp_path):
    yield tmp_path / "state"
    control.stop(tmp_path / "state")


def start(state):
    aws = control.start(state)
    return Cloud(aws.endpoint_url, aws.state)


def restart(state):
    assert control.stop(state)
    return start(state)


def test_everything_is_there_again(state):
    aws = start(state)
    bucket = aws.bucket()
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a b/ü.png", Body=b"first", Tagging="k=v")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a b/ü.png", Body=bytes(range(256)), ContentType="image/png")
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone")
    etag = s3.head_object(Bucket=bucket, Key="a b/ü.png")["ETag"]

    queue = aws.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="waiting")
    topic = aws.client("sns").create_topic(Name="t")["TopicArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    aws.client("dynamodb").create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.client("dynamodb").put_item(TableName="table", Item={"pk": {"S": "one"}, "n": {"N": "7"}})
    function = aws.function(DOUBLED)
    states = aws.client("stepfunctions")
    machines = {
        name: states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
        for name, definition in {"waits": WAITS, "passes": PASSES}.items()
    }
    running = states.start_execution(stateMachineArn=machines["waits"], name="r")["executionArn"]
    done = states.start_execution(stateMachineArn=machines["passes"], name="d")["executionArn"]
    aws.wait_for(lambda: states.describe_execution(executionArn=done)["status"] == "SUCCEEDED")
    serve(aws, bucket)

    aws = restart(state)
    s3 = aws.client("s3")
    whole = s3.get_object(Bucket=bucket, Key="a b/ü.png")
    assert (whole["Body"].read(), whole["ETag"], whole["ContentType"]) == (bytes(range(256)), etag, "image/png")
    assert s3.get_object(Bucket=bucket, Key="a b/ü.png", VersionId=first)["Body"].read() == b"first"
    assert s3.get_object_tagging(Bucket=bucket, Key="a b/ü.png", VersionId=first)["TagSet"] == [
        {"Key": "k", "Value": "v"}
    ]
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert keys == {"a b/ü.png", "model.tar.gz"}, "what is deleted stays deleted"
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == "waiting"
    aws.client("sns").publish(TopicArn=topic, Message="still subscribed")
    assert [one.message for one in outbox.read(state)] == ["still subscribed"]
    assert aws.client("dynamodb").get_item(TableName="table", Key={"pk": {"S": "one"}})["Item"]["n"] == {"N": "7"}
    assert aws.call(function, 21) == (None, 42)
    states = aws.client("stepfunctions")
    assert json.loads(states.describe_execution(executionArn=done)["output"]) == "done"
    interrupted = states.describe_execution(executionArn=running)
    assert (interrupted["status"], interrupted["error"]) == ("FAILED", "States.ServiceRestart")
    (endpoint,) = aws.client("sagemaker").list_endpoints()["Endpoints"]
    assert endpoint["EndpointStatus"] == "InService"
    assert b'"label"' in ask(aws)

    again = restart(state)
    assert again.client("s3").get_object(Bucket=bucket, Key="a b/ü.png")["Body"].read() == bytes(range(256))


@pytest.mark.parametrize("broken", ["s3.pickle", "complete.json"])
def test_what_cannot_be_read_is_said_and_left(state, broken):
    aws = start(state)
    aws.bucket()
    control.stop(state)
    (state / control.KEPT / broken).write_bytes(b"{}")
    assert start(state).client("s3").list_buckets()["Buckets"] == []
    assert "cannot be taken up" in (state / control.LOG).read_text()


def test_what_was_not_written_to_its_end_is_not_taken_up(state):
    start(state).bucket()
    control.stop(state)
    (state / control.KEPT / "complete.json").unlink()
    assert start(state).client("s3").list_buckets()["Buckets"] == []


def test_it_forgets_when_it_is_told_to(state):
    aws = start(state)
    aws.bucket()
    control.stop(state, forget=True)
    assert not (state / control.KEPT).exists()
    assert start(state).client("s3").list_buckets()["Buckets"] == []


def serve(aws, bucket):
    """An endpoint `e` with the digits model."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("model.onnx", "model.json"):
            archive.add(MODEL / name, name)
    aws.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=packed.getvalue())
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model(
        ModelName="m",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "image:1", "ModelDataUrl": f"s3://{bucket}/model.tar.gz"},
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {"VariantName": "A", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.c6g.large"}
        ],
    )
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    aws.wait_for(lambda: sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"] == "InService")


def ask(aws):
    picture = io.BytesIO()
    Image.new("L", (28, 28)).save(picture, "PNG")
    url = f"{aws.endpoint_url}/endpoints/e/invocations"
    request = urllib.request.Request(url, picture.getvalue(), method="POST")
    request.add_header("Content-Type", "image/png")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()
