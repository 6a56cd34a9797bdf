"""E-mail: alerts as they come from the queue, and one mail of them, however many there are."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ics import digest
from ics.digest import MAX_SUBJECT, one_line_subject
from ics.watched import watched_subject, watched_text

NAMED = 200
"""Alerts that one mail names."""

MAX_TEXT = 120_000
"""Bytes of the text of an alert. SNS takes 256 KiB in all: what others published, a mail must not be refused for."""

MAX_ALERT = 500
"""Bytes of an alert's id: a mail names many, and the table marks it under that, in 1,024 at most."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert for people. `alert` is its id, the same however often it is delivered; `urgent` ones come first."""

    alert: str
    subject: str
    text: str
    urgent: bool = False


def notice_from(body: str) -> Notice:
    """An alert of the body of a queue's message: what SNS wraps around what was published.

    Source: SNS Developer Guide, "Fanout to Amazon SQS queues", the message without raw delivery. What ICS publishes
    names itself in the attribute `alert`; anything else, such as a CloudWatch alarm, is named after SNS's message id.

    Raises:
        ValueError, KeyError, TypeError: it is not SNS's.
    """
    envelope = json.loads(body)
    attributes = envelope.get("MessageAttributes") or {}
    alert = attributes.get("alert", {}).get("Value") or ""
    if not 0 < len(_utf8(alert)) <= MAX_ALERT:
        alert = f"sns/{envelope['MessageId']}"
    said: str = envelope["Message"]
    content: Any = None
    with suppress(ValueError):
        content = json.loads(said)
    if not isinstance(content, dict):
        content = {}
    subject = one_line_subject(str(envelope.get("Subject") or "")) or "[ICS] alert"
    if alert.startswith("watched/"):
        return Notice(alert, watched_subject(content), watched_text(content), urgent=True)
    if alert.startswith("digest/") and "links" in content:
        return Notice(alert, subject, digest.text(content["environment"], content))
    if "AlarmName" in content:
        return Notice(alert, subject, _alarm_text(content))
    return Notice(alert, subject, said if said.endswith("\n") else said + "\n")


def merged(notices: Sequence[Notice]) -> tuple[str, str]:
    """Subject and text of one mail: the first in full, urgent ones before others, and a line or two for each more.

    Args:
        notices: at least one, in the order in which they came.
    """
    first, *others = sorted(notices, key=lambda notice: not notice.urgent)
    text = _cut(first.text)
    if not others:
        return first.subject, text
    ending = f", and {len(others):,} more"
    begin = first.subject
    if len(begin) + len(ending) > MAX_SUBJECT:
        begin = begin[: MAX_SUBJECT - len(ending) - 3] + "..."
    lines = [text.rstrip("\n"), "", f"And {len(others):,} more:"]
    for notice in others[:NAMED]:
        lines += [f"  {notice.subject}", f"      {notice.alert}"]
    if len(others) > NAMED:
        lines.append(f"  and {len(others) - NAMED:,} more that are not named here: ics alerts, ics runs")
    return begin + ending, "\n".join(lines) + "\n"


def _cut(text: str) -> str:
    content = _utf8(text)
    if len(content) <= MAX_TEXT:
        return content.decode()
    return content[:MAX_TEXT].decode(errors="ignore").rstrip("\n") + f"\n... of {len(content):,} bytes\n"


def _utf8(text: str) -> bytes:
    """Text as bytes; a lone surrogate, which JSON can spell and SNS does not take, becomes `?`."""
    return text.encode(errors="replace")


def _alarm_text(alarm: Mapping[str, Any]) -> str:
    """A CloudWatch alarm's notification (its User Guide, "Notify users on alarm changes")."""
    said = (alarm.get("AlarmDescription"), alarm.get("NewStateReason"))
    head = f"{alarm['AlarmName']} is {alarm.get('NewStateValue', 'changed')}"
    return "\n\n".join([head, *(str(one) for one in said if one)]) + "\n"
