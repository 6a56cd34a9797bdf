"""Writes an artifact: model.onnx with the normalisation inside, model.json and card.md."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from ics.artifact import InputSpec, ModelSpec, load_spec, spec_to_json
from training.train import as_input

OPSET = 20
"""ONNX operator set; any onnxruntime since 1.17 runs it."""


class _Graph(nn.Module):
    """What is exported: the served tensor in, the network's logits out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(as_input(image))


def to_onnx(net: nn.Module, spec: InputSpec) -> bytes:
    """An ONNX file: uint8 [N, height, width, channels] named `spec.tensor` to float32 `logits` [N, classes], N free.

    The bytes depend on the network alone: what the exporter notes about the machine it ran on is left out.
    """
    example = torch.zeros(2, spec.height, spec.width, spec.channels, dtype=torch.uint8)
    with warnings.catch_warnings():
        # the exporter warns of torch's own use of what torch deprecates; nothing a caller could change
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*LeafSpec.*")
        program = torch.onnx.export(
            _Graph(net).eval(),
            (example,),
            dynamo=True,
            input_names=[spec.tensor],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            verbose=False,
        )
    model = program.model_proto
    model.ClearField("producer_version")
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):  # stack traces with paths, and the names of torch's modules
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def with_properties(graph: bytes, properties: Mapping[str, str]) -> bytes:
    """The ONNX file with these metadata properties and no others, and nothing else changed."""
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, dict(sorted(properties.items())))
    return model.SerializeToString(deterministic=True)


def write_artifact(folder: Path, graph: bytes, spec: ModelSpec, card: str) -> None:
    """Write the three files of an artifact, and remove nothing else that lies in the folder.

    Raises InvalidArtifact where `spec` is not one that ICS would load, `version` included.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph)
    (folder / "model.json").write_text(json.dumps(spec_to_json(spec), indent=2) + "\n", "utf-8")
    (folder / "card.md").write_text(card, "utf-8")
    load_spec(folder)
