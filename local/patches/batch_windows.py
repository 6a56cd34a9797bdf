"""SQS to Lambda: the batching window, and batches of more than ten messages.

MiniStack hands a function what is in the queue at once, and never more than ten messages. AWS gathers: a batch is
complete when its window, which begins with its first message, has passed, when it has BatchSize messages, or when they
are 6 MB (Lambda Developer Guide, "Using Lambda with Amazon SQS", batching behavior).
"""

import threading
import time
from typing import Any

from ministack.services import lambda_svc, sqs

MAX_PAYLOAD = 6_000_000
"""Bytes of a batch: Lambda's limit for an invocation, less what surrounds the records."""

RECORD_BYTES = 900
"""What a record has besides its message's body: receipt handle, attributes, ARN."""

_began: dict[str, float] = {}


def apply() -> None:
    """Hold a mapping's queue back until its batch is complete, and then hand over all of it."""
    concurrency = lambda_svc._sqs_esm_concurrency

    def limited(esm: dict[str, Any], function: Any, config: Any, queue: dict[str, Any] | None = None) -> int:
        limit: int = concurrency(esm, function, config, queue)
        free = lambda_svc._esm_inflight.get(esm["UUID"], 0) < limit
        return 0 if free and not _is_complete(esm, queue or {}) else limit

    lambda_svc._sqs_esm_concurrency = limited
    sqs._receive_messages_for_esm = _receive


def _is_complete(esm: dict[str, Any], queue: dict[str, Any]) -> bool:
    """Whether a batch may be handed over now; who polls is woken when its window has passed."""
    window, mapping, now = esm.get("MaximumBatchingWindowInSeconds") or 0, esm["UUID"], time.monotonic()
    sizes = [len(message["body"]) for message in _visible(queue)] if window else []
    if not sizes:
        _began.pop(mapping, None)
        return True
    if mapping not in _began:
        _began[mapping] = now
        waker = threading.Timer(window, lambda_svc._esm_wake.set)
        waker.daemon = True
        waker.start()
    if now - _began[mapping] >= window or len(sizes) >= esm.get("BatchSize", 10) or _fitting(sizes) < len(sizes):
        del _began[mapping]
        return True
    return False


def _receive(queue_url: str, most: int) -> list[dict[str, Any]]:
    """The emulator's own function of this name, without its limit of ten, with AWS's of bytes."""
    with sqs._queues_lock:
        queue = sqs._get_q(queue_url)
        sqs._expire_retained(queue)
        sqs._dlq_sweep(queue)
        sizes = [len(message["body"]) for message in _visible(queue)[:most]]
        hidden = int(queue["attributes"].get("VisibilityTimeout", "30"))
        received: list[dict[str, Any]] = sqs._collect_msgs(queue, _fitting(sizes), hidden)
        return received


def _fitting(sizes: list[int]) -> int:
    """How many messages of these sizes one invocation takes."""
    total = 0
    for number, size in enumerate(sizes):
        total += size + RECORD_BYTES
        if total > MAX_PAYLOAD and number:
            return number
    return len(sizes)


def _visible(queue: dict[str, Any]) -> list[dict[str, Any]]:
    now = time.time()
    return [message for message in list(queue.get("messages", ())) if message.get("visible_at", 0) <= now]
