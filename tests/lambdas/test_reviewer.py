"""`lambdas.reviewer`: a session of the reviewer role for each person, kept while it lasts, and what refuses one."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from ics.contracts import ImageRef
from ics.errors import ReleaseFailed, RoleUnavailable
from lambdas import aws_http, reviewer
from lambdas.runtime import Settings

# STS API reference, AssumeRole, "Sample Response", shortened
GIVEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/demo/TestAR</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>{expires}</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


class Cloud:
    """STS and S3: what was asked of them, as whom; STS gives sessions of an hour from `now`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.asked: list[dict[str, str]] = []
        self.sent: list[tuple[str, str, str]] = []
        self.status = 200
        self.broken: OSError | None = None

    def request(self, method: str, url: str, *, service: str, body: bytes = b"", **given: Any) -> aws_http.Response:
        if self.broken:
            raise self.broken
        if service == "s3":
            self.sent.append((method, url.partition(".com")[2], given["credentials"].access_key))
            return aws_http.Response(self.status, {}, b"")
        self.asked.append({name: value for name, (value,) in parse_qs(body.decode()).items()})
        expires = datetime.fromtimestamp(self.now + 3600, UTC).isoformat().replace("+00:00", "Z")
        said = GIVEN.format(number=len(self.asked), expires=expires)
        return aws_http.Response(self.status, {}, said.encode())


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    made = Cloud()
    told = dataclasses.replace(Settings(), reviewer_role="arn:aws:iam::1:role/r", results_bucket="results")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(reviewer, "settings", lambda: told)
    monkeypatch.setattr(reviewer.aws_http, "request", made.request)
    monkeypatch.setattr(reviewer.time, "time", lambda: made.now)
    reviewer._sessions.clear()
    yield made
    reviewer._sessions.clear()


def test_each_person_has_a_session_of_their_own_that_is_used_while_it_lasts(cloud: Cloud) -> None:
    first = reviewer.credentials("ann")
    assert first == aws_http.Credentials("ASIA1", "secret", "token")
    assert reviewer.credentials("ann") == first
    assert reviewer.credentials("bob@example.com").access_key == "ASIA2"
    cloud.now += 3600 - reviewer.LEFT_SECONDS - 1
    assert reviewer.credentials("ann") == first
    cloud.now += 1  # a URL that it signs now could end before its own time
    assert reviewer.credentials("ann").access_key == "ASIA3"
    assert [one["RoleSessionName"] for one in cloud.asked] == ["api-ann", "api-bob@example.com", "api-ann"]
    assert {one["RoleArn"] for one in cloud.asked} == {"arn:aws:iam::1:role/r"}
    assert {one["Action"] for one in cloud.asked} == {"AssumeRole"}


def test_a_name_that_sts_does_not_take_is_written_so_that_it_does(cloud: Cloud) -> None:
    reviewer.credentials("ännchen müller/" + "x" * 100)
    (asked,) = cloud.asked
    assert asked["RoleSessionName"] == ("api--nnchen-m-ller-" + "x" * 100)[:64]


def test_sessions_are_forgotten_before_they_are_too_many(cloud: Cloud) -> None:
    for number in range(250):
        reviewer.credentials(str(number))
        assert len(reviewer._sessions) <= 100


def test_without_the_role_nothing_is_done(cloud: Cloud) -> None:
    cloud.status = 403
    with pytest.raises(RoleUnavailable, match="403"):
        reviewer.Reviewer("ann")
    cloud.broken = OSError("no route")
    with pytest.raises(RoleUnavailable, match="no route"):
        reviewer.Reviewer("ann")


def test_records_are_written_as_the_reviewer_and_what_s3_refuses_is_said(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = reviewer.Reviewer("ann")
    ann.write("audit/quarantine/i/2026-01-31T12:00:00.000Z-released.json", b"{}")
    ann.delete("quarantine/i.json")
    assert cloud.sent == [
        ("PUT", "/results/audit/quarantine/i/2026-01-31T12%3A00%3A00.000Z-released.json", "ASIA1"),
        ("DELETE", "/results/quarantine/i.json", "ASIA1"),
    ]

    def refused(*_: object) -> None:
        raise reviewer.object_tags.TagsRefused("HTTP 403")

    monkeypatch.setattr(reviewer.object_tags, "remove", refused)
    with pytest.raises(ReleaseFailed, match="403"):
        ann.take_tag_off(ImageRef("b", "k"))
    cloud.status = 500
    with pytest.raises(ReleaseFailed, match="500"):
        ann.write("k", b"")
