"""The application and its connections in this process: what needs a model that fails or blocks, and many bodies."""

import asyncio
import base64
import dataclasses
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.errors import InvalidBody
from ics.wire import parse_answer
from serving import app as app_module
from serving.app import App
from serving.http import Answer, Request
from serving.metrics import Metrics
from serving.model import Logits, Model, measured
from serving.turns import Turns
from tests.artifacts import picture
from tests.serving.running_server import json_line

LINES = "application/jsonlines"


def make_app(*models: Any, turns: int = 1, max_waiting: int = 64) -> tuple[App, list[dict[str, Any]]]:
    """An application, and what it logs."""
    log: list[dict[str, Any]] = []
    names = [model.spec.name for model in models]
    return App(
        models,
        Turns(turns, 1),
        Metrics(names, 1),
        lambda line: log.append(json.loads(line)),
        max_waiting=max_waiting,
    ), log


def request(
    body: bytes = b"", kind: str = LINES, method: str = "POST", path: str = "/invocations", **more: Any
) -> Request:
    return Request(method, path, kind, body, time.monotonic(), keep_alive=True, **more)


async def call(app: App, asked: Request) -> Answer:
    answer = app.handle(asked)
    answer = answer if isinstance(answer, Answer) else await answer
    app.ended(asked, answer.status, answer.images)
    return answer


def code(answer: Answer) -> str:
    return str(json.loads(answer.content)["error"]["code"])


class Odd:
    """A slow model that blocks or fails as told, else answers."""

    def __init__(self, model: Model, seconds: float = 10.0) -> None:
        self.spec, self.seconds, self.language = model.spec, seconds, model.language
        self._model = model
        self.entered, self.release = threading.Event(), threading.Event()
        self.fault: Exception | None = None
        self.given: list[bytes] = []

    def computed(self, contents: Iterable[bytes]) -> Iterator[Logits]:
        self.entered.set()
        self.release.wait()
        if self.fault:
            raise self.fault
        for content in contents:
            self.given.append(content)
            yield from self._model.computed([content])

    def probe(self) -> None:
        if self.fault:
            raise self.fault


@pytest.fixture
def odd(model: Model) -> Odd:
    return Odd(model)


def test_beyond_the_queue_clients_are_told_to_come_back_and_ping_still_answers(odd: Odd) -> None:
    async def story() -> None:
        app, _ = make_app(odd, max_waiting=1)
        first = asyncio.create_task(call(app, request(json_line("a", picture(1)))))
        await asyncio.to_thread(odd.entered.wait)
        second = asyncio.create_task(call(app, request(json_line("b", picture(1)))))
        await asyncio.sleep(0)
        third = await call(app, request(json_line("c", picture(1))))
        assert (third.status, code(third)) == (429, "TooManyRequests")
        assert third.headers == b"retry-after: 1\r\n"
        assert (await call(app, request(method="GET", path="/ping"))).status == 200
        assert b"ics_waiting 1\n" in (await call(app, request(method="GET", path="/metrics"))).content
        odd.release.set()
        assert [(await one).status for one in (first, second)] == [200, 200]
        assert (await call(app, request(json_line("d", picture(1))))).status == 200

    asyncio.run(story())


def test_two_turns_compute_two_requests_at_once_and_one_turn_one_after_the_other(model: Model) -> None:
    async def story(turns: int) -> list[bool]:
        first, second = Odd(model), Odd(model)
        second.spec = model.spec
        app, _ = make_app(first, turns=turns)
        app._models["/other"] = second  # type: ignore[assignment]
        tasks = [
            asyncio.create_task(call(app, request(json_line("a", picture(1)), path=path)))
            for path in ("/invocations", "/other")
        ]
        await asyncio.to_thread(first.entered.wait)
        both = await asyncio.to_thread(second.entered.wait, 0.3)
        first.release.set()
        second.release.set()
        assert [(await task).status for task in tasks] == [200, 200]
        return [both, second.entered.is_set()]

    assert asyncio.run(story(2)) == [True, True]
    assert asyncio.run(story(1)) == [False, True]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 10.0])
def test_answers_are_the_same_at_once_in_a_turn_on_the_loop_and_in_a_thread(model: Model, seconds: float) -> None:
    async def story() -> None:
        quick = Odd(model, seconds)
        quick.release.set()
        app, log = make_app(quick)
        body = b"".join(json_line(str(number), picture(25 * number)) for number in range(10))
        answers = await asyncio.gather(*(call(app, request(body)) for _ in range(5)))
        (content,) = {answer.content for answer in answers}
        predictions = list(model.predict(picture(25 * number) for number in range(10)))
        assert parse_answer(content, [str(number) for number in range(10)]) == predictions
        assert [line["images"] for line in log] == [10] * 5
        metrics = (await call(app, request(method="GET", path="/metrics"))).content.decode()
        assert 'ics_images_total{model="digits"} 50\n' in metrics
        assert 'ics_requests_total{model="digits",status="200"} 5\n' in metrics
        assert "ics_computing 0\n" in metrics

    asyncio.run(story())


@pytest.mark.parametrize(("kind", "seconds"), [("classification", 0.001), ("text", 0.0)])
def test_the_event_loop_computes_nothing_that_may_take_long(model: Model, kind: str, seconds: float) -> None:
    """Many images behind a long first line, and lines of text, which take as long as what is on them."""

    async def story() -> set[int]:
        odd, threads = Odd(model, seconds), set()
        odd.spec = dataclasses.replace(model.spec, kind="text") if kind == "text" else model.spec
        odd.release.set()
        computed = odd.computed

        def watched(contents: Iterable[bytes]) -> Iterator[Logits]:
            threads.add(threading.get_ident())
            return computed(contents)

        odd.computed = watched  # type: ignore[method-assign]
        app, _ = make_app(odd)
        await call(app, request(json_line("a" * 10_000, picture(1)) + json_line("b", picture(1)) * 30))
        return threads

    assert asyncio.run(story()).isdisjoint({threading.get_ident()})


def test_a_fault_is_a_500_that_tells_the_log_and_not_the_client(odd: Odd) -> None:
    odd.release.set()
    odd.fault = RuntimeError("the net fell over")
    app, log = make_app(odd)
    answer = asyncio.run(call(app, request(json_line("a", picture(1)))))
    assert (answer.status, code(answer)) == (500, "InternalError")
    assert b"fell over" not in answer.content
    fault, asked = log
    assert "the net fell over" in fault["traceback"]
    assert (asked["status"], asked["images"]) == (500, 0)


def test_ping_is_not_200_when_a_model_does_not_answer(odd: Odd, model: Model) -> None:
    odd.fault = RuntimeError("the net fell over")
    app, _ = make_app(model, odd)
    odd.spec = model.spec.__class__(
        **{**{name: getattr(model.spec, name) for name in model.spec.__slots__}, "name": "odd"}
    )
    app, _ = make_app(model, odd)
    answer = asyncio.run(call(app, request(method="GET", path="/ping")))
    assert (answer.status, code(answer)) == (503, "NotReady")
    odd.fault = None
    assert asyncio.run(call(app, request(method="GET", path="/ping"))).status == 200


def test_no_more_is_computed_for_a_client_that_is_gone(odd: Odd) -> None:
    async def story() -> int:
        app, _ = make_app(odd)
        asked = request(b"".join(json_line(str(number), picture(1)) for number in range(100)))
        task = asyncio.create_task(call(app, asked))
        await asyncio.to_thread(odd.entered.wait)
        asked.gone = True
        odd.release.set()
        return (await task).status

    assert asyncio.run(story()) == 499
    assert odd.given == [picture(1)]  # which was being computed when the client went


def test_what_is_too_old_is_not_computed(odd: Odd) -> None:
    odd.release.set()
    app, _ = make_app(odd)
    asked = request(json_line("a", picture(1)))
    asked.started -= app_module.DEADLINE + 1
    answer = asyncio.run(call(app, asked))
    assert (answer.status, code(answer)) == (503, "TooLate")
    assert odd.given == []


def test_a_refusal_of_the_connection_is_the_answer(model: Model) -> None:
    app, log = make_app(model)
    answer = asyncio.run(call(app, request(refusal=InvalidBody(413, "BodyTooLarge", "more than that"))))
    assert (answer.status, code(answer)) == (413, "BodyTooLarge")
    assert log[0]["status"] == 413


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
    return make_app(measured(model))[0]


@given(body=BODIES, kind=KINDS)
def test_no_body_is_a_fault_of_the_server(app: App, body: bytes, kind: str) -> None:
    answer = asyncio.run(call(app, request(body, kind)))
    if answer.status == 200:
        alone = kind.lower().startswith("image/")
        ids = ["0"] if alone else [json.loads(line)["id"] for line in body.split(b"\n") if line.strip()]
        assert answer.content_type == ("application/json" if alone else "application/jsonlines")
        assert len(parse_answer(answer.content, ids)) == len(ids)
    else:
        assert answer.status in (400, 413, 415, 422)
        error: dict[str, Any] = json.loads(answer.content)["error"]
        assert "Traceback" not in error["message"]
        assert error["line"] is None or 1 <= error["line"] <= body.count(b"\n") + 1


@given(st.lists(st.tuples(BODIES, KINDS) | st.tuples(st.lists(GOOD_LINES, min_size=1).map(b"".join), st.just(LINES))))
def test_requests_that_come_together_are_answered_as_they_are_one_by_one(
    app: App, asked: list[tuple[bytes, str]]
) -> None:
    async def story() -> None:
        alone = [await call(app, request(*one)) for one in asked]
        assert await asyncio.gather(*(call(app, request(*one)) for one in asked)) == alone

    asyncio.run(story())


@pytest.mark.parametrize(("most", "together"), [(600.0, [8]), (0.0, [1] * 8)])
def test_what_comes_together_is_computed_together_but_only_so_much(
    model: Model, most: float, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, computed = Odd(model, 0.001), []

    def compute(contents: Sequence[bytes]) -> Iterator[Logits]:
        computed.append(len(contents))
        return model.computed(contents)

    monkeypatch.setattr(quick, "computed", compute)
    monkeypatch.setattr(app_module, "TOGETHER", most)

    async def story() -> None:
        app, _ = make_app(quick)
        bodies = [json_line("a", picture(number)) for number in range(8)]
        assert {one.status for one in await asyncio.gather(*(call(app, request(body)) for body in bodies))} == {200}

    asyncio.run(story())
    assert computed == together
