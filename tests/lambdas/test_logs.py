"""What functions write: JSON a line, and metrics in CloudWatch's Embedded Metric Format."""

import json
import time

import pytest

from lambdas import runtime
from lambdas.summarize_run.metrics import count_run

SUMMARY = {
    "run": "r", "status": "FAILED", "model": "digits", "seconds": 2.5,
    "planned": 6, "accepted": 3, "uncertain": 2, "flagged": 0, "failed": 1,
}  # fmt: skip


@pytest.fixture
def written(capsys, monkeypatch):
    """A function: the lines written since the last call. The log level is ERROR."""
    runtime.settings.cache_clear()
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    yield lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    runtime.settings.cache_clear()


def test_a_line_is_json_whatever_it_is_told_and_below_its_level_it_is_not_written(written):
    runtime.log("below", "WARNING")
    runtime.log("two\nlines", "ERROR", run="r", cause=ValueError("é"))
    (line,) = written()
    assert (line["message"], line["level"], line["run"], line["cause"]) == ("two\nlines", "ERROR", "r", "é")


def test_a_run_is_counted_in_the_embedded_metric_format_whatever_the_log_level(written):
    """Amazon CloudWatch User Guide, "Embedded metric format specification"."""
    before = time.time() * 1000
    count_run("prod", SUMMARY, {})
    (line,) = written()
    assert before - 1 <= line["_aws"]["Timestamp"] <= time.time() * 1000
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "ICS"
    assert directive["Dimensions"] == [["Environment", "Model"]]  # never the run: each combination is paid for
    assert (line["Environment"], line["Model"], line["run"]) == ("prod", "digits", "r")
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {name: line[name] for name in units} == {
        "PlannedImages": 6, "AcceptedImages": 3, "UncertainImages": 2, "FlaggedImages": 0, "FailedImages": 1,
        "RunSeconds": 2.5,
    }  # fmt: skip
    assert units.pop("RunSeconds") == "Seconds"
    assert set(units.values()) == {"Count"}


def test_a_run_that_was_not_planned_has_no_model_and_is_counted_too(written):
    count_run("prod", {**SUMMARY, "model": None}, {})
    (line,) = written()
    assert line["Model"] == "none"  # a dimension must not be empty


def test_a_resumed_run_counts_what_has_changed_so_that_sums_over_runs_stay_true(written):
    count_run("prod", SUMMARY, {"planned": 6, "accepted": 1, "uncertain": 1, "flagged": 0, "failed": 4})
    (line,) = written()
    counted = {name: line[name] for name in line if name.endswith("Images")}
    assert counted == {
        "PlannedImages": 0, "AcceptedImages": 2, "UncertainImages": 1, "FlaggedImages": 0, "FailedImages": -3
    }  # fmt: skip
    assert line["RunSeconds"] == 2.5
