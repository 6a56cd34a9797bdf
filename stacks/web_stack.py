"""WebStack: what faces the network: sign-in, the HTTP API, and the page, behind one CloudFront distribution."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.alerts import Alerts
from stacks.buckets import Buckets
from stacks.config import DeployConfig, WebConfig
from stacks.front_door import FrontDoor
from stacks.http_api import ApiFront
from stacks.sign_in import SignIn


class WebStack(cdk.Stack):
    """Its outputs are what the `ics` command and the page need."""

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
        **properties: Any,
    ) -> None:
        super().__init__(scope, construct_id, **properties)
        secret = secretsmanager.Secret(
            self,
            "OriginSecret",
            description="What CloudFront adds to each request, by which the API knows it",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=48, exclude_punctuation=True, require_each_included_type=True
            ),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        by_hand = "a new one is deployed to both sides at once: docs/api.md says how"
        own_key = "encrypted with Secrets Manager's own key; it opens no more than the API to who has a token"
        acknowledge(secret, {"AwsSolutions-SMG4": by_hand, "CKV2_AWS_57": by_hand, "CKV_AWS_149": own_key})
        sign_in = SignIn(self, "SignIn", config)
        front = ApiFront(
            self,
            "Api",
            config,
            settings,
            buckets=buckets,
            table=table,
            alerts=alerts,
            reviewers=reviewers,
            sign_in=sign_in,
            origin_secret=secret,
        )
        host = f"{front.api.api_id}.execute-api.{self.region}.{self.url_suffix}"
        door = FrontDoor(self, "FrontDoor", config, settings, api_host=host, origin_secret=secret)
        for key, value in {
            "SiteBucketName": door.site.bucket_name,
            "PageDomain": door.distribution.distribution_domain_name,
            "DistributionId": door.distribution.distribution_id,
            "ApiHost": host,
            "UserPoolId": sign_in.pool.user_pool_id,
            "UserPoolClientId": sign_in.client.user_pool_client_id,
        }.items():
            cdk.CfnOutput(self, key, value=value)
