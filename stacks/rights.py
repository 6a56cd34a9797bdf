"""IAM statements on buckets, one action list a purpose: never a wildcard action."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns


def read(bucket: s3.IBucket, *keys: str, versions: bool = False) -> list[iam.PolicyStatement]:
    """Get the objects that match any of `keys`, of a given version too where `versions`, and list the bucket.

    S3 answers 404 for a missing key to whoever may list the bucket, unconditionally, and 403 to everyone else: a reader
    that may not list cannot tell a deleted image from a forbidden one.
    """
    return [
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
        get(bucket, *keys, versions=versions),
    ]


def publish(topic: sns.ITopic, key: kms.IKey) -> list[iam.PolicyStatement]:
    """Publish to a topic that is encrypted with this key: SNS Developer Guide, "Managing encryption keys and costs"."""
    return [
        iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn]),
        iam.PolicyStatement(actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[key.key_arn]),
    ]


def tag(bucket: s3.IBucket) -> list[iam.PolicyStatement]:
    """Read and set the tags of any object, of a given version too, and tell a missing object from a forbidden one."""
    actions = [f"s3:{does}Object{what}Tagging" for does in ("Get", "Put") for what in ("", "Version")]
    return [
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
        iam.PolicyStatement(actions=actions, resources=[bucket.arn_for_objects("*")]),
    ]


def get(bucket: s3.IBucket, *keys: str, versions: bool = False) -> iam.PolicyStatement:
    """Get the objects that match any of `keys`, which are there, of a given version too where `versions`."""
    actions = ["s3:GetObject", "s3:GetObjectVersion"] if versions else ["s3:GetObject"]
    return iam.PolicyStatement(actions=actions, resources=[bucket.arn_for_objects(pattern) for pattern in keys])


def write(bucket: s3.IBucket, keys: str, *, parts: bool = False) -> list[iam.PolicyStatement]:
    """Put objects that match `keys`; of several `parts` too, which are taken back where one fails."""
    actions = ["s3:AbortMultipartUpload", "s3:PutObject"] if parts else ["s3:PutObject"]
    return [iam.PolicyStatement(actions=actions, resources=[bucket.arn_for_objects(keys)])]
