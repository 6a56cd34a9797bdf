"""A request that AWS would not hand on is refused before it is sent."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli import runs
from ics.errors import InvalidRequest


def test_a_request_beyond_256_kib_is_told_to_be_a_manifest() -> None:
    sent: list[dict[str, Any]] = []
    there: Any = SimpleNamespace(
        state_machine="arn", states=SimpleNamespace(start_execution=lambda **call: sent.append(call))
    )
    uri = "s3://b/" + "ü" * 500
    runs.start(there, "r", {"images": [uri] * 100})
    assert len(sent) == 1
    with pytest.raises(
        InvalidRequest, match=r"has 3\d\d,\d\d\d bytes; the limit is 261,120: write the images to a mani"
    ):
        runs.start(there, "r", {"images": [uri] * 300})
    with pytest.raises(InvalidRequest):
        runs.start(there, "r", {"images": ["\ud800" * 300_000]})
    assert len(sent) == 1
