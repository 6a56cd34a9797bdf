"""Reading and splitting labelled images."""

import numpy as np
import pytest

from training.data import DataError, Labelled, split
from training.mnist import centred_like_mnist, load_mnist


def numbered(count):
    """Images that hold their own number, of ten classes by its last digit."""
    numbers = np.arange(count)
    images = np.stack([numbers >> 8, numbers & 255], axis=1).astype(np.uint8).reshape(count, 1, 2, 1)
    return Labelled(images, numbers % 10)


def numbers(part):
    return part.images[:, 0, 0, 0].astype(int) * 256 + part.images[:, 0, 1, 0]


def test_a_split_is_disjoint_complete_even_and_repeatable():
    rest, aside = split(numbered(1000), 0.1, seed=3)
    assert sorted([*numbers(rest), *numbers(aside)]) == list(range(1000))
    assert (np.bincount(aside.labels) == 10).all()
    assert (numbers(split(numbered(1000), 0.1, seed=3)[1]) == numbers(aside)).all()
    assert (numbers(split(numbered(1000), 0.1, seed=4)[1]) != numbers(aside)).any()
    for part in (rest, aside):
        assert (numbers(part) % 10 == part.labels).all()


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_split_leaves_no_side_without_a_class(share):
    for part in split(numbered(20), share, seed=0):
        assert set(part.labels) == set(range(10))
    with pytest.raises(DataError, match="class 9 has one image only"):
        split(numbered(19), share, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_y": None}, "lacks the arrays test_y"),
        ({"train_x": np.zeros((4, 27, 28), np.uint8)}, "27"),
        ({"train_x": np.zeros((4, 28, 28), np.float32)}, "float32"),
        ({"train_y": np.array([0, 1, 2])}, "4 images"),
        ({"test_y": np.array([0, 1, 2, 10])}, "outside 0..9"),
    ],
)
def test_unusable_files_are_refused_by_what_is_wrong(tmp_path, change, message):
    arrays = {f"{part}_x": np.zeros((4, 28, 28), np.uint8) for part in ("train", "test")}
    arrays |= {f"{part}_y": np.arange(4, dtype=np.uint8) for part in ("train", "test")}
    arrays |= change
    np.savez(tmp_path / "mnist.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message):
        load_mnist(tmp_path / "mnist.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_mnist(tmp_path / "nothing.npz")


def test_a_digit_is_scaled_and_centred_as_mnist():
    ink = np.zeros((8, 8), np.uint8)
    ink[1:6, 0:2] = 255  # 5 high, 2 wide, in the upper left
    centred = centred_like_mnist(ink)
    rows, columns = np.nonzero(centred)
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 == 8
    assert rows.mean() == pytest.approx(13.5, abs=0.5)
    assert columns.mean() == pytest.approx(13.5, abs=0.5)
