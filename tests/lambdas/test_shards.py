"""`lambdas.shards`: a shard is read once, what is far is passed over, and what cannot be planned of it is said."""

from collections.abc import Iterator

import pytest

from ics.contracts import ImageRef
from ics.errors import AccessDenied, ImageError, ObjectChanged, ReadFailed, RunTooLarge
from lambdas import shards
from lambdas.budget import Budget
from lambdas.s3 import Content
from lambdas.shards import images_of_shard
from tests.e2e.harness import packed

SHARD = ImageRef("b", "s.tar")


class Clock:
    """A Lambda context."""

    def __init__(self, left: int = 900_000) -> None:
        self.left = left

    def get_remaining_time_in_millis(self) -> int:
        return self.left


class Object:
    """A shard in S3, which notes what is read of it and may fail at the read of some number."""

    def __init__(self, content: bytes, fails: dict[int, ImageError] | None = None) -> None:
        self.content, self.fails = content, fails or {}
        self.read: list[tuple[int, int]] = []

    def read_range(self, ref: ImageRef, offset: int, length: int) -> Content:
        self.read.append((offset, min(length, len(self.content) - offset)))
        if len(self.read) in self.fails:
            raise self.fails[len(self.read)]
        assert ref.etag == ("" if len(self.read) == 1 else "etag")
        found = ImageRef(ref.bucket, ref.key, "etag", "newest")
        return Content(found, memoryview(self.content)[offset : offset + length], len(self.content))


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small windows, so that a small shard has many."""
    monkeypatch.setattr(shards, "CHUNK", 4096)
    monkeypatch.setattr(shards, "FAR", 8192)
    monkeypatch.setattr(shards, "BEHIND", 1024)
    return


def listed(monkeypatch: pytest.MonkeyPatch, stored: Object, budget: Budget | None = None) -> list[ImageRef]:
    monkeypatch.setattr(shards, "read_range", stored.read_range)
    return list(images_of_shard(SHARD, budget or Budget(Clock())))


def test_windows_follow_one_another_and_leave_out_what_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [100, 3000, 5000, 100, 40_000, 40_000, 100, 100, 7000, 0]
    files = [(f"{number}.png", bytes([number]) * size) for number, size in enumerate(sizes)]
    stored = Object(packed(files))
    found = listed(monkeypatch, stored)
    assert [(ref.member, ref.size, ref.etag, ref.version) for ref in found] == [
        (name, len(content), "etag", "") for name, content in files
    ]
    assert [stored.content[ref.offset : ref.offset + ref.size] for ref in found] == [content for _, content in files]
    ends = [offset + length for offset, length in stored.read]
    assert all(end <= offset for end, (offset, _) in zip(ends, stored.read[1:], strict=False))  # nothing twice
    assert sum(length for _, length in stored.read) < 30_000 < sum(sizes) - 65_000
    assert {length for _, length in stored.read} >= {4096, 1024}


def test_members_that_are_no_pictures_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(Clock())
    stored = Object(packed([("a.png", b"x"), ("a.json", b"{}"), ("a.cls", b"1"), (".b.png", b"x"), ("B.JPEG", b"x")]))
    assert [ref.member for ref in listed(monkeypatch, stored, budget)] == ["a.png", "B.JPEG"]
    assert budget.skipped == 3


@pytest.mark.parametrize(("number", "before"), [(1, 0), (2, 3)])
@pytest.mark.parametrize("error", [AccessDenied(), ObjectChanged()])
def test_what_becomes_unreadable_is_an_image_of_its_own(
    monkeypatch: pytest.MonkeyPatch, number: int, before: int, error: ImageError
) -> None:
    stored = Object(packed([(f"{n}.png", bytes(600)) for n in range(9)]), {number: error})
    found = listed(monkeypatch, stored)
    assert [ref.member for ref in found] == [f"{n}.png" for n in range(before)] + [""]
    assert [ref.fault for ref in found] == [""] * before + [error.reason]


def test_where_s3_does_not_answer_the_step_fails_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReadFailed):
        listed(monkeypatch, Object(packed([("a.png", b"x")]), {1: ReadFailed()}))


def test_more_than_can_be_planned_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed([(f"{n}.png", bytes(600)) for n in range(9)])
    with pytest.raises(RunTooLarge, match="split the source into several runs"):
        listed(monkeypatch, Object(content), Budget(Clock(), most=2 * 1024 * 1024))
    with pytest.raises(RunTooLarge, match="longer than PlanRun's 15 minutes; split"):
        listed(monkeypatch, Object(content), Budget(Clock(left=30_000)))
