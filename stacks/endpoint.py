"""One model's endpoint: what SageMaker runs, what it captures, and when a bad update rolls back.

Model and EndpointConfig cannot be changed, only replaced, so their names end in a hash of their properties; the
endpoint's own name is stable. Level-1 constructs: the level-2 ones lack data capture and deployment guardrails.
"""

import hashlib
import json
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.artifact import pack_artifact
from stacks.buckets import CAPTURE_PREFIX
from stacks.config import ROOT, DeployConfig
from stacks.endpoint_alarms import EndpointAlarms
from stacks.endpoint_role import endpoint_role
from stacks.log_group import log_group
from stacks.serving_image import serving_image


class Endpoint(Construct):
    """The endpoint of one of the environment's models, its traffic captured under `capture/` in `results`."""

    def __init__(
        self, scope: Construct, model_name: str, config: DeployConfig, *, results: s3.IBucket, topic: sns.ITopic
    ) -> None:
        super().__init__(scope, model_name)
        name, settings = config.endpoint_name(model_name), config.endpoints[model_name]
        image = serving_image(self, "Image", config, settings)
        artifact = s3_assets.Asset(self, "Artifact", path=str(pack_artifact(ROOT / settings.artifact)))
        group = log_group(self, "Logs", f"/aws/sagemaker/Endpoints/{name}", config)  # where SageMaker writes
        role = endpoint_role(
            self,
            "Role",
            artifact=artifact,
            image=image,
            log_group=group,
            results=results,
            capture_prefix=CAPTURE_PREFIX,
        )

        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=image.uri, model_data_source=_gzipped_tar(artifact)
            ),
            enable_network_isolation=True,  # SageMaker fetches the artifact and captures; the container asks nobody
        )
        model.model_name = self._versioned(
            name, model.execution_role_arn, model.primary_container, model.enable_network_isolation
        )
        model.node.add_dependency(role)

        endpoint_config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=settings.variant,
                    model_name=model.model_name,
                    instance_type=settings.instance_type,
                    initial_instance_count=settings.instance_count,
                    initial_variant_weight=1,
                )
            ],
            data_capture_config=_capture(settings.capture_percent, results),
        )
        endpoint_config.endpoint_config_name = self._versioned(
            name, endpoint_config.production_variants, endpoint_config.data_capture_config
        )
        endpoint_config.add_resource_dependency(model)

        alarm = EndpointAlarms(self, "Alarms", config, topic, model=model_name, results=results).server_errors
        self.endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=name,
            endpoint_config_name=endpoint_config.endpoint_config_name,
            deployment_config=_rollback_on(alarm),
        )
        self.endpoint.add_resource_dependency(endpoint_config)
        self.endpoint.node.add_dependency(group, alarm)

    def _versioned(self, prefix: str, *properties: Any) -> str:
        """A name of at most 63 characters that differs whenever the properties do."""
        text = json.dumps(cdk.Stack.of(self).resolve(list(properties)), sort_keys=True)
        return f"{prefix[:50].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _gzipped_tar(artifact: s3_assets.Asset) -> sagemaker.CfnModel.ModelDataSourceProperty:
    """Where SageMaker finds model.tar.gz; `ModelDataUrl` would want the ending .tar.gz, which CDK cuts to .gz."""
    source = sagemaker.CfnModel.S3DataSourceProperty(
        s3_uri=artifact.s3_object_url, s3_data_type="S3Object", compression_type="Gzip"
    )
    return sagemaker.CfnModel.ModelDataSourceProperty(s3_data_source=source)


def _capture(percent: int, results: s3.IBucket) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty:
    """Both JSON types are declared: what is not would be captured as BASE64."""
    config = sagemaker.CfnEndpointConfig
    return config.DataCaptureConfigProperty(
        enable_capture=percent > 0,
        initial_sampling_percentage=percent,
        destination_s3_uri=results.s3_url_for_object(CAPTURE_PREFIX),
        capture_options=[config.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")],
        capture_content_type_header=config.CaptureContentTypeHeaderProperty(
            json_content_types=["application/json", "application/jsonlines"]
        ),
    )


def _rollback_on(alarm: cloudwatch.Alarm) -> sagemaker.CfnEndpoint.DeploymentConfigProperty:
    """Blue/green: all traffic goes to the new fleet, the old one waits five minutes for the alarm before it goes."""
    endpoint = sagemaker.CfnEndpoint
    return endpoint.DeploymentConfigProperty(
        auto_rollback_configuration=endpoint.AutoRollbackConfigProperty(
            alarms=[endpoint.AlarmProperty(alarm_name=alarm.alarm_name)]
        ),
        blue_green_update_policy=endpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=endpoint.TrafficRoutingConfigProperty(type="ALL_AT_ONCE"),
            termination_wait_in_seconds=300,
            maximum_execution_timeout_in_seconds=3600,
        ),
    )
