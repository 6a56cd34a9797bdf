"""The table: what must be decided once, and found by key. It holds no record of images; the rows in S3 are that."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig


def table(scope: Construct, construct_id: str, config: DeployConfig) -> dynamodb.Table:
    """The table `ics-<environment>`: string keys `pk` and `sk`; an item goes after its `expires`, in Unix seconds."""
    made = dynamodb.Table(
        scope,
        construct_id,
        table_name=f"ics-{config.environment}",
        partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        time_to_live_attribute="expires",
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=config.removal == "retain",
        removal_policy=cdk.RemovalPolicy[config.removal.upper()],
    )
    own_key = "encrypted with DynamoDB's own key; it holds hashes, labels, and names of runs and objects"
    acknowledge(made, {"CKV_AWS_119": own_key})
    return made


def on_table(made: dynamodb.ITable, *operations: str) -> iam.PolicyStatement:
    """The right to do these operations (`GetItem`, `BatchWriteItem`) on the table's items."""
    return iam.PolicyStatement(
        actions=[f"dynamodb:{operation}" for operation in operations], resources=[made.table_arn]
    )
