"""BentoML with a worker a core, without its metrics, traces and access log: `bentoml serve ... --arg model=DIR`."""

import base64
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel

from benchmarks.peers.net import Net


class Arguments(BaseModel):
    """What `--arg` gives."""

    model: Path


given = bentoml.use_arguments(Arguments)


@bentoml.service(
    workers="cpu_count",
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 60},
)
class Classifier:
    """Takes {"images": [base64, ...]}."""

    def __init__(self) -> None:
        self._net = Net(given.model)

    @bentoml.api
    async def classify(self, images: list[str]) -> dict[str, Any]:
        """The answer to a body; computed where it is read, as nothing else waits for that process."""
        labels, confidences = self._net.classify([base64.b64decode(image) for image in images])
        return {"labels": labels, "confidences": confidences}
