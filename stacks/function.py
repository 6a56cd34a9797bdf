"""One Lambda function: its asset, its role, its log group, its settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stacks.acknowledge import acknowledge, acknowledge_wildcards
from stacks.bundling import bundle, target_of
from stacks.config import ConfigError, DeployConfig
from stacks.log_group import log_group

ENVIRONMENT_BYTES = 4096  # Lambda's quota for all of a function's environment variables
BUCKET_NAME_BYTES = 63  # what a bucket's name may become, where it is not known before deployment

# What the checks ask of any function, and why these do without.
DONE_WITHOUT = {
    "Serverless-LambdaTracing": "logs carry run and batch, and the execution's history times every state",
    "CKV_AWS_115": "the Map's MaxConcurrency is the limit; a reservation would take from all the account's functions",
    "CKV_AWS_117": "it calls AWS's own endpoints with signed requests and has nothing in a VPC to reach",
    "CKV_AWS_173": "the settings are names and numbers, no secrets, and Lambda encrypts them at rest",
}
SEEN_BY_ITS_CALLER = "invoked synchronously: the state machine sees each failure, retries and catches it"
ON_THE_HOST = dict.fromkeys(
    ("AwsSolutions-L1", "Serverless-LambdaLatestVersion"), "it runs on the Python of the machine that emulates AWS"
)


def function(
    scope: Construct,
    construct_id: str,
    config: DeployConfig,
    *,
    folder: str,
    seconds: int,
    memory: int,
    environment: Mapping[str, str],
    rights: Sequence[iam.PolicyStatement],
    failures: str = SEEN_BY_ITS_CALLER,
    suffix: str = "",
    further: Mapping[str, Path] | None = None,
) -> lambda_.Function:
    """The function of `lambdas/<folder>`, named `ics-<environment>-<folder>[-<suffix>]`, with `memory` in MiB.

    Its asset holds the `further` files, by their names there. Its role may write its own log and do what `rights` say,
    nothing else. `failures` says why it needs no dead-letter queue of its own. Raises `ConfigError` where the settings
    exceed Lambda's quota, and `BundlingError`.
    """
    size = sum(
        len(key) + (BUCKET_NAME_BYTES if cdk.Token.is_unresolved(value) else len(value.encode()))
        for key, value in environment.items()
    )
    if size > ENVIRONMENT_BYTES:
        raise ConfigError(
            f"{construct_id}: {size} bytes of environment variables exceed Lambda's {ENVIRONMENT_BYTES};"
            " name fewer models"
        )
    name = "-".join(part for part in ("ics", config.environment, folder.replace("_", "-"), suffix) if part)
    target = target_of(config.lambda_)
    group = log_group(scope, f"{construct_id}Logs", f"/aws/lambda/{name}", config)
    log = iam.PolicyStatement(
        actions=["logs:CreateLogStream", "logs:PutLogEvents"],
        resources=[group.log_group_arn],  # ends in :*, which is the group's streams
    )
    role = iam.Role(
        scope,
        f"{construct_id}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        inline_policies={"Run": iam.PolicyDocument(statements=[log, *rights])},
    )
    acknowledge_wildcards(
        role,
        rights,
        "people and runs name objects: the prefix is as narrow as it is; Rekognition's DetectLabels has no resource",
    )
    if any("*" in right.resources for right in rights):
        acknowledge(role, {"Serverless-LambdaStarPermissions": "Rekognition's DetectLabels has no resource"})
    made = lambda_.Function(
        scope,
        construct_id,
        function_name=name,
        code=lambda_.Code.from_asset(
            str(bundle(folder, target, name=f"{folder}.{suffix}" if suffix else None, further=further))
        ),
        handler=f"lambdas.{folder}.handler.handler",
        runtime=lambda_.Runtime(f"python{target.python}", lambda_.RuntimeFamily.PYTHON),
        architecture=lambda_.Architecture.ARM_64 if target.architecture == "arm64" else lambda_.Architecture.X86_64,
        role=role,
        log_group=group,
        environment=dict(environment),
        timeout=cdk.Duration.seconds(seconds),
        memory_size=memory,
    )
    no_queue = dict.fromkeys(("Serverless-LambdaDLQ", "CKV_AWS_116"), failures)
    acknowledge(made, DONE_WITHOUT | no_queue | (ON_THE_HOST if target.is_host else {}))
    return made
