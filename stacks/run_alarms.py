"""What people are told about runs beside their digests: those that could not send one, and functions in trouble.

A run that fails sends its digest, and in strict mode it fails by design: an alarm on ExecutionsFailed would only tell
it twice. So the alarms are on what no digest tells: an execution that was ended from outside, or that could not reduce
its receipts or publish.
"""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.alarm import alarm, metric
from stacks.config import DeployConfig

RUNBOOKS = ("run-ended-early", "run-untold", "function-errors", "function-throttles")
NAMESPACE = "ICS"
RETRIED = 10  # failures within five minutes; fewer are mended by a retry, or named in the run's digest
UNTOLD = ("AlertNotSent", "SummaryFailed")  # the Fail states that end a run without its digest


class RunAlarms(Construct):
    """The alarms of the pipeline; `errors` and `throttles` are sums over its functions, for the dashboard too."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        topic: sns.ITopic,
        *,
        state_machine: sfn.StateMachine,
        state_machine_log: logs.LogGroup,
        functions: Mapping[str, lambda_.Function],
    ) -> None:
        super().__init__(scope, construct_id)
        alarm(
            self,
            "run-ended-early",
            config,
            topic,
            metric=cloudwatch.MathExpression(
                expression="FILL(aborted, 0) + FILL(timedout, 0)",
                using_metrics={
                    "aborted": state_machine.metric_aborted(),
                    "timedout": state_machine.metric_timed_out(),
                },
                period=cdk.Duration.minutes(5),
                label="ended early",
            ),
            threshold=1,
            says="A run was aborted or timed out: it has no summary and sent no digest.",
        )
        alarm(
            self,
            "run-untold",
            config,
            topic,
            metric=_untold(self, config, state_machine_log),
            threshold=1,
            says="A run could not be summarized (NotReconciled, SummaryFailed) or its digest not sent (AlertNotSent).",
        )
        # What PlanRun raises is mostly a request's own fault, and it is in the run's digest.
        watched = {state: function for state, function in functions.items() if state != "PlanRun"}
        self.errors = _sum(watched, "Errors")
        self.throttles = _sum(functions, "Throttles")
        alarm(
            self,
            "function-errors",
            config,
            topic,
            metric=self.errors,
            threshold=RETRIED,
            says=f"Functions of the pipeline failed {RETRIED} times within five minutes; single failures are retried.",
        )
        alarm(
            self,
            "function-throttles",
            config,
            topic,
            metric=self.throttles,
            threshold=1,
            says="Lambda has refused invocations of the pipeline for a quarter of an hour.",
            periods=3,
        )


def _untold(scope: Construct, config: DeployConfig, log: logs.LogGroup) -> cloudwatch.IMetric:
    """Counts entries into the states `UNTOLD`, which the state machine logs at its level ERROR, without data."""
    names = " || ".join(f'($.details.name = "{state}")' for state in UNTOLD)
    logs.MetricFilter(
        scope,
        "Untold",
        log_group=log,
        metric_namespace=NAMESPACE,
        metric_name=f"UntoldRuns-{config.environment}",  # a filter's dimension must be a field of the line
        filter_pattern=logs.FilterPattern.literal(f'{{ ($.type = "FailStateEntered") && ({names}) }}'),
        metric_value="1",
    )
    return metric(NAMESPACE, f"UntoldRuns-{config.environment}", {})


def _sum(functions: Mapping[str, lambda_.Function], name: str) -> cloudwatch.MathExpression:
    each = {
        f"{state[0].lower()}{state[1:].replace('-', '_')}{name}": metric(
            "AWS/Lambda", name, {"FunctionName": function.function_name}
        )
        for state, function in functions.items()
    }
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({label}, 0)" for label in each),
        using_metrics=dict(each),
        period=cdk.Duration.minutes(5),
        label=name.lower(),
    )
