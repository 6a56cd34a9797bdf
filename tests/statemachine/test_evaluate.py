"""The definition of an evaluation: each step ends in time, its input's schema is what PlanEvaluation really checks."""

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

from ics.errors import InvalidRequest, RequestError
from ics.evaluation import parse_evaluation

FOLDER = Path(__file__).resolve().parents[2] / "statemachine"
TEXT = (FOLDER / "evaluate.asl.json").read_text("utf-8")
DEFINITION = json.loads(TEXT)
SCHEMA = json.loads((FOLDER / "evaluate.schema.json").read_text("utf-8"))


def _tasks(states: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in states.items():
        if state["Type"] == "Task":
            yield name, state
        if state["Type"] == "Map":
            yield from _tasks(state["ItemProcessor"]["States"])


def test_the_resolved_definition_passes_the_validator(tmp_path: Path) -> None:
    """asl-validator finds missing targets, unreachable states and bad paths, which CloudFormation tools do not."""
    text = re.sub(r"\$\{(\w+)\}", r"arn:aws:lambda:us-east-1:111122223333:function:\1", TEXT)
    resolved, broken = tmp_path / "resolved.asl.json", tmp_path / "broken.asl.json"
    resolved.write_text(text, "utf-8")
    broken.write_text(text.replace('"Next": "ReduceCounts"', '"Next": "Nowhere"'), "utf-8")
    command = [str(FOLDER.parent / "node_modules" / ".bin" / "asl-validator"), "--json-path"]
    said = subprocess.run([*command, str(resolved)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    assert subprocess.run([*command, str(broken)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("name", "state"), list(_tasks(DEFINITION["States"])))
def test_every_task_has_a_timeout_and_retries_with_jitter(name: str, state: dict[str, Any]) -> None:
    assert 895 < state["TimeoutSeconds"] <= 900  # its function's own, and Lambda's longest
    assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"]
    for retrier in state["Retry"]:
        assert retrier["MaxAttempts"] == 0 or retrier["JitterStrategy"] == "FULL"


def test_whatever_fails_fails_the_evaluation_for_figures_of_the_rest_would_be_wrong() -> None:
    for name, state in DEFINITION["States"].items():
        if state["Type"] in ("Task", "Map"):
            assert state["Catch"][-1] == {"ErrorEquals": ["States.ALL"], "Next": "EvaluationFailed"}, name
        if state["Type"] == "Map":
            assert not any(key.startswith("ToleratedFailure") for key in state)
            assert state["ResultPath"] is None
            assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
            assert not [child for _, child in _tasks(state["ItemProcessor"]["States"]) if "Catch" in child]


def test_only_errors_of_the_request_are_refused_without_an_alarm_and_none_is_tried_again() -> None:
    plan = DEFINITION["States"]["PlanEvaluation"]
    refused = {error.__name__ for error in RequestError.__subclasses__()}
    (caught,) = [catch for catch in plan["Catch"] if catch["Next"] == "EvaluationRefused"]
    assert set(caught["ErrorEquals"]) <= refused
    assert plan["Retry"][0] == {"ErrorEquals": caught["ErrorEquals"], "MaxAttempts": 0}


@pytest.mark.parametrize("example", sorted((FOLDER / "examples/evaluate").glob("*.json")), ids=lambda path: path.stem)
def test_every_example_is_valid_and_accepted(example: Path) -> None:
    request = json.loads(example.read_text("utf-8"))
    jsonschema.validate(request, SCHEMA)
    parse_evaluation(request)


_uri = st.sampled_from(
    ["s3://b/k.jsonl", "s3://b/p/", "s3://b/", "s3://b", "s3:///k", "https://b/k", "", 7, "s3://b/ж\n"]
)
_dates = st.sampled_from(["2026-01-31", "2026-13-01", "2026-1-1", "", "2026-01-31\n", "2026-01-31T00:00:00Z", None])
_requests = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["digits", "a.b_c-1", "", "-x", "a/b", "x" * 63, "x" * 64, "digits\n", 7]),
            "labels": _uri,
            "predictions": _uri,
            "pairs": _uri,
            "since": _dates,
            "until": _dates,
            "model_version": st.sampled_from(["0f", "", "x" * 2000, "x" * 2001, None]),
            "modle": st.just("digits"),
        },
    ),
    st.sampled_from([[], "s3://b/k", 3, None]),
)


@settings(max_examples=1000)
@given(_requests)
def test_the_published_schema_and_the_check_of_plan_evaluation_agree(request: Any) -> None:
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(request)
    try:
        parse_evaluation(request)
    except InvalidRequest:
        accepted = False
    else:
        accepted = True
    assert accepted == valid
