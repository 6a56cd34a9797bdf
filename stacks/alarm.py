"""An alarm that people understand: named by environment and runbook, described, and told to the alert topic."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config import DeployConfig

RUNBOOKS = "docs/runbooks"


def alarm(
    scope: Construct,
    runbook: str,
    config: DeployConfig,
    topic: sns.ITopic,
    *,
    metric: cloudwatch.IMetric,
    threshold: float,
    says: str,
    periods: int = 1,
    subject: str | None = None,
) -> cloudwatch.Alarm:
    """Ring when `metric` is at least `threshold` for `periods` of its periods; no data is no alarm.

    The alarm is `ics-<environment>-[<subject>-]<runbook>`; what it `says` ends with the page of `docs/runbooks/` that
    tells what to do.
    """
    made = cloudwatch.Alarm(
        scope,
        "".join(word.capitalize() for word in runbook.split("-")),
        alarm_name=alarm_name(config, runbook, subject),
        alarm_description=f"{says} Runbook: {RUNBOOKS}/{runbook}.md",
        metric=metric,
        threshold=threshold,
        evaluation_periods=periods,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    made.add_alarm_action(actions.SnsAction(topic))
    return made


def alarm_name(config: DeployConfig, runbook: str, subject: str | None = None) -> str:
    """An alarm's name, computed wherever it is needed and never exported across stacks."""
    return "-".join(part for part in ("ics", config.environment, subject, runbook) if part)


def metric(
    namespace: str,
    name: str,
    dimensions: dict[str, str],
    *,
    minutes: int = 5,
    statistic: str = "Sum",
    label: str | None = None,
) -> cloudwatch.Metric:
    """A metric of AWS's or of ours."""
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dimensions,
        period=cdk.Duration.minutes(minutes),
        statistic=statistic,
        label=label,
    )
