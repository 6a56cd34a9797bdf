"""The three buckets: images and results are kept and versioned, working data is gone after three days."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.config import DeployConfig

CAPTURE_DAYS = 90
WORKING_DAYS = 3


class Buckets(Construct):
    """`images` (what people upload), `results` (results/, runs/, capture/) and `working` (runs/: plans and staging)."""

    def __init__(self, scope: Construct, construct_id: str, config: DeployConfig) -> None:
        super().__init__(scope, construct_id)
        abort = s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1))
        tidy = s3.LifecycleRule(
            noncurrent_version_expiration=cdk.Duration.days(config.noncurrent_days), expired_object_delete_marker=True
        )
        capture = s3.LifecycleRule(prefix="capture/", expiration=cdk.Duration.days(CAPTURE_DAYS))
        expire = s3.LifecycleRule(expiration=cdk.Duration.days(WORKING_DAYS))
        removal = cdk.RemovalPolicy[config.removal.upper()]

        self.images = self._bucket("Images", versioned=True, lifecycle_rules=[abort, tidy], removal_policy=removal)
        self.results = self._bucket(
            "Results", versioned=True, lifecycle_rules=[abort, tidy, capture], removal_policy=removal
        )
        self.working = self._bucket(
            "Working", lifecycle_rules=[abort, expire], removal_policy=cdk.RemovalPolicy.DESTROY
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
