"""What finds objects on a picture: OpenCV's own detectors of faces and people, or an ONNX net that the user names.

Both are loaded by the first picture: OpenCV and ONNX Runtime take a while to import. Their confidences order what was
found, and are not calibrated as Rekognition's are.
"""

import hashlib
import importlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from local.rekognition.coco import LABELS

Picture = npt.NDArray[np.uint8]
"""Blue, green, red, as OpenCV reads it: [height, width, 3]."""

OVERLAP = 0.45
"""Intersection over union from which the less sure of two boxes of one label is taken for the same object."""

LEAST = 0.3
"""Confidence of what is reported at all; a request's MinConfidence is usually higher."""

LOOKED_AT = 640
"""Pixels of the longer side at which OpenCV's detectors look: people smaller than 128 pixels are not seen, and a photo
of 12 megapixels would take seconds."""


class DetectorFailed(Exception):
    """The detector that the user named cannot be used; the message says why."""


@dataclass(frozen=True)
class Found:
    """One object: its label, its confidence (0 to 1) and its box, relative to the picture."""

    label: str
    confidence: float
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Detector:
    """`find` finds objects, from any thread; `version` names what finds them."""

    version: str
    find: Callable[[Picture], list[Found]]


def load(onnx: Path | None) -> Detector:
    """The ONNX detector where one is named, else OpenCV's faces and people.

    Raises:
        DetectorFailed: the file is no detector of the layout that `local.rekognition.coco` describes.
    """
    return _onnx(onnx) if onnx else _faces_and_people()


def _faces_and_people() -> Detector:
    """Viola-Jones faces (CVPR 2001) and Dalal-Triggs people (CVPR 2005), with the weights that OpenCV 4 ships."""
    cv2: Any = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    cascades = Path(cv2.data.haarcascades)
    faces = cv2.CascadeClassifier(str(cascades / "haarcascade_frontalface_default.xml"))
    people = cv2.HOGDescriptor()
    people.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    one_at_a_time = threading.Lock()  # a cascade keeps what it is looking at

    def find(picture: Picture) -> list[Found]:
        scale = LOOKED_AT / max(picture.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        with one_at_a_time:
            heads, _, votes = faces.detectMultiScale3(grey, 1.1, 5, minSize=(24, 24), outputRejectLevels=True)
            bodies, margins = _looked_for(people, small)
        found = [
            _found("Face", 0.8 * (vote - 2), box, grey.shape) for box, vote in zip(heads, np.ravel(votes), strict=True)
        ]
        found += [_found("Person", margin, box, grey.shape) for box, margin in zip(bodies, margins, strict=True)]
        return distinct(found)

    return Detector(f"opencv-{cv2.__version__}", find)


def _looked_for(people: Any, picture: Picture) -> tuple[Any, Any]:
    """The boxes of people and how far each is from the border of the detector's decision."""
    if picture.shape[0] < 128 or picture.shape[1] < 64:  # its window
        return (), ()
    boxes, margins = people.detectMultiScale(picture, winStride=(8, 8), padding=(8, 8), scale=1.05)
    return boxes, np.ravel(margins)


def _found(label: str, score: float, box: Sequence[int], shape: tuple[int, ...]) -> Found:
    left, top, width, height = (int(value) for value in box)
    confidence = 1 / (1 + math.exp(-score))
    return Found(label, confidence, left / shape[1], top / shape[0], width / shape[1], height / shape[0])


def _onnx(path: Path) -> Detector:
    import cv2  # noqa: PLC0415
    import onnxruntime as ort  # noqa: PLC0415

    from local.rekognition.coco import SIDE, decoded  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        content = path.read_bytes()
        session: Any = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (taken,), (given,) = session.get_inputs(), session.get_outputs()
        if taken.shape != [1, 3, SIDE, SIDE] or given.shape[:2] != [1, 5 + len(LABELS)]:
            raise DetectorFailed(f"{path} takes {taken.shape} and answers {given.shape}; see local/rekognition/coco.py")
    except DetectorFailed:
        raise
    except Exception as error:  # the runtime has no common base class for what it finds wrong
        raise DetectorFailed(f"{path} cannot be loaded: {error}") from error

    def find(picture: Picture) -> list[Found]:
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        pixels = (small.transpose(2, 0, 1)[np.newaxis] / 255).astype(np.float32)
        (answer,) = session.run(None, {taken.name: pixels})
        return distinct([Found(*one) for one in decoded(answer[0], LEAST)])

    return Detector(f"onnx-{hashlib.sha256(content).hexdigest()[:12]}", find)


def distinct(found: Sequence[Found]) -> list[Found]:
    """The objects, the surest first, without those that are less sure boxes of the same."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: -one.confidence):
        if one.confidence >= LEAST and not any(one.label == other.label and _same(one, other) for other in kept):
            kept.append(one)
    return kept


def _same(one: Found, other: Found) -> bool:
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(0.0, width) * max(0.0, height)
    return shared > OVERLAP * (one.width * one.height + other.width * other.height - shared)
