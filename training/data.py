"""Labelled images in their parts, checked and split. Augmentation comes after the split, so it cannot leak."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """The data set at hand is missing, incomplete or not what its format promises."""


@dataclass(frozen=True)
class Skipped:
    """A file or row that could not be used, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Labelled:
    """Images and what they show: uint8 [N, height, width, channels] and int64 [N], row by row."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [N, H, W, C], not {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} images but labels of shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The rows at these indices, in this order."""
        return type(self)(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """One labelled data set in its parts; no image is in two of them.

    `train` is learned from, `validation` chooses and calibrates, `test` is measured once and `described` in words.
    `labels` names the classes. `elsewhere` holds images of other sources, by description, and shows how far the
    figures carry. `nothing` holds pictures of none of the classes, by description, uint8 [N, height, width, channels],
    which nobody should be sure about. `skipped` is what could not be read.
    """

    labels: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled
    described: str
    elsewhere: Mapping[str, Labelled] = field(default_factory=dict)
    nothing: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()


def split(labelled: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Part the rows at random into (rest, kept aside), disjoint and complete, a `share` of each class in the second.

    A class has at least one image on either side.

    Raises:
        DataError: a class has one image only, so that one side would have none of it.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(labelled))
    aside = np.zeros(len(labelled), bool)
    for label in np.unique(labelled.labels):
        of_class = rows[labelled.labels[rows] == label]
        if len(of_class) < 2:
            raise DataError(f"class {label} has one image only: it cannot be in two parts; add images or leave it out")
        aside[of_class[: min(max(1, round(share * len(of_class))), len(of_class) - 1)]] = True
    return labelled.take(rows[~aside[rows]]), labelled.take(rows[aside[rows]])
