"""Messages that are not done with go back to the queue, and come again when there may be room for them.

Sources: SQS API reference, ChangeMessageVisibilityBatch (JSON protocol); Lambda Developer Guide, "Implementing partial
batch responses".
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lambdas import aws_http
from lambdas.runtime import log, settings

AT_ONCE = 10
"""Messages of one request."""


def return_later(records: Sequence[Mapping[str, Any]], seconds: int) -> dict[str, Any]:
    """The answer that gives messages back, to come again in so many seconds.

    Where SQS cannot be asked for that, they come again after the queue's own visibility timeout.
    """
    for start in range(0, len(records), AT_ONCE):
        entries = [
            {"Id": str(number), "ReceiptHandle": record["receiptHandle"], "VisibilityTimeout": seconds}
            for number, record in enumerate(records[start : start + AT_ONCE])
        ]
        _change_visibility(entries)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}


def _change_visibility(entries: Sequence[Mapping[str, Any]]) -> None:
    body = json.dumps({"QueueUrl": settings().mail_queue, "Entries": entries}).encode()
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.ChangeMessageVisibilityBatch",
    }
    url = f"{aws_http.service_url('sqs', 'sqs')}/"
    try:
        answer = aws_http.request("POST", url, service="sqs", headers=headers, body=body, timeout=5)
        problem = "" if answer.status == 200 else f"HTTP {answer.status}: {answer.body[:300]!r}"
    except (OSError, http.client.HTTPException) as error:
        problem = str(error)
    if problem:
        log("messages come back late", "WARNING", cause=problem)
