"""Pacing e-mail: whatever is delivered twice, at once or again: five mails a minute at most, each alert in one."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ics.errors import NotPublished
from lambdas.pace_mail import handler as function
from lambdas.pace_mail import mailed, slots


class Table:
    """The table's conditional writes, in memory."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        return self.items.get((pk, sk))

    def get_many(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {key: self.items[key] for key in keys if key in self.items}

    def put(self, item: Mapping[str, Any]) -> None:
        self.items[item["pk"], item["sk"]] = dict(item)

    def put_new(self, item: Mapping[str, Any]) -> bool:
        if (item["pk"], item["sk"]) in self.items:
            return False
        self.put(item)
        return True

    def put_over(self, item: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
        found = self.items.get((item["pk"], item["sk"]), {})
        if any(found.get(name) != value for name, value in known.items()):
            return False
        self.put(item)
        return True


class World:
    """A queue, a clock, a topic: what the function sees of AWS. `mails` are the times of mails and what they named."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.table = Table()
        self.mails: list[tuple[float, str]] = []
        self.waiting: dict[str, float] = {}
        """When each message may be received again, by its alert and delivery."""
        self.refusing = 0
        self.dying = 0

    def publish(self, topic: str, subject: str, text: str, attributes: Mapping[str, str]) -> None:
        if self.refusing:
            self.refusing -= 1
            raise NotPublished("SNS answered HTTP 503")
        self.mails.append((self.now, text))
        if self.dying:
            self.dying -= 1
            raise SystemExit  # killed after SNS took the mail, and before that could be noted

    def change_visibility(self, entries: list[Mapping[str, Any]]) -> None:
        for entry in entries:
            self.waiting[entry["ReceiptHandle"]] = self.now + entry["VisibilityTimeout"]

    def invoke(self, messages: list[str]) -> None:
        """Deliver messages at once; a call that raises leaves all of them in the queue."""
        records = [{"messageId": name, "receiptHandle": name, "body": body(name)} for name in messages]
        for name in messages:
            self.waiting[name] = self.now + 180  # the queue's visibility timeout
        try:
            answer = function.handler({"Records": records}, None)
        except (NotPublished, SystemExit):
            return
        kept = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for name in set(messages) - kept:
            del self.waiting[name]

    def drain(self) -> None:
        """Go on until the queue is empty."""
        for _ in range(100):
            if not self.waiting:
                return
            self.now = max(self.now + 1, min(self.waiting.values()))
            self.invoke([name for name, at in self.waiting.items() if at <= self.now][:100])
        pytest.fail(f"still waiting: {self.waiting}")


def body(name: str) -> str:
    """A message about an alert: `alert`, or `alert#n` for a second delivery of the same."""
    alert = name.partition("#")[0]
    attributes = {"alert": {"Type": "String", "Value": alert}}
    return json.dumps({"MessageId": name, "Subject": alert, "Message": f"<{alert}>", "MessageAttributes": attributes})


@contextmanager
def a_world() -> Iterator[World]:
    """A world, in which the function is for a while."""
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        for module in (slots, mailed):
            patch.setattr(module, "table", world.table)
            patch.setattr(module, "time", SimpleNamespace(time=lambda: world.now))
        patch.setattr(function, "sns", SimpleNamespace(publish=world.publish))
        patch.setattr(function, "settings", lambda: SimpleNamespace(mail_topic="mail"))
        patch.setattr(function, "log", lambda *_, **__: None)
        patch.setattr("lambdas.pace_mail.queue._change_visibility", world.change_visibility)
        yield world


@pytest.fixture
def world() -> Iterator[World]:
    with a_world() as one:
        yield one


def named(world: World) -> Counter[str]:
    """How many mails name each alert."""
    found: Counter[str] = Counter()
    for _, text in world.mails:
        found.update({word.strip("<>") for word in text.split() if word.startswith(("<a", "a"))} - {"and"})
    return found


def hold(world: World) -> None:
    times = [at for at, _ in world.mails]
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first >= 60, times


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.lists(st.integers(0, 11), min_size=1, max_size=5)),
        st.tuples(st.just("wait"), st.integers(1, 70)),
        st.tuples(st.just("refuse"), st.integers(1, 3)),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(steps=_steps)
def test_every_alert_is_in_exactly_one_mail_and_five_go_out_in_any_minute(steps: list[Any]) -> None:
    with a_world() as world:
        _live_through(world, steps)


def _live_through(world: World, steps: list[Any]) -> None:
    numbers, delivered = itertools.count(), set()
    for kind, value in steps:
        if kind == "wait":
            world.now += value
        elif kind == "refuse":
            world.refusing += value
        else:
            alerts = [f"a{number}" for number in value]
            delivered.update(alerts)
            world.invoke([f"{alert}#{next(numbers)}" for alert in alerts])
    world.drain()
    assert named(world) == Counter(delivered)
    hold(world)


def test_a_killed_invocation_loses_nothing_and_sends_its_own_mail_again_at_most(world: World) -> None:
    world.invoke(["a1"])
    world.dying = 1
    world.invoke(["a2", "a3"])
    world.now += 1
    world.invoke(["a2#again"])  # another delivery, while the claim of the killed one still holds
    world.drain()
    assert named(world) == {"a1": 1, "a2": 2, "a3": 2}
    hold(world)


def test_what_has_to_wait_is_merged(world: World) -> None:
    for number in range(20):
        world.invoke([f"a{number}"])
    assert len(world.mails) == 5
    world.drain()
    assert len(world.mails) == 6
    assert set(named(world).values()) == {1}
    assert len(named(world)) == 20


def test_a_message_of_an_unknown_form_is_mailed_too(world: World) -> None:
    function.handler({"Records": [{"messageId": "m", "receiptHandle": "r", "body": "help!"}]}, None)
    assert [text for _, text in world.mails] == ["help!\n"]
