"""How accurate the models are, by map and reduce: the state machine of an evaluation, its functions, its alarm."""

import re

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.acknowledge import acknowledge_wildcards
from stacks.alarm import alarm, metric
from stacks.buckets import Buckets
from stacks.config import ONE_CPU, ROOT, DeployConfig
from stacks.function import function
from stacks.rights import get, read, write
from stacks.run_alarms import NAMESPACE
from stacks.state_machine import on_children, state_machine

DEFINITION = ROOT / "statemachine" / "evaluate.asl.json"
FILES = "evaluations/*"
FAILED = "EvaluationFailed"
"""The Fail state of what is no fault of the request, which goes to another."""


class Accuracy(Construct):
    """The Standard state machine `ics-<environment>-evaluate`. It costs nothing while nobody starts it."""

    def __init__(
        self, scope: Construct, construct_id: str, config: DeployConfig, *, buckets: Buckets, topic: sns.ITopic
    ) -> None:
        super().__init__(scope, construct_id)
        functions = self._functions(config, buckets)
        arns = {state: one.function_arn for state, one in functions.items()}
        made = state_machine(self, config, f"ics-{config.environment}-evaluate", DEFINITION, arns)
        self.state_machine = made.machine
        plans = [buckets.working.arn_for_objects(f"{FILES}/{name}.jsonl") for name in ("shards", "partitions")]
        rights = [
            *on_children(made.machine),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=plans),
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=list(arns.values())),
        ]
        policy = iam.Policy(self, "Rights", roles=[made.role], statements=rights)
        acknowledge_wildcards(policy, rights, "executions and each evaluation's plan get names only when it starts")
        self._alarm(config, topic, made.log)

    def _functions(self, config: DeployConfig, buckets: Buckets) -> dict[str, lambda_.Function]:
        """By the state's name, the function; its folder is the same in snake case."""
        sources = [buckets.images, *(s3.Bucket.from_bucket_name(self, name, name) for name in config.source_buckets)]
        listed = iam.PolicyStatement(
            actions=["s3:ListBucket"], resources=[one.bucket_arn for one in (*sources, buckets.results)]
        )
        read_files, write_files = read(buckets.working, FILES), write(buckets.working, FILES)
        rights: dict[str, tuple[int, list[iam.PolicyStatement]]] = {
            "PlanEvaluation": (
                1024,
                [
                    listed,
                    get(buckets.results, "policy/*"),
                    *write(buckets.working, FILES, parts=True),  # files.jsonl is streamed
                ],
            ),
            "PartitionShard": (
                ONE_CPU,
                [
                    get(buckets.results, "labels/*", "results/*"),
                    *(get(one, "*") for one in sources),
                    get(buckets.working, f"{FILES}/files.jsonl"),
                    *write_files,
                ],
            ),
            "LocateImages": (ONE_CPU, [*read_files, *write_files]),
            "CountPartition": (ONE_CPU, [*read_files, *write_files]),
            "ReduceCounts": (1024, [*read_files, *write(buckets.results, FILES)]),
        }
        settings = {
            "WORKING_BUCKET": buckets.working.bucket_name,
            "RESULTS_BUCKET": buckets.results.bucket_name,
            "THRESHOLD": str(config.threshold),
            "LOG_LEVEL": "INFO",
        }
        return {
            state: function(
                self,
                state,
                config,
                folder=re.sub(r"(?<!^)(?=[A-Z])", "_", state).lower(),
                seconds=895,  # its state gives it 900, so that it times out with an error of its own
                memory=memory,
                environment=settings,
                rights=granted,
            )
            for state, (memory, granted) in rights.items()
        }

    def _alarm(self, config: DeployConfig, topic: sns.ITopic, log: logs.LogGroup) -> None:
        """Counts entries into the state `FAILED`, which the state machine logs at its level ERROR, without data."""
        name = f"FailedEvaluations-{config.environment}"  # a filter's dimension must be a field of the line
        pattern = f'{{ ($.type = "FailStateEntered") && ($.details.name = "{FAILED}") }}'
        logs.MetricFilter(
            self,
            "Failed",
            log_group=log,
            metric_namespace=NAMESPACE,
            metric_name=name,
            filter_pattern=logs.FilterPattern.literal(pattern),
            metric_value="1",
        )
        alarm(
            self,
            "evaluation-failed",
            config,
            topic,
            metric=metric(NAMESPACE, name, {}),
            threshold=1,
            says="An evaluation broke off: the accuracy that is shown is that of the one before.",
        )
