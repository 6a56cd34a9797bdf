"""S3 to EventBridge to SQS: an event names the object's version.

Amazon S3 User Guide, "EventBridge event message structure": `detail.object` has `key`, `size`, `etag`, `version-id` and
`sequencer`; the first three as the object has them.
"""

import json
import uuid


def events_of(cloud, *, versioned):
    """A bucket whose events of new objects come to a queue: its name, and a function that receives them."""
    s3, sqs, bucket, name = cloud.client("s3"), cloud.client("sqs"), cloud.bucket(), f"r-{uuid.uuid4().hex[:10]}"
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                       "Resource": arn}],
    }  # fmt: skip
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    cloud.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    cloud.client("events").put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])

    def received():
        (message,) = cloud.wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])["detail"]["object"]

    return bucket, received


def test_an_event_names_the_version_that_was_put(aws):
    bucket, received = events_of(aws, versioned=True)
    sequencers = []
    for content in (b"one", b"three"):
        put = aws.client("s3").put_object(Bucket=bucket, Key="a+b é.png", Body=content)
        told = received()
        sequencers.append(told.pop("sequencer"))
        etag = put["ETag"].strip('"')
        assert told == {"key": "a+b é.png", "size": len(content), "etag": etag, "version-id": put["VersionId"]}
    assert sequencers == sorted(sequencers)


def test_an_event_of_an_unversioned_bucket_names_none(aws):
    bucket, received = events_of(aws, versioned=False)
    aws.client("s3").put_object(Bucket=bucket, Key="a.png", Body=b"one")
    assert "version-id" not in received()


def test_the_emulator_still_names_none(unpatched):
    bucket, received = events_of(unpatched, versioned=True)
    unpatched.client("s3").put_object(Bucket=bucket, Key="a.png", Body=b"one")
    assert "version-id" not in received()
