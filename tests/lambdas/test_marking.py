"""`lambdas.marking`: an image in a shard has no tags of its own."""

import pytest

from ics.contracts import ImageRef
from ics.policy import parse_policy
from lambdas import marking

WHERE = {"run": "r", "batch": 0, "image_id": "i", "version": "", "label": "0", "confidence": 0.9, "policy": "p"}
MEMBER = {"s3_uri": "s3://b/s.tar#a.png", "member": {"name": "a.png", "offset": 512, "size": 3}}


def test_what_lies_in_a_shard_is_not_tagged_and_cannot_be_hidden_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tagged: list[str] = []

    def add(image: ImageRef, wanted: object) -> bool:
        tagged.append(image.uri)
        return True

    monkeypatch.setattr(marking.object_tags, "add", add)
    policy = parse_policy(b"tag_accepted = true").applied("digits", requested=None, default=0.94)
    inside = WHERE | MEMBER | {"decision": "accepted", "reason": None}
    hidden = WHERE | MEMBER | {"decision": "flagged", "reason": "Quarantined"}
    single = inside | {"s3_uri": "s3://b/a.png", "member": None}
    marking.mark([inside, hidden, single], policy)
    assert tagged == ["s3://b/a.png"]
    assert (inside["decision"], single["decision"]) == ("accepted", "accepted")
    assert (hidden["decision"], hidden["reason"]) == ("failed", "QuarantineFailed")
