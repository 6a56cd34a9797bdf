"""The functions that the state ClassifyImage may invoke: one for endpoints, one for Rekognition, one a model in Lambda.

PlanRun names a run's function, by the MODELS setting; the state machine may invoke those made here, and no other.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from ics.artifact import FILES, load_spec
from stacks.config import ROOT, DeployConfig, EndpointModel, LambdaModel, ModelConfig, RekognitionModel
from stacks.function import function

SECONDS = 54  # one less than ClassifyImage's TimeoutSeconds, so that a function times out with an error of its own
SERVING = ("__init__.py", "beam.py", "ctc.py", "language.py", "model.py")  # of serving/, what computes predictions


def classifiers(
    scope: Construct,
    config: DeployConfig,
    working: s3.IBucket,
    rights: Sequence[iam.PolicyStatement],
) -> dict[str, lambda_.Function]:
    """The function of each model, by the model's name; `rights` are on the working bucket, which all need."""
    common = {"WORKING_BUCKET": working.bucket_name, "LOG_LEVEL": "INFO"}
    made: dict[str, lambda_.Function] = {}

    def one_for_all(construct_id: str, folder: str, models: list[str], statements: list[iam.PolicyStatement]) -> None:
        if models:
            shared = function(
                scope,
                construct_id,
                config,
                folder=folder,
                seconds=SECONDS,
                memory=512,
                environment={**common, "MODELS": models_setting(config, models)},
                rights=[*rights, *statements],
            )
            made.update(dict.fromkeys(models, shared))

    one_for_all("ClassifyImage", "classify_image", list(config.endpoints), [_invoke_endpoints(scope, config)])
    detecting = {name: model for name, model in config.models.items() if isinstance(model, RekognitionModel)}
    one_for_all(
        "ClassifyWithRekognition", "classify_with_rekognition", list(detecting), _detect(list(detecting.values()))
    )
    for name, model in config.models.items():
        if isinstance(model, LambdaModel):
            load_spec(ROOT / model.artifact)  # what would fail on its first invocation fails here
            made[name] = function(
                scope,
                f"ClassifyInLambda-{name}",
                config,
                folder="classify_in_lambda",
                suffix=name,
                seconds=SECONDS,
                memory=model.memory,
                environment=common,
                rights=rights,
                further={f"serving/{file}": ROOT / "serving" / file for file in SERVING}
                | {f"model/{file}": ROOT / model.artifact / file for file in FILES},
            )
    return made


def models_setting(config: DeployConfig, models: Iterable[str]) -> str:
    """The MODELS setting: JSON of these models' `lambdas.runtime.ModelSettings`.

    Raises `ics.errors.InvalidArtifact` for an artifact that is missing or contradicts itself.
    """
    found = {name: _setting(config, name, config.models[name]) for name in models}
    return json.dumps(found, separators=(",", ":"))


def _setting(config: DeployConfig, name: str, model: ModelConfig) -> dict[str, Any]:
    setting: dict[str, Any] = {"classify": config.classifier_name(name), "batch_images": model.batch_images}
    match model:
        case RekognitionModel():
            version = {"version_arn": model.custom_labels_version_arn} if model.custom_labels_version_arn else {}
            asked = {"max_labels": model.max_labels, "min_confidence": model.min_confidence, **version}
            return {**setting, "detection": asked, "max_concurrency": model.max_concurrency}
        case EndpointModel() | LambdaModel():
            spec = load_spec(config.artifacts[name])
            endpoint = {"endpoint": config.endpoint_name(name)} if isinstance(model, EndpointModel) else {}
            return {**setting, **endpoint, "input": asdict(spec.input), "version": spec.version}
    raise AssertionError(model)


def _invoke_endpoints(scope: Construct, config: DeployConfig) -> iam.PolicyStatement:
    """Invoke the environment's endpoints, whose names are computed."""
    arn = cdk.Stack.of(scope).format_arn
    names = map(config.endpoint_name, config.endpoints)
    return iam.PolicyStatement(
        actions=["sagemaker:InvokeEndpoint"],
        resources=[arn(service="sagemaker", resource="endpoint", resource_name=name) for name in names],
    )


def _detect(models: Sequence[RekognitionModel]) -> list[iam.PolicyStatement]:
    """Ask what the models ask. DetectLabels knows no resource (Service Authorization Reference), a version is one."""
    versions = [model.custom_labels_version_arn for model in models if model.custom_labels_version_arn]
    statements = []
    if len(versions) < len(models):
        statements.append(iam.PolicyStatement(actions=["rekognition:DetectLabels"], resources=["*"]))
    if versions:
        statements.append(iam.PolicyStatement(actions=["rekognition:DetectCustomLabels"], resources=versions))
    return statements
