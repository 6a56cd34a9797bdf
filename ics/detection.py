"""What Amazon Rekognition answers, as a prediction. Shapes: its API reference, DetectLabels and DetectCustomLabels.

Rekognition's confidences are percent, its boxes relative to the picture and perhaps beyond its edges; a prediction's
are within 0 and 1.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ics.contracts import Alternative, Box, Prediction
from ics.errors import InvalidAnswer


def from_labels(answer: Mapping[str, Any]) -> Prediction:
    """DetectLabels: labels of the whole picture, and the places of those that have any.

    Raises:
        InvalidAnswer: the answer is not what the API reference describes.
    """
    try:
        labels = [(_name(label), _unit(label["Confidence"])) for label in answer["Labels"]]
        boxes = [
            _box(_name(label), instance["Confidence"], instance["BoundingBox"])
            for label in answer["Labels"]
            for instance in label.get("Instances", ())
        ]
        return _prediction(labels, boxes, str(answer["LabelModelVersion"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidAnswer(f"DetectLabels: {error!r}") from error


def from_custom_labels(answer: Mapping[str, Any], version_arn: str) -> Prediction:
    """DetectCustomLabels: labels of the picture, or of places in it; the same name as often as it was found.

    Raises:
        InvalidAnswer: the answer is not what the API reference describes.
    """
    try:
        found = answer["CustomLabels"]
        surest: dict[str, float] = {}
        for label in found:
            name, confidence = _name(label), _unit(label["Confidence"])
            surest[name] = max(confidence, surest.get(name, 0.0))
        boxes = [
            _box(_name(label), label["Confidence"], label["Geometry"]["BoundingBox"])
            for label in found
            if "BoundingBox" in (label.get("Geometry") or {})
        ]
        return _prediction(surest.items(), boxes, hashlib.sha256(version_arn.encode()).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidAnswer(f"DetectCustomLabels: {error!r}") from error


def _prediction(labels: Iterable[tuple[str, float]], boxes: Sequence[Box], model: str) -> Prediction:
    """The surest label first; of equals, the first answered."""
    ranked = sorted(labels, key=lambda one: -one[1])
    places = tuple(sorted(boxes, key=lambda box: -box.confidence))
    if not ranked:
        return Prediction("", 0.0, boxes=places, model=model)
    (label, confidence), *others = ranked
    return Prediction(label, confidence, tuple(Alternative(*other) for other in others), places, model=model)


def _box(label: str, confidence: float, place: Mapping[str, float]) -> Box:
    """A box cut to the picture."""
    left, top = _within(place["Left"]), _within(place["Top"])
    right, bottom = _within(place["Left"] + place["Width"]), _within(place["Top"] + place["Height"])
    return Box(label, _unit(confidence), left, top, right - left, bottom - top)


def _within(value: float) -> float:
    if value != value:  # noqa: PLR0124 - NaN, which min and max would pass on
        raise ValueError("a box's coordinate is no number")
    return min(max(float(value), 0.0), 1.0)


def _name(label: Mapping[str, Any]) -> str:
    name = label["Name"]
    if not isinstance(name, str) or not name:
        raise ValueError("a label has no name")
    return name


def _unit(percent: float) -> float:
    if isinstance(percent, bool) or not 0 <= percent <= 100:  # also refuses NaN
        raise ValueError(f"a confidence is {percent!r}")
    return percent / 100
