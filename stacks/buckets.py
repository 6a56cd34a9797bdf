"""The buckets: images and results are kept and versioned, working data goes after three days; access is logged."""

from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from ics.tagging import QUARANTINE_TAG, REVIEWER_TAG
from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig

CAPTURE_PREFIX = "capture"
CAPTURE_DAYS = 90
WORKING_DAYS = 3


class Buckets(Construct):
    """`images`: what people upload; `results`: results/, runs/, capture/, policy/, audit/ ...; `working`: runs/."""

    def __init__(self, scope: Construct, construct_id: str, config: DeployConfig) -> None:
        super().__init__(scope, construct_id)
        abort = s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1))
        tidy = s3.LifecycleRule(
            noncurrent_version_expiration=cdk.Duration.days(config.noncurrent_days), expired_object_delete_marker=True
        )
        capture = s3.LifecycleRule(prefix=f"{CAPTURE_PREFIX}/", expiration=cdk.Duration.days(CAPTURE_DAYS))
        expire = s3.LifecycleRule(expiration=cdk.Duration.days(WORKING_DAYS))
        removal = cdk.RemovalPolicy[config.removal.upper()]

        forget = s3.LifecycleRule(expiration=cdk.Duration.days(config.log_days))
        access = self._bucket("AccessLogs", lifecycle_rules=[abort, forget], removal_policy=cdk.RemovalPolicy.DESTROY)
        self.images: s3.IBucket
        if config.images_bucket is not None:
            self.images = s3.Bucket.from_bucket_name(self, "Images", config.images_bucket)
        else:
            images = self._bucket(
                "Images",
                versioned=True,
                lifecycle_rules=[abort, tidy],
                removal_policy=removal,
                server_access_logs_bucket=access,
                server_access_logs_prefix="images/",
                cors=_from_the_page(config),
            )
            _hide_quarantined(images)
            if config.events is not None:
                _tell_eventbridge(images)
            self.images = images
        self.results = self._bucket(
            "Results",
            versioned=True,
            lifecycle_rules=[abort, tidy, capture],
            removal_policy=removal,
            server_access_logs_bucket=access,
            server_access_logs_prefix="results/",
            # Requests under each endpoint's capture prefix are counted: without them nobody sees that capture stopped.
            metrics=[
                s3.BucketMetrics(id=name, prefix=f"{CAPTURE_PREFIX}/{name}/")
                for name in map(config.endpoint_name, config.endpoints)
            ],
        )
        self.working = self._bucket(
            "Working",
            lifecycle_rules=[abort, expire],
            removal_policy=cdk.RemovalPolicy.DESTROY,
            server_access_logs_bucket=access,
            server_access_logs_prefix="working/",
        )
        acknowledge(
            access,
            {
                "CKV_AWS_18": "a bucket of access logs that logged its own requests would never end",
                "CKV_AWS_21": "S3 writes each log once, under a name of its own, and nobody else may",
            },
        )
        acknowledge(
            self.working, {"CKV_AWS_21": "what it holds is made again by a repeated run and is gone after three days"}
        )

    def _bucket(self, construct_id: str, **properties: Any) -> s3.Bucket:
        return s3.Bucket(
            self,
            construct_id,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            **properties,
        )


def _from_the_page(config: DeployConfig) -> list[s3.CorsRule] | None:
    """Let browsers upload by a form that the HTTP API signed; without it, no origin may do anything."""
    if config.web is None:
        return None
    return [s3.CorsRule(allowed_methods=[s3.HttpMethods.POST], allowed_origins=["*"], allowed_headers=["*"])]


def _hide_quarantined(images: s3.Bucket) -> None:
    """Deny what is tagged `ics-quarantine` to all but reviewers: to read it, and to change its tags.

    To set the tag in the first place is not denied: the object does not carry it then.
    """
    images.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Quarantine",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=[
                "s3:GetObject",
                "s3:GetObjectVersion",
                *(f"s3:{does}Object{what}Tagging" for does in ("Delete", "Put") for what in ("", "Version")),
            ],
            resources=[images.arn_for_objects("*")],
            conditions={
                "StringEquals": {f"s3:ExistingObjectTag/{QUARANTINE_TAG}": "true"},
                "StringNotEquals": {f"aws:PrincipalTag/{REVIEWER_TAG}": "true"},
            },
        )
    )


def _tell_eventbridge(bucket: s3.Bucket) -> None:
    """Have S3 tell EventBridge of the bucket's objects. The level-2 property does it by a function of its own."""
    notifications = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
    cast(s3.CfnBucket, bucket.node.default_child).notification_configuration = notifications
