"""How an evaluation is cut into shards and partitions."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import evaluation
from ics.errors import EvaluationTooLarge, InvalidRequest
from ics.evaluation import (
    FILE_BYTES,
    LABEL_BYTES,
    MAX_FILE_BYTES,
    MAX_PARTITIONS,
    SHARD_BYTES,
    USUAL_PARTITIONS,
    EvaluationRequest,
    ShardCutter,
    of_dates,
    parse_evaluation,
)


def cut(sizes, labels=False):
    cutter = ShardCutter()
    for number, size in enumerate(sizes):
        cutter.add(f"s3://b/{number}", b"line %d\n" % number, size, labels=labels)
    return cutter


@given(st.lists(st.sampled_from([0, 100, FILE_BYTES, SHARD_BYTES // 3, SHARD_BYTES, 3 * SHARD_BYTES]), max_size=40))
def test_shards_hold_each_file_once_in_order_and_no_more_than_they_may(sizes):
    shards = cut(sizes).shards()
    lines = b"".join(b"line %d\n" % number for number in range(len(sizes)))
    held = [lines[offset : offset + length].splitlines() for offset, length in shards]
    assert [line for some in held for line in some] == lines.splitlines()
    for some in held:
        costs = [max(sizes[int(line.split()[1])], FILE_BYTES) for line in some]
        assert sum(costs) <= SHARD_BYTES or len(costs) == 1


def test_many_small_files_are_many_shards_for_each_is_a_request():
    assert len(cut([700] * 3_000).shards()) == 3
    assert cut([700] * 3_000).partitions == 1


def test_partitions_follow_the_bytes_and_hold_their_labels():
    assert cut([]).partitions == cut([10]).partitions == 1
    assert cut([SHARD_BYTES] * 5).partitions == 5
    assert cut([SHARD_BYTES] * 1_000).partitions == USUAL_PARTITIONS
    assert cut([LABEL_BYTES] * 1_000, labels=True).partitions == 1_000


def test_what_is_too_large_is_refused(monkeypatch):
    with pytest.raises(EvaluationTooLarge, match="split it"):
        cut([MAX_FILE_BYTES + 1])
    with pytest.raises(EvaluationTooLarge, match="bytes of labels"):
        cut([LABEL_BYTES] * (MAX_PARTITIONS + 1), labels=True)
    monkeypatch.setattr(evaluation, "MAX_SHARDS", 3)
    cut([SHARD_BYTES] * 3)
    with pytest.raises(EvaluationTooLarge, match="since and until"):
        cut([SHARD_BYTES] * 4)


def test_a_request_says_what_is_wrong_with_it():
    for request, says in (
        ({"labels": "s3://b/k"}, "or labels and predictions"),
        ({"pairs": "s3://b"}, "whole bucket"),
        ({"model": "digits", "since": "yesterday"}, "2026-01-31"),
        ({"pairs": "s3://b/k", "since": "2026-01-31"}, "since and until"),
        ({"model": "digits", "modle": "x"}, "unknown key 'modle'"),
        ({}, "give model"),
        ([], "JSON object"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            parse_evaluation(request)


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda some: st.lists(some) | st.dictionaries(
    st.sampled_from([one.name for one in fields(EvaluationRequest)]), some), max_leaves=8))  # fmt: skip
def test_any_request_is_checked_or_refused(request):
    try:
        found = parse_evaluation(json.loads(json.dumps(request)))
    except InvalidRequest:
        return
    assert found.model or found.labels or found.pairs


def test_dates_are_those_of_the_runs():
    key = "results/model=digits/dt=2026-01-31/run=r/batch-0.jsonl"
    assert of_dates(key, EvaluationRequest(since="2026-01-31", until="2026-01-31"))
    assert not of_dates(key, EvaluationRequest(since="2026-02-01"))
    assert not of_dates(key, EvaluationRequest(until="2026-01-30"))
    assert of_dates("own.jsonl", EvaluationRequest())
