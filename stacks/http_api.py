"""The HTTP API: API Gateway before one function. Who asks is checked there, what they may in the function."""

import json
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from ics import paths
from stacks.acknowledge import acknowledge
from stacks.alarm import alarm, metric
from stacks.alerts import Alerts
from stacks.buckets import Buckets
from stacks.classifiers import models_setting
from stacks.config import ONE_CPU, DeployConfig, WebConfig
from stacks.function import function
from stacks.log_group import log_group
from stacks.rights import publish, read, tag, write
from stacks.sign_in import SignIn
from stacks.table import on_table

SECONDS = 29  # API Gateway gives up after 30

ERRORS = 5

LOGGED = {  # Amazon API Gateway Developer Guide, "Customize HTTP API access logs"
    "request": "requestId",
    "at": "requestTimeEpoch",
    "route": "routeKey",
    "status": "status",
    "ms": "responseLatency",
    "error": "error.message",
    "refused": "authorizer.error",
}


class ApiFront(Construct):
    """`function`, and `api`, whose routes all lead to it: those under /v1 and /getPrediction for who has a token."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        settings: WebConfig,
        *,
        buckets: Buckets,
        table: dynamodb.ITable,
        alerts: Alerts,
        reviewers: iam.IRole,
        sign_in: SignIn,
        origin_secret: secretsmanager.ISecret,
    ) -> None:
        super().__init__(scope, construct_id)
        prefix = config.events.prefix if config.events else ""
        self.function = function(
            self,
            "Function",
            config,
            folder="api",
            seconds=SECONDS,
            memory=ONE_CPU,
            environment={
                "ENVIRONMENT": config.environment,
                "WORKING_BUCKET": buckets.working.bucket_name,
                "RESULTS_BUCKET": buckets.results.bucket_name,
                "IMAGES_BUCKET": buckets.images.bucket_name,
                "TABLE": table.table_name,
                "ALERT_TOPIC": alerts.topic.topic_arn,
                "STATE_MACHINE": _state_machine(self, config, "stateMachine"),
                "MODELS": models_setting(config, config.models),
                "DEFAULT_MODEL": config.default_model,
                "THRESHOLD": str(config.threshold),
                "MAX_PIXELS": str(config.max_pixels),
                "ORIGIN_SECRET": origin_secret.secret_arn,
                "REVIEWER_ROLE": reviewers.role_arn,
                **({"UPLOAD_PREFIX": prefix} if prefix else {}),
                **({"TEXT_MODEL": settings.text_model} if settings.text_model else {}),
                "LOG_LEVEL": "INFO",
            },
            rights=[
                *_rights(self, config, buckets, table, prefix),
                *publish(alerts.topic, alerts.key),
                # Its own role reads nothing in quarantine: for a caller who is a reviewer it takes on theirs.
                iam.PolicyStatement(actions=["sts:AssumeRole"], resources=[reviewers.role_arn]),
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[origin_secret.secret_arn]),
            ],
            failures="API Gateway hands each failure on to its caller",
        )
        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=f"ics-{config.environment}",
            create_default_stage=False,
            description="Asked through CloudFront only",
        )
        calls = log_group(self, "Calls", f"/aws/vendedlogs/apis/ics-{config.environment}", config)
        stage = self.api.add_stage(
            "Stage",
            stage_name="$default",
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(
                rate_limit=settings.requests_per_second, burst_limit=settings.burst_requests
            ),
        )
        # Where a request ended that no function saw, and why. The level-2 property fails in the CDK's Python.
        cast(
            apigateway.CfnStage, stage.node.default_child
        ).access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=calls.log_group_arn,
            format=json.dumps({name: f"$context.{where}" for name, where in LOGGED.items()}),
        )
        alarm(
            self,
            "api-errors",
            config,
            alerts.topic,
            metric=metric("AWS/ApiGateway", "5xx", {"ApiId": self.api.api_id}),
            threshold=ERRORS,
            says=f"The HTTP API failed {ERRORS} requests within five minutes.",
        )
        integration = integrations.HttpLambdaIntegration("Function", self.function)
        signed_in = authorizers.HttpUserPoolAuthorizer(
            "SignedIn",
            sign_in.pool,
            user_pool_clients=[sign_in.client],
            identity_source=["$request.header.Authorization"],
        )
        for path in ("/v1/{proxy+}", "/getPrediction"):
            self.api.add_routes(path=path, integration=integration, authorizer=signed_in)
        anybody = apigateway.HttpRoute(
            self, "Anybody", http_api=self.api, route_key=apigateway.HttpRouteKey.DEFAULT, integration=integration
        )
        open_to_all = "the document, its page, and what is not there: see docs/api.md"
        acknowledge(anybody, dict.fromkeys(("AwsSolutions-APIG4", "CKV_AWS_309"), open_to_all))


def _rights(
    scope: Construct, config: DeployConfig, buckets: Buckets, table: dynamodb.ITable, prefix: str
) -> list[iam.PolicyStatement]:
    sources = [buckets.images, *(s3.Bucket.from_bucket_name(scope, name, name) for name in config.source_buckets)]
    arn = cdk.Stack.of(scope).format_arn
    names = sorted({config.classifier_name(model) for model in config.models})
    functions = [
        arn(service="lambda", resource="function", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME)
        for name in names
    ]
    allow, executions = iam.PolicyStatement, _state_machine(scope, config, "execution")
    return [
        *(right for source in sources for right in read(source, "*", versions=True)),  # whose URL it gives away
        *write(buckets.images, f"{paths.API_IMAGES}*"),
        *(write(buckets.images, f"{prefix}*") if prefix else []),  # by the form of an upload
        *tag(buckets.images),
        *read(buckets.working, "runs/*"),
        *write(buckets.working, "runs/api-*"),
        *read(buckets.results, "results/*", "runs/*", "policy/*", "evaluations/*", "quarantine/*"),
        *write(buckets.results, f"results/*/run={paths.API_RUN}/*"),
        *write(buckets.results, "labels/*"),
        *write(buckets.results, "quarantine/*"),
        on_table(table, "BatchWriteItem", "DeleteItem", "GetItem", "PartiQLInsert", "PutItem", "Query", "UpdateItem"),
        allow(actions=["lambda:InvokeFunction"], resources=functions),
        allow(
            actions=["states:ListExecutions", "states:StartExecution"],
            resources=[_state_machine(scope, config, "stateMachine")],
        ),
        allow(actions=["states:DescribeExecution", "states:ListMapRuns"], resources=[f"{executions}:*"]),
        allow(actions=["states:DescribeMapRun"], resources=[f"{_state_machine(scope, config, 'mapRun')}/*"]),
    ]


def _state_machine(scope: Construct, config: DeployConfig, kind: str) -> str:
    """The ARN of the state machine, or as which those of its executions begin: its name is computed."""
    return cdk.Stack.of(scope).format_arn(
        service="states",
        resource=kind,
        resource_name=f"ics-{config.environment}-classify-images",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
