"""Log groups that expire: named and made here, because one that a service makes is kept for ever."""

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig


def log_group(scope: Construct, construct_id: str, name: str, config: DeployConfig) -> logs.LogGroup:
    """The log group `name`, kept for `config.log_days`.

    It goes with its stack everywhere: a group left behind would keep the stack from being deployed again.
    """
    group = logs.LogGroup(scope, construct_id, log_group_name=name, removal_policy=cdk.RemovalPolicy.DESTROY)
    # The level-2 property is an enumeration that cannot be made from a number of days.
    cast(logs.CfnLogGroup, group.node.default_child).retention_in_days = config.log_days
    acknowledge(group, {"CKV_AWS_158": "CloudWatch Logs encrypts all groups; these hold ids and counts, no images"})
    return group
