"""Rekognition's answers as predictions: the shapes of the API reference, and what is none."""

import copy
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import Box, ImageRef, Prediction, prediction_from_json, prediction_to_json
from ics.detection import from_custom_labels, from_labels
from ics.errors import InvalidAnswer
from ics.policy import LabelRule, Policy
from ics.routing import judge

ARN = "arn:aws:rekognition:us-east-1:111122223333:project/shoes/version/shoes.2026/1700000000000"

# Amazon Rekognition Developer Guide, "Detecting labels in an image": the example's shape.
LABELS: dict[str, Any] = {
    "Labels": [
        {
            "Name": "Mobile Phone",
            "Parents": [{"Name": "Phone"}],
            "Aliases": [{"Name": "Cell Phone"}],
            "Categories": [{"Name": "Technology and Computing"}],
            "Confidence": 99.9364013671875,
            "Instances": [
                {
                    "BoundingBox": {
                        "Width": 0.26779675483703613,
                        "Height": 0.8562285900115967,
                        "Left": 0.3604024350643158,
                        "Top": 0.09245597571134567,
                    },
                    "Confidence": 99.9364013671875,
                }
            ],
        },
        {"Name": "Urban", "Parents": [], "Aliases": [], "Categories": [{"Name": "Places"}], "Confidence": 99.9755859375,
         "Instances": []},
    ],
    "LabelModelVersion": "3.0",
}  # fmt: skip
# Custom Labels Developer Guide, "DetectCustomLabels": one label of a place, one of the whole picture.
CUSTOM: dict[str, Any] = {
    "CustomLabels": [
        {"Name": "boot", "Confidence": 61.5,
         "Geometry": {"BoundingBox": {"Width": 0.5, "Height": 0.25, "Left": 0.25, "Top": 0.5}}},
        {"Name": "outdoor", "Confidence": 80.25},
        {"Name": "boot", "Confidence": 91.5,
         "Geometry": {"BoundingBox": {"Width": 0.5, "Height": 0.25, "Left": 0.75, "Top": -0.125}}},
    ]
}  # fmt: skip


def test_the_surest_label_leads_and_each_place_is_a_box() -> None:
    found = from_labels(LABELS)
    assert (found.label, found.confidence, found.model) == ("Urban", 99.9755859375 / 100, "3.0")
    assert [(one.label, one.confidence) for one in found.alternatives] == [("Mobile Phone", 99.9364013671875 / 100)]
    (box,) = found.boxes
    assert (box.label, box.left, box.height) == ("Mobile Phone", 0.3604024350643158, 0.8562285900115967)
    assert prediction_from_json(prediction_to_json(found)) == found


def test_a_custom_label_found_twice_is_one_label_with_two_boxes_cut_to_the_picture() -> None:
    found = from_custom_labels(CUSTOM, ARN)
    assert (found.label, found.confidence) == ("boot", 0.915)
    assert [(one.label, one.confidence) for one in found.alternatives] == [("outdoor", 0.8025)]
    assert found.boxes == (Box("boot", 0.915, 0.75, 0.0, 0.25, 0.125), Box("boot", 0.615, 0.25, 0.5, 0.5, 0.25))
    assert found.model == hashlib.sha256(ARN.encode()).hexdigest()


@given(st.floats(0, 1))
def test_where_nothing_is_found_a_person_looks(threshold: float) -> None:
    for found in (
        from_labels({"Labels": [], "LabelModelVersion": "3.0"}),
        from_custom_labels({"CustomLabels": []}, ARN),
    ):
        verdict = judge(ImageRef("b", "k"), found, Policy(threshold))
        assert (verdict.decision, verdict.reason) == ("uncertain", "NothingFound")


def _changed(answer: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(answer)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Labels": None, "LabelModelVersion": "3.0"},
        {"Labels": []},
        {"who": "knows"},
        _changed(LABELS, ("Labels", 0, "Confidence"), 100.5),
        _changed(LABELS, ("Labels", 0, "Confidence"), float("nan")),
        _changed(LABELS, ("Labels", 0, "Confidence"), "99"),
        _changed(LABELS, ("Labels", 0, "Confidence"), True),
        _changed(LABELS, ("Labels", 1, "Name"), ""),
        _changed(LABELS, ("Labels", 1, "Name"), 7),
        _changed(LABELS, ("Labels", 0, "Instances", 0, "BoundingBox"), {}),
        _changed(LABELS, ("Labels", 0, "Instances", 0, "BoundingBox", "Left"), float("nan")),
        _changed(LABELS, ("Labels", 0, "Instances", 0, "BoundingBox", "Left"), 10**400),
        _changed(LABELS, ("Labels", 0), "Person"),
    ],
    ids=repr,
)
def test_what_is_no_answer_is_named(answer: dict[str, Any]) -> None:
    with pytest.raises(InvalidAnswer, match="DetectLabels"):
        from_labels(answer)


@given(*[st.floats(-2, 3)] * 2, *[st.floats(0, 3)] * 2, st.floats(0, 100))
def test_a_box_never_leaves_the_picture(left: float, top: float, width: float, height: float, sure: float) -> None:
    place = {"Left": left, "Top": top, "Width": width, "Height": height}
    found = from_custom_labels(
        {"CustomLabels": [{"Name": "x", "Confidence": sure, "Geometry": {"BoundingBox": place}}]}, ARN
    )
    (box,) = found.boxes
    for start, size in ((box.left, box.width), (box.top, box.height)):
        assert 0 <= start <= 1
        assert size >= 0
        assert start + size <= 1 + 1e-12
    assert isinstance(prediction_from_json(prediction_to_json(found)), Prediction)


def test_labels_that_stand_side_by_side_are_no_rivals_and_each_may_be_watched() -> None:
    found = from_labels(LABELS)
    assert judge(ImageRef("b", "k"), found, Policy(0.94, margin=0.5)).decision == "accepted"
    watched = Policy(0.94, labels={"Mobile Phone": LabelRule(watch=True)})
    without_a_box = from_labels(_changed(LABELS, ("Labels", 0, "Instances"), []))
    assert judge(ImageRef("b", "k"), without_a_box, watched).decision == "flagged"
