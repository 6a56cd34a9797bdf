"""What a training job may do: read data, be pulled, log, count, and leave under `training/` in `results` what it makes.

`ics train --env` passes this role to SageMaker; the job's code is that of whoever starts it.
"""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.acknowledge import acknowledge_wildcards
from stacks.buckets import Buckets
from stacks.config import TRAINING_PREFIX, DeployConfig
from stacks.rights import read, write


def training_role(scope: Construct, construct_id: str, config: DeployConfig, buckets: Buckets) -> iam.Role:
    """SageMaker's execution role: what its Developer Guide lists for CreateTrainingJob, narrowed to these buckets.

    Data is read from the images bucket and the environment's `source_buckets`. The image is one of AWS's own PyTorch
    images, in the account where AWS keeps them for the region.
    """
    allow = iam.PolicyStatement
    made = f"{TRAINING_PREFIX}/*"
    sources = [
        s3.Bucket.from_bucket_name(scope, f"{construct_id}Source{number}", name)
        for number, name in enumerate(config.source_buckets)
    ]
    stack = cdk.Stack.of(scope)
    logs = stack.format_arn(
        service="logs",
        resource="log-group",
        resource_name="/aws/sagemaker/TrainingJobs*",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    images = stack.format_arn(service="ecr", account="*", resource="repository", resource_name="pytorch-training")
    statements = [
        *(statement for bucket in (buckets.images, *sources) for statement in read(bucket, "*")),
        *read(buckets.results, made),
        *write(buckets.results, made, parts=True),
        # The group is the account's, not the environment's: SageMaker names it, and all training jobs share it.
        allow(
            actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            resources=[logs],
        ),
        # CloudWatch knows no resources for metrics; the namespace is SageMaker's.
        allow(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*"]}},
        ),
        allow(
            actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            resources=[images],
        ),
        allow(actions=["ecr:GetAuthorizationToken"], resources=["*"]),  # ECR knows no resource for a login
    ]
    role = iam.Role(
        scope,
        construct_id,
        assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
        inline_policies={"Train": iam.PolicyDocument(statements=statements)},
    )
    acknowledge_wildcards(
        role,
        statements,
        "data lies under any key, what is made under one prefix; SageMaker names log streams, AWS keeps its images in "
        "an account for each region; metrics and a registry login have no resource",
    )
    return role
