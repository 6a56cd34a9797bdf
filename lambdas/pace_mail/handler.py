"""PaceMail: alerts from the queue become e-mail, at most five mails in any minute; those that must wait are merged."""

from collections.abc import Mapping
from typing import Any

from ics.mail import Notice, merged, notice_from
from lambdas import sns
from lambdas.pace_mail import mailed, slots
from lambdas.pace_mail.queue import return_later
from lambdas.runtime import log, settings


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Messages of the queue -> those that go back to it. One invocation sends at most one mail.

    An alert is claimed before it is sent and marked afterwards, so that it is mailed once however often the queue
    delivers it; a claim that is not followed by the mark ends by itself.
    """
    records: list[Mapping[str, Any]] = event["Records"]
    wait = slots.seconds_until_free()
    if wait:
        return return_later(records, wait)
    claimed: dict[str, tuple[Mapping[str, Any], Notice]] = {}
    busy: list[Mapping[str, Any]] = []
    for record in records:
        notice = _notice(record)
        match mailed.claim(notice.alert):
            case "ours":
                claimed[notice.alert] = (record, notice)
            case "anothers" if notice.alert not in claimed:
                busy.append(record)
    if claimed:
        if not slots.take():
            return return_later(records, mailed.CLAIMED_SECONDS + 1)
        subject, text = merged([notice for _, notice in claimed.values()])
        sns.publish(settings().mail_topic, subject, text, {"alerts": str(len(claimed))})
        for alert in claimed:
            mailed.mark(alert)
        log("mailed", alerts=sorted(claimed))
    return return_later(busy, mailed.CLAIMED_SECONDS + 1)


def _notice(record: Mapping[str, Any]) -> Notice:
    try:
        return notice_from(record["body"])
    except (ValueError, KeyError, TypeError, AttributeError):  # not ours and not SNS's: people still get to see it
        return Notice(f"sqs/{record['messageId']}", "[ICS] a message of an unknown form", f"{record['body']}\n")
