"""`lambdas.classify_with_rekognition`: each of Rekognition's errors by ICS's name, tried again or not, and in time."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest

from ics.contracts import Batch, Prediction
from ics.errors import BatchError, EndpointRefused, EndpointThrottled, EndpointUnavailable, InvalidAnswer, ModelRefused
from ics.wire import request_line
from lambdas import aws_http, runtime
from lambdas.classify_with_rekognition import asking
from lambdas.classify_with_rekognition.rekognition import detect
from lambdas.runtime import Detection
from tests.unit.test_detection import ARN, CUSTOM, LABELS

BATCH = Batch("run", "2026-01-01T00:00:00Z", "objects", 0.94, 0, 0, 0)
OBJECTS = Detection(5, 0.25)
Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


class Rekognition(http.server.ThreadingHTTPServer):
    """Answers as told, and remembers what it was asked."""

    daemon_threads = True
    answer: Answer
    asked: list[tuple[str, dict[str, Any]]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Rekognition

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/x-amz-json-1.1"
        assert "/rekognition/aws4_request" in self.headers["Authorization"]
        self.server.asked.append((self.headers["X-Amz-Target"], asked))
        status, body = self.server.answer(asked)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rekognition]:
    listening = Rekognition(("127.0.0.1", 0), Handler)
    listening.answer, listening.asked = (lambda _: (200, json.dumps(LABELS).encode())), []
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    models = {"objects": {"classify": "f", "batch_images": 25, "detection": {"max_labels": 5, "min_confidence": 0.25}}}
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "MODELS": json.dumps(models),
        "AWS_ENDPOINT_URL_REKOGNITION": f"http://127.0.0.1:{listening.server_port}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.001)
    runtime.settings.cache_clear()
    yield listening
    runtime.settings.cache_clear()
    for connection in chain(*aws_http._connections.values()):
        connection.close()
    aws_http._connections.clear()
    listening.shutdown()
    listening.server_close()


def error(name: str, status: int = 400) -> tuple[int, bytes]:
    """AWS JSON 1.1: an error's name is the `__type` of its body, with or without the service's namespace."""
    return status, json.dumps({"__type": f"com.amazonaws.rekognition#{name}", "message": "as AWS says"}).encode()


def line(number: int) -> bytes:
    return request_line(f"{number:064x}", b"image %d" % number)


def predictions(count: int, seconds: float = 60) -> list[dict[str, Any]]:
    lines = [line(number) for number in range(count)]
    return [json.loads(one) for one in asking.predictions_of(lines, BATCH, "0", time.time() + seconds)]


def test_detect_labels_is_asked_about_the_image_as_it_was_staged(server: Rekognition) -> None:
    image = base64.b64encode(b"pixels")
    assert detect(image, OBJECTS).label == "Urban"
    expected = {"Image": {"Bytes": image.decode()}, "MaxLabels": 5, "MinConfidence": 25}
    assert server.asked == [("RekognitionService.DetectLabels", expected)]


def test_a_custom_labels_version_is_asked_where_one_is_named(server: Rekognition) -> None:
    server.answer = lambda _: (200, json.dumps(CUSTOM).encode())
    assert detect(b"", Detection(5, 0.25, ARN)).label == "boot"
    expected = {"Image": {"Bytes": ""}, "ProjectVersionArn": ARN, "MaxResults": 5, "MinConfidence": 25}
    assert server.asked == [("RekognitionService.DetectCustomLabels", expected)]


ERRORS: dict[str, tuple[tuple[int, bytes], type[Exception]]] = {
    "ThrottlingException": (error("ThrottlingException"), EndpointThrottled),
    "ProvisionedThroughputExceededException": (error("ProvisionedThroughputExceededException"), EndpointThrottled),
    "LimitExceededException": (error("LimitExceededException"), EndpointThrottled),
    "InternalServerError": (error("InternalServerError", 500), EndpointUnavailable),
    "a proxy's 503": ((503, b"<html>"), EndpointUnavailable),
    "InvalidImageFormatException": (error("InvalidImageFormatException"), ModelRefused),
    "ImageTooLargeException": (error("ImageTooLargeException"), ModelRefused),
    "InvalidParameterException": (error("InvalidParameterException"), ModelRefused),
    "AccessDeniedException": (error("AccessDeniedException"), EndpointRefused),
    "ResourceNotFoundException": (error("ResourceNotFoundException"), EndpointRefused),
    "ResourceNotReadyException": (error("ResourceNotReadyException"), EndpointRefused),
    "a list": ((400, b"[1]"), EndpointRefused),
    "no JSON": ((200, b"<html>"), InvalidAnswer),
    "nonsense": ((200, b'{"who": "knows"}'), InvalidAnswer),
    "a list instead of an answer": ((200, b"[]"), InvalidAnswer),
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_name_here(name: str, server: Rekognition) -> None:
    given, expected = ERRORS[name]
    server.answer = lambda _: given
    with pytest.raises(expected):
        detect(b"", OBJECTS)


def test_nobody_answering_is_unavailable(server: Rekognition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "http://127.0.0.1:9")
    with pytest.raises(EndpointUnavailable):
        detect(b"", OBJECTS)


def test_each_image_gets_its_own_answer_in_its_place_and_a_bad_one_is_refused_alone(server: Rekognition) -> None:
    def answer(asked: dict[str, Any]) -> tuple[int, bytes]:
        image = base64.b64decode(asked["Image"]["Bytes"]).decode()
        if image == "image 3":
            return error("InvalidImageFormatException")
        time.sleep(0.01 * (hash(image) % 3))
        return 200, json.dumps({**LABELS, "Labels": [{"Name": image, "Confidence": 99.0}]}).encode()

    server.answer = answer
    found = predictions(8)
    assert [(int(one["id"], 16), one["line"], one["inference_id"][-4:]) for one in found] == [
        (number, number + 1, "-0-0") for number in range(8)
    ]
    assert found[3]["reason"] == "ModelRefused"
    assert [one["prediction"]["label"] for one in found if "prediction" in one] == [
        f"image {number}" for number in range(8) if number != 3
    ]


@pytest.mark.parametrize("name", ["ThrottlingException", "InternalServerError", "nonsense"])
def test_what_passes_is_tried_again_for_that_image_only(name: str, server: Rekognition) -> None:
    met: set[str] = set()

    def answer(asked: dict[str, Any]) -> tuple[int, bytes]:
        image = asked["Image"]["Bytes"]
        if image in met:
            return 200, json.dumps(LABELS).encode()
        met.add(image)
        return ERRORS[name][0]

    server.answer = answer
    assert all("prediction" in one for one in predictions(6))
    assert len(server.asked) == 12


@pytest.mark.parametrize(("name", "tries"), [("ThrottlingException", asking.TRIES), ("AccessDeniedException", 1)])
def test_what_stays_broken_fails_the_body_by_name(name: str, tries: int, server: Rekognition) -> None:
    given, expected = ERRORS[name]
    server.answer = lambda _: given
    with pytest.raises(expected):
        predictions(1)
    assert len(server.asked) == tries
    with pytest.raises(BatchError):
        predictions(100)
    assert len(server.asked) < 30 * tries, "those that wait are not asked about any more"


def test_nothing_is_asked_that_could_not_be_answered_in_time(server: Rekognition) -> None:
    with pytest.raises(EndpointUnavailable, match="no time left"):
        predictions(1, seconds=9)
    assert server.asked == []


def test_pauses_are_spread_and_grow_with_each_try() -> None:
    paused: list[float] = []

    def throttled() -> Prediction:
        raise EndpointThrottled("slower")

    for _ in range(50):
        with pytest.raises(EndpointThrottled):
            asking.patiently(throttled, time.time() + 60, paused.append)
    assert len(paused) == 50 * (asking.TRIES - 1)
    for number in range(asking.TRIES - 1):
        longest = asking.FIRST_PAUSE * 2**number
        of_this_try = paused[number :: asking.TRIES - 1]
        assert 0 <= min(of_this_try) < longest / 2 < max(of_this_try) <= longest
