"""What a model is made from: one `Recipe` a model, which `train`, `calibrate`, `export` and `evaluate` work through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ics.artifact import InputSpec
from training.data import Labelled


@dataclass(frozen=True)
class Dataset:
    """One data set in its parts; no image is in two of them.

    `train` is learned from, `validation` chooses and calibrates, `test` is measured once and `described` in words.
    `elsewhere` holds images of other sources, by description, and shows how far the figures carry. `nothing` holds
    pictures of none of the classes, uint8 [N, height, width, channels], which nobody should be sure about.
    """

    train: Labelled
    validation: Labelled
    test: Labelled
    described: str
    elsewhere: Mapping[str, Labelled]
    nothing: NDArray[np.uint8]
    nothing_described: str


@dataclass(frozen=True)
class Recipe:
    """A classification model: its data, its network and how its batches are augmented.

    `load(path, seed)` reads the data and splits it. `build()` makes an untrained network from images [N, channels,
    height, width] in 0..1 to logits. `batch(images, labels, generator)` augments: it gives inputs and target
    probabilities, and may give more rows than it was given. `card` is the model card, a `str.format` template; `make`
    in `__main__` names its fields.
    """

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    load: Callable[[Path, int], Dataset]
    build: Callable[[], nn.Module]
    batch: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
    card: str
