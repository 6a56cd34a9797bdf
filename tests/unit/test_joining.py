"""How labels and predictions find each other: the same in any order and in any number of partitions."""

import json
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.accuracy import Counts, counts_from_json
from ics.accuracy_figures import figures
from ics.contracts import dump_line
from ics.joining import (
    MAX_LINE_BYTES,
    Joining,
    Locating,
    lines_of,
    parse_pair,
    parse_prediction,
    parse_truth,
    partition_of,
)

AT = "2026-01-31T12:00:00.000Z"
ROW = {"s3_uri": "s3://b/k", "image_id": "0f", "label": "7", "confidence": 0.9, "decided_at": AT}


def row(**changes):
    return json.dumps({**ROW, **changes}).encode()


def test_a_row_is_a_prediction_and_has_keys_that_are_passed_over():
    assert parse_prediction(row(run="r", boxes=[])) == ("s3://b/k", "0f", "", "", "7", 0.9, AT, False)
    assert parse_prediction(row(text="кит", label="кит"))[4:8] == ("кит", 0.9, AT, True)
    assert parse_prediction(row(decision="failed", label=None, confidence=None))[3:6] == ("failed", None, None)
    assert parse_prediction(b'{"image_id": "0f", "label": ""}') == ("0f", "0f", "", "", "", None, "", False)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"milk, bread", "Expecting value"),
        (b"7", "JSON object"),
        (b'{"image_id": "0f", "label": "7", "label": "1"}', "given twice"),
        (b'{"image_id": "0f", "label": "7", "confidence": NaN}', "NaN is not JSON"),
        (b'{"image_id": "0f", "label": "7", "confidence": 1e999}', "from 0 to 1"),
        (row(confidence="0.9"), "from 0 to 1"),
        (row(confidence="\ud800"), r"is '\\ud800'; it must"),
        (row(confidence=True), "from 0 to 1"),
        (row(confidence=1.01), "from 0 to 1"),
        (row(label=None), "label is missing"),
        (row(label=["7"]), "label is not a text"),
        (row(label="x" * 5000), "5,000 characters"),
        (row(decision="perhaps"), "decision is 'perhaps'"),
        (row(decided_at="noon"), "not a time"),
        (b'{"label": "7"}', "names no image"),
        (b'{"image_id": "\\ud800", "label": "7"}', "surrogates"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(bad, says):
    with pytest.raises((ValueError, TypeError), match=says):
        parse_prediction(bad)


def test_a_pair_is_an_image_of_its_own():
    label, prediction = parse_pair(b'{"truth": "7", "label": "1", "confidence": 0.5}', "s3://b/k#3")
    assert label == ("s3://b/k#3", "", "7", "", "")
    assert prediction == ("s3://b/k#3", "s3://b/k#3", "", "", "1", 0.5, "", False)
    for bad in (b'{"truth": "7"}', b'{"label": "7"}', b'{"truth": "7", "label": "1", "trust": 1}'):
        with pytest.raises(ValueError, match=r"missing|unknown key"):
            parse_pair(bad, "x")


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 7))
def test_lines_are_the_same_however_the_file_is_cut(lines, size):
    content = b"\n".join(lines)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    expected = content.split(b"\n")
    assert list(lines_of(pieces)) == (expected[:-1] if not expected[-1] else expected)


def test_a_line_that_is_too_long_is_passed_over_in_constant_memory():
    def pieces():
        yield b"a\n"
        for _ in range(40):
            yield b"x" * 100_000
        yield b"\nb\n" + b"y" * (MAX_LINE_BYTES + 1) + b"\nc"

    assert list(lines_of(pieces())) == [b"a", None, b"b", None, b"c"]
    assert list(lines_of([b"x" * (MAX_LINE_BYTES + 1)])) == [None]


URIS, IDS = ("s3://b/1", "s3://b/2", "s3://b/3"), ("i1", "i2", "i3", "i4")
PLACE_OF = {"i1": URIS[0], "i2": URIS[0], "i3": URIS[1], "i4": URIS[2]}  # the first was overwritten
TIMES = st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-03T00:00:00.000Z"])
LABELS = st.builds(
    lambda name, label, by, at: json.dumps({**name, "label": label, "by": by, "at": at}).encode(),
    st.one_of(
        st.sampled_from([*IDS, "i9"]).map(lambda one: {"image_id": one}),
        st.sampled_from([*URIS, "s3://b/9"]).map(lambda one: {"s3_uri": one}),
    ),
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["ada", "bo"]),
    TIMES,
)
ROWS = st.builds(
    lambda one, version, label, at, failed: json.dumps(
        {
            "image_id": one,
            "s3_uri": PLACE_OF[one],
            "model_version": "" if failed else version,
            "decision": "failed" if failed else "accepted",
            "label": None if failed else label,
            "confidence": None if failed else 0.9,
            "decided_at": at,
        }
    ).encode(),
    st.sampled_from(IDS),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["a", "b"]),
    TIMES,
    st.sampled_from([False, False, False, True]),
)


def evaluated(labels, rows, partitions):
    """As the functions do it, in memory."""
    dealt = {kind: defaultdict(list) for kind in ("labels", "named", "rows", "ids")}
    for line in labels:
        record = parse_truth(line)
        kind, by = ("named", record[1]) if record[1] else ("labels", record[0])
        dealt[kind][partition_of(by, partitions)].append(record)
    for line in rows:
        record = parse_prediction(line)
        dealt["rows"][partition_of(record[0], partitions)].append(record)
        dealt["ids"][partition_of(record[1], partitions)].append((record[1], record[0]))
    for partition in range(partitions):
        locating = Locating()
        for record in dealt["named"][partition]:
            locating.label(record)
        for image_id, uri in dealt["ids"][partition]:
            locating.image(image_id, uri)
        for record in locating.labels():
            dealt["labels"][partition_of(record[0], partitions)].append(record)
    whole = Counts()
    for partition in range(partitions):
        joining = Joining()
        for record in dealt["labels"][partition]:
            joining.label(record)
        for record in dealt["rows"][partition]:
            joining.prediction(json.loads(json.dumps(record)))
        whole.merge(counts_from_json(json.loads(dump_line(joining.joined().to_json()))))
    return whole


@given(st.lists(LABELS, max_size=10), st.lists(ROWS, max_size=10), st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_order_and_any_number_of_partitions_are_the_same_bytes(labels, rows, chance: random.Random, partitions):
    whole = dump_line(evaluated(labels, rows, 1).to_json())
    labels, rows = list(labels), list(rows)
    chance.shuffle(labels)
    chance.shuffle(rows)
    assert dump_line(evaluated(labels, rows, partitions).to_json()) == whole


def meant_by(label, rows):
    """The image that a label is about: of a URI, that which was predicted there last."""
    if "image_id" in label:
        return label["image_id"]
    there = [one for one in rows if one["s3_uri"] == label["s3_uri"]]
    predicted = [(one["decided_at"], one["image_id"]) for one in there if one["decision"] != "failed"]
    return max(predicted)[1] if predicted else max((one["image_id"] for one in there), default=label["s3_uri"])


def counting_labels(ones):
    """What counts of all that is said of an image."""
    counting = set()
    for by in {one["by"] for one in ones}:
        latest = max(one["at"] for one in ones if one["by"] == by)
        then = {one["label"] for one in ones if (one["by"], one["at"]) == (by, latest)}
        counting |= then if then != {None} else set()
    return counting


def outcome(counting, mine):
    """What becomes of an image with these labels and these rows, and the labels of the row that counts."""
    answered = [one for one in mine if one["decision"] != "failed"]
    of_version = [one for one in answered if one["model_version"] == "v1"]
    if len(counting) != 1:
        return "conflicting" if counting else "withdrawn", set()
    if not of_version:
        return "of_other_versions" if answered else "failed" if mine else "unknown", set()
    latest = max(one["decided_at"] for one in of_version)
    return "counted", {one["label"] for one in of_version if one["decided_at"] == latest}


@given(st.lists(LABELS, max_size=10), st.lists(ROWS, max_size=10))
def test_it_is_what_the_slow_and_obvious_way_gives(labels, rows):
    found = figures(evaluated(labels, rows, 3), threshold=0.9, version="v1")
    rows = [json.loads(line) for line in rows]
    said = defaultdict(list)
    for line in labels:
        said[meant_by(json.loads(line), rows)].append(json.loads(line))
    outcomes, least, most = Counter(), 0, 0
    for image, ones in said.items():
        counting = counting_labels(ones)
        name, answers = outcome(counting, [one for one in rows if one["image_id"] == image])
        outcomes[name] += 1
        least += name == "counted" and answers == counting  # of equally late rows always the same one counts, whichever
        most += name == "counted" and counting <= answers
    for name in ("conflicting", "withdrawn", "failed", "unknown", "of_other_versions", "counted"):
        assert found["labels"][name] == outcomes[name], name
    assert least <= found["accuracy"]["count"] <= most


def test_people_who_name_an_image_in_two_ways_meet():
    said = [b'{"image_id": "i1", "label": "a", "by": "ada"}', b'{"s3_uri": "s3://b/1", "label": "b", "by": "bo"}']
    counts = evaluated(said, [row(image_id="i1", s3_uri=URIS[0])], 7)
    assert (counts.conflicting, counts.labelled) == (1, 0)
    (conflict,) = counts.named_conflicts.entries()
    assert conflict["labels"] == [{"by": "ada", "label": "a"}, {"by": "bo", "label": "b"}]
