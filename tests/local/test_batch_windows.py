"""SQS to Lambda: batches are gathered as on AWS, by window, count and size.

Lambda Developer Guide, "Using Lambda with Amazon SQS", and CreateEventSourceMapping's MaximumBatchingWindowInSeconds:
the window begins with a batch's first message; a batch is handed over when it has passed, or holds BatchSize messages,
or 6 MB.
"""

import json
import uuid

import pytest

REPORT = """
import json
def handler(event, context):
    print(json.dumps({"messages": [record["body"][:20] for record in event["Records"]]}))
"""


def gather(cloud, *, window, size=10_000):
    """A queue and the function that gets its messages: its URL, and a function that gives the batches so far."""
    sqs, functions = cloud.client("sqs"), cloud.client("lambda")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:10]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    name = cloud.function(REPORT)
    functions.create_event_source_mapping(
        FunctionName=name, EventSourceArn=arn, BatchSize=size, MaximumBatchingWindowInSeconds=window
    )

    def batches():
        logs = cloud.client("logs")
        group = f"/aws/lambda/{name}"
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        lines = [one["message"] for one in events if '"messages"' in one["message"]]
        return [json.loads(line[line.index("{") :])["messages"] for line in lines]

    return url, batches


def send(cloud, url, bodies):
    sqs = cloud.client("sqs")
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[start : start + 10])]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)


def arrived(cloud, batches, count):
    """The batches once so many messages have come."""
    return cloud.wait_for(lambda: sum(map(len, batches())) >= count and batches())


def test_a_window_gathers_what_comes_within_it(aws):
    url, batches = gather(aws, window=5)
    for start in range(0, 40, 10):
        send(aws, url, [f"m{number}" for number in range(start, start + 10)])
    (batch,) = arrived(aws, batches, 40)
    assert sorted(batch) == sorted(f"m{number}" for number in range(40))
    send(aws, url, ["late"])
    assert arrived(aws, batches, 41)[1] == ["late"]


def test_a_full_batch_does_not_wait_for_its_window(aws):
    url, batches = gather(aws, window=300, size=25)
    send(aws, url, [f"m{number}" for number in range(50)])
    assert [len(batch) for batch in arrived(aws, batches, 50)] == [25, 25]


def test_a_batch_is_no_larger_than_an_invocation_takes(aws):
    url, batches = gather(aws, window=300)
    send(aws, url, ["x" * 200_000 + str(number) for number in range(5)])
    for _ in range(6):
        send(aws, url, ["x" * 200_000 for _ in range(5)])
    first = arrived(aws, batches, 1)[0]
    assert 25 <= len(first) <= 29


def test_without_a_window_nothing_waits(aws):
    url, batches = gather(aws, window=0, size=10)
    send(aws, url, ["now"])
    assert arrived(aws, batches, 1) == [["now"]]


@pytest.mark.parametrize("window", [3])
def test_the_emulator_still_ignores_the_window_and_hands_over_ten_at_most(unpatched, window):
    url, batches = gather(unpatched, window=window)
    send(unpatched, url, [f"m{number}" for number in range(40)])
    assert max(map(len, arrived(unpatched, batches, 40))) <= 10
