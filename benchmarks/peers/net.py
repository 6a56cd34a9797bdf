"""What every peer and the raw limit do with pictures: decode, compute, and say what they show."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import simplejpeg


class Net:
    """An artifact's net, on one thread, so that a server may have as many as there are cores."""

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / "model.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self._names: list[str] = spec["labels"]
        self._temperature: float = spec["temperature"]
        self._shape = (spec["input"]["height"], spec["input"]["width"], 3)
        self._input, self._output = spec["input"]["tensor"], spec["output"]["tensor"]

    def logits(self, jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """What the net answers to these pictures, computed together; [pictures, labels]."""
        pixels = np.empty((len(jpegs), *self._shape), np.uint8)
        for number, jpeg in enumerate(jpegs):
            simplejpeg.decode_jpeg(jpeg, buffer=pixels[number])
        (logits,) = self._session.run([self._output], {self._input: pixels})
        return logits

    def classify(self, jpegs: Sequence[bytes]) -> tuple[list[str], list[float]]:
        """The label of each picture, and the confidence of each."""
        logits = self.logits(jpegs).astype(np.float64) / self._temperature
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return [self._names[best] for best in logits.argmax(axis=1)], (1 / weights.sum(axis=1)).tolist()
