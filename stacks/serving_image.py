"""The container that serves models: an image built from `serving/Dockerfile` when deploying, or one that exists."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from stacks.artifact import FILES
from stacks.config import ROOT, DeployConfig, EndpointModel


@dataclass(frozen=True)
class ServingImage:
    """An image's URI, and the repository to pull it from where this app built it."""

    uri: str
    repository: ecr.IRepository | None = None


def serving_image(scope: Construct, construct_id: str, config: DeployConfig, model: EndpointModel) -> ServingImage:
    """The image for the model's kind of instance. Synthesis only hashes the sources: Docker is needed to deploy."""
    if config.serving_image is not None:
        return ServingImage(config.serving_image)
    graviton = model.architecture == "arm64"
    baked = PurePosixPath(config.endpoints.get(config.default_model, next(iter(config.endpoints.values()))).artifact)
    asset = ecr_assets.DockerImageAsset(
        scope,
        construct_id,
        directory=str(ROOT),
        file="serving/Dockerfile",
        platform=ecr_assets.Platform.LINUX_ARM64 if graviton else ecr_assets.Platform.LINUX_AMD64,
        build_args={"ARTIFACT": str(baked)},
        ignore_mode=cdk.IgnoreMode.DOCKER,
        exclude=[
            "*",
            "!ics/*.py",
            "!serving/*.py",
            "!serving/Dockerfile",
            "!serving/requirements.txt",
            *(f"!{baked}/{name}" for name in FILES),
        ],
    )
    return ServingImage(asset.image_uri, asset.repository)
