"""Alarms: each is there, tells the topic, and has a page that says what to do; the dashboard shows them all."""

import json
import re

from stacks.config import load_config
from tests.infrastructure.templates import ROOT

OF_RUNS = {"run-ended-early", "run-untold", "function-errors", "function-throttles", "alerts-undelivered", "mail-stuck"}
OF_LEARNING = {"evaluation-failed"}
OF_AN_ENDPOINT = {"endpoint-errors", "endpoint-latency", "endpoint-disk", "endpoint-memory", "capture-stopped"}
OF_A_QUEUE = {"alerts-unread"}
OF_THE_API = {"api-errors"}
OF_UPLOADS = {"dead-letters", "uploads-waiting"}


def alarms_of(assembly):
    return [
        alarm
        for template in (assembly.data, assembly.model, assembly.pipeline, assembly.learning, assembly.web)
        for alarm in template.of("CloudWatch::Alarm").values()
    ]


def expected_names(assembly):
    config, start = load_config(assembly.environment), f"ics-{assembly.environment}"
    return (
        {f"{start}-{name}" for name in OF_RUNS | OF_LEARNING | OF_THE_API | (OF_UPLOADS if config.events else set())}
        | {f"{start}-{model}-{name}" for model in config.endpoints for name in OF_AN_ENDPOINT}
        | {f"{start}-{queue}-{name}" for queue in config.alert_queues for name in OF_A_QUEUE}
    )


def test_every_alarm_is_there_and_tells_the_topic(assembly):
    alarms = {alarm["AlarmName"]: alarm for alarm in alarms_of(assembly)}
    assert set(alarms) == expected_names(assembly)
    topic = assembly.data.body["Outputs"]["AlertTopicArn"]["Value"]["Ref"]
    exports = {
        output["Export"]["Name"]: output["Value"]
        for output in assembly.data.body["Outputs"].values()
        if "Export" in output
    }
    for name, alarm in alarms.items():
        assert alarm.get("ActionsEnabled", True) is True
        (action,) = alarm["AlarmActions"]
        assert exports.get(action.get("Fn::ImportValue"), action) == {"Ref": topic}, name
        assert alarm["TreatMissingData"] == "notBreaching", name


def test_every_alarm_names_its_runbook_and_every_runbook_has_an_alarm(assembly):
    named = {}
    for alarm in alarms_of(assembly):
        (page,) = re.findall(r"Runbook: (docs/runbooks/[a-z-]+\.md)$", alarm["AlarmDescription"])
        assert alarm["AlarmName"].endswith(page.split("/")[-1].removesuffix(".md"))
        named[page] = alarm
    for page in named:
        text = (ROOT / page).read_text()
        assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Look at", "## Do"], page
    if assembly.environment == "local":  # it has a queue too
        assert set(named) == {f"docs/runbooks/{path.name}" for path in (ROOT / "docs/runbooks").glob("*.md")}


def test_a_run_that_told_itself_rings_no_alarm_and_one_that_could_not_does(assembly):
    """A strict run fails by design, and its digest says so: only the other Fail states ring."""
    text = json.dumps(alarms_of(assembly))
    assert "ExecutionsFailed" not in text
    assert {"ExecutionsAborted", "ExecutionsTimedOut"} <= set(re.findall(r'"MetricName": "(\w+)"', text))
    counted = assembly.pipeline.one("Logs::MetricFilter")
    definition = json.loads(assembly.pipeline.one("StepFunctions::StateMachine")["DefinitionString"])
    fails = {name for name, state in definition["States"].items() if state["Type"] == "Fail"}
    assert set(re.findall(r'details\.name = "(\w+)"', counted["FilterPattern"])) == fails - {"RunFailed"}
    (transformation,) = counted["MetricTransformations"]
    (untold,) = [alarm for alarm in alarms_of(assembly) if alarm["AlarmName"].endswith("run-untold")]
    assert (untold["Namespace"], untold["MetricName"]) == ("ICS", transformation["MetricName"])


def test_capture_is_watched_where_it_arrives(assembly):
    for alarm in alarms_of(assembly):
        if alarm["AlarmName"].endswith("capture-stopped"):
            (put,) = [query for query in alarm["Metrics"] if query["Id"] == "captured"]
            dimensions = {item["Name"]: item["Value"] for item in put["MetricStat"]["Metric"]["Dimensions"]}
            results = assembly.data.body["Outputs"]["ResultsBucketName"]["Value"]["Ref"]
            filters = assembly.data.of("S3::Bucket")[results]["MetricsConfigurations"]
            endpoint = dimensions["FilterId"]
            assert {"Id": endpoint, "Prefix": f"capture/{endpoint}/"} in filters
            assert endpoint in [item["EndpointName"] for item in assembly.model.of("SageMaker::Endpoint").values()]


def test_the_dashboard_shows_every_alarm_of_runs_and_endpoints_and_what_became_of_images(assembly):
    dashboard = assembly.pipeline.one("CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == f"ics-{assembly.environment}"
    body = "".join(
        part if isinstance(part, str) else json.dumps(part) for part in dashboard["DashboardBody"]["Fn::Join"][1]
    )
    for name in expected_names(assembly):
        assert f":alarm:{name}" in body, name
    for decision in ("Accepted", "Uncertain", "Flagged", "Failed"):
        assert f'"ICS","{decision}Images","Environment","{assembly.environment}","Model","digits"' in body
