"""Runs that begin by themselves: what starts them, what never does, what becomes of what cannot be started."""

import json
from dataclasses import replace

import aws_cdk as cdk
import pytest

from app import build
from lambdas.start_run.starting import KEPT, LEASE
from stacks.config import ConfigError, EventsConfig, load_config
from tests.infrastructure.templates import CONTEXT, Template

DAY = 24 * 3600


@pytest.fixture
def with_events(assembly):
    """The environments where uploads are classified."""
    if load_config(assembly.environment).events is None:
        pytest.skip("no events there")
    return assembly


def queues(assembly):
    return {queue["QueueName"].rpartition("uploads")[2]: queue for queue in assembly.pipeline.of("SQS::Queue").values()}


def mapping_of(pipeline):
    """How the queue of uploads is polled."""
    own = [{"Fn::GetAtt": [one, "Arn"]} for one in pipeline.of("SQS::Queue")]
    (found,) = [one for one in pipeline.of("Lambda::EventSourceMapping").values() if one["EventSourceArn"] in own]
    return found


def test_some_environments_have_events_and_some_have_nothing_of_them(assembly):
    on = load_config(assembly.environment).events is not None
    assert on == (assembly.environment != "dev")
    for kind in ("Events::Rule", "SQS::Queue"):
        assert bool(assembly.pipeline.of(kind)) == on, kind
    handlers = {function["Handler"] for function in assembly.pipeline.of("Lambda::Function").values()}
    assert ("lambdas.start_run.handler.handler" in handlers) == on


def test_only_what_is_uploaded_to_the_images_under_the_prefix_starts_runs(with_events):
    data, rule = with_events.data, with_events.pipeline.one("Events::Rule")
    images = data.body["Outputs"]["ImagesBucketName"]["Value"]
    exports = {one["Export"]["Name"]: one["Value"] for one in data.body["Outputs"].values() if "Export" in one}
    (bucket,) = rule["EventPattern"]["detail"]["bucket"]["name"]
    assert exports[bucket["Fn::ImportValue"]] == images
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"prefix": "incoming/"}]}
    assert (rule["EventPattern"]["source"], rule["EventPattern"]["detail-type"]) == (["aws.s3"], ["Object Created"])
    telling = [one for one, bucket in data.of("S3::Bucket").items() if "NotificationConfiguration" in bucket]
    assert telling == [images["Ref"]]  # results and working data are not even told of
    told = data.of("S3::Bucket")[images["Ref"]]["NotificationConfiguration"]
    assert told == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_what_fails_is_delivered_again_and_kept_for_people_at_last(with_events):
    pipeline = with_events.pipeline
    by_name, arn = queues(with_events), {one: {"Fn::GetAtt": [one, "Arn"]} for one in pipeline.of("SQS::Queue")}
    (dead,) = [arn[one] for one, queue in pipeline.of("SQS::Queue").items() if "RedrivePolicy" not in queue]
    assert by_name[""]["RedrivePolicy"] == {"deadLetterTargetArn": dead, "maxReceiveCount": 5}
    assert {queue["MessageRetentionPeriod"] for queue in by_name.values()} == {14 * DAY}
    (target,) = pipeline.one("Events::Rule")["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": dead}
    mapping = mapping_of(pipeline)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_uploads_are_gathered_by_window_and_by_few(with_events):
    mapping = mapping_of(with_events.pipeline)
    window = load_config(with_events.environment).events.window_seconds
    assert (mapping["MaximumBatchingWindowInSeconds"], mapping["BatchSize"]) == (window, 10_000)
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_a_claim_is_old_before_its_message_comes_again_and_outlives_it(with_events):
    (function,) = [one for one in with_events.pipeline.of("Lambda::Function").values() if "start_run" in one["Handler"]]
    queue = queues(with_events)[""]
    assert 2 * function["Timeout"] <= LEASE
    assert LEASE + function["Timeout"] <= queue["VisibilityTimeout"]
    assert 2 * queue["MessageRetentionPeriod"] < KEPT < 90 * DAY
    window = load_config(with_events.environment).events.window_seconds
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"] + window


def test_only_the_rule_may_send_and_nobody_over_plain_http(with_events):
    pipeline = with_events.pipeline
    (rule,) = pipeline.of("Events::Rule")
    documents = [json.dumps(policy["PolicyDocument"]) for policy in pipeline.of("SQS::QueuePolicy").values()]
    assert len(documents) == 2
    for policy in pipeline.of("SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            else:
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}
        assert [one["Effect"] for one in policy["PolicyDocument"]["Statement"]].count("Deny") == 1


def templates_of(config):
    """The data and the pipeline template of a configuration, built in this process."""
    app = cdk.App(context=CONTEXT)
    build(app, config)
    stacks = app.synth().stacks
    return [
        Template(next(one for one in stacks if one.stack_name.endswith(name)).template) for name in ("data", "pipeline")
    ]


def test_a_bucket_that_exists_is_used_instead_of_ours():
    config = replace(load_config("local"), images_bucket="photos-of-others")
    data, pipeline = templates_of(config)
    assert len(data.of("S3::Bucket")) == 3
    assert data.body["Outputs"]["ImagesBucketName"]["Value"] == "photos-of-others"
    assert not [bucket for bucket in data.of("S3::Bucket").values() if "NotificationConfiguration" in bucket]
    rule = pipeline.one("Events::Rule")
    assert rule["EventPattern"]["detail"]["bucket"]["name"] == ["photos-of-others"]
    readers = {}
    for function in pipeline.of("Lambda::Function").values():
        role = pipeline.of("IAM::Role")[function["Role"]["Fn::GetAtt"][0]]
        text = json.dumps(role["Policies"])
        if "photos-of-others" in text:
            readers[function["Handler"].split(".")[1]] = text
    assert set(readers) == {"plan_run", "serialize_image_data", "filter_low_confidence", "make_contact_sheet"}
    assert "s3:GetObjectVersion" in readers["serialize_image_data"]
    settings = [one["Environment"]["Variables"] for one in pipeline.of("Lambda::Function").values()]
    assert {one["IMAGES_BUCKET"] for one in settings if "IMAGES_BUCKET" in one} == {"photos-of-others"}


def test_without_a_window_batches_are_as_small_as_lambda_then_takes_them():
    config = replace(load_config("local"), events=EventsConfig(window_seconds=0, model="products", threshold=0.5))
    _, pipeline = templates_of(config)
    mapping = mapping_of(pipeline)
    assert mapping["BatchSize"] == 10
    assert "MaximumBatchingWindowInSeconds" not in mapping
    (request,) = [
        one["Environment"]["Variables"]["UPLOAD_REQUEST"]
        for one in pipeline.of("Lambda::Function").values()
        if "UPLOAD_REQUEST" in one["Environment"]["Variables"]
    ]
    assert json.loads(request) == {"model": "products", "threshold": 0.5, "mode": "tolerant"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"prefix": ""}, "prefix: must be"),
        ({"prefix": "/incoming/"}, "prefix: must be"),
        ({"prefix": "upl"}, "prefix: must be .* apart from uploads/"),
        ({"prefix": "uploads/here/"}, "prefix: must be .* apart from uploads/"),
        ({"window_seconds": 61}, "window_seconds: must be from 0 to 60"),
        ({"window_seconds": -1}, "window_seconds"),
        ({"threshold": 0.0}, "threshold"),
        ({"mode": "lenient"}, "mode: must be strict or tolerant"),
    ],
)
def test_events_that_would_not_do_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        EventsConfig(**given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"events": EventsConfig(model="horses")}, "events.model: must be one of digits"),
        ({"images_bucket": "s3://mine"}, "images_bucket: must be a bucket's name"),
        ({"images_bucket": "Mine"}, "images_bucket: must be a bucket's name"),
    ],
)
def test_a_model_or_bucket_that_cannot_be_is_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        replace(load_config("local"), **change)
