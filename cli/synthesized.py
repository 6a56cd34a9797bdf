"""The design of an environment as it would be deployed, read from its synthesized templates.

They are made anew where anything that they are made of has changed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.deployment import ROOT
from ics.artifact import InputSpec, input_from_json
from ics.definition import invoked_by
from ics.errors import InvalidRequest
from ics.forecast import Design, Endpoint, Function
from local import deploy
from stacks.config import load_config

HASH = "inputs.sha256"


@dataclass(frozen=True)
class Synthesized:
    """An environment's templates; `models` is what its functions are told of each model."""

    environment: str
    pipeline: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, str]
    models: Mapping[str, Any]

    def batch_images(self, model: str) -> int:
        """How many images a batch holds unless the run is large."""
        return int(self.models[model]["batch_images"])

    def input_of(self, model: str) -> InputSpec | None:
        """What the model takes; None where it takes photographs as they are."""
        taken = self.models[model].get("input")
        return input_from_json(taken) if taken else None

    def chosen(self, model: str | None) -> str:
        """This model, or the environment's default one.

        Raises:
            InvalidRequest: there is none of this name; in the words of PlanRun.
        """
        if model is not None and model not in self.models:
            raise InvalidRequest(f"no model {model!r} in this environment; it has: {', '.join(sorted(self.models))}")
        return model or self.settings["DEFAULT_MODEL"]

    def design(self, model: str) -> Design:
        """What the cost of a run with this model depends on."""
        machine = _only(self.pipeline, "AWS::StepFunctions::StateMachine")
        definition = json.loads(machine["DefinitionString"])
        functions = {
            name: _function(self.pipeline, place)
            for name, place in machine["DefinitionSubstitutions"].items()
            if name in set(invoked_by(definition))
        }
        told = self.models[model]
        (functions["ClassifyImage"],) = (  # which PlanRun chooses by the model
            _measures(one)
            for one in _all(self.pipeline, "AWS::Lambda::Function")
            if one["FunctionName"] == told["classify"]
        )
        at_once = int(self.settings["MAX_CONCURRENCY"])
        at_once = min(at_once, told.get("max_concurrency", at_once))
        endpoint = self._endpoint(told["endpoint"]) if "endpoint" in told else None
        asked = "custom-labels" if told.get("detection", {}).get("version_arn") else "rekognition"
        backend = "endpoint" if endpoint else asked if "detection" in told else "lambda"
        return Design(definition, functions, at_once, endpoint, backend, self._judging["REVIEWS"] == "true")

    @property
    def upload_prefix(self) -> str:
        """Where uploads begin runs by themselves, in the images bucket; empty where they do not."""
        return self._judging["UPLOAD_PREFIX"]

    @property
    def _judging(self) -> Mapping[str, str]:
        """The settings of FilterLowConfidence."""
        return _settings_of(self.pipeline, "FilterLowConfidence")

    def skips_classified(self, model: str, asked: bool | None) -> bool:
        """Whether a run with this model asks the ledger: as it was asked for, or else as the environment says.

        Raises:
            InvalidRequest: it is asked for of a model whose version is known only afterwards; as PlanRun does.
        """
        if "detection" in self.models[model]:
            if asked:
                raise InvalidRequest(
                    f"skip_classified with {model!r}: which version of Rekognition answers is known only afterwards"
                )
            return False
        return json.loads(self.settings["SKIP_CLASSIFIED"]) is True if asked is None else asked

    def _endpoint(self, name: str) -> Endpoint:
        (config,) = (
            one["EndpointConfigName"]
            for one in _all(self.model, "AWS::SageMaker::Endpoint")
            if one["EndpointName"] == name
        )
        ((variant,),) = (
            one["ProductionVariants"]
            for one in _all(self.model, "AWS::SageMaker::EndpointConfig")
            if one["EndpointConfigName"] == config
        )
        return Endpoint(variant["InstanceType"], int(variant["InitialInstanceCount"]))


def synthesized(environment: str, state: Path) -> Synthesized:
    """The environment's templates, kept under `state` as long as nothing changes that they are made of.

    Raises:
        ConfigError: there is no such environment, or its TOML is wrong.
        DeployError: the app cannot be synthesized; says why.
    """
    load_config(environment)  # says what is wrong with it better than the app's traceback would
    folder = state / "plan" / environment
    wanted = deploy.hash_files(ROOT, deploy.INPUTS, sys.version)
    kept = folder / HASH
    if not kept.is_file() or kept.read_text() != wanted:
        _synthesize(environment, folder)
        kept.write_text(wanted)
    pipeline, model = (
        json.loads(template.read_text("utf-8")) if template.is_file() else {"Resources": {}}  # no endpoint, no stack
        for template in (folder / f"ics-{environment}-{stack}.template.json" for stack in ("pipeline", "model"))
    )
    settings = _settings_of(pipeline, "PlanRun")
    return Synthesized(environment, pipeline, model, settings, json.loads(settings["MODELS"]))


def _synthesize(environment: str, folder: Path) -> None:
    """Run the app as the CDK CLI runs it; of what it writes, keep the templates."""
    context = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"] | {"env": environment}
    with tempfile.TemporaryDirectory() as temporary:
        ran = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={
                **os.environ,
                "CDK_OUTDIR": temporary,
                "CDK_CONTEXT_JSON": json.dumps(context),
                "CDK_VALIDATION": "false",
                "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            said = [line for line in ran.stderr.splitlines() if line.strip()]
            raise deploy.DeployError("\n".join(["environment " + environment + " cannot be synthesized:", *said[-5:]]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for template in Path(temporary).glob("*.template.json"):
            shutil.copy(template, folder)


def _all(template: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    return (one["Properties"] for one in template["Resources"].values() if one["Type"] == kind)


def _only(template: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    (one,) = _all(template, kind)
    return one


def _settings_of(template: Mapping[str, Any], function: str) -> Mapping[str, Any]:
    """What a function of the state machine is told, by its name in the definition."""
    machine = _only(template, "AWS::StepFunctions::StateMachine")
    logical, _ = machine["DefinitionSubstitutions"][function]["Fn::GetAtt"]
    settings: Mapping[str, Any] = template["Resources"][logical]["Properties"]["Environment"]["Variables"]
    return settings


def _function(template: Mapping[str, Any], place: Mapping[str, Any]) -> Function:
    return _measures(template["Resources"][place["Fn::GetAtt"][0]]["Properties"])


def _measures(properties: Mapping[str, Any]) -> Function:
    return Function(properties["MemorySize"], properties["Architectures"][0], properties["Timeout"])
