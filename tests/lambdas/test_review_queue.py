"""What a batch's filter tells the table: bounded, the same however often, and never what fails the batch."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ics import review
from ics.errors import TableUnavailable
from lambdas import review_queue, table
from lambdas.runtime import Settings


class Table:
    """Items in memory."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def write_many(self, items: Sequence[Mapping[str, Any]]) -> None:
        self.items |= {(item["pk"], item["sk"]): dict(item) for item in items}

    def insert_many(self, items: Sequence[Mapping[str, Any]]) -> None:
        for item in items:
            self.items.setdefault((item["pk"], item["sk"]), dict(item))

    def queued(self) -> list[dict[str, Any]]:
        return [self.items[key] for key in sorted(self.items) if key[0] == "review#digits"]


@pytest.fixture
def items(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(table, "write_many", made.write_many)
    monkeypatch.setattr(table, "insert_many", made.insert_many)
    told = dataclasses.replace(Settings(), images_bucket="images", upload_prefix="incoming/")
    monkeypatch.setattr(review_queue, "settings", lambda: told)
    monkeypatch.setattr("lambdas.runtime.settings", lambda: told)
    return made


def row(number: int, decision: str = "uncertain", key: str = "k") -> dict[str, Any]:
    return {
        "image_id": f"{number:064x}", "decision": decision, "confidence": number / 1000, "model": "digits",
        "s3_uri": f"s3://images/{key}", "version": "", "label": "7", "reason": "BelowThreshold", "run": "r", "batch": 0,
        "decided_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_of_a_batch_the_worst_are_queued_and_no_more(items: Table) -> None:
    review_queue.tell([row(number) for number in range(900)], "key")
    assert [item["image_id"] for item in items.queued()] == [f"{n:064x}" for n in range(review_queue.PER_BATCH)]
    assert len(items.items) == 2 * review_queue.PER_BATCH


def test_telling_twice_takes_nobodys_lease(items: Table) -> None:
    review_queue.tell([row(1)], "key")
    (item,) = items.queued()
    item["holder"] = "ann"
    review_queue.tell([row(1)], "key")
    assert items.queued() == [item]


def test_what_is_sure_or_failed_is_noted_only_where_it_was_uploaded(items: Table) -> None:
    review_queue.tell([row(1, "accepted"), row(2, "failed")], "key")
    assert items.items == {}
    review_queue.tell([row(1, "accepted", "incoming/a"), row(2, "failed", "incoming/b")], "key")
    assert {item["decision"] for item in items.items.values()} == {"accepted", "failed"}
    assert items.queued() == []


def test_an_image_that_is_listed_twice_is_noted_once(items: Table) -> None:
    review_queue.tell([row(1), row(1)], "key")
    assert len(items.queued()) == 1


def test_a_table_that_does_not_answer_fails_no_batch(
    items: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise TableUnavailable("throttled")

    monkeypatch.setattr(table, "insert_many", broken)
    review_queue.tell([row(1)], "key")
    assert "review not queued" in capsys.readouterr().out


def test_a_records_rank_is_the_queues_key(items: Table) -> None:
    review_queue.tell([row(1, "flagged")], "key")
    (item,) = items.queued()
    assert items.items[review.image_key(item["image_id"]), "row#digits"]["rank"] == item["sk"]
