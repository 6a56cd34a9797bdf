"""Who may look at images in quarantine and release them: the role that `ics quarantine` assumes, and the HTTP API.

The images bucket denies such images to everyone whose principal does not carry the tag `ics-reviewer`: this role does.
"""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from ics.tagging import REVIEWER_TAG
from stacks.acknowledge import acknowledge, acknowledge_wildcards
from stacks.buckets import Buckets
from stacks.rights import read, write


def reviewer_role(scope: Construct, construct_id: str, buckets: Buckets) -> iam.Role:
    """The role. Principals of the account may assume it where their own policies allow sts:AssumeRole on it."""
    images = buckets.images.arn_for_objects("*")
    statements = [
        *read(buckets.images, "*", versions=True),
        iam.PolicyStatement(
            actions=[f"s3:{does}Object{what}Tagging" for does in ("Delete", "Get", "Put") for what in ("", "Version")],
            resources=[images],
        ),
        *read(buckets.results, "quarantine/*"),
        iam.PolicyStatement(actions=["s3:DeleteObject"], resources=[buckets.results.arn_for_objects("quarantine/*")]),
        *write(buckets.results, "audit/quarantine/*"),
    ]
    role = iam.Role(
        scope,
        construct_id,
        assumed_by=iam.AccountRootPrincipal(),
        description="Looks at images in quarantine, and releases them",
        inline_policies={"Review": iam.PolicyDocument(statements=statements)},
    )
    cdk.Tags.of(role).add(REVIEWER_TAG, "true")
    acknowledge_wildcards(role, statements, "any image may be in quarantine, and records are named after images")
    acknowledge(role, {"CKV_AWS_61": "the account's own principals, and of these who has sts:AssumeRole on it"})
    return role
