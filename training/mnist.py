"""MNIST, as an npz or as its own four idx files, beside handwritten digits from another source."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from training.data import DataError, Dataset, Labelled, split
from training.pictures import load_photograph_squares, prepared
from training.recipe import Recipe


def load_mnist(path: Path) -> tuple[Labelled, Labelled]:
    """Read MNIST's training and test images from an npz with `train_x`, `train_y`, `test_x`, `test_y`.

    Images are [N, 28, 28] uint8, white ink on black. Raises DataError where the file is missing, lacks an array, or
    holds another shape or a label outside 0..9.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    with np.load(path, allow_pickle=False) as arrays:
        if missing := {"train_x", "train_y", "test_x", "test_y"} - set(arrays.files):
            raise DataError(f"{path} lacks the arrays {', '.join(sorted(missing))}")
        parts = [
            Labelled(arrays[f"{part}_x"][..., np.newaxis], arrays[f"{part}_y"].astype(np.int64))
            for part in ("train", "test")
        ]
    for part in parts:
        if part.images.shape[1:] != (28, 28, 1):
            raise DataError(f"{path} holds images of shape {part.images.shape[1:3]}, not 28 x 28")
        if not np.isin(part.labels, np.arange(10)).all():
            raise DataError(f"{path} holds labels outside 0..9")
    train, test = parts
    return train, test


def load_sklearn_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's 1,797 digits by other writers: uint8 [N, 8, 8], white ink on black, and their labels."""
    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def centred_like_mnist(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One digit [height, width], white on black, at MNIST's size and place: [28, 28].

    As MNIST was made (LeCun, Cortes, Burges): the ink's bounding box is scaled to fit 20 x 20 pixels, aspect kept, and
    placed so that its centre of mass is the centre of 28 x 28.
    """
    rows, columns = np.nonzero(ink)
    ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = 20 / max(ink.shape)
    width, height = (max(1, round(side * scale)) for side in ink.shape[::-1])
    fitted = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    weights = fitted / fitted.sum()
    top = round(13.5 - float(weights.sum(axis=1) @ np.arange(height)))
    left = round(13.5 - float(weights.sum(axis=0) @ np.arange(width)))
    top, left = min(max(top, 0), 28 - height), min(max(left, 0), 28 - width)
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + height, left : left + width] = fitted
    return canvas


def mnist(recipe: Recipe, path: Path, seed: int) -> Dataset:
    """MNIST, a part of train kept for validation, beside what scikit-learn brings from other sources.

    Raises:
        DataError: as `load_mnist` does.
    """
    train, test = load_mnist(path)
    train, validation = split(train, recipe.data.validation, seed)
    small, labels = load_sklearn_digits()
    return Dataset(
        tuple("0123456789"),
        train,
        validation,
        test,
        described=f"MNIST test split, {len(test):,} of 10,000 images",
        elsewhere={
            "scikit-learn's 8 x 8 digits, scaled and centred as MNIST's": Labelled(
                np.stack([centred_like_mnist(image) for image in small])[..., np.newaxis], labels
            ),
            "scikit-learn's 8 x 8 digits, as ICS prepares them": Labelled(prepared(list(small), recipe.input), labels),
        },
        nothing={"squares of scikit-learn's two sample photographs": prepared(load_photograph_squares(), recipe.input)},
    )
