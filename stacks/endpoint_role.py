"""What a model's container may do: read its artifact, be pulled, log, count, and leave captured traffic."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks.acknowledge import acknowledge_wildcards
from stacks.serving_image import ServingImage


def endpoint_role(
    scope: Construct,
    construct_id: str,
    *,
    artifact: s3_assets.Asset,
    image: ServingImage,
    log_group: logs.LogGroup,
    results: s3.IBucket,
    capture_prefix: str,
) -> iam.Role:
    """SageMaker's execution role: what its Developer Guide lists for CreateModel, narrowed to this endpoint.

    The policy is part of the role, so whatever depends on the role finds the rights in place.
    """
    allow = iam.PolicyStatement
    statements = [
        allow(actions=["s3:GetObject"], resources=[artifact.bucket.arn_for_objects(artifact.s3_object_key)]),
        allow(actions=["s3:PutObject"], resources=[results.arn_for_objects(f"{capture_prefix}/*")]),
        allow(
            actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],  # ends in :*, which is the group's streams
        ),
        # CloudWatch knows no resources for metrics; the namespaces are SageMaker's.
        allow(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/*"]}},
        ),
    ]
    if image.repository is not None:
        statements += [
            allow(
                actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                resources=[image.repository.repository_arn],
            ),
            allow(actions=["ecr:GetAuthorizationToken"], resources=["*"]),  # ECR knows no resource for a login
        ]
    role = iam.Role(
        scope,
        construct_id,
        assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
        inline_policies={"Serve": iam.PolicyDocument(statements=statements)},
    )
    acknowledge_wildcards(
        role,
        statements,
        "SageMaker names what it captures, under one prefix; metrics and a registry login have no resource",
    )
    return role
