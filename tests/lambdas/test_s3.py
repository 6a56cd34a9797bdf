"""Listing and reading by our own requests: S3 that is busy, or does not answer, is asked again, and not for ever."""

from collections.abc import Callable
from typing import Any

import pytest

from ics.contracts import ImageRef
from ics.errors import ObjectTooLarge, ReadFailed, SourceForbidden
from lambdas import aws_http, s3

ODD = ImageRef("b", "a//b.png")
"""A key that obstore does not take."""


def page(keys: list[str], token: str = "") -> aws_http.Response:
    items = "".join(f"<Contents><Key>{key}</Key><Size>5</Size><ETag>e</ETag></Contents>" for key in keys)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    xml = f'<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{items}{more}</R>'
    return aws_http.Response(200, {}, xml.encode())


BUSY, THROTTLED = aws_http.Response(503, {}, b"SlowDown"), aws_http.Response(429, {}, b"")
FOUND = aws_http.Response(200, {"etag": '"e"'}, b"pixels")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """What S3 answers, one after the other; the queries that it was asked are given."""

    def given(*answers: aws_http.Response | Exception) -> list[dict[str, Any]]:
        waiting, asked = list(answers), []

        def request(method: str, url: str, **options: Any) -> aws_http.Response:
            asked.append(dict(options["query"]))
            answer = waiting.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(aws_http, "request", request)
        return asked

    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(s3.time, "sleep", lambda seconds: None)
    return given


def test_a_page_that_s3_was_too_busy_for_is_asked_for_again_and_the_listing_goes_on(
    answers: Callable[..., list[dict[str, Any]]],
) -> None:
    asked = answers(page(["a"], "next"), BUSY, TimeoutError(), THROTTLED, page(["b", "c/"], "last"), page(["d"]))
    assert [ref.key for ref, _ in s3.list_images("b", "")] == ["a", "b", "d"]
    assert [one.get("continuation-token") for one in asked] == [None, "next", "next", "next", "next", "last"]


def test_s3_that_stays_busy_ends_the_listing_and_so_does_a_refusal_at_once(
    answers: Callable[..., list[dict[str, Any]]],
) -> None:
    asked = answers(*[BUSY] * 4)
    with pytest.raises(OSError, match="answered HTTP 503"):
        list(s3.list_images("b", ""))
    assert len(asked) == 4
    asked = answers(aws_http.Response(403, {}, b""))
    with pytest.raises(SourceForbidden):
        list(s3.list_images("b", ""))
    assert len(asked) == 1


def test_an_image_of_an_odd_key_is_read_as_patiently_as_others(answers: Callable[..., list[dict[str, Any]]]) -> None:
    answers(BUSY, ConnectionResetError(), FOUND)
    assert s3.read_image(ODD)[1] == b"pixels"
    asked = answers(*[ConnectionResetError()] * 4)
    with pytest.raises(ReadFailed):
        s3.read_image(ODD)
    assert len(asked) == 4
    asked = answers(aws_http.ResponseTooLarge("64 MiB"))
    with pytest.raises(ObjectTooLarge):
        s3.read_image(ODD)
    assert len(asked) == 1


def test_what_takes_long_to_fail_is_not_tried_until_the_function_ends(
    answers: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 25.0])
    monkeypatch.setattr(s3.time, "monotonic", lambda: next(clock))
    asked = answers(TimeoutError())
    with pytest.raises(ReadFailed):
        s3.read_image(ODD)
    assert len(asked) == 1
