"""The server as a process, over real HTTP."""

import concurrent.futures
import io
import json
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from ics.contracts import Prediction, dump_line, prediction_to_json
from ics.imaging import prepare
from ics.wire import MAX_BODY, MAX_LINES, parse_answer
from serving.http import MAX_HELD
from serving.model import Model, load_model
from tests.artifacts import picture, writing
from tests.serving.running_server import Server, json_line, start_server

LINES = "application/jsonlines"
ROOT = Path(__file__).resolve().parents[2]


def answered(image_id: str, prediction: Prediction) -> dict[str, Any]:
    """The answer to an image, as `read` reads it: numbers are the same to the bit, however they are spelt."""
    return cast("dict[str, Any]", json.loads(dump_line({"id": image_id, **prediction_to_json(prediction)})))


def read(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_ping_answers_with_the_models_and_their_versions(server: Server, model: Model) -> None:
    status, kind, content = server.ask("GET", "/ping")
    assert (status, kind) == (200, "application/json")
    answer = json.loads(content)
    assert answer["models"]["digits"] == model.spec.version
    assert server.log[0]["models"] == answer["models"]
    assert set(answer["models"]) == {"digits", "photos", "reader"}


@pytest.mark.parametrize(("content_type", "format_"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_one_image_sent_raw(server: Server, model: Model, content_type: str, format_: str) -> None:
    content = picture(99, format_=format_)
    status, kind, answer = server.ask("POST", "/invocations", content, content_type)
    assert (status, kind, read(answer)) == (200, "application/json", [answered("0", model.predict_one(content))])


def test_many_lines_are_answered_in_order_and_equal_to_the_bit(server: Server, model: Model) -> None:
    contents = [picture((37 * number) % 256) for number in range(100)]
    ids = [f"{number:x} \u00e9" for number in range(100)]
    body = b"".join(map(json_line, ids, contents))
    status, kind, together = server.ask("POST", "/invocations", body, LINES)
    assert (status, kind) == (200, LINES)
    predictions = list(model.predict(contents))
    assert read(together) == list(map(answered, ids, predictions))
    assert parse_answer(together, ids) == predictions
    for image_id, content, line in zip(ids[:20], contents, together.splitlines(keepends=True), strict=False):
        assert server.ask("POST", "/invocations", json_line(image_id, content), LINES)[2] == line
        alone = json.loads(server.ask("POST", "/invocations", content, "image/png")[2])
        assert alone == json.loads(line) | {"id": "0"}


def test_models_have_paths_of_their_own(server: Server) -> None:
    day = picture(255, (40, 30), "RGB")
    status, _, content = server.ask("POST", "/models/photos/invocations", day, "image/png")
    assert (status, json.loads(content)["label"]) == (200, "day")
    first = server.ask("POST", "/invocations", picture(0), "image/png")
    assert server.ask("POST", "/models/digits/invocations", picture(0), "image/png") == first
    status, error = server.error("POST", "/models/letters/invocations", day, "image/png")
    assert (status, error["code"]) == (404, "UnknownModel")
    assert "digits, photos, reader" in error["message"]
    status, error = server.error("POST", "/models/digits/invocations", day, "image/png")
    assert (status, error["code"], error["line"]) == (422, "ModelRefused", None)
    assert "40 x 30 pixels; this model takes 28 x 28" in error["message"]


def test_a_text_model_answers_lines_an_empty_one_among_them(server: Server, reader_folder: Path) -> None:
    reader = load_model(reader_folder)
    texts = ["42", "", "7 7 7"]
    contents = [writing(reader.spec, text) for text in texts]
    body = b"".join(map(json_line, texts, contents))
    status, kind, content = server.ask("POST", "/models/reader/invocations", body, LINES)
    assert (status, kind) == (200, LINES)
    assert parse_answer(content, texts) == list(reader.predict(contents))
    assert [json.loads(line)["text"] for line in content.splitlines()] == texts


GOOD = json_line("a", picture(1))

REFUSALS = {
    "no such path": ("POST", "/nowhere", GOOD, LINES, 404, "UnknownPath", None),
    "no such method": ("GET", "/invocations", b"", "", 405, "MethodNotAllowed", None),
    "ping by post": ("POST", "/ping", b"", "", 405, "MethodNotAllowed", None),
    "no content type": ("POST", "/invocations", GOOD, "", 415, "UnsupportedContentType", None),
    "wrong content type": ("POST", "/invocations", GOOD, "text/csv", 415, "UnsupportedContentType", None),
    "no line": ("POST", "/invocations", b"", LINES, 400, "EmptyBody", None),
    "no json": ("POST", "/invocations", GOOD + b"{nonsense\n" + GOOD, LINES, 400, "MalformedLine", 2),
    "no base64": ("POST", "/invocations", GOOD * 2 + b'{"id":"c","image":"%"}', LINES, 400, "MalformedLine", 3),
    "half a pair": ("POST", "/invocations", GOOD.replace(b'"a"', b'"\\ud800"'), LINES, 400, "MalformedLine", 1),
    "no image": ("POST", "/invocations", GOOD + json_line("b", b"text"), LINES, 422, "NotAnImage", 2),
    "no image alone": ("POST", "/invocations", b"text", "image/png", 422, "NotAnImage", None),
    "cut image": ("POST", "/invocations", json_line("b", picture(1)[:-30]) + GOOD, LINES, 422, "TruncatedImage", 1),
    "too many lines": ("POST", "/invocations", GOOD * (MAX_LINES + 1), LINES, 413, "TooManyLines", None),
    "too large": ("POST", "/invocations", bytes(MAX_BODY + 1), LINES, 413, "BodyTooLarge", None),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_json_and_name_the_line(server: Server, name: str) -> None:
    method, path, body, content_type, expected, code, line = REFUSALS[name]
    status, error = server.error(method, path, body, content_type)
    assert (status, error["code"], error["line"]) == (expected, code, line)
    if line:
        assert error["message"].startswith(f"line {line}: ")


def half_request(server: Server, headers: str, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST /invocations HTTP/1.1\r\nhost: ics\r\ncontent-type: {LINES}\r\n{headers}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def first_line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as answer:
        return answer.readline().rstrip()


def test_too_large_a_body_is_refused_before_it_came(server: Server) -> None:
    with half_request(server, f"content-length: {10**12}", b"") as connection:
        assert first_line(connection) == b"HTTP/1.1 413 Request Entity Too Large"
    chunk = b"%x\r\n%b\r\n" % (1 << 16, bytes(1 << 16))
    with half_request(server, "transfer-encoding: chunked", chunk * (MAX_BODY // (1 << 16) + 1)) as connection:
        assert first_line(connection) == b"HTTP/1.1 413 Request Entity Too Large"


def test_a_connection_goes_on_after_a_refusal(server: Server, model: Model) -> None:
    connection = server.connect()
    for body, expected in ((bytes(MAX_BODY + 1), 413), (b"text", 422), (picture(3), 200)):
        connection.request("POST", "/invocations", body, {"content-type": "image/png"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == expected
    assert read(content) == [answered("0", model.predict_one(picture(3)))]
    connection.close()


def test_clients_that_send_half_and_wait_block_no_one(server: Server) -> None:
    connections = [half_request(server, f"content-length: {len(GOOD)}", GOOD[:20]) for _ in range(100)]
    assert server.ask("POST", "/invocations", GOOD, LINES)[0] == 200
    connections.pop().close()  # gone for good, in the middle of a request
    assert server.ask("GET", "/ping")[0] == 200
    for connection in connections:
        connection.sendall(GOOD[20:])
        assert first_line(connection) == b"HTTP/1.1 200 OK"
        connection.close()


def test_many_at_once_get_their_own_answers(server: Server, model: Model) -> None:
    def ask(number: int) -> bytes:
        body = b"".join(json_line(f"{number}-{k}", picture((number * 7 + k) % 256)) for k in range(10))
        return server.ask("POST", "/invocations", body, LINES)[2]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for number, answer in enumerate(pool.map(ask, range(48))):
            predictions = list(model.predict(picture((number * 7 + k) % 256) for k in range(10)))
            assert read(answer) == [answered(f"{number}-{k}", p) for k, p in enumerate(predictions)]


def test_every_request_leaves_one_line_in_the_log_without_contents(digits_folder: Path) -> None:
    server = start_server([digits_folder])
    server.ask("POST", "/invocations", GOOD * 3, LINES)
    server.ask("POST", "/invocations", GOOD + json_line("b", b"the secret text"), LINES)
    server.ask("GET", "/ping?probe=1")
    server.stop()
    ready, *requests = server.log
    assert ready["event"] == "ready"
    assert all(type(line.pop("ms")) is float for line in requests)
    assert requests == [
        {"event": "request", "method": "POST", "path": "/invocations", "status": 200, "images": 3},
        {"event": "request", "method": "POST", "path": "/invocations", "status": 422, "images": 0},
        {"event": "request", "method": "GET", "path": "/ping", "status": 200, "images": 0},
    ]


def test_a_flood_of_bodies_is_told_to_come_back_and_memory_stays_bounded(digits_folder: Path) -> None:
    server = start_server([digits_folder], workers=1)
    (worker,) = server.workers()

    def peak() -> float:
        status = Path(f"/proc/{worker}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    before, size = peak(), MAX_BODY
    connections = []
    for _ in range(2 * MAX_HELD // size):  # twice what may be held, none of it whole
        connections.append(half_request(server, f"content-length: {size}", bytes(size - 1)))
        assert server.ask("GET", "/ping")[0] == 200
    for connection in connections:
        connection.sendall(b"\0")
    statuses = Counter(first_line(connection) for connection in connections)
    for connection in connections:
        connection.close()
    assert set(statuses) == {b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 429 Too Many Requests"}  # zeros are no JSON
    assert min(statuses.values()) > MAX_HELD // size // 2
    assert peak() - before < 2 * MAX_HELD / 2**20
    assert server.ask("POST", "/invocations", GOOD, LINES)[0] == 200
    server.stop()


def test_sigterm_lets_what_has_begun_end(digits_folder: Path) -> None:
    server = start_server([digits_folder])
    with half_request(server, f"content-length: {len(GOOD)}", GOOD[:20]) as connection:
        server.process.send_signal(signal.SIGTERM)
        wait_until_refused(server.port)
        assert server.process.poll() is None
        connection.sendall(GOOD[20:])
        assert first_line(connection) == b"HTTP/1.1 200 OK"
    server.stop()
    assert server.process.returncode == 0


def test_sigterm_answers_what_had_been_sent_though_nobody_had_accepted_it(digits_folder: Path) -> None:
    server = start_server([digits_folder])
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    connections = [half_request(server, f"content-length: {len(GOOD)}", GOOD) for _ in range(8)]
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # the parent has told them, and they know of both
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    assert [first_line(connection) for connection in connections] == [b"HTTP/1.1 200 OK"] * len(connections)
    for connection in connections:
        connection.close()
    server.stop()
    assert server.process.returncode == 0


def wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionError:
            return
        time.sleep(0.02)


def test_the_shipped_model_reads_real_digits() -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    model = load_model(ROOT / "models/digits")
    digits = load_digits()
    contents = []
    for pixels in digits.images[:300]:
        out = io.BytesIO()
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(out, "PNG")
        contents.append(prepare(out.getvalue(), model.spec.input))
    server = start_server([ROOT / "models/digits"])
    ids = [str(number) for number in range(len(contents))]
    status, _, answer = server.ask("POST", "/invocations", b"".join(map(json_line, ids, contents)), LINES)
    server.stop()
    assert status == 200
    predictions = parse_answer(answer, ids)
    assert predictions == list(model.predict(contents))
    right = sum(prediction.label == str(digit) for prediction, digit in zip(predictions, digits.target, strict=False))
    # Chance is 0.1. These 8 x 8 pictures fill the frame, which MNIST's do not; the card has the exact figures.
    assert right / len(predictions) > 0.5
