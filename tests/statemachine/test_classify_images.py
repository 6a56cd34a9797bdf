"""The state machine's definition: its worst path ends in time, its input's schema is what PlanRun really checks."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ics.batches import MAX_CHILD_BATCHES
from ics.errors import InvalidRequest
from ics.request import parse_request, resumed_run
from lambdas.bodies import ALL_ATTEMPTS

FOLDER = Path(__file__).resolve().parents[2] / "statemachine"
DEFINITION = json.loads((FOLDER / "classify_images.asl.json").read_text("utf-8"))
SCHEMA = json.loads((FOLDER / "classify_images.schema.json").read_text("utf-8"))
BATCHES = DEFINITION["States"]["ProcessImages"]["ItemProcessor"]["States"]
CHILD = BATCHES["ProcessBatches"]["ItemProcessor"]["States"]
EXPRESS_SECONDS = 300
BATCH_PATH = ("SerializeImageData", "ClassifyImage", "FilterLowConfidence", "RecordFailure")


def _delays(state: dict[str, Any]) -> float:
    """Seconds that a state's retries may wait at most, all retriers exhausted."""
    total = 0.0
    for retrier in state["Retry"]:
        first, rate = retrier.get("IntervalSeconds", 1), retrier.get("BackoffRate", 2.0)
        waits = [first * rate**attempt for attempt in range(retrier["MaxAttempts"])]
        total += sum(min(wait, retrier.get("MaxDelaySeconds", wait)) for wait in waits)
    return total


def test_the_worst_path_of_a_child_failure_branch_included_ends_before_express_kills_it() -> None:
    """A child killed by its limit never reaches its own Catch, so that its images would be BatchLost.

    Its batches are processed all at once, so that it takes as long as the slowest of them.

    Every state runs into its timeout, is tried again once, and runs into it again; throttled attempts are refused at
    once, or counted by ClassifyImage itself against the time for all its attempts.
    """
    worst = sum(2 * CHILD[name]["TimeoutSeconds"] + _delays(CHILD[name]) for name in BATCH_PATH)
    assert worst < 290 < EXPRESS_SECONDS
    assert BATCHES["ProcessBatches"]["MaxConcurrency"] >= MAX_CHILD_BATCHES
    assert 2 * CHILD["ClassifyImage"]["TimeoutSeconds"] >= ALL_ATTEMPTS
    for name in BATCH_PATH:
        attempts = {tuple(retrier["ErrorEquals"]): retrier["MaxAttempts"] for retrier in CHILD[name]["Retry"]}
        assert attempts[("States.ALL",)] == 1
        assert all(count <= 2 for count in attempts.values())
        assert all(retrier.get("MaxDelaySeconds", 0) <= 5 for retrier in CHILD[name]["Retry"])


def test_the_resolved_definition_passes_the_validator(tmp_path: Path) -> None:
    """asl-validator finds missing targets, unreachable states and bad paths, which CloudFormation tools do not."""
    text = (FOLDER / "classify_images.asl.json").read_text("utf-8")
    names = set(re.findall(r"\$\{(\w+)\}", text))
    for name in names - {"AlertTopic"}:
        text = text.replace(f"${{{name}}}", f"arn:aws:lambda:us-east-1:111122223333:function:{name}")
    resolved = tmp_path / "resolved.asl.json"
    resolved.write_text(text.replace("${AlertTopic}", "arn:aws:sns:us-east-1:111122223333:alerts"), "utf-8")
    assert _validate(resolved) == 0
    broken = tmp_path / "broken.asl.json"
    broken.write_text(resolved.read_text("utf-8").replace('"Next": "RunOutcome"', '"Next": "Nowhere"'), "utf-8")
    assert _validate(broken) != 0


def _validate(definition: Path) -> int:
    command = [str(FOLDER.parent / "node_modules" / ".bin" / "asl-validator"), "--json-path", str(definition)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _tasks(states: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in states.items():
        if state["Type"] == "Task":
            yield name, state
        if state["Type"] == "Map":
            yield from _tasks(state["ItemProcessor"]["States"])


@pytest.mark.parametrize(("name", "state"), list(_tasks(DEFINITION["States"])))
def test_every_task_has_a_timeout_retries_with_jitter_and_a_catch(name: str, state: dict[str, Any]) -> None:
    assert state["TimeoutSeconds"] > 0
    for retrier in state["Retry"]:
        assert retrier["MaxAttempts"] == 0 or retrier["JitterStrategy"] == "FULL"
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_no_failure_of_a_child_fails_the_run_and_no_output_of_a_child_reaches_the_parent() -> None:
    state = DEFINITION["States"]["ProcessImages"]
    assert state["ToleratedFailurePercentage"] == 100
    assert state["ResultPath"] is None
    for states, last in ((CHILD, "BatchDone"), (BATCHES, "BatchesDone")):
        assert states[last] == {**states[last], "Type": "Pass", "Result": {}, "End": True}
        assert [name for name, child in states.items() if child.get("End")] == [last]


def test_no_batch_of_a_child_can_end_the_others() -> None:
    """A Map in the child fails with its first iteration that fails: none does, whatever its last step ends in."""
    assert all(state["Catch"][-1]["ErrorEquals"] == ["States.ALL"] for _, state in _tasks(CHILD))


@pytest.mark.parametrize("example", sorted((FOLDER / "examples").glob("*.json")), ids=lambda path: path.stem)
def test_every_example_is_valid_and_accepted(example: Path) -> None:
    request = json.loads(example.read_text("utf-8"))
    jsonschema.validate(request, SCHEMA)
    _parse(request)


def _parse(request: Any) -> None:
    if resumed_run(request) is None:
        parse_request(request, models=("digits",), default_model="digits")


_uri = st.sampled_from(
    ["s3://b/k", "s3://b/k.csv", "s3://b/list.JSONL", "s3://b", "s3:///k", "https://b/k", "", "s3://b/"]
)
_names = st.sampled_from(["s3_bucket", "s3_key", "bucket", "key", "version", "extra"])
_image = st.one_of(
    _uri,
    st.dictionaries(
        _names,
        st.sampled_from(["x", "", 1]),
        max_size=3,
    ),
    st.integers(),
)
# What AWS allows in an execution's name and what it does not, and lengths about its limit.
_names_of_runs = st.one_of(
    st.text(st.sampled_from("aZ0-_.+@!()='é \n\t/\\<>{}[]?*\"#%^|~`$&,;:\x00\x7f\x85"), max_size=4),
    st.sampled_from(["x" * 80, "x" * 81, ".", "..", "...", "..a", "run\n", ""]),
)
_requests = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "images": st.one_of(st.lists(_image, max_size=3), st.just(["s3://b/k"] * 101), st.just("s3://b/k")),
            "prefix": st.one_of(_uri, st.none()),
            "manifest": _uri,
            "model": st.sampled_from(["digits", 7]),
            "threshold": st.sampled_from([0, 0.5, 1, 1.5, -1, "0.9", True, None]),
            "mode": st.sampled_from(["strict", "tolerant", "loose", None]),
            "tolerated_percent": st.sampled_from([0, 50, 101, "5"]),
            "skip_classified": st.sampled_from([True, False, None, "true", 1]),
            "treshold": st.just(0.5),
        },
    ),
    st.fixed_dictionaries(
        {"resume": st.one_of(_names_of_runs, st.none(), st.integers())},
        optional={"mode": st.just("strict"), "prefix": st.just("s3://b/k"), "treshold": st.just(0.5)},
    ),
    st.sampled_from([[], "s3://b/k", 3, None]),
)


@settings(max_examples=500)
@given(_requests)
def test_the_published_schema_and_the_check_of_plan_run_agree(request: Any) -> None:
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(request)
    try:
        _parse(request)
    except InvalidRequest:
        accepted = False
    else:
        accepted = True
    assert accepted == valid
