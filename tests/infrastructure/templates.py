"""Synthesized templates as the tests read them, and the app's context for stacks that tests build themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = json.loads((ROOT / "cdk.json").read_text())["context"]
ENVIRONMENTS = ("local", "dev", "staging", "prod")


class Template:
    """A synthesized stack's template, as CloudFormation would read it."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.resources: dict[str, dict[str, Any]] = body["Resources"]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type (`S3::Bucket`), by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def one(self, kind: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (properties,) = self.of(kind).values()
        return properties

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every IAM statement, resource policies included, with the logical id of the resource that holds it."""

        def documents(node: Any) -> Iterator[dict[str, Any]]:
            if isinstance(node, dict):
                if isinstance(node.get("Statement"), list):
                    yield node
                for value in node.values():
                    yield from documents(value)
            elif isinstance(node, list):
                for value in node:
                    yield from documents(value)

        for logical_id, resource in self.resources.items():
            for document in documents(resource["Properties"]):
                for statement in document["Statement"]:
                    yield logical_id, statement


class Assembly:
    """An environment's cloud assembly: its templates and its assets."""

    def __init__(self, environment: str, folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self.data, self.model, self.pipeline, self.learning, self.web = (
            Template(json.loads((folder / f"ics-{environment}-{stack}.template.json").read_text()))
            for stack in ("data", "model", "pipeline", "learning", "web")
        )

    @property
    def functions(self) -> list[dict[str, Any]]:
        """The properties of all functions, whatever stack they are of."""
        return [one for stack in (self.pipeline, self.web) for one in stack.of("Lambda::Function").values()]

    def zip_of(self, function: dict[str, Any]) -> Path:
        """A function's asset."""
        return self.folder / f"asset.{function['Code']['S3Key']}"
