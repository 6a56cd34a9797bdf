"""MNIST, as an npz or as its own four idx files, beside handwritten digits from another source."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from ics.artifact import MAX_SIDE
from training.data import DataError, Dataset, Labelled, load_arrays, split
from training.pictures import load_photograph_squares, prepared
from training.recipe import Recipe

MOST = 10_000_000
"""Images in an idx file at most; a header that names more is a damaged one."""

IDX = {
    "train_x": "train-images.idx3-ubyte",
    "train_y": "train-labels.idx1-ubyte",
    "test_x": "t10k-images.idx3-ubyte",
    "test_y": "t10k-labels.idx1-ubyte",
}
"""MNIST's files; they also come gzipped, and with a dash for the dot."""


def load_mnist(path: Path) -> tuple[Labelled, Labelled]:
    """Read MNIST's training and test images, uint8 [N, 28, 28, 1], white ink on black.

    `path` is an npz of `train_x`, `train_y`, `test_x`, `test_y`, images as [N, 28, 28]; or a folder that holds
    `mnist.npz` or MNIST's own four idx files, gzipped or not.

    Raises:
        DataError: a file is missing or damaged, lacks an array, or holds another shape or a label outside 0..9.
    """
    if path.is_dir() and (path / "mnist.npz").is_file():
        path = path / "mnist.npz"
    if path.is_dir():
        arrays = {name: load_idx(_idx_file(path, file)) for name, file in IDX.items()}
    else:
        arrays = load_arrays(path, tuple(IDX))
    parts = []
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if images.shape[1:] != (28, 28):
            raise DataError(f"{path} holds images of shape {images.shape[1:]}, not 28 x 28")
        parts.append(Labelled(images[..., np.newaxis], labels.astype(np.int64)))
        if not np.isin(labels, np.arange(10)).all():
            raise DataError(f"{path} holds labels outside 0..9")
    train, test = parts
    return train, test


def load_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of bytes, gzipped or not.

    Its format (LeCun, Cortes, Burges): two zero bytes, 8 for bytes, the number of axes, each axis' length as 4 bytes,
    big-endian; then the bytes.

    Raises:
        DataError: it is no such file, is damaged, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            magic = file.read(4)
            if magic[:3] != b"\0\0\x08" or magic[3:] not in (b"\1", b"\3"):
                raise DataError(
                    f"{path} is not an idx file of images or labels: it begins with {magic.hex() or 'nothing'}"
                )
            axes = file.read(4 * magic[3])
            if len(axes) < 4 * magic[3]:
                raise DataError(f"{path} ends within its header")
            shape = tuple(int(length) for length in np.frombuffer(axes, ">u4"))
            if shape[0] > MOST or max(shape[1:], default=0) > MAX_SIDE:
                raise DataError(f"{path}: its header says {' x '.join(map(str, shape))}, which cannot be")
            size = math.prod(shape)
            # one byte more than there should be, and never all that a small gzip file may unpack to
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(f"{path} should hold {size:,} bytes behind its header, and holds {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_file(folder: Path, name: str) -> Path:
    dashed = name.replace(".", "-")
    for file in (name, dashed, f"{name}.gz", f"{dashed}.gz"):
        if (folder / file).is_file():
            return folder / file
    raise DataError(f"{folder} holds neither mnist.npz nor {dashed} (also with .gz)")


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
