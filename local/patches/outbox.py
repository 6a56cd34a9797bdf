"""SNS: what is mailed or queued is kept in a file, and a message structure without a `default` is refused.

MiniStack only logs e-mail, and takes any message as MessageStructure=json. Local e-mail subscriptions count as
confirmed; filter policies apply to them as to all.
"""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ministack.services import sns

from local.control import OUTBOX

KEPT = ("email", "email-json", "sqs")
"""The protocols whose deliveries are written down: those that locally nobody else would see, or see for long."""

_mutex = threading.Lock()


def apply(state: Path) -> None:
    """Append every delivery to an address or a queue to the outbox of this state folder."""
    fanout, publish = sns._fanout, sns.publish_internal

    def deliver(topic_arn: str, message_id: str, message: str, subject: str, structure: str = "",
                attributes: dict[str, Any] | None = None, **fifo: str) -> None:  # fmt: skip
        topic = sns._topic_by_arn_any_scope(topic_arn)
        for subscription in (topic or {}).get("subscriptions", []):
            if subscription["protocol"] not in KEPT or not subscription.get("confirmed"):
                continue
            text = sns._resolve_message_for_protocol(message, structure, subscription["protocol"])
            if sns._matches_filter_policy(subscription, attributes or {}, text):
                _keep(state / OUTBOX, subscription, text, subject, attributes or {})
        fanout(topic_arn, message_id, message, subject, structure, attributes, **fifo)

    def checked(topic_arn: str, message: Any, subject: str = "", **options: Any) -> Any:
        if options.get("message_structure") == "json":
            _check_structure(message)
        return publish(topic_arn, message, subject, **options)

    sns._fanout = deliver
    sns.publish_internal = checked


def _check_structure(message: Any) -> None:
    """API reference, Publish, MessageStructure: a JSON object with at least a `default` string."""
    try:
        parsed = json.loads(message)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise sns.SnsPublishError(
            "InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse"
        )
    if not isinstance(parsed.get("default"), str):
        raise sns.SnsPublishError(
            "InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body"
        )


def _keep(path: Path, subscription: dict[str, Any], message: str, subject: str, attributes: dict[str, Any]) -> None:
    delivery = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "topic_arn": subscription["topic_arn"],
        "protocol": subscription["protocol"],
        "endpoint": subscription["endpoint"],
        "subject": subject or None,
        "message": message,
        "attributes": {
            name: {"Type": value.get("DataType", "String"), "Value": value.get("StringValue", value.get("BinaryValue"))}
            for name, value in attributes.items()
        },
    }
    with _mutex, path.open("a", encoding="utf-8") as outbox:
        outbox.write(json.dumps(delivery) + "\n")
