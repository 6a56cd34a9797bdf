"""A run without a record: whether it is planned now, or why not."""

import json
from typing import Any

import pytest

from ics.errors import RequestError
from lambdas.budget import Budget
from lambdas.plan_run import resuming
from lambdas.states import Execution

RUN, NOW = "event-20260721-101500-3f9a1c", 1_784_628_900.0
MACHINE = "arn:aws:states:eu-central-1:123456789012:execution:ics-prod"
REQUEST = {"prefix": "s3://photos/incoming/"}


class Clock:
    """A Lambda context with all its time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Resume RUN where its execution is like this and its summary that; an earlier resume of it may be known, too."""

    def resume(found: Execution | None, summary: dict[str, Any] | None, earlier: Execution | None = None) -> Any:
        known = {f"{MACHINE}:{RUN}": found, f"{MACHINE}:earlier": earlier}
        files = {"1": b'{"execution": "%b:earlier"}' % MACHINE.encode()} if earlier else {}
        monkeypatch.setattr(resuming.time, "time", lambda: NOW)
        monkeypatch.setattr(resuming, "describe_execution", known.get)
        monkeypatch.setattr(resuming, "read_results", lambda _: json.dumps(summary).encode() if summary else None)
        monkeypatch.setattr(resuming, "read_working", lambda key: files.get(key.rpartition("/")[2][:1]))
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
