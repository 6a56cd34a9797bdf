"""Dead letters: uploads that no run could be started over, sent back to the queue that they came from.

SQS's own StartMessageMoveTask does not move what EventBridge put there. What is sent twice, because this was
interrupted between sending and deleting, is classified once all the same.
"""

from typing import Any

from cli.deployment import Deployment, EnvironmentUnavailable

HIDDEN = 60
"""Seconds for which others do not see what is being moved."""

BATCH_BYTES = 200_000
"""Bytes of messages that are sent in one request; SQS takes somewhat more."""

LOOKS = 3
"""Empty answers in a row, each after a second of waiting, that mean there is nothing more: SQS samples its servers."""


def redrive(deployment: Deployment) -> tuple[int, int]:
    """Send all dead letters back, each deleted only once it is sent: how many were sent, and how many SQS did not take.

    Raises:
        EnvironmentUnavailable: the environment classifies no uploads.
    """
    source, target = deployment.dead_letters, deployment.upload_queue
    if source is None or target is None:
        raise EnvironmentUnavailable(f"Environment {deployment.name!r} has no dead letters: its TOML has no [events].")
    sent = kept = empty = 0
    while empty < LOOKS:
        found = deployment.sqs.receive_message(
            QueueUrl=source, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=HIDDEN
        ).get("Messages", [])
        empty = 0 if found else empty + 1
        together = sum(len(message["Body"].encode()) for message in found) <= BATCH_BYTES
        for batch in [found] if together and found else [[message] for message in found]:
            moved = _move(deployment.sqs, source, target, batch)
            sent, kept = sent + moved, kept + len(batch) - moved
    return sent, kept


def _move(sqs: Any, source: str, target: str, batch: list[dict[str, Any]]) -> int:
    """How many of the messages were sent, and then deleted."""
    entries = [{"Id": str(number), "MessageBody": message["Body"]} for number, message in enumerate(batch)]
    done = sqs.send_message_batch(QueueUrl=target, Entries=entries).get("Successful", [])
    handles = [{"Id": one["Id"], "ReceiptHandle": batch[int(one["Id"])]["ReceiptHandle"]} for one in done]
    if handles:
        sqs.delete_message_batch(QueueUrl=source, Entries=handles)
    return len(handles)
