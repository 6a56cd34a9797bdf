"""The CDK app: read one environment's configuration, build its stacks, synthesize. No AWS call, no Docker.

`cdk synth -c env=NAME` chooses `environments/NAME.toml`; the default is `local`.
"""

import aws_cdk as cdk

from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig, load_config
from stacks.data_stack import DataStack
from stacks.learning_stack import LearningStack
from stacks.model_stack import ModelStack
from stacks.pipeline_stack import PipelineStack
from stacks.web_stack import WebStack


def build(app: cdk.App, config: DeployConfig) -> None:
    """Add the environment's stacks to the app, in the order in which they are deployed."""
    prefix = f"ics-{config.environment}"
    target = cdk.Environment(account=config.account, region=config.region)
    keep = config.removal == "retain"

    data = DataStack(app, f"{prefix}-data", config, env=target, termination_protection=keep)
    pipeline = PipelineStack(
        app, f"{prefix}-pipeline", config, env=target, buckets=data.buckets, table=data.table, alerts=data.alerts
    )
    learning = LearningStack(
        app, f"{prefix}-learning", config, env=target, buckets=data.buckets, topic=data.alerts.topic
    )
    stacks: list[cdk.Stack] = [data, pipeline, learning]
    if config.endpoints:  # CloudFormation takes no stack without a resource
        results, topic = data.buckets.results, data.alerts.topic
        model = ModelStack(app, f"{prefix}-model", config, env=target, results=results, topic=topic)
        pipeline.add_stack_dependency(model)  # a run needs its model's endpoint, which it knows by its computed name
        stacks.append(model)
    if config.web is not None:
        web = WebStack(
            app, f"{prefix}-web", config, config.web, env=target,
            buckets=data.buckets, table=data.table, alerts=data.alerts, reviewers=data.reviewers,
        )  # fmt: skip
        web.add_stack_dependency(pipeline)  # whose functions and state machine it knows by their computed names
        stacks.append(web)
    for stack in stacks:
        acknowledge(stack, {"W3005": "the CDK says a dependency twice, by reference and DependsOn: no fault"})


if __name__ == "__main__":
    app = cdk.App()
    build(app, load_config(app.node.try_get_context("env") or "local"))
    app.synth()
