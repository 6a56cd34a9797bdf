"""Amazon States Language (states-language.net) "Map State" and "Retriers"; Step Functions Developer Guide, "Service
quotas", "Distributed Map" and "Error names"."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError

LIMIT = 262_144
MAP_PATHS = {"MaxConcurrencyPath": "$.most", "ToleratedFailurePercentagePath": "$.tolerated"}


def distributed_map(states, start, **fields):
    return {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                    "StartAt": start,
                    "States": states,
                },
                "End": True,
                **fields,
            }
        },
    }


def lambda_state(function, **fields):
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
        **fields,
    }


def counting(cloud):
    """A function whose own process cannot serve two: it returns its process id after a while."""
    return cloud.function(
        "import os, time\n"
        "def handler(event, context):\n"
        "    time.sleep(0.2)\n"
        "    if event.get('poison'): raise ValueError('poison')\n"
        "    return {'pid': os.getpid(), 'given': event}"
    )


def test_a_jsonl_distributed_map_with_paths(aws):
    bucket = aws.bucket()
    lines = [{"batch": n, "poison": n == 3} for n in range(8)]
    aws.client("s3").put_object(Bucket=bucket, Key="plan.jsonl", Body="\n".join(map(json.dumps, lines)))
    definition = distributed_map(
        {"Work": lambda_state(counting(aws))},
        "Work",
        ItemReader={
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
        },
        ItemSelector={
            "run.$": "$$.Execution.Name",
            "index.$": "$$.Map.Item.Index",
            "batch.$": "$$.Map.Item.Value.batch",
            "poison.$": "$$.Map.Item.Value.poison",
            "bucket.$": "$.bucket",
        },
        **MAP_PATHS,
        ResultPath=None,
    )
    given = {"bucket": bucket, "key": "plan.jsonl", "most": 2, "tolerated": 100}
    ended = aws.run(definition, given)
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"]) == given  # ResultPath null

    states = aws.client("stepfunctions")
    (run,) = states.list_map_runs(executionArn=ended["executionArn"])["mapRuns"]
    described = states.describe_map_run(mapRunArn=run["mapRunArn"])
    counts = described["itemCounts"]
    assert (counts["total"], counts["succeeded"], counts["failed"]) == (8, 7, 1)
    assert (described["maxConcurrency"], described["toleratedFailurePercentage"]) == (2, 100)

    children = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    outputs = [
        json.loads(states.describe_execution(executionArn=c["executionArn"]).get("output") or "null") for c in children
    ]
    worked = [output for output in outputs if output]
    assert len({output["pid"] for output in worked}) <= 2  # a process an invocation: never more than two at once
    assert {output["given"]["index"] for output in worked} == {0, 1, 2, 4, 5, 6, 7}
    assert all(output["given"]["index"] == output["given"]["batch"] for output in worked)
    assert all(output["given"]["run"] == ended["executionArn"].rpartition(":")[2] for output in worked)


def test_the_emulator_still_ignores_the_paths(unpatched):
    definition = distributed_map({"Work": {"Type": "Fail", "Error": "Bad"}}, "Work", ItemsPath="$.items", **MAP_PATHS)
    ended = unpatched.run(definition, {"items": [1, 2], "most": 1, "tolerated": 100})
    assert ended["status"] == "FAILED"


def test_an_inline_map_reads_its_concurrency_from_a_path(aws):
    definition = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrencyPath": "$.most",
                "ItemProcessor": {"StartAt": "Work", "States": {"Work": lambda_state(counting(aws))}},
                "End": True,
            }
        },
    }
    ended = aws.run(definition, {"items": [{}] * 6, "most": 2})
    assert len({item["pid"] for item in json.loads(ended["output"])}) <= 2
    assert aws.run(definition, {"items": [{}], "most": "two"})["error"] == "States.Runtime"


def passes(**result):
    return {"StartAt": "Big", "States": {"Big": {"Type": "Pass", "End": True, **result}}}


def test_states_data_limit(aws, unpatched):
    function = "def handler(event, context):\n    return {'text': 'ю' * event['characters']}"
    definition = {
        "StartAt": "Big",
        "States": {
            "Big": lambda_state(aws.function(function), Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]),
            "Caught": {"Type": "Pass", "End": True},
        },
    }
    # {"StatusCode":200,"Payload":{"text":"..."}}: two bytes a character, as UTF-8 counts them
    fits = (LIMIT - len('{"StatusCode":200,"Payload":{"text":""}}')) // 2
    assert aws.run(definition, {"characters": fits})["status"] == "SUCCEEDED"
    ended = aws.run(definition, {"characters": fits + 1})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")  # States.ALL does not catch it
    definition["States"]["Big"] = lambda_state(unpatched.function(function))
    assert unpatched.run(definition, {"characters": fits + 1})["status"] == "SUCCEEDED"  # the gap


def test_the_array_of_a_maps_outputs_is_limited_even_where_it_is_dropped(aws):
    definition = distributed_map(
        {"Big": {"Type": "Pass", "Result": "x" * 10_000, "End": True}},
        "Big",
        ItemsPath="$.items",
        MaxConcurrency=4,
        ResultPath=None,
    )
    assert aws.run(definition, {"items": [0] * 26})["status"] == "SUCCEEDED"
    assert aws.run(definition, {"items": [0] * 27})["error"] == "States.DataLimitExceeded"


def test_start_execution_checks_its_input(aws):
    states = aws.client("stepfunctions")
    machine = states.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(passes()), roleArn="arn:aws:iam::418205530617:role/any"
    )["stateMachineArn"]
    states.start_execution(stateMachineArn=machine, input=json.dumps("x" * (LIMIT - 2)))
    with pytest.raises(ClientError) as refused:
        states.start_execution(stateMachineArn=machine, input=json.dumps("x" * (LIMIT - 1)))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError) as refused:
        states.start_execution(stateMachineArn=machine, input="no json")
    assert refused.value.response["Error"]["Code"] == "InvalidExecutionInput"


def test_the_largest_state_of_an_execution_is_known_with_its_children(aws):
    definition = distributed_map(
        {
            "Inner": {"Type": "Pass", "Result": "y" * 5_000, "Next": "Small"},
            "Small": {"Type": "Pass", "Result": 1, "End": True},
        },
        "Inner",
        ItemsPath="$.items",
        MaxConcurrency=1,
    )
    ended = aws.run(definition, {"items": [1, 2]})
    largest = aws.about("state-sizes")[ended["executionArn"]]
    assert (largest["state"], largest["bytes"], largest["direction"]) == ("Inner", 5_002, "output")
    assert largest["states"] == {"Each": len('{"items":[1,2]}'), "Inner": 5_002, "Small": 5_002}


RETRY_PROBE = {
    "StartAt": "Try",
    "States": {
        "Try": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "arn:aws:lambda:us-east-1:418205530617:function:none", "Payload": {}},
            "Retry": [
                {
                    "ErrorEquals": ["Lambda.ResourceNotFoundException"],
                    "IntervalSeconds": 1,
                    "BackoffRate": 500,
                    "MaxDelaySeconds": 2,
                    "MaxAttempts": 2,
                    "JitterStrategy": "FULL",
                }
            ],
            "End": True,
        }
    },
}


def test_a_retrier_waits_at_most_its_maximum(aws):
    """Without MaxDelaySeconds the second wait would be the emulator's longest, 60 seconds."""
    ended = aws.run(RETRY_PROBE)
    assert ended["error"] == "Lambda.ResourceNotFoundException"
    assert (ended["stopDate"] - ended["startDate"]).total_seconds() < 30


def test_the_emulator_still_reads_no_maximum_delay():
    import inspect

    from ministack.services import stepfunctions

    assert "MaxDelaySeconds" not in inspect.getsource(stepfunctions)


ONE_PASS = {"StartAt": "Y", "States": {"Y": {"Type": "Pass", "End": True}}}
MISSPELT = (
    {"Type": "Pass", "Parameters": {"a": {"b.$": "$.misspelt"}}, "End": True},
    {"Type": "Pass", "Parameters": {"a.$": "States.Format('{}', $.misspelt)"}, "End": True},
    {"Type": "Pass", "Parameters": {"a.$": "$$.Execution.Misspelt"}, "End": True},
    {"Type": "Pass", "InputPath": "$.misspelt", "End": True},
    {"Type": "Pass", "OutputPath": "$.misspelt", "End": True},
    {"Type": "Choice", "Choices": [{"Variable": "$.misspelt", "BooleanEquals": True, "Next": "X"}], "Default": "X"},
    {"Type": "Map", "ItemsPath": "$.misspelt", "ItemProcessor": ONE_PASS, "End": True},
)  # fmt: skip


@pytest.mark.parametrize("state", MISSPELT, ids=lambda state: f"{state['Type']} {list(state)[1]}")
def test_a_path_that_selects_nothing_fails(aws, unpatched, state):
    definition = {"StartAt": "X", "States": {"X": state}}
    if state["Type"] == "Choice":
        definition = {"StartAt": "C", "States": {"C": state, "X": {"Type": "Pass", "End": True}}}
    ended = aws.run(definition, {"spelt": 1})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert unpatched.run(definition, {"spelt": 1})["status"] == "SUCCEEDED"  # the gap


def test_is_present_tells_null_from_nothing(aws):
    definition = {
        "StartAt": "C",
        "States": {
            "C": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [{"Variable": "$.a", "IsPresent": True}, {"Variable": "$.a", "IsNull": True}],
                        "Next": "Null",
                    }
                ],
                "Default": "Nothing",
            },
            "Null": {"Type": "Pass", "Result": "null", "End": True},
            "Nothing": {"Type": "Pass", "Result": "nothing", "End": True},
        },
    }
    assert json.loads(aws.run(definition, {"a": None})["output"]) == "null"
    assert json.loads(aws.run(definition, {})["output"]) == "nothing"


def publishing(cloud):
    """Publish from a state machine to a queue; return the message's attributes as the queue got them."""
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {
            "TopicArn": topic,
            "Message.$": "$.message",
            "MessageStructure": "json",
            "MessageAttributes": {
                "status": {"DataType": "String", "StringValue.$": "$.status"},
                "failed": {"DataType": "Number", "StringValue": "2"},
            },
        },
        "End": True,
    }
    given = {"message": {"default": "all", "sqs": "mine"}, "status": "failed"}
    assert cloud.run({"StartAt": "Tell", "States": {"Tell": state}}, given)["status"] == "SUCCEEDED"
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == "mine"
    return {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}


def test_publishing_from_a_state_machine_keeps_the_attributes(aws, unpatched):
    assert publishing(aws) == {"status": "failed", "failed": "2"}
    assert publishing(unpatched) == {}  # the gap


def stopped_midway(cloud):
    """Stop an execution while its distributed Map works; return what the Map run and the execution are in the end."""
    function = cloud.function("import time\ndef handler(event, context):\n    time.sleep(1)\n    return event")
    definition = distributed_map(
        {"Work": lambda_state(function)}, "Work", MaxConcurrency=2, ToleratedFailurePercentage=100
    )
    states = cloud.client("stepfunctions")
    machine = states.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:10]}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::000000000000:role/any",
    )["stateMachineArn"]
    arn = states.start_execution(stateMachineArn=machine, input=json.dumps([{"n": n} for n in range(6)]))[
        "executionArn"
    ]
    (run,) = cloud.wait_for(lambda: states.list_map_runs(executionArn=arn)["mapRuns"])

    def described():
        return states.describe_map_run(mapRunArn=run["mapRunArn"])

    cloud.wait_for(lambda: described()["itemCounts"]["running"])
    states.stop_execution(executionArn=arn)
    cloud.wait_for(lambda: described()["status"] != "RUNNING")
    children = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    return described(), states.describe_execution(executionArn=arn)["status"], {child["status"] for child in children}


def test_a_stopped_execution_ends_its_map_run_and_its_children(aws, unpatched):
    # API reference, MapRunExecutionCounts: `aborted` counts the children "stopped by the user or by Step Functions".
    run, status, children = stopped_midway(aws)
    assert (run["status"], status) == ("ABORTED", "ABORTED")
    counts = run["itemCounts"]
    assert counts["succeeded"] + counts["aborted"] == counts["total"] == 6
    assert counts["aborted"] >= 2
    assert children <= {"ABORTED", "SUCCEEDED"}
    run, _, _ = stopped_midway(unpatched)
    assert (run["status"], run["itemCounts"]["succeeded"]) == ("SUCCEEDED", 6)  # the gap
