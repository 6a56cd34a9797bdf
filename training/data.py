"""Labelled images in their parts, checked and split. Augmentation comes after the split, so it cannot leak."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

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

    @property
    def sizes(self) -> dict[str, int]:
        """How many images each part holds."""
        return {part: len(getattr(self, part)) for part in ("train", "validation", "test")}


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of these names from an npz file.

    Raises:
        DataError: the file is missing or damaged, or lacks an array.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        # np.load leaves a file open that it cannot read, if it opened it
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if missing := set(names) - set(arrays.files):
                raise DataError(f"{path} lacks the arrays {', '.join(sorted(missing))}")
            return {name: arrays[name] for name in names}
    except DataError:
        raise
    except Exception as error:  # zip, zlib, numpy and its header's parser each raise their own on damaged bytes
        raise DataError(f"{path} cannot be read as an npz file: {error or type(error).__name__}") from error


def shared_pictures(dataset: Dataset) -> dict[str, NDArray[np.bool_]]:
    """Which rows of `train` and of `validation` are, byte for byte, a picture that is measured on: bool [rows] by part.

    `train` is held against all other parts, `validation` against `test` and `elsewhere`.
    """
    seen = {digest for part in (dataset.test, *dataset.elsewhere.values()) for digest in _digests(part)}
    shared = {}
    for name in ("validation", "train"):
        digests = _digests(getattr(dataset, name))
        shared[name] = np.array([digest in seen for digest in digests], bool)
        seen.update(digests)
    return shared


def without_shared_pictures(dataset: Dataset) -> Dataset:
    """The data set less the pictures that `shared_pictures` finds, which are counted in `skipped`.

    Data sets that come in parts may truly hold two equal pictures, when they are small and of two tones.
    """
    shared = shared_pictures(dataset)
    if not any(rows.any() for rows in shared.values()):
        return dataset
    kept = {name: getattr(dataset, name).take(np.flatnonzero(~rows)) for name, rows in shared.items()}
    dropped = tuple(
        Skipped(f"{rows.sum()} of {len(rows):,} pictures for {name}", "the same picture is in a part that is measured")
        for name, rows in shared.items()
        if rows.any()
    )
    return replace(dataset, **kept, skipped=dataset.skipped + dropped)


def _digests(part: Labelled) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in part.images]


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


def split_groups(labelled: Labelled, groups: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows to keep aside so that no group, such as a writer, is on both sides: bool [N].

    Whole groups [N] are drawn at random until they hold a `share` of the rows; each side has one at least.

    Raises:
        DataError: there is one group only.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise DataError(f"all {len(labelled)} images are of one group: there must be two at least to split by")
    aside = np.zeros(len(labelled), bool)
    for name in np.random.default_rng(seed).permutation(names)[:-1]:
        aside |= groups == name
        if aside.sum() >= share * len(labelled):
            break
    return aside
