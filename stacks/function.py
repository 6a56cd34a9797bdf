"""One Lambda function: its asset, its role, its log group, its settings."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stacks.bundling import bundle, target_of
from stacks.config import ConfigError, DeployConfig
from stacks.log_group import log_group

ENVIRONMENT_BYTES = 4096  # Lambda's quota for all of a function's environment variables
BUCKET_NAME_BYTES = 63  # what a bucket's name may become, where it is not known before deployment


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
) -> lambda_.Function:
    """The function of `lambdas/<folder>`, named `ics-<environment>-<folder>`, with `memory` in MiB.

    Its role may write its own log and do what `rights` say, nothing else. Raises `ConfigError` where the settings
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
    name = f"ics-{config.environment}-{folder.replace('_', '-')}"
    target = target_of(config.lambda_)
    group = log_group(scope, f"{construct_id}Logs", f"/aws/lambda/{name}", config)
    log = iam.PolicyStatement(
        actions=["logs:CreateLogStream", "logs:PutLogEvents"],
        resources=[group.log_group_arn],  # ends in :*, which is the group's streams
    )
    return lambda_.Function(
        scope,
        construct_id,
        function_name=name,
        code=lambda_.Code.from_asset(str(bundle(folder, target))),
        handler=f"lambdas.{folder}.handler.handler",
        runtime=lambda_.Runtime(f"python{target.python}", lambda_.RuntimeFamily.PYTHON),
        architecture=lambda_.Architecture.ARM_64 if target.architecture == "arm64" else lambda_.Architecture.X86_64,
        role=iam.Role(
            scope,
            f"{construct_id}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"Run": iam.PolicyDocument(statements=[log, *rights])},
        ),
        log_group=group,
        environment=dict(environment),
        timeout=cdk.Duration.seconds(seconds),
        memory_size=memory,
    )
