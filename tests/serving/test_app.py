"""The ASGI application in this process: what needs a model that fails or blocks, and many random bodies."""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import Prediction
from ics.wire import MAX_BODY, parse_answer
from serving.app import App, Message
from serving.model import Model
from tests.artifacts import picture
from tests.serving.running_server import json_line

LINES = "application/jsonlines"


async def call(
    app: App, chunks: Sequence[bytes], content_type: str = LINES, method: str = "POST", path: str = "/invocations"
) -> tuple[int, dict[bytes, bytes], bytes]:
    incoming: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    incoming.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", content_type.encode())]
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


class Odd:
    """A model that blocks or fails as told, else answers."""

    def __init__(self, model: Model) -> None:
        self.spec = model.spec
        self._model = model
        self.entered, self.release = threading.Event(), threading.Event()
        self.fault: Exception | None = None

    def predict(self, contents: Iterable[bytes]) -> Iterator[Prediction]:
        self.entered.set()
        self.release.wait()
        if self.fault:
            raise self.fault
        return self._model.predict(contents)

    def probe(self) -> None:
        if self.fault:
            raise self.fault


@pytest.fixture
def odd(model: Model) -> Odd:
    return Odd(model)


def test_beyond_the_queue_clients_are_told_to_come_back_and_ping_still_answers(odd: Odd) -> None:
    async def story() -> None:
        app = App([odd], max_waiting=1)  # type: ignore[list-item]
        first = asyncio.create_task(call(app, [json_line("a", picture(1))]))
        await asyncio.to_thread(odd.entered.wait)
        status, headers, body = await call(app, [json_line("b", picture(1))])
        assert (status, json.loads(body)["error"]["code"]) == (429, "TooManyRequests")
        assert headers[b"retry-after"] == b"1"
        assert (await call(app, [], method="GET", path="/ping"))[0] == 200
        odd.release.set()
        assert (await first)[0] == 200
        assert (await call(app, [json_line("c", picture(1))]))[0] == 200

    asyncio.run(story())


def test_a_fault_is_a_500_that_tells_the_log_and_not_the_client(odd: Odd, caplog: pytest.LogCaptureFixture) -> None:
    odd.release.set()
    odd.fault = RuntimeError("the net fell over")
    app = App([odd])  # type: ignore[list-item]
    with caplog.at_level(logging.INFO, "serving"):
        status, headers, body = asyncio.run(call(app, [json_line("a", picture(1))]))
    assert (status, headers[b"content-type"]) == (500, b"application/json")
    assert json.loads(body)["error"]["code"] == "InternalError"
    assert b"fell over" not in body
    fault, request = (json.loads(record.message) for record in caplog.records)
    assert "the net fell over" in fault["traceback"]
    assert (request["status"], request["images"]) == (500, 0)


def test_ping_is_not_200_when_a_model_does_not_answer(odd: Odd, model: Model) -> None:
    odd.fault = RuntimeError("the net fell over")
    app = App([model, odd])  # type: ignore[list-item]
    status, _, body = asyncio.run(call(app, [], method="GET", path="/ping"))
    assert (status, json.loads(body)["error"]["code"]) == (503, "NotReady")
    odd.fault = None
    assert asyncio.run(call(app, [], method="GET", path="/ping"))[0] == 200


def test_no_more_is_read_once_a_body_is_too_large(model: Model) -> None:
    chunk = bytes(1 << 20)
    read = 0

    async def receive() -> Message:
        nonlocal read
        read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    statuses: list[int] = []

    async def send(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": []}
    asyncio.run(App([model])(scope, receive, send))
    assert statuses == [413]
    assert read <= MAX_BODY + len(chunk)


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


PICTURES = (picture(0), picture(99), picture(255, format_="JPEG"), picture(9, (5, 5)), picture(9, mode="RGB"))


@st.composite
def broken_pictures(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, 2 * len(content)))])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
IDS = st.text(st.characters())  # half surrogate pairs too, which JSON can spell
GOOD_LINES = st.builds(json_line, IDS, st.sampled_from(PICTURES[:3]))
ODD_LINES = (
    st.builds(json_line, IDS, broken_pictures() | st.binary())
    | st.builds(lambda value: json.dumps(value).encode() + b"\n", JSON_VALUES)
    | st.builds(
        lambda id_, image: json.dumps({"id": id_, "image": image}).encode() + b"\n", JSON_VALUES, JSON_VALUES | IDS
    )
    | st.binary()
)
BODIES = (
    st.lists(GOOD_LINES, max_size=4).map(b"".join)
    | st.lists(GOOD_LINES | ODD_LINES, max_size=4).map(b"".join)
    | broken_pictures()
    | st.binary()
)
KINDS = st.sampled_from([LINES, "image/png", "IMAGE/JPEG; q=1", "application/json", ""]) | st.text(
    st.characters(max_codepoint=127)
)


@pytest.fixture(scope="module")
def app(model: Model) -> App:
    return App([model])


@given(body=BODIES, kind=KINDS, cut=st.integers(0, 2000))
def test_no_body_is_a_fault_of_the_server(app: App, body: bytes, kind: str, cut: int) -> None:
    status, headers, content = asyncio.run(call(app, [body[:cut], body[cut:]], kind))
    if status == 200:
        alone = kind.lower().startswith("image/")
        ids = ["0"] if alone else [json.loads(line)["id"] for line in body.split(b"\n") if line.strip()]
        assert headers[b"content-type"] == (b"application/json" if alone else b"application/jsonlines")
        assert len(parse_answer(content, ids)) == len(ids)
    else:
        assert status in (400, 413, 415, 422)
        error: dict[str, Any] = json.loads(content)["error"]
        assert "Traceback" not in error["message"]
        assert error["line"] is None or 1 <= error["line"] <= body.count(b"\n") + 1
