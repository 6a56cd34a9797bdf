"""What people are told about an endpoint: errors, slowness, a filling disk or memory, and capture that stopped."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.alarm import alarm, metric
from stacks.config import DeployConfig

RUNBOOKS = ("endpoint-errors", "endpoint-latency", "endpoint-disk", "endpoint-memory", "capture-stopped")
SLOW = 10_000_000  # microseconds, SageMaker's unit of latency; ClassifyImage gives up on a request after 25 s


class EndpointAlarms(Construct):
    """The alarms of one model's endpoint; `server_errors` also rolls back a bad update."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        topic: sns.ITopic,
        *,
        model: str,
        results: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        endpoint, settings = config.endpoint_name(model), config.endpoints[model]
        variant = {"EndpointName": endpoint, "VariantName": settings.variant}

        def ring(
            runbook: str, of: cloudwatch.IMetric, threshold: float, says: str, periods: int = 1
        ) -> cloudwatch.Alarm:
            return alarm(
                self, runbook, config, topic, metric=of, threshold=threshold, says=says, periods=periods, subject=model
            )

        self.server_errors = ring(
            "endpoint-errors",
            metric("AWS/SageMaker", "Invocation5XXErrors", variant, minutes=1),
            1,
            f"{endpoint} answers with server errors; an update under way rolls back.",
        )
        ring(
            "endpoint-latency",
            metric("AWS/SageMaker", "ModelLatency", variant, minutes=1, statistic="p99"),
            SLOW,
            f"{endpoint} takes over 10 s for one request in a hundred; at 25 s requests are given up.",
            periods=3,
        )
        ring(
            "endpoint-disk",
            metric("/aws/sagemaker/Endpoints", "DiskUtilization", variant, statistic="Maximum"),
            80,
            f"A disk of {endpoint} is 80% full; when it is full, data capture stops without a word.",
        )
        ring(
            "endpoint-memory",
            metric("/aws/sagemaker/Endpoints", "MemoryUtilization", variant, statistic="Maximum"),
            90,
            f"An instance of {endpoint} has used 90% of its memory for a quarter of an hour.",
            periods=3,
        )
        if settings.capture_percent:
            ring(
                "capture-stopped",
                _uncaptured(variant, results, endpoint),
                1,
                f"{endpoint} was invoked for two hours and nothing was written under its capture prefix.",
                periods=2,
            )


def _uncaptured(variant: dict[str, str], results: s3.IBucket, endpoint: str) -> cloudwatch.MathExpression:
    """1 in an hour with invocations but no object put under the endpoint's capture prefix.

    SageMaker reports no capture failures; the bucket's request metrics count what arrives. Capture is minutes late, so
    one such hour proves nothing and two do.
    """
    put = metric("AWS/S3", "PutRequests", {"BucketName": results.bucket_name, "FilterId": endpoint}, minutes=60)
    return cloudwatch.MathExpression(
        expression="IF(FILL(invocations, 0) > 0 AND FILL(captured, 0) == 0, 1, 0)",
        using_metrics={
            "invocations": metric("AWS/SageMaker", "Invocations", variant, minutes=60),
            "captured": put,
        },
        period=cdk.Duration.hours(1),
        label="uncaptured",
    )
