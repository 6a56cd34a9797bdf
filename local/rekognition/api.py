"""DetectLabels and DetectCustomLabels: `X-Amz-Target: RekognitionService.<Operation>`, in AWS's JSON shapes.

Amazon Rekognition API reference, DetectLabels and DetectCustomLabels; Developer Guide, "Guidelines and quotas" for what
an image may be. Images come as bytes; S3 objects are refused. A Custom Labels version is one of the repository's own
classification models where the ARN's project has its name: `.../project/digits/version/...`; there are no others.
"""

import asyncio
import base64
import binascii
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from local.rekognition import detectors
from local.sagemaker.answers import Answer
from local.sagemaker.faults import Fault, Faults

if TYPE_CHECKING:
    from serving.model import Model

MOST_BYTES = 5_242_880
LEAST_SIDE, MOST_SIDE = 80, 10_000
NAME = "rekognition"
"""Whose faults can be set, as an endpoint's are."""

MODELS = Path(__file__).resolve().parents[2] / "models"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_PARENTS = {"Face": ["Head", "Person"]}


class RekognitionError(Exception):
    """An error of the Rekognition API: AWS's code, message and status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Rekognition:
    """Answers requests; what it detects with is loaded by the first."""

    def __init__(self, faults: Faults, onnx: Path | None) -> None:
        self._faults = faults
        self._detector = functools.cache(lambda: detectors.load(onnx))
        self._model = functools.cache(_model)

    async def answer(self, operation: str, body: bytes) -> Answer:
        """Answer one request, its work done on a thread."""
        try:
            fault = self._faults.take(NAME, body)
            if fault is not None:
                await _suffer(fault)
            found = await asyncio.to_thread(self._answer, operation, json.loads(body))
        except RekognitionError as error:
            return _answer({"__type": error.code, "message": str(error)}, error.status)
        except ValueError:
            return _answer({"__type": "SerializationException"}, 400)
        except detectors.DetectorFailed as error:
            return _answer({"__type": "InternalServerError", "message": f"ICS_DETECTOR: {error}"}, 500)
        return _answer({"who": "knows"} if fault is not None and fault.kind == "nonsense" else found, 200)

    def _answer(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "DetectLabels":
            return self._labels(request)
        if operation == "DetectCustomLabels":
            return self._custom_labels(request)
        raise RekognitionError("UnknownOperationException", f"{operation} is not part of the local Rekognition")

    def _labels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        _, picture = _image(request)
        detector, least = self._detector(), float(request.get("MinConfidence", 55))
        instances: dict[str, list[detectors.Found]] = {}
        for one in detector.find(picture):  # the surest first
            if 100 * one.confidence >= least:
                instances.setdefault(one.label, []).append(one)
        labels = [
            {
                "Name": name,
                "Confidence": 100 * found[0].confidence,
                "Instances": [{"BoundingBox": _box(one), "Confidence": 100 * one.confidence} for one in found],
                "Parents": [{"Name": parent} for parent in _PARENTS.get(name, ())],
                "Aliases": [],
                "Categories": [],
            }
            for name, found in instances.items()
        ]
        return {"Labels": labels[: int(request.get("MaxLabels", 1000))], "LabelModelVersion": detector.version}

    def _custom_labels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from ics.errors import ImageError  # noqa: PLC0415
        from ics.imaging import prepare  # noqa: PLC0415

        content, _ = _image(request)
        model = self._model(str(request["ProjectVersionArn"]).split("/")[1])
        try:
            answer = model.predict_one(prepare(content, model.spec.input))
        except ImageError as error:
            raise RekognitionError("InvalidImageFormatException", str(error)) from error
        found = [(answer.label, answer.confidence), *((one.label, one.confidence) for one in answer.alternatives)]
        least = float(request.get("MinConfidence", 50))
        labels = [{"Name": name, "Confidence": 100 * sure} for name, sure in found if 100 * sure >= least]
        return {"CustomLabels": labels[: int(request.get("MaxResults", 1000))]}


def _model(project: str) -> "Model":
    from ics.errors import InvalidArtifact  # noqa: PLC0415
    from serving.model import load_model  # noqa: PLC0415

    there = sorted(path.parent.name for path in MODELS.glob("*/model.json"))
    if project not in there:
        message = f"no project {project!r}; the local Custom Labels has the repository's models: {', '.join(there)}"
        raise RekognitionError("ResourceNotFoundException", message)
    try:
        model = load_model(MODELS / project)
    except InvalidArtifact as error:
        raise RekognitionError("ResourceNotReadyException", str(error)) from error
    if model.spec.kind != "classification":
        raise RekognitionError(
            "ResourceNotFoundException", f"{project} is a {model.spec.kind} model and labels nothing"
        )
    return model


def _image(request: Mapping[str, Any]) -> tuple[bytes, detectors.Picture]:
    """The image of a request, as it came and decoded; held to AWS's limits."""
    import cv2  # noqa: PLC0415

    given = request.get("Image") or {}
    if "Bytes" not in given:
        raise RekognitionError("InvalidParameterException", "the local Rekognition takes Image.Bytes only")
    try:
        content = base64.b64decode(given["Bytes"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise RekognitionError("SerializationException", "Image.Bytes is not base64") from error
    if len(content) > MOST_BYTES:
        raise RekognitionError("ImageTooLargeException", f"{len(content)} bytes; the limit is {MOST_BYTES}")
    picture = None
    if content.startswith(_MAGIC):
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise RekognitionError("InvalidImageFormatException", "Request has invalid image format")
    if min(picture.shape[:2]) < LEAST_SIDE:
        raise RekognitionError("InvalidParameterException", f"the image has fewer than {LEAST_SIDE} pixels a side")
    if max(picture.shape[:2]) > MOST_SIDE:
        raise RekognitionError("ImageTooLargeException", f"the image has more than {MOST_SIDE} pixels a side")
    return content, np.asarray(picture, np.uint8)


def _box(found: detectors.Found) -> dict[str, float]:
    return {"Width": found.width, "Height": found.height, "Left": found.left, "Top": found.top}


async def _suffer(fault: Fault) -> None:
    match fault.kind:
        case "throttle":
            raise RekognitionError("ProvisionedThroughputExceededException", "Provisioned rate exceeded")
        case "unavailable" | "model_error":
            raise RekognitionError("InternalServerError", "injected", 500)
        case "slow":
            await asyncio.sleep(fault.seconds)


def _answer(fields: Mapping[str, Any], status: int) -> Answer:
    return Answer(status, {"content-type": "application/x-amz-json-1.1"}, json.dumps(fields).encode())
