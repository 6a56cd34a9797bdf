"""The reviewer role, taken on for one person: what is in quarantine is read and released by it alone.

The function's own role may read no image in quarantine. For a caller who is a reviewer it asks STS for a session of the
role that may; the session is named after that caller, so that CloudTrail names who looked.
Source: AWS STS API reference, AssumeRole.
"""

import http.client
import re
import time
from datetime import datetime
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from ics.contracts import ImageRef
from ics.errors import ReleaseFailed, RoleUnavailable
from ics.tagging import QUARANTINE_TAG
from lambdas import aws_http, object_tags
from lambdas.runtime import settings

SESSION_SECONDS = 3600
LEFT_SECONDS = 600
"""A session with less time left is not used: a URL that it signs must not end before its own time."""

_MOST = 100
"""Sessions kept by one function."""

_XML = "{https://sts.amazonaws.com/doc/2011-06-15/}"
_sessions: dict[str, tuple[float, aws_http.Credentials]] = {}


def credentials(name: str) -> aws_http.Credentials:
    """Those of the reviewer role, in a session of the person of this name.

    Raises:
        RoleUnavailable: STS refused, or did not answer.
    """
    until, found = _sessions.get(name, (0.0, None))
    if found is not None and until - time.time() > LEFT_SECONDS:
        return found
    until, found = _assume(name)
    if len(_sessions) >= _MOST:
        _sessions.clear()
    _sessions[name] = until, found
    return found


class Reviewer:
    """What `ics.quarantine` asks of S3, done as the reviewer role for the person of this name."""

    def __init__(self, name: str) -> None:
        self._credentials = credentials(name)

    def write(self, key: str, content: bytes) -> None:
        """Write an object of the results bucket. Raises ReleaseFailed."""
        self._send("PUT", key, content)

    def delete(self, key: str) -> None:
        """Delete an object of the results bucket. Raises ReleaseFailed."""
        self._send("DELETE", key, b"")

    def take_tag_off(self, image: ImageRef) -> None:
        """Take the quarantine's tag off an image. Raises ReleaseFailed."""
        try:
            object_tags.remove(image, QUARANTINE_TAG, self._credentials)
        except object_tags.TagsRefused as error:
            raise ReleaseFailed(str(error)) from error

    def _send(self, method: str, key: str, content: bytes) -> None:
        url = f"{aws_http.service_url('s3', 's3')}/{settings().results_bucket}/{quote(key, safe='/')}"
        try:
            answer = aws_http.request(method, url, service="s3", body=content, timeout=5, credentials=self._credentials)
        except (OSError, http.client.HTTPException) as error:
            raise ReleaseFailed(f"{method} {key}: {error}") from error
        if answer.status not in (200, 204):
            raise ReleaseFailed(f"{method} {key}: HTTP {answer.status}")


def _assume(name: str) -> tuple[float, aws_http.Credentials]:
    session = re.sub(r"[^\w+=,.@-]", "-", f"api-{name}", flags=re.ASCII)[:64]
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": settings().reviewer_role,
        "RoleSessionName": session,
        "DurationSeconds": str(SESSION_SECONDS),
    }
    try:
        answer = aws_http.request(
            "POST", f"{aws_http.service_url('sts', 'sts')}/", service="sts", timeout=5, body=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        )  # fmt: skip
    except (OSError, http.client.HTTPException) as error:
        raise RoleUnavailable(f"AssumeRole: {error}") from error
    if answer.status != 200:
        raise RoleUnavailable(f"AssumeRole: HTTP {answer.status}: {answer.body[:300]!r}")
    root = ET.fromstring(answer.body)  # noqa: S314 - from STS itself; expat expands no entity
    found = {one.tag.removeprefix(_XML): one.text or "" for given in root.iter(f"{_XML}Credentials") for one in given}
    until = datetime.fromisoformat(found["Expiration"]).timestamp()
    return until, aws_http.Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
