"""Lines of labels files, and which label of an image counts."""

import contextlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.labels import MAX_LABEL, Label, hear, moment, parse_label, settle

LINE = {"s3_uri": "s3://b/k.png", "label": "7", "by": "ada", "at": "2026-01-31T12:00:00.000Z"}


def line(**changes):
    return json.dumps({**LINE, **changes}).encode()


def test_a_line_is_a_label():
    assert parse_label(line()) == Label("", "s3://b/k.png", "7", "ada", "2026-01-31T12:00:00.000Z")
    assert parse_label(b'{"image_id": "0f", "label": null}') == Label("0f", "", None)
    assert parse_label(line(image_id="0f", boxes=[])).s3_uri == ""  # an id says it more exactly
    assert parse_label(line(label="и\u0306")).label == "й"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"milk, bread", "Expecting value"),
        (b"[]", "JSON object"),
        (b'{"s3_uri": "s3://b/k", "label": NaN}', "NaN is not JSON"),
        (b'{"s3_uri": "s3://b/k", "label": "7", "label": "1"}', "given twice"),
        (b'{"label": "7"}', "names no image"),
        (b'{"s3_uri": "s3://b/k"}', "label is missing"),
        (b'{"s3_uri": 7, "label": "7"}', "s3_uri is not a text"),
        (b'{"s3_uri": "s3://b/k", "label": "\xff"}', "utf-8"),
        (b'{"s3_uri": "s3://b/k", "label": "\\ud800"}', "surrogates"),
        (b"[" * 100_000, "recursion"),
        (b"9" * 5_000, "digits"),
        (line(label=7), "label is not a text"),
        (line(label="x" * (MAX_LABEL + 1)), "4,097 characters"),
        (line(lable="7"), "unknown key 'lable'"),
        (line(at="yesterday"), "not a time"),
        (line(at=7), "at is not a text"),
        (line(boxes={}), "boxes is not a list"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(bad, says):
    with pytest.raises((ValueError, TypeError, RecursionError), match=says):
        parse_label(bad)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_label_or_refused(content):
    with contextlib.suppress(ValueError, TypeError):
        parse_label(content)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000+00:00", "2026-01-31T14:00+02:00", "2026-01-31 12:00:00"],
)
def test_equal_moments_are_equal_texts(text):
    assert moment(text) == "2026-01-31T12:00:00.000Z"


def heard(*said):
    opinions = {}
    for by, at, label in said:
        hear(opinions, by, at, [label])
    return settle(opinions)


def test_of_one_person_the_latest_counts_and_null_withdraws():
    assert heard(("ada", "1", "7"), ("ada", "2", "1")).label == "1"
    assert heard(("ada", "2", "1"), ("ada", "1", "7")).label == "1"
    assert heard(("ada", "1", "7"), ("ada", "2", None)).label is None
    assert heard(("ada", "1", "7"), ("ada", "2", None), ("ada", "3", "9")).label == "9"
    assert heard(("ada", "1", None), ("bo", "1", "7")).label == "7"


def test_people_whose_counting_labels_differ_are_in_conflict():
    assert heard(("ada", "1", "7"), ("bo", "2", "7")).label == "7"
    conflict = heard(("ada", "1", "7"), ("bo", "2", "1"))
    assert (conflict.label, conflict.conflict) == (None, (("ada", "7"), ("bo", "1")))
    assert heard(("ada", "1", "7"), ("bo", "2", "1"), ("ada", "3", "1")).label == "1"
    assert heard(("", "", "7"), ("", "", "1")).conflict == (("", "1"), ("", "7"))
    assert heard(("ada", "1", "7"), ("ada", "1", None)).conflict == (("ada", None), ("ada", "7"))


SAID = st.tuples(st.sampled_from(["", "ada", "bo"]), st.sampled_from(["", "1", "2"]), st.sampled_from(["7", "1", None]))


@given(st.lists(SAID, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_any_order_and_any_split_settle_the_same(said, chance: random.Random, cut):
    shuffled = list(said)
    chance.shuffle(shuffled)
    assert heard(*shuffled) == heard(*said) == heard(*said, *said)
    merged, first, then = {}, {}, {}
    for part, some in ((first, said[:cut]), (then, said[cut:])):
        for by, at, label in some:
            hear(part, by, at, [label])
    for part in (then, first):
        for by, (at, labels) in part.items():
            hear(merged, by, at, labels)
    assert settle(merged) == heard(*said)


@given(st.lists(SAID, max_size=8))
def test_it_is_what_the_slow_and_obvious_way_gives(said):
    latest = {by: max(at for other, at, _ in said if other == by) for by, *_ in said}
    counting = {by: {label for other, when, label in said if (other, when) == (by, at)} for by, at in latest.items()}
    labels = set().union(*(some for some in counting.values() if some != {None}))
    found = heard(*said)
    assert found.label == (next(iter(labels)) if len(labels) == 1 else None)
    assert bool(found.conflict) == (len(labels) > 1)
