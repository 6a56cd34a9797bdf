"""What operators look at: logs that lead from a run to an image, metrics that add up, alarms that tell."""

import json
import time
from collections.abc import Callable

from cli import logs
from cli.deployment import Deployment
from local import control, outbox
from tests.e2e.harness import Ended


def test_logs_lead_from_a_run_to_its_failed_image_and_its_metrics_add_up(
    put: Callable[[str, bytes], str], finish: Callable[..., Ended], digits: list[bytes], deployment: Deployment
) -> None:
    good, bad = put("good.png", digits[0]), put("bad.png", b"no image, but a secret")
    ended = finish({"images": [f"s3://{deployment.images_bucket}/{key}" for key in (good, bad)]})
    deadline, records = time.monotonic() + 30, []
    while not any(record["message"] == "summarized" for record in records):
        assert time.monotonic() < deadline, records
        records = [line.record for line in logs.lines(deployment, ended.run)]
    (row,) = [row for row in ended.rows if row["decision"] == "failed"]
    (warning,) = [record for record in records if record["message"] == "image failed"]
    expected = {"level": "WARNING", "run": ended.run, "batch": 0, "image_id": row["image_id"], "reason": "NotAnImage"}
    assert {name: warning[name] for name in expected} == expected
    of_the_run = ("planned", "summarized", "contact sheet", "mailed")
    assert [one for one in records if "batch" not in one and one["message"] not in of_the_run] == []
    text = json.dumps(records)
    assert "secret" not in text
    assert bad not in text  # neither pixels nor events
    (counted,) = [record for record in records if "_aws" in record]
    assert (counted["Environment"], counted["Model"]) == ("local", "digits")
    for name in ("planned", "accepted", "uncertain", "flagged", "failed"):
        assert counted[f"{name.title()}Images"] == ended.summary[name]


def test_every_deployed_alarm_tells_the_subscribers(aws: control.LocalAws, deployment: Deployment) -> None:
    cloudwatch = deployment.session.client("cloudwatch", endpoint_url=aws.endpoint_url)
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="ics-local-")["MetricAlarms"]
    assert len(alarms) == 11 + 5 * len(deployment.endpoints)
    for alarm in alarms:
        cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="rehearsal")
        deadline = time.monotonic() + 20
        while not any(
            alarm["AlarmName"] in (one.subject or "") + one.message
            for one in outbox.queued(aws.state, "ics-local-alerts")
        ):
            assert time.monotonic() < deadline, alarm["AlarmName"]
            time.sleep(0.1)
        assert alarm["AlarmDescription"].split()[-1].startswith("docs/runbooks/")
    (dashboard,) = cloudwatch.list_dashboards()["DashboardEntries"]
    assert dashboard["DashboardName"] == "ics-local"
