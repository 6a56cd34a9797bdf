"""One CloudWatch dashboard an environment: what became of the images, how runs, functions and endpoints fare."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.alarm import alarm_name, metric
from stacks.config import DeployConfig
from stacks.endpoint_alarms import RUNBOOKS as ENDPOINT_RUNBOOKS
from stacks.run_alarms import NAMESPACE, RunAlarms
from stacks.run_alarms import RUNBOOKS as RUN_RUNBOOKS
from stacks.upload_events import RUNBOOKS as UPLOAD_RUNBOOKS
from stacks.upload_events import UploadEvents

OF_OTHER_STACKS = ("alerts-undelivered", "mail-stuck", "evaluation-failed")
DECISIONS = ("Accepted", "Uncertain", "Flagged", "Failed")


class Dashboard(Construct):
    """The dashboard `ics-<environment>`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        *,
        state_machine: sfn.StateMachine,
        alarms: RunAlarms,
        uploads: UploadEvents | None,
    ) -> None:
        super().__init__(scope, construct_id)
        names = [alarm_name(config, runbook) for runbook in (*RUN_RUNBOOKS, *OF_OTHER_STACKS)]
        names += [alarm_name(config, "alerts-unread", queue) for queue in config.alert_queues]
        names += [alarm_name(config, runbook) for runbook in UPLOAD_RUNBOOKS if uploads is not None]
        names += [alarm_name(config, "api-errors")] if config.web is not None else []
        for model, settings in config.endpoints.items():
            watched = [name for name in ENDPOINT_RUNBOOKS if name != "capture-stopped" or settings.capture_percent]
            names += [alarm_name(config, runbook, model) for runbook in watched]
        found = [cloudwatch.Alarm.from_alarm_name(self, f"Alarm{number}", name) for number, name in enumerate(names)]
        rows: list[list[cloudwatch.IWidget]] = [
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=found, width=24, height=4)],
            [
                *(_images(config, model) for model in config.models),
                _graph(
                    "Runs",
                    state_machine.metric_started(),
                    state_machine.metric_succeeded(),
                    state_machine.metric_failed(),
                    state_machine.metric_aborted(),
                    state_machine.metric_timed_out(),
                ),
                _graph("Functions", alarms.errors, alarms.throttles),
            ],
            *([] if uploads is None else [_uploads(uploads)]),
            *(_endpoint(config, model) for model in config.endpoints),
        ]
        cloudwatch.Dashboard(self, "Dashboard", dashboard_name=f"ics-{config.environment}", widgets=rows)


def _images(config: DeployConfig, model: str) -> cloudwatch.IWidget:
    """What SummarizeRun counts, stacked: together they are the planned images."""
    dimensions = {"Environment": config.environment, "Model": model}
    return cloudwatch.GraphWidget(
        title=f"Images by decision: {model}",
        left=[metric(NAMESPACE, f"{decision}Images", dimensions, label=decision.lower()) for decision in DECISIONS],
        stacked=True,
        width=8,
    )


def _uploads(uploads: UploadEvents) -> list[cloudwatch.IWidget]:
    """How many uploads came, how long they wait, and how many wait for people."""
    return [
        _graph("Uploads", uploads.queue.metric_number_of_messages_sent()),
        _graph("Uploads: age of the oldest, seconds", uploads.queue.metric_approximate_age_of_oldest_message()),
        _graph("Uploads: dead letters", uploads.dead_letters.metric_approximate_number_of_messages_visible()),
    ]


def _endpoint(config: DeployConfig, model: str) -> list[cloudwatch.IWidget]:
    endpoint = config.endpoint_name(model)
    variant = {"EndpointName": endpoint, "VariantName": config.endpoints[model].variant}
    return [
        _graph(
            f"{endpoint}: requests",
            *(
                metric("AWS/SageMaker", name, variant)
                for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")
            ),
        ),
        _graph(
            f"{endpoint}: model latency, microseconds",
            *(metric("AWS/SageMaker", "ModelLatency", variant, statistic=part, label=part) for part in ("p50", "p99")),
        ),
        _graph(
            f"{endpoint}: instances, percent",
            *(
                metric("/aws/sagemaker/Endpoints", f"{what}Utilization", variant, statistic="Maximum")
                for what in ("CPU", "Memory", "Disk")
            ),
        ),
    ]


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)
