"""StartRun: every upload gets into one run and no more, however often and in whatever order it is told of.

The table, Step Functions and S3 are in memory here, and end the invocation before or after any of their calls, as a
killed worker does; `tests/e2e/test_uploads.py` has the real ones.
"""

import contextlib
import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ics.errors import StartFailed, TableUnavailable
from lambdas import states
from lambdas.runtime import Settings
from lambdas.start_run import executions, handler, starting

SETTINGS = dataclasses.replace(
    Settings(),
    images_bucket="images",
    upload_prefix="incoming/",
    upload_request={"mode": "tolerant"},
    working_bucket="working",
    state_machine="arn:aws:states:us-east-1:1:stateMachine:m",
)


class Killed(BaseException):
    """The worker's end."""


class Cloud:
    """Table, Step Functions and working bucket; `fuse` calls from now the invocation is killed, before or after one."""

    def __init__(self) -> None:
        self.items: dict = {}
        self.objects: dict = {}
        self.executions: dict = {}
        self.now = 1_000_000
        self.fuse: float = float("inf")

    def step(self) -> None:
        self.fuse -= 1
        if self.fuse <= 0:
            raise Killed

    def get_many(self, keys):
        self.step()
        keys = list(keys)
        assert len(keys) == len(set(keys)), "DynamoDB refuses a key that comes twice"
        return {key: dict(self.items[key]) for key in keys if key in self.items}

    def insert_many(self, items):
        done = []
        for item in items:
            self.step()
            key = item["pk"], item["sk"]
            done.append(key not in self.items)
            self.items.setdefault(key, dict(item))
        return done

    def put_over(self, item, known):
        self.step()
        key = item["pk"], item["sk"]
        if key not in self.items or any(self.items[key].get(name) != value for name, value in known.items()):
            return False
        self.items[key] = dict(item)
        self.step()
        return True

    def write_working(self, key, content):
        self.step()
        self.objects[key] = content

    def is_started(self, run):
        self.step()
        return run in self.executions

    def start(self, run, request):
        self.step()
        if run not in self.executions:  # what PlanRun reads then is read later: it must not change
            self.executions[run] = request, self.objects[request["manifest"].removeprefix("s3://working/")]
        self.step()

    def time(self):
        return self.now

    def classified(self) -> Counter:
        """How often each upload is in the manifest of a run that was started, as the manifest was and as it is."""
        for request, manifest in self.executions.values():
            assert self.objects[request["manifest"].removeprefix("s3://working/")] == manifest
        lines = [line for _, manifest in self.executions.values() for line in manifest.splitlines()]
        return Counter(json.loads(line)["key"] for line in lines)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    with in_memory(made):
        yield made


@contextlib.contextmanager
def in_memory(cloud: Cloud) -> Iterator[None]:
    """StartRun with this table, Step Functions, bucket and clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("get_many", "insert_many", "put_over"):
            patch.setattr(starting.table, name, getattr(cloud, name))
        for name in ("write_working", "is_started", "start"):
            patch.setattr(starting, name, getattr(cloud, name))
        patch.setattr(starting.time, "time", cloud.time)
        for module in (starting, handler):
            patch.setattr(module, "settings", lambda: SETTINGS)
        patch.setattr(starting, "log", lambda *_, **__: None)
        patch.setattr(handler, "log", lambda *_, **__: None)
        yield


def event(number, *, version=None, sequencer="1", etag="e"):
    told = {"key": f"incoming/{number}.png", "etag": etag, "sequencer": sequencer}
    told |= {"version-id": version} if version else {}
    return json.dumps(
        {
            "detail-type": "Object Created",
            "time": f"2026-07-21T10:15:{int(number) % 60:02d}Z",
            "detail": {"bucket": {"name": "images"}, "object": told},
        }
    )


def deliver(bodies, ids=None):
    """Invoke on messages with these bodies; the numbers of those that SQS is to deliver again."""
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
    answer = handler.handler({"Records": records}, None)
    return {int(one["itemIdentifier"]) for one in answer["batchItemFailures"]}


def test_a_batch_becomes_one_run_over_its_images_and_its_folders_are_left_out(cloud):
    folder = event(0).replace("incoming/0.png", "incoming/new folder/")
    assert deliver([event(1, version="v"), folder, event(2), event(1, version="v")]) == set()
    ((run, (request, manifest)),) = cloud.executions.items()
    assert request == {"manifest": f"s3://working/manifests/{run}.jsonl", "mode": "tolerant"}
    assert [json.loads(line) for line in manifest.splitlines()] == [
        {"bucket": "images", "key": "incoming/1.png", "etag": "e", "version": "v", "size": 0},
        {"bucket": "images", "key": "incoming/2.png", "etag": "e", "size": 0},
    ]
    assert deliver([folder]) == set()
    assert len(cloud.executions) == 1


def test_uploads_that_name_a_model_get_a_run_by_it(cloud):
    objects = [event(number).replace(f"incoming/{number}", f"incoming/model=objects/{number}") for number in (3, 4)]
    folder, odd = (
        event(5).replace("incoming/5.png", key) for key in ("incoming/model=objects/", "incoming/model=/5.png")
    )
    bodies = [event(1), *objects, event(2), folder, odd]
    assert deliver(bodies) == set()
    by_model = {
        request.get("model"): sorted(json.loads(line)["key"] for line in manifest.splitlines())
        for request, manifest in cloud.executions.values()
    }
    assert by_model == {
        None: ["incoming/1.png", "incoming/2.png", "incoming/model=/5.png"],
        "objects": ["incoming/model=objects/3.png", "incoming/model=objects/4.png"],
    }
    assert {request["mode"] for request, _ in cloud.executions.values()} == {"tolerant"}
    assert deliver(bodies) == set()
    assert len(cloud.executions) == 2


def test_a_malformed_message_fails_alone(cloud):
    assert deliver([event(1), "{", event(2), json.dumps({"detail-type": "Object Deleted"})]) == {1, 3}
    assert cloud.classified() == {"incoming/1.png": 1, "incoming/2.png": 1}
    assert deliver(["{"]) == {0}
    assert len(cloud.executions) == 1


def test_what_a_run_has_is_dropped_and_the_rest_gets_a_run_of_its_own(cloud):
    deliver([event(1), event(2)])
    assert deliver([event(2), event(3), event(1)]) == set()
    assert deliver([event(2), event(3), event(1)]) == set()
    assert len(cloud.executions) == 2
    assert set(cloud.classified().values()) == {1}


def test_a_claim_whose_run_is_not_started_is_waited_for_and_then_taken_over(cloud):
    cloud.fuse = 5  # read, insert twice, read what was not inserted: killed before the manifest is written
    with pytest.raises(Killed):
        deliver([event(1), event(2)])
    cloud.fuse = float("inf")
    assert not cloud.executions
    assert deliver([event(1), event(3)]) == {0}  # the other invocation may yet do it
    cloud.now += starting.LEASE
    assert deliver([event(2), event(1), event(4)]) == set()
    assert cloud.classified() == {f"incoming/{number}.png": 1 for number in (1, 2, 3, 4)}


def test_a_run_whose_start_was_not_answered_counts_as_started(cloud):
    cloud.fuse = 6  # read, insert, read what was not inserted, write, ask to start: killed before the answer
    with pytest.raises(Killed):
        deliver([event(1)])
    cloud.fuse = float("inf")
    assert len(cloud.executions) == 1
    cloud.now += starting.LEASE
    assert deliver([event(1)]) == set()
    assert len(cloud.executions) == 1


def test_of_an_unversioned_object_that_was_overwritten_the_latest_is_classified(cloud):
    first, second = event(1, sequencer="0A", etag="old"), event(1, sequencer="0B", etag="new")
    assert deliver([second, first]) == set()
    assert deliver([first]) == set()  # told again, it is still the one that was replaced
    ((_, manifest),) = cloud.executions.values()
    assert [json.loads(line)["etag"] for line in manifest.splitlines()] == ["new"]
    both = [event(2, version="v1", etag="a"), event(2, version="v2", etag="b")]
    assert deliver(both) == set()  # versions stay readable: both are images
    assert cloud.classified()["incoming/2.png"] == 2


@pytest.mark.parametrize("error", [TableUnavailable("throttled"), StartFailed("throttled")])
def test_where_aws_refuses_the_whole_batch_is_delivered_again(cloud, monkeypatch, error):
    def refuse(*_):
        raise error

    place, name = (starting.table, "insert_many") if isinstance(error, TableUnavailable) else (starting, "start")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, refuse)
        with pytest.raises(type(error)):
            deliver([event(1), event(2)])
    cloud.now += starting.LEASE
    assert deliver([event(2), event(1)]) == set()
    assert set(cloud.classified().values()) == {1}


@settings(max_examples=300, deadline=None)
@given(count=st.integers(1, 12), seed=st.integers(0, 2**32), kills=st.lists(st.integers(1, 30), max_size=8))
def test_every_upload_is_classified_once_whatever_is_told_twice_or_killed(count, seed, kills):
    """SQS as it may be: batches of any messages that are not being worked on, duplicates, workers killed anywhere."""
    chance, cloud = random.Random(seed), Cloud()
    waiting = [event(number) for number in range(count)]
    waiting += chance.choices(waiting, k=chance.randrange(count + 1))
    kills = list(kills)
    with in_memory(cloud):
        for _ in range(200):
            if not waiting:
                break
            chance.shuffle(waiting)
            batch = [waiting.pop() for _ in range(chance.randint(1, len(waiting)))]
            cloud.fuse = kills.pop() if kills else float("inf")
            try:
                again = deliver(batch)
            except Killed:
                again = set(range(len(batch)))
            waiting += [batch[number] for number in again]
            cloud.now += chance.choice([0, 1, starting.LEASE // 2, starting.LEASE + 1])
        assert not waiting, "every message is settled at last"
        assert cloud.classified() == {f"incoming/{number}.png": 1 for number in range(count)}


def test_two_invocations_at_once_over_the_same_uploads_start_each_once(cloud, monkeypatch):
    """The second one runs between the first one's reading of claims and its writing."""
    insert, others = cloud.insert_many, []

    def overtaken(items):
        if not others:
            others.append(None)
            others[0] = deliver([event(2), event(3)])
        return insert(items)

    with monkeypatch.context() as patch:
        patch.setattr(starting.table, "insert_many", overtaken)
        assert deliver([event(1), event(2)]) == {1}  # it comes again, to be found started
    assert others == [set()]
    cloud.now += starting.LEASE
    assert deliver([event(2)]) == set()
    assert cloud.classified() == {f"incoming/{number}.png": 1 for number in (1, 2, 3)}


class Answers:
    """`aws_http.request` that gives scripted answers and keeps what was asked."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.asked = list(answers), []
        monkeypatch.setattr(states.aws_http, "request", self.request)
        monkeypatch.setattr(executions, "settings", lambda: SETTINGS)
        monkeypatch.setattr(states.time, "sleep", lambda _: None)
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    def request(self, *_, headers, body, **__):
        self.asked.append((headers["X-Amz-Target"], json.loads(body)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return states.aws_http.Response(answer[0], {}, json.dumps(answer[1]).encode())


def test_an_execution_that_is_there_already_is_started_and_one_that_is_not_is_not(monkeypatch):
    exists = 400, {"__type": "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists"}
    missing = 400, {"__type": "ExecutionDoesNotExist", "message": "m"}
    answers = Answers(monkeypatch, (200, {}), exists, (200, {"status": "FAILED"}), missing)
    executions.start("r", {"a": 1})
    executions.start("r", {"a": 1})
    assert executions.is_started("r")
    assert not executions.is_started("r")
    assert answers.asked[0] == (
        "AWSStepFunctions.StartExecution",
        {"stateMachineArn": SETTINGS.state_machine, "name": "r", "input": '{"a": 1}'},
    )
    assert answers.asked[2][1] == {"executionArn": "arn:aws:states:us-east-1:1:execution:m:r"}


def test_step_functions_is_asked_again_where_that_may_help_and_not_where_not(monkeypatch):
    throttled = 400, {"__type": "ThrottlingException", "message": "slower"}
    Answers(monkeypatch, throttled, (503, {}), ConnectionResetError(), (200, {}))
    executions.start("r", {})
    answers = Answers(monkeypatch, *[throttled] * 10)
    with pytest.raises(StartFailed, match="ThrottlingException: slower"):
        executions.start("r", {})
    assert len(answers.asked) == states.ATTEMPTS
    answers = Answers(monkeypatch, (400, {"__type": "AccessDeniedException", "Message": "no"}))
    with pytest.raises(StartFailed, match="AccessDeniedException: no"):
        executions.is_started("r")
