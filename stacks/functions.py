"""The pipeline's functions: what each is told, and what each may touch."""

import re
from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from ics import paths
from stacks.alerts import Alerts
from stacks.buckets import Buckets
from stacks.classifiers import classifiers, models_setting
from stacks.config import ONE_CPU, DeployConfig
from stacks.function import function
from stacks.rights import get, publish, read, tag, write
from stacks.table import on_table


class Functions(Construct):
    """`by_state`: the function of each state that always has the same one, by the state's name.

    `classifiers`: of the state ClassifyImage, the function of each of the environment's models, by the model's name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        buckets: Buckets,
        table: dynamodb.ITable,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, construct_id)
        self.config = config
        self.by_state: dict[str, lambda_.Function] = {}
        self.settings = {
            "ENVIRONMENT": config.environment,
            "WORKING_BUCKET": buckets.working.bucket_name,
            "RESULTS_BUCKET": buckets.results.bucket_name,
            "TABLE": table.table_name,
            "ALERT_TOPIC": alerts.topic.topic_arn,
            "MODELS": models_setting(config, config.models),
            "DEFAULT_MODEL": config.default_model,
            "THRESHOLD": str(config.threshold),
            "BATCH_SOURCE_BYTES": str(config.batch_source_bytes),
            "MAX_CONCURRENCY": str(config.max_concurrency),
            "MAX_PIXELS": str(config.max_pixels),
            "SKIP_CLASSIFIED": str(config.skip_classified).lower(),
            "REVIEWS": str(config.web is not None).lower(),
            "IMAGES_BUCKET": buckets.images.bucket_name,
            "UPLOAD_PREFIX": config.events.prefix if config.events else "",
        }
        read_runs, write_runs = read(buckets.working, "runs/*"), write(buckets.working, "runs/*")
        sources = [buckets.images, *(s3.Bucket.from_bucket_name(self, name, name) for name in config.source_buckets)]
        read_images = [right for source in sources for right in read(source, "*", versions=True)]
        read_rows, write_rows = read(buckets.results, "results/*"), write(buckets.results, "results/*")
        write_summary = write(buckets.results, "runs/*")

        # Each function times out no later than its state does, and so with an error of its own.
        self._add(
            "PlanRun",
            seconds=900,
            memory=1024,
            settings="WORKING_BUCKET RESULTS_BUCKET MODELS DEFAULT_MODEL THRESHOLD BATCH_SOURCE_BYTES MAX_CONCURRENCY"
            " SKIP_CLASSIFIED",
            rights=[
                *read_images,
                *read_runs,
                *read(buckets.results, "policy/*", "runs/*"),
                get(buckets.working, f"{paths.MANIFESTS}*"),
                *write(buckets.working, "runs/*", parts=True),  # images.jsonl is streamed
                self._describe_executions(),
            ],
        )
        self._add(
            "SerializeImageData",
            seconds=54,
            memory=ONE_CPU,
            settings="WORKING_BUCKET RESULTS_BUCKET MODELS MAX_PIXELS TABLE",
            rights=[
                *read_images,
                *read_runs,
                *write_runs,
                *read_rows,
                on_table(table, "BatchGetItem", "PartiQLInsert", "PutItem"),
            ],
        )
        self._add(
            "FilterLowConfidence",
            seconds=11,
            memory=512,
            settings="ENVIRONMENT WORKING_BUCKET RESULTS_BUCKET TABLE ALERT_TOPIC REVIEWS IMAGES_BUCKET UPLOAD_PREFIX",
            rights=[
                *read_runs,
                *write_runs,
                *write_rows,
                on_table(
                    table,
                    *("BatchGetItem", "BatchWriteItem", "GetItem", "PutItem"),
                    *(["PartiQLInsert"] if config.web else []),
                ),
                *write(buckets.results, "quarantine/*"),
                *(right for source in sources for right in tag(source)),
                *publish(alerts.topic, alerts.key),
            ],
        )
        self._add(
            "RecordFailure",
            seconds=11,
            memory=512,
            settings="WORKING_BUCKET RESULTS_BUCKET",
            rights=[*read_runs, *write_runs, *read_rows, *write_rows],
        )
        self._add(
            "SummarizeRun",
            seconds=900,
            memory=1024,
            settings="ENVIRONMENT WORKING_BUCKET RESULTS_BUCKET",
            rights=[
                *read_runs,
                *write_runs,
                *read(buckets.results, "results/*", "runs/*"),
                *write_rows,
                *write_summary,
            ],
        )
        self._add(
            "MakeContactSheet",
            seconds=110,
            memory=ONE_CPU,
            settings="WORKING_BUCKET RESULTS_BUCKET MAX_PIXELS",
            rights=[*read_images, *read_runs, *write(buckets.results, "runs/*/contact-sheet.jpg")],
        )
        self.classifiers = classifiers(self, config, buckets.working, rights=[*read_runs, *write_runs])

    @property
    def all(self) -> Mapping[str, lambda_.Function]:
        """Every function once, by its construct's name."""
        return {one.node.id: one for one in (*self.by_state.values(), *self.classifiers.values())}

    def _add(self, state: str, *, seconds: int, memory: int, settings: str, rights: list[iam.PolicyStatement]) -> None:
        """Add the function of `state`, its folder the state's name in snake case, told the named settings."""
        self.by_state[state] = function(
            self,
            state,
            self.config,
            folder=re.sub(r"(?<!^)(?=[A-Z])", "_", state).lower(),
            seconds=seconds,
            memory=memory,
            environment={name: self.settings[name] for name in settings.split()} | {"LOG_LEVEL": "INFO"},
            rights=rights,
        )

    def _describe_executions(self) -> iam.PolicyStatement:
        """Ask how executions of the state machine stand, whose name is computed: it is made after its functions."""
        arn = cdk.Stack.of(self).format_arn
        name = f"ics-{self.config.environment}-classify-images:*"
        return iam.PolicyStatement(
            actions=["states:DescribeExecution"],
            resources=[
                arn(
                    service="states",
                    resource="execution",
                    resource_name=name,
                    arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                )
            ],
        )
