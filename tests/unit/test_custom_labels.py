"""Manifests for Custom Labels: the shapes of its Developer Guide; what people say, joined to rows; what is held out."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.custom_labels import Picture, Truth, boxes_line, join, parse_truths, unfit, whole_picture_line
from ics.errors import InvalidLabels

CREATED = "2026-07-21T10:15:00.000000"
BOX = {"label": "boot", "left": 0.25, "top": 0.5, "width": 0.5, "height": 0.25}


def row(key: str, decision: str = "accepted", reason: str | None = None) -> dict[str, Any]:
    return {"s3_uri": f"s3://b/{key}", "image_id": f"id-{key}", "decision": decision, "reason": reason}


def lines(*truths: object) -> list[bytes]:
    return [json.dumps(truth).encode() + b"\n" for truth in truths]


def test_an_image_may_be_named_by_its_place_or_its_id_and_have_boxes() -> None:
    found = parse_truths(
        [*lines({"s3_uri": "s3://b/1", "label": "7"}), b" \n", *lines({"image_id": "x", "label": "b", "boxes": [BOX]})]
    )
    assert found == [Truth("s3://b/1", "7"), Truth("x", "b", (("boot", 0.25, 0.5, 0.5, 0.25),))]


HOSTILE: list[tuple[object, str]] = [
    ({"s3_uri": "s3://b/1"}, "label is missing"),
    ({"label": "7"}, "image_id or s3_uri is missing"),
    ({"s3_uri": "s3://b/1", "label": "7", "lable": "8"}, "unknown key 'lable'"),
    ({"s3_uri": "s3://b/1", "label": ""}, "label is empty"),
    ({"s3_uri": "s3://b/1", "label": 0}, "label is not a text"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": {}}, "boxes is not a list"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": [{**BOX, "left": 25}]}, "from 0 to 1"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": [{**BOX, "left": 0.75}]}, "within the picture"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": [{**BOX, "width": 0}]}, "a width and a height"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": [{**BOX, "left": True}]}, "must be numbers"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": [{"label": "boot"}]}, "'left' is missing"),
    ({"s3_uri": "s3://b/1", "label": "7", "boxes": ["boot"]}, ""),
    (["s3://b/1", "7"], ""),
]


@pytest.mark.parametrize(("truth", "said"), HOSTILE, ids=str)
def test_a_line_that_says_no_label_is_named_by_its_number(truth: object, said: str) -> None:
    with pytest.raises(InvalidLabels, match=rf"^line 2: .*{said}"):
        parse_truths(lines({"s3_uri": "s3://b/1", "label": "7"}, truth))


@given(st.binary(max_size=60))
def test_any_bytes_are_labels_or_refused_by_name(line: bytes) -> None:
    with contextlib.suppress(InvalidLabels):
        assert all(isinstance(one, Truth) for one in parse_truths([line]))


def test_what_is_contradicted_unknown_or_failed_is_held_out_and_what_is_said_twice_counts_once() -> None:
    truths = [
        Truth("s3://b/same", "7"), Truth("id-same", "7"), Truth("s3://b/differs", "7"), Truth("id-differs", "1"),
        Truth("s3://b/none", "7"), Truth("s3://b/text", "7"), Truth("s3://b/zero", "0"),
        Truth("s3://b/boxes", "a", (("a", 0, 0, 1, 1),)), Truth("s3://b/boxes", "a", (("a", 0, 0, 1, 0.5),)),
        Truth("s3://b/again", "7", by="ada", at="1"), Truth("id-again", "1", by="ada", at="2"),
        Truth("s3://b/back", "7", by="ada", at="1"), Truth("s3://b/back", "", by="ada", at="2"),
    ]  # fmt: skip
    rows = [row("same"), row("differs"), row("text", "failed", "NotAnImage"), row("zero", "uncertain"), row("boxes")]
    rows += [row("again"), row("back")]
    joined = join(truths, rows)
    assert [(found["s3_uri"], truth.label) for found, truth in joined.rows] == [
        ("s3://b/same", "7"),
        ("s3://b/zero", "0"),
        ("s3://b/again", "1"),
    ]
    assert dict(joined.held_out) == {
        "s3://b/none": "no row of these runs is about it",
        "s3://b/differs": "its labels differ: 1, 7",
        "s3://b/text": "it failed: NotAnImage",
        "s3://b/boxes": "its boxes differ",
        "s3://b/back": "its label was taken back",
    }


def test_a_label_of_the_whole_picture_is_written_as_the_guide_shows() -> None:
    assert whole_picture_line("s3://b/sunrise.png", "Sunrise", ["Night", "Sunrise"], CREATED) == {
        "source-ref": "s3://b/sunrise.png",
        "ics-label": 1,
        "ics-label-metadata": {
            "confidence": 1,
            "job-name": "labeling-job/ics-label",
            "class-name": "Sunrise",
            "human-annotated": "yes",
            "creation-date": CREATED,
            "type": "groundtruth/image-classification",
        },
    }


def test_boxes_are_written_in_pixels_as_the_guide_shows() -> None:
    truth = Truth("x", "pair", (("boot", 0.25, 0.5, 0.5, 0.25), ("shoe", 0.0, 0.0, 1.0, 1.0)))
    assert boxes_line("s3://b/x.png", truth, Picture("PNG", 640, 480, 3, 1), ["boot", "shoe"], CREATED) == {
        "source-ref": "s3://b/x.png",
        "ics-label": {
            "image_size": [{"width": 640, "height": 480, "depth": 3}],
            "annotations": [
                {"class_id": 0, "left": 160, "top": 240, "width": 320, "height": 120},
                {"class_id": 1, "left": 0, "top": 0, "width": 640, "height": 480},
            ],
        },
        "ics-label-metadata": {
            "objects": [{"confidence": 1}, {"confidence": 1}],
            "class-map": {"0": "boot", "1": "shoe"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": CREATED,
            "job-name": "labeling-job/ics-label",
        },
    }


_unit = st.floats(0, 1)


@given(_unit, _unit, st.floats(0.0001, 1), st.floats(0.0001, 1), st.integers(64, 4096), st.integers(64, 4096))
def test_a_box_in_pixels_never_leaves_the_picture(
    left: float, top: float, width: float, height: float, wide: int, high: int
) -> None:
    left, top = min(left, 1 - width), min(top, 1 - height)
    line = boxes_line(
        "u", Truth("x", "a", (("a", left, top, width, height),)), Picture("PNG", wide, high, 3, 1), ["a"], ""
    )
    (box,) = line["ics-label"]["annotations"]
    assert 0 <= box["left"] < box["left"] + box["width"] <= wide
    assert 0 <= box["top"] < box["top"] + box["height"] <= high


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (Picture("JPEG", 64, 4096, 3, 15_728_640), None),
        (Picture("PNG", 640, 480, 1, 1), None),
        (Picture("GIF", 640, 480, 3, 1), "GIF is not imported"),
        (Picture("JPEG", 640, 480, 3, 1, turned=True), "save it upright"),
        (Picture("PNG", 28, 28, 1, 1), "28 x 28 pixels: a side must have 64 to 4096"),
        (Picture("PNG", 640, 4097, 3, 1), "640 x 4097"),
        (Picture("PNG", 640, 480, 3, 15_728_641), "15,728,641 bytes"),
    ],
)
def test_what_custom_labels_would_not_take_is_said(picture: Picture, said: str | None) -> None:
    found = unfit(picture)
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")
