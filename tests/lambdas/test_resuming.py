"""A run that is resumed: whether it is planned, what of it is left, whether people were told, or why it cannot be."""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from obstore.exceptions import AlreadyExistsError

from ics import paths
from ics.contracts import DECISIONS, Batch, ImageRef
from ics.errors import RequestError, RunExpired
from lambdas.budget import Budget
from lambdas.plan_run import resuming
from lambdas.states import Execution
from lambdas.summarize_run import receipts

RUN, NOW = "event-20260721-101500-3f9a1c", 1_784_628_900.0
MACHINE = "arn:aws:states:eu-central-1:123456789012:execution:ics-prod"
REQUEST = {"prefix": "s3://photos/incoming/"}
CONFIG = SimpleNamespace(
    working_bucket="files", models={"digits": SimpleNamespace(classify="arn")}, at_once=lambda _model: 10
)
PLANNED = {
    "run.json": b'{"model": "digits", "batches": 0}',
    "plan.jsonl": b"",
    "images.jsonl": b"",
}
"""The working files of a run that was planned, of no batch: nothing of it is left to do."""


class Clock:
    """A Lambda context with all its time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Resume RUN where its execution is like this and its summary that; an earlier resume of it may be known, too."""

    def resume(
        found: Execution | None,
        summary: dict[str, Any] | None,
        earlier: Execution | None = None,
        given: Mapping[str, bytes | None] = MappingProxyType({}),
    ) -> Any:
        known = {f"{MACHINE}:{RUN}": found, f"{MACHINE}:earlier": earlier}
        files = {"1": b'{"execution": "%b:earlier"}' % MACHINE.encode()} if earlier else {}
        files |= {name: content for name, content in given.items() if content is not None}
        monkeypatch.setattr(resuming.time, "time", lambda: NOW)
        monkeypatch.setattr(resuming, "describe_execution", known.get)
        monkeypatch.setattr(resuming, "read_results", lambda _: json.dumps(summary).encode() if summary else None)
        monkeypatch.setattr(resuming, "read_working", lambda key: files.get(key.rpartition("/")[2]))
        monkeypatch.setattr(resuming, "is_working", lambda key: key.rpartition("/")[2] in files)
        monkeypatch.setattr(resuming, "write_working", lambda *_: None)
        monkeypatch.setattr(resuming, "settings", lambda: CONFIG)
        monkeypatch.setattr(resuming, "_claim", lambda *_: 2 if earlier else 1)
        monkeypatch.setattr(
            resuming, "plan", lambda run, started, request, _: {"run": run, "started": started, "request": request}
        )
        monkeypatch.setattr(resuming.paths, "claim", lambda _, attempt: f"claims/{attempt}")
        return resuming.resume(RUN, f"{MACHINE}:again", "2026-07-21T11:00:00.000Z", Budget(Clock()))

    return resume


def execution(status: str = "FAILED", ago: float = 60, request: object = REQUEST) -> Execution:
    return Execution(status, NOW - ago, json.dumps(request))


UNPLANNED = {"run": RUN, "planned": 0, "failed": 0, "error": "GenericError"}


@pytest.mark.parametrize(
    ("found", "summary"),
    [
        (execution(), UNPLANNED),
        (execution(ago=80 * 24 * 3600), UNPLANNED),  # its summary says so, however long ago
        (execution("ABORTED", ago=resuming.LAST_PLAN + 1), None),
        (execution("TIMED_OUT", ago=resuming.LAST_PLAN + 1), UNPLANNED),
    ],
)
def test_a_run_that_was_never_planned_is_planned_as_its_execution_asked_for(
    resumed: Any, found: Execution, summary: dict[str, Any] | None
) -> None:
    answer = resumed(found, summary)
    assert answer == {"run": RUN, "started": "2026-07-21T11:00:00.000Z", "request": REQUEST, "attempt": 1}


@pytest.mark.parametrize(
    ("found", "summary", "earlier", "error", "says"),
    [
        (None, None, None, "RunNotFound", "ics runs"),
        (execution(request={"resume": "another"}), UNPLANNED, None, "RunNotFound", "resume 'another'"),
        (execution(), {**UNPLANNED, "planned": 7}, None, "RunExpired", "3 days"),
        (execution("ABORTED", ago=3 * 24 * 3600), None, None, "RunExpired", "3 days"),
        (Execution("RUNNING", 0.0, json.dumps(REQUEST)), None, None, "RunStillRunning", "ics stop"),
        (execution("ABORTED", ago=60), None, None, "RunStillRunning", "for 15 minutes"),
        (execution(), UNPLANNED, execution("ABORTED", ago=300), "RunStillRunning", "for 11 minutes"),
    ],
)
def test_what_is_not_planned_now_says_why(
    resumed: Any,
    found: Execution | None,
    summary: dict[str, Any] | None,
    earlier: Execution | None,
    error: str,
    says: str,
) -> None:
    with pytest.raises(RequestError, match=says) as raised:
        resumed(found, summary, earlier)
    assert type(raised.value).__name__ == error


COUNTED = {"run": RUN, "attempt": 0, "planned": 0, "error": None, **dict.fromkeys(DECISIONS, 0)}


@pytest.mark.parametrize(
    ("found", "summary", "told"),
    [
        (execution("SUCCEEDED"), COUNTED, True),
        (execution("FAILED"), COUNTED, True),
        (None, COUNTED, True),  # so old that AWS has forgotten it
        (execution("ABORTED"), {**COUNTED, "error": "RunStopped"}, True),
        (execution("ABORTED"), COUNTED, False),  # between its summary and its digest
        (replace(execution("FAILED"), error="AlertNotSent"), COUNTED, False),
        (execution("ABORTED"), None, False),
        (execution("SUCCEEDED"), {**COUNTED, "failed": 1}, False),
    ],
)
def test_a_resume_with_nothing_left_to_do_tells_people_unless_they_were_told(
    resumed: Any, found: Execution | None, summary: dict[str, Any] | None, told: bool
) -> None:
    assert resumed(found, summary, given=PLANNED)["told"] is told


@pytest.mark.parametrize(("summary", "says"), [(COUNTED, "Its rows are kept"), (None, "start a new run on the same")])
@pytest.mark.parametrize("gone", ["plan.jsonl", "images.jsonl"])
def test_a_run_of_which_a_part_has_expired_says_so(
    resumed: Any, summary: dict[str, Any] | None, says: str, gone: str
) -> None:
    with pytest.raises(RunExpired, match=says):
        resumed(execution("ABORTED"), summary, given={**PLANNED, gone: None})


def test_a_run_whose_uploads_nobody_knows_any_more_says_so(resumed: Any) -> None:
    request = {"manifest": f"s3://files/{paths.event_manifest(RUN)}", "model": "digits"}
    with pytest.raises(RunExpired, match="upload them again"):
        resumed(execution(request=request), UNPLANNED)
    assert resumed(execution(request=request), UNPLANNED, given={f"{RUN}.jsonl": b""})["request"] == request


def test_what_is_made_up_for_a_lost_batch_is_not_written_over_what_a_resume_has_paid_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows come between SummarizeRun's look and its write."""
    rows = [{"decision": "accepted"}]
    reads = iter([[], rows])
    monkeypatch.setattr(receipts, "_plan", lambda run: [{"run": run, "batch": 0, "offset": 0, "length": 9}])
    monkeypatch.setattr(receipts, "read_rows", lambda _batch: next(reads))
    monkeypatch.setattr(receipts, "read_batch", lambda _batch: [ImageRef("photos", "a.png")])
    monkeypatch.setattr(receipts, "now", lambda: "2026-07-21T11:00:00.000Z")
    monkeypatch.setattr(receipts, "write_receipt", lambda batch, found: {"batch": batch.batch, "of": found})

    def write_rows(_batch: Batch, _rows: object, *, over: bool) -> None:
        assert not over
        raise AlreadyExistsError("it is there")

    monkeypatch.setattr(receipts, "write_rows", write_rows)
    state = dict.fromkeys(("started", "model", "threshold", "policy", "skip_classified"))
    assert receipts._made_up({**state, "run": RUN, "attempt": 0}, 0) == {"batch": 0, "of": rows}
