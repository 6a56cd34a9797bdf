"""The alert: readable by a person, within SNS's limits whatever keys and runs are called."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import digest, errors
from ics.digest import ADVICE, MAX_MESSAGE, MAX_SUBJECT
from ics.routing import NEEDS_A_PERSON

SUMMARY = {
    "run": "shelf-7",
    "status": "FAILED",
    "error": "ImagesNeedAttention",
    "cause": "2 uncertain, 1 failed of 1,204 images need a person; summary: s3://results/runs/shelf-7/summary.json",
    "model": "digits",
    "model_versions": ["v1"],
    "threshold": 0.94,
    "policy": "0123456789ab",
    "mode": "strict",
    "planned": 1204,
    "accepted": 1201,
    "uncertain": 2,
    "flagged": 0,
    "failed": 1,
    "batches": 13,
    "reasons": {"BelowThreshold": 2, "TruncatedImage": 1},
    "worst": [
        {
            "s3_uri": "s3://photos/in/cut.jpg",
            "decision": "failed",
            "reason": "TruncatedImage",
            "label": None,
            "confidence": None,
        },
        {
            "s3_uri": "s3://photos/in/цифра 0.png",
            "decision": "uncertain",
            "reason": "BelowThreshold",
            "label": "0",
            "confidence": 0.0,
        },
        {
            "s3_uri": "s3://photos/in/7.png",
            "decision": "uncertain",
            "reason": "BelowThreshold",
            "label": "7",
            "confidence": 0.9399,
        },
    ],
    "started": "2026-02-03T10:00:00Z",
    "finished": "2026-02-03T10:00:42Z",
    "seconds": 42.0,
    "links": {
        "summary": "s3://results/runs/shelf-7/summary.json",
        "command": "ics results shelf-7 --env prod",
        "execution": "https://eu-west-1.console.aws.amazon.com/states/home",
        "rows": "s3://results/results/model=digits/dt=2026-02-03/run=shelf-7/",
    },
}
NOT_PLANNED = SUMMARY | {
    "error": "EmptySource",
    "cause": "s3://photos/in/ holds no image",
    **dict.fromkeys(("model", "threshold", "mode")),
    **dict.fromkeys(("planned", "accepted", "uncertain", "flagged", "failed", "batches"), 0),
    "reasons": {},
    "worst": [],
}
ALL_ACCEPTED = SUMMARY | {
    "status": "SUCCEEDED",
    "error": None,
    "cause": None,
    "accepted": 1204,
    "uncertain": 0,
    "failed": 0,
    "reasons": {},
    "worst": [],
}

EMAIL = """\
ICS prod: run shelf-7 FAILED

ImagesNeedAttention: 2 uncertain, 1 failed of 1,204 images need a person; summary: s3://results/runs/shelf-7/summary.json

  model      digits, threshold 0.94, mode strict
  policy     0123456789ab
  planned    1,204
  accepted   1,201
  uncertain  2
  flagged    0
  failed     1

Why:
        2  BelowThreshold: the model is not sure enough: look at the image and decide
        1  TruncatedImage: the file ends too early: upload it again

The images:
  failed: TruncatedImage
      s3://photos/in/cut.jpg
  uncertain: '0' at 0.000, threshold 0.94
      s3://photos/in/цифра 0.png
  uncertain: '7' at 0.939, threshold 0.94
      s3://photos/in/7.png

Where to look:
  summary    s3://results/runs/shelf-7/summary.json
  command    ics results shelf-7 --env prod
  execution  https://eu-west-1.console.aws.amazon.com/states/home
  rows       s3://results/results/model=digits/dt=2026-02-03/run=shelf-7/
"""


def test_an_empty_reading_says_that_nothing_was_read() -> None:
    empty = SUMMARY["worst"][1] | {"label": "", "reason": "NothingRead", "confidence": 0.999}
    said = digest.text("prod", SUMMARY | {"worst": [empty], "reasons": {"NothingRead": 1}})
    assert "uncertain: nothing read\n      s3://photos/in/цифра 0.png" in said
    assert "1  NothingRead: the model read no character" in said


def test_the_email_says_which_run_how_many_why_and_where() -> None:
    assert digest.text("prod", SUMMARY) == EMAIL


def test_a_run_that_was_not_planned_says_why() -> None:
    assert digest.subject("prod", NOT_PLANNED) == "[ICS prod] FAILED: EmptySource, run shelf-7"
    email = digest.text("prod", NOT_PLANNED)
    assert "EmptySource: s3://photos/in/ holds no image\n\nWhere to look:" in email


def test_a_good_run_says_so() -> None:
    assert digest.subject("prod", ALL_ACCEPTED) == "[ICS prod] SUCCEEDED: all 1,204 images accepted, run shelf-7"
    assert "Why:" not in digest.text("prod", ALL_ACCEPTED)


def test_the_worst_of_many_are_called_so() -> None:
    many = SUMMARY | {"accepted": 204, "uncertain": 999}
    assert "The worst 3 of 1,000:" in digest.text("prod", many)
    assert digest.subject("prod", many) == "[ICS prod] FAILED: 1,000 of 1,204 images need a person, run shelf-7"


def test_programs_get_the_summary_as_json() -> None:
    message = json.loads(digest.message("prod", SUMMARY))
    assert json.loads(message["default"]) == {"environment": "prod", **SUMMARY}
    assert message["email"] == EMAIL


def test_attributes_are_strings_and_never_empty() -> None:
    assert digest.attributes("prod", SUMMARY) == {
        "environment": "prod",
        "status": "FAILED",
        "mode": "strict",
        "model": "digits",
        "planned": "1204",
        "accepted": "1201",
        "uncertain": "2",
        "flagged": "0",
        "failed": "1",
    }
    assert all(digest.attributes("prod", NOT_PLANNED).values())


def named(key: str, run: str = "shelf-7") -> dict:
    row = SUMMARY["worst"][2] | {"s3_uri": f"s3://photos/{key}", "label": key[:200]}
    return SUMMARY | {"run": run, "worst": [row] * 10, "cause": f"s3://photos/{key} holds no image"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.text(max_size=80))
def test_no_key_breaks_the_subject_or_forges_the_email(key: str, run: str) -> None:
    for summary in (named("k", run), NOT_PLANNED | {"run": run}):
        subject = digest.subject("prod", summary)
        assert 0 < len(subject) <= MAX_SUBJECT
        assert all(" " <= char <= "~" for char in subject)  # ASCII without controls or line breaks
    email = digest.text("prod", named(key))
    assert len(email.splitlines()) == len(digest.text("prod", named("k")).splitlines())
    assert not {char for char in email if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}


@pytest.mark.parametrize("key", ["\x01" * 1024, "🙂" * 256, '"' * 1024, "\\" * 1024, "\u202e" * 341])
def test_the_worst_case_stays_within_sns(key: str) -> None:
    assert len(key.encode()) <= 1024
    summary = named(key, "r" * 80) | {"cause": key * 32, "reasons": dict.fromkeys(ADVICE, 1)}
    message = digest.message("prod", summary)
    assert len(message.encode()) < MAX_MESSAGE
    assert max(map(len, json.loads(message)["email"].splitlines())) < 2100
    # The alert travels in the state, where it is a JSON string once more; AWS allows 256 KiB.
    assert len(json.dumps(digest.alert("prod", summary), ensure_ascii=False).encode()) < 262_144


def test_every_reason_has_advice() -> None:
    def names(kind: type) -> set[str]:
        return {one.__name__ for one in kind.__subclasses__()}

    assert names(errors.ImageError) | names(errors.BatchError) | set(NEEDS_A_PERSON) | {"BatchLost"} == set(ADVICE)
