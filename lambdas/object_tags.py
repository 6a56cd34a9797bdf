"""Object tags, set on the very version that was classified; what else an object is tagged with is kept.

S3 API reference, GetObjectTagging and PutObjectTagging: a put replaces all tags, so they are read first.
"""

import base64
import hashlib
import http.client
import time
from collections.abc import Mapping
from urllib.parse import quote
from xml.etree import ElementTree as ET

from ics.contracts import ImageRef
from lambdas import aws_http

ATTEMPTS = 3
"""Requests made for one answer, where S3 is busy or does not answer."""

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class TagsRefused(OSError):
    """S3 did not take the tags; the message has its answer."""


def add(image: ImageRef, wanted: Mapping[str, str]) -> bool:
    """Tag an object, where it is not tagged so already; False where the object is gone.

    Raises:
        TagsRefused: S3 refused, or did not answer.
    """
    tags = _tags(image, None)
    if tags is None:
        return False
    if tags.items() >= wanted.items():
        return True
    return _request("PUT", image, _document(tags | dict(wanted)), None) is not None


def remove(image: ImageRef, name: str, credentials: aws_http.Credentials) -> None:
    """Take a tag off an object, as somebody who may; nothing where it has none, or is gone.

    Raises:
        TagsRefused: S3 refused, or did not answer.
    """
    tags = _tags(image, credentials) or {}
    if tags.pop(name, None) is None:
        return
    if tags:
        _request("PUT", image, _document(tags), credentials)
    else:
        _request("DELETE", image, b"", credentials)


def _tags(image: ImageRef, credentials: aws_http.Credentials | None) -> dict[str, str] | None:
    answer = _request("GET", image, b"", credentials)
    if answer is None:
        return None
    return {
        tag.findtext(f"{_XML}Key", ""): tag.findtext(f"{_XML}Value", "") or ""
        for tag in ET.fromstring(answer).iter(f"{_XML}Tag")  # noqa: S314 - from S3 itself; expat expands no entity
    }


def _document(tags: Mapping[str, str]) -> bytes:
    root = ET.Element("Tagging", xmlns=_XML.strip("{}"))
    tag_set = ET.SubElement(root, "TagSet")
    for key, value in tags.items():
        tag = ET.SubElement(tag_set, "Tag")
        ET.SubElement(tag, "Key").text = key
        ET.SubElement(tag, "Value").text = value
    return bytes(ET.tostring(root))


def _request(method: str, image: ImageRef, body: bytes, credentials: aws_http.Credentials | None) -> bytes | None:
    """The answer to a request about an object's tags, None where there is no such object or version."""
    url = f"{aws_http.service_url('s3', 's3')}/{image.bucket}/{quote(image.key, safe='/')}"
    query = {"tagging": "", **({"versionId": image.version} if image.version else {})}
    # Required of PutObjectTagging; it guards the body against errors on the way, not against anybody.
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    headers = {"Content-MD5": digest, "Content-Type": "application/xml"} if body else {}
    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(0.1 * attempt)
        try:
            answer = aws_http.request(
                method, url, service="s3", query=query, headers=headers, body=body, timeout=2, credentials=credentials
            )
        except (OSError, http.client.HTTPException) as error:
            problem = f"no answer: {error}"
            continue
        if answer.status in (200, 204):
            return answer.body
        if answer.status in (404, 405):  # 405: a delete marker
            return None
        problem = f"HTTP {answer.status}: {answer.body[:300]!r}"
        if answer.status < 500 and answer.status != 429:
            break
    raise TagsRefused(f"{method} tags of {image.uri}: {problem}")
