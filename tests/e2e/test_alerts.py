"""One digest a run, for each protocol in its own form, with attributes that subscriptions can filter by."""

import json
import time
from collections.abc import Callable
from typing import Any

from cli.deployment import Deployment
from tests.e2e.harness import Ended

Finish = Callable[..., Ended]


def _from_queue(deployment: Deployment, run: str) -> list[dict[str, Any]]:
    """The queue's messages about this run."""
    sqs = deployment.session.client("sqs", endpoint_url=deployment.endpoint_url)
    url = sqs.get_queue_url(QueueName="ics-local-alerts")["QueueUrl"]
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for message in answer.get("Messages", ()):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if run in message["Body"]:
                found.append(message)
        if found and not answer.get("Messages"):
            break
    return found


def test_a_queue_gets_each_digest_as_json(
    deployment: Deployment, put: Callable[[str, bytes], str], finish: Finish, digits: list[bytes]
) -> None:
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]
    bad = f"s3://{deployment.images_bucket}/{put('list.png', b'milk, bread')}"
    ended = finish({"images": [*uris, bad], "threshold": 0.0})

    (message,) = _from_queue(deployment, ended.run)
    assert json.loads(message["Body"]) == {"environment": "local", **ended.summary}
    attributes = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
    assert attributes == {
        "alert": f"digest/{ended.run}",
        "environment": "local",
        "status": "FAILED",
        "mode": "strict",
        "model": "digits",
        "planned": "4",
        "accepted": "3",
        "uncertain": "0",
        "flagged": "0",
        "failed": "1",
    }
