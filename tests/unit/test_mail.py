"""E-mail: each alert is read as it was published, and one mail names all that it is of, whatever they are called."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import digest
from ics.contracts import Batch
from ics.digest import MAX_SUBJECT
from ics.mail import NAMED, Notice, merged, notice_from
from ics.watched import NAMED as NAMED_IMAGES
from ics.watched import alert_id, watched, watched_alert
from tests.unit.test_digest import SUMMARY

BATCH = Batch("shelf-7", "2026-02-03T10:00:00Z", "digits", 0.94, 3, 0, 100, policy="0123456789ab")


def envelope(published: dict[str, Any], **changes: Any) -> str:
    """What a queue gets of what was published: SNS Developer Guide, "Fanout to Amazon SQS queues"."""
    given = {"alert": changes.pop("alert")} if "alert" in changes else {}
    named = {**published["attributes"], **given}
    attributes = {name: {"Type": "String", "Value": value} for name, value in named.items()}
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-east-1:111122223333:alerts",
            "Subject": published["subject"],
            "Message": json.loads(published["message"])["default"],
            "MessageAttributes": attributes,
            **changes,
        }
    )


def row(key: str = "a.png", reason: str | None = "WatchedLabel", confidence: float = 0.5, label: str = "weapon") -> Any:
    return {"s3_uri": f"s3://b/{key}", "reason": reason, "confidence": confidence, "label": label}


def test_a_digest_is_mailed_as_it_reads() -> None:
    published = digest.alert("prod", SUMMARY)
    notice = notice_from(envelope(published, alert="digest/shelf-7"))
    assert (notice.alert, notice.subject) == ("digest/shelf-7", published["subject"])
    assert notice.text == json.loads(published["message"])["email"] == digest.text("prod", SUMMARY)
    assert merged([notice]) == (notice.subject, notice.text)


def test_a_watched_alert_is_mailed_as_it_reads_and_comes_first() -> None:
    published = watched_alert("prod", BATCH, [row()])
    notice = notice_from(envelope(published))
    assert notice.text == json.loads(published["message"])["email"]
    assert notice.subject == published["subject"]
    assert notice.subject == "[ICS prod] WATCHED: 1 image with a watched label, run shelf-7"
    subject, text = merged([notice_from(envelope(digest.alert("prod", SUMMARY), alert="digest/shelf-7")), notice])
    assert text.startswith(notice.text.rstrip())
    assert (subject.startswith(notice.subject[:80]), subject.endswith(", and 1 more")) == (True, True)
    assert "digest/shelf-7" in text


def test_alarms_and_what_else_is_published_are_named_after_sns() -> None:
    alarm = {"AlarmName": "ics-prod-run-untold", "NewStateValue": "ALARM", "AlarmDescription": "A run. Runbook: x.md"}
    plain = {"subject": "ALARM", "attributes": {}, "message": json.dumps({"default": json.dumps(alarm)})}
    notice = notice_from(envelope(plain))
    assert notice.alert == "sns/22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert notice.text == "ics-prod-run-untold is ALARM\n\nA run. Runbook: x.md\n"
    said = {**plain, "message": json.dumps({"default": "Run x could not be summarized"})}
    assert notice_from(envelope(said, Subject=None)).text == "Run x could not be summarized\n"


@pytest.mark.parametrize("body", ["", "no json", "[]", "3", "{}", '{"Message": 3}', '{"MessageId": "x"}'])
def test_what_is_not_from_sns_is_refused(body: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        notice_from(body)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(st.lists(st.tuples(_texts, st.booleans()), min_size=1, max_size=12))
def test_one_mail_names_all_urgent_ones_first_in_the_order_in_which_they_came(drawn: list[tuple[str, bool]]) -> None:
    notices = [
        Notice(f"digest/{number}", digest.one_line_subject(f"[ICS] {text}"), f"text {number}\n", urgent)
        for number, (text, urgent) in enumerate(drawn)
    ]
    subject, text = merged(notices)
    assert 0 < len(subject) <= MAX_SUBJECT
    assert all(" " <= char <= "~" for char in subject)
    order = sorted(notices, key=lambda notice: not notice.urgent)
    assert text.startswith(order[0].text)
    assert [line.strip() for line in text.splitlines() if line.strip().startswith("digest/")] == [
        notice.alert for notice in order[1:]
    ]


def test_more_than_a_mail_can_name_are_counted() -> None:
    notices = [Notice(f"digest/{number}", "s" * 100, "text\n") for number in range(1 + NAMED + 7)]
    subject, text = merged(notices)
    assert subject.endswith("..., and 207 more")
    assert text.count("digest/") == NAMED
    assert "and 7 more that are not named here" in text


_rows = st.lists(
    st.builds(
        row,
        _texts,
        st.sampled_from(["WatchedLabel", "Quarantined", "QuarantineFailed", "BelowThreshold", None]),
        st.floats(0, 1),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    ),
    max_size=12,
)


@given(_rows)
def test_a_batch_tells_of_its_watched_images_alone_and_no_key_forges_a_line(rows: list[dict[str, Any]]) -> None:
    found = watched(rows)
    told = [one for one in rows if one["reason"] in ("WatchedLabel", "Quarantined", "QuarantineFailed")]
    assert len(found) == len(told)
    assert all(one in told for one in found)
    if not found:
        return
    published = watched_alert("prod", BATCH, found)
    content = json.loads(json.loads(published["message"])["default"])
    assert content["count"] == len(found)
    assert len(content["images"]) == min(len(found), NAMED_IMAGES)
    text = json.loads(published["message"])["email"]
    assert (f"and {len(found) - NAMED_IMAGES} more" in text) == (len(found) > NAMED_IMAGES)
    assert len(text.splitlines()) == 7 + 2 * len(content["images"]) + (len(found) > NAMED_IMAGES)
    assert not {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
    assert published["attributes"]["alert"] == alert_id(BATCH) == "watched/shelf-7/3"
    assert all(published["attributes"].values())


def test_what_could_not_be_hidden_comes_first_then_the_surest() -> None:
    rows = [
        row("a", confidence=0.9),
        row("b", confidence=0.2),
        row("c", "QuarantineFailed", 0.1),
        row("d", "Quarantined"),
    ]
    assert [one["s3_uri"] for one in watched(rows)] == ["s3://b/c", "s3://b/d", "s3://b/a", "s3://b/b"]


@pytest.mark.parametrize("said", ["x" * 262_000, "\u20ac" * 87_000, "a\ud800" * 30_000, "\n" * 200_000])
def test_what_others_published_never_makes_a_mail_that_sns_refuses(said: str) -> None:
    others = {"subject": "s" * 100, "message": json.dumps({"default": said}), "attributes": {}}
    notices = [notice_from(envelope(others, alert=f"{number:03d}" + "i" * 497)) for number in range(400)]
    for some in (notices[:1], notices):
        subject, text = merged(some)
        assert len(subject.encode()) + len(text.encode()) < 262_144 - 1_000
        assert text.strip()
    assert f"and {400 - 1 - NAMED:,} more that are not named" in text


@pytest.mark.parametrize("alert", ["x" * 501, "\u20ac" * 400, ""])
def test_an_alert_whose_id_the_table_does_not_take_is_named_after_its_message(alert: str) -> None:
    others = {"subject": " ", "message": json.dumps({"default": "hello"}), "attributes": {}}
    notice = notice_from(envelope(others, alert=alert))
    assert notice == Notice("sns/22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "[ICS] alert", "hello\n")
