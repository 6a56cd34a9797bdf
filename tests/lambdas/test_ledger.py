"""The ledger: of an image that many want classified one has the claim, and an answer is kept for all."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.ledger import LEASE
from lambdas import ledger


class Table:
    """What the ledger uses of `lambdas.table`, in memory."""

    def __init__(self):
        self.items = {}

    def get_many(self, keys):
        return {one: self.items[one] for one in keys if one in self.items}

    def insert_many(self, items):
        return [self.items.setdefault((item["pk"], item["sk"]), item) is item for item in items]

    def put_over(self, item, known):
        there = self.items[item["pk"], item["sk"]]
        if any(there.get(name) != value for name, value in known.items()):
            return False
        self.items[item["pk"], item["sk"]] = item
        return True

    def write_many(self, items):
        self.items |= {(item["pk"], item["sk"]): item for item in items}


@pytest.fixture
def at(monkeypatch):
    """A table of its own, and a clock that stands still but for waiting."""
    return _fresh(monkeypatch.setattr)


def _fresh(setattr_):
    clock = SimpleNamespace(now=1_000_000.0)
    clock.time = clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    setattr_(ledger, "table", Table())
    setattr_(ledger, "time", clock)
    return clock


PREDICTION = {"label": "7", "confidence": 0.1 + 0.2, "alternatives": [], "model": "v1"}
ANSWER = {"id": "a", "prediction": PREDICTION, "inference_id": "0123-4-0", "line": 3}


def test_an_answer_is_kept_to_the_bit_for_its_version_of_the_model(at):
    assert ledger.claim(["a", "b"], "v1", "run/0") == ({}, {"a", "b"})
    ledger.keep({"a": (ANSWER, "s3-version")})
    kept = {**ANSWER, "version": "s3-version"}
    assert ledger.look_up(["a", "b", "c"], "v1") == {"a": kept}
    assert ledger.look_up(["a"], "v2") == {}
    assert ledger.claim(["a", "b", "c"], "v1", "other/0") == ({"a": kept}, {"c"})
    assert ledger.claim(["a"], "v2", "other/0") == ({}, {"a"})


def test_a_claim_is_its_owners_again_and_anybodys_once_its_time_is_over(at):
    assert ledger.claim(["a"], "v1", "run/0") == ({}, {"a"})
    assert ledger.claim(["a"], "v1", "other/0") == ({}, set())
    assert ledger.claim(["a"], "v1", "run/0") == ({}, {"a"})  # the step is tried again, or the run resumed
    at.sleep(LEASE + 1)
    assert ledger.claim(["a"], "v1", "other/0") == ({}, {"a"})
    assert ledger.claim(["a"], "v1", "run/0") == ({}, set())


def test_waiting_ends_with_the_last_answer_or_with_the_time(at):
    ledger.claim(["a", "b"], "v1", "run/0")
    began = at.now
    assert ledger.await_answers({"a": "v1", "b": "v1"}, 6.0) == {}
    assert 5 < at.now - began <= 6
    began, sleep = at.now, at.sleep

    def answered_meanwhile(seconds):
        sleep(seconds)
        ledger.keep({"a": (ANSWER, "")})

    at.sleep = answered_meanwhile
    assert ledger.await_answers({"a": "v1"}, 6.0)["a"]["prediction"] == PREDICTION
    assert at.now - began < 1


_steps = st.tuples(st.sampled_from("xyz"), st.lists(st.sampled_from("abcd"), unique=True), st.integers(0, LEASE))


@given(st.lists(_steps, max_size=30))
def test_at_no_time_have_two_owners_the_same_image(steps):
    with pytest.MonkeyPatch.context() as patch:
        clock = _fresh(patch.setattr)
        held = {}
        for owner, images, pause in steps:
            clock.sleep(pause)
            known, mine = ledger.claim(images, "v1", owner)
            assert not known
            for image in mine:
                other, since = held.get(image, (owner, clock.now))
                assert other == owner or clock.now > since + LEASE
                held[image] = (owner, clock.now)
