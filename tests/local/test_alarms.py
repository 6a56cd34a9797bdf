"""CloudFormation template reference, AWS::CloudWatch::Alarm (`Metrics`) and Dashboard; what an alarm's action does."""

import json
import uuid

import pytest
from botocore.exceptions import WaiterError


def template(name, topic):
    def of(function):
        metric = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": [{"Name": "F", "Value": function}]}
        return {"Id": function, "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}, "ReturnData": False}

    alarm = {
        "AlarmName": name,
        "Metrics": [{"Id": "sum", "Expression": "a + b", "ReturnData": True}, of("a"), of("b")],
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Threshold": 1,
        "EvaluationPeriods": 1,
        "AlarmActions": [topic],
    }
    return {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}


def deploy(cloud, topic):
    name = f"alarm-{uuid.uuid4().hex[:8]}"
    formation = cloud.client("cloudformation")
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template(name, topic)))
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name


def test_an_alarm_on_an_expression_is_deployed_and_its_action_tells_the_topic(aws):
    topic = aws.client("sns").create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    name = deploy(aws, topic)
    aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="rehearsal")
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == (name, "ALARM")


def test_the_emulator_still_refuses_metric_math(unpatched):
    with pytest.raises(WaiterError):
        deploy(unpatched, "arn:aws:sns:us-east-1:000000000000:t")
