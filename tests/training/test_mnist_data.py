"""Reading and splitting labelled images."""

import numpy as np
import pytest

from training.data import DataError, Labelled, centred_like_mnist, load_mnist, split


def numbered(count):
    return Labelled(np.zeros((count, 2, 2, 1), np.uint8), np.arange(count))


def test_a_split_is_disjoint_complete_and_repeatable():
    train, validation = split(numbered(1000), 100, seed=3)
    assert len(validation) == 100
    assert sorted([*train.labels, *validation.labels]) == list(range(1000))
    assert (split(numbered(1000), 100, seed=3)[1].labels == validation.labels).all()
    assert (split(numbered(1000), 100, seed=4)[1].labels != validation.labels).any()


@pytest.mark.parametrize("validation", [0, 10, 11])
def test_a_split_leaves_neither_side_empty(validation):
    with pytest.raises(DataError, match="validation"):
        split(numbered(10), validation, seed=0)


def test_images_stay_with_their_labels():
    images = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    for part in split(Labelled(images, np.arange(50)), 10, seed=0):
        assert (part.images[:, 0, 0, 0] == part.labels).all()


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
