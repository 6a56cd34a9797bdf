"""Reading and splitting labelled images."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data import (
    DataError,
    Dataset,
    Labelled,
    shared_pictures,
    split,
    split_groups,
    without_shared_pictures,
)
from training.mnist import centred_like_mnist, load_idx, load_mnist


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


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_by_groups_keeps_each_group_on_one_side(groups, share, seed):
    groups = np.array(groups)
    labelled = Labelled(np.zeros((len(groups), 1, 1, 1), np.uint8), np.zeros(len(groups), np.int64))
    if len(set(groups)) == 1:
        with pytest.raises(DataError, match="one group"):
            split_groups(labelled, groups, share, seed)
        return
    aside = split_groups(labelled, groups, share, seed)
    assert 0 < aside.sum() < len(groups)
    assert not set(groups[aside]) & set(groups[~aside])
    assert (split_groups(labelled, groups, share, seed) == aside).all()


def idx(array):
    """An array of bytes as an idx file."""
    return b"".join([bytes([0, 0, 8, array.ndim]), *(side.to_bytes(4, "big") for side in array.shape), array.tobytes()])


def digits(count, seed):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)


def as_idx_files(folder, pack=lambda content: content, name="{}"):
    for part, count in (("train", 30), ("t10k", 20)):
        images, labels = digits(count, count)
        (folder / name.format(f"{part}-images.idx3-ubyte")).write_bytes(pack(idx(images)))
        (folder / name.format(f"{part}-labels.idx1-ubyte")).write_bytes(pack(idx(labels)))
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dot", [".", "-"])
def test_mnists_own_files_are_read_from_their_folder(tmp_path, pack, dot):
    as_idx_files(tmp_path, pack)
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / (file.name.replace(".", dot) + (".gz" if pack is gzip.compress else "")))
    for part, count in zip(load_mnist(tmp_path), (30, 20), strict=True):
        images, labels = digits(count, count)
        assert (part.images[..., 0] == images).all()
        assert (part.labels == labels).all()


def test_an_npz_in_the_folder_is_read_too(tmp_path):
    arrays = dict(zip(("train_x", "train_y", "test_x", "test_y"), (*digits(30, 0), *digits(20, 1)), strict=True))
    np.savez(tmp_path / "mnist.npz", **arrays)
    for one, other in zip(load_mnist(tmp_path), load_mnist(tmp_path / "mnist.npz"), strict=True):
        assert (one.images == other.images).all()
        assert (one.labels == other.labels).all()


IMAGES = idx(digits(20, 0)[0])


ZIPPED = gzip.compress(IMAGES, mtime=0)
DAMAGED = {
    "empty": (b"", "begins with nothing"),
    "another format": (b"\x89PNG" + IMAGES, "begins with 89504e47"),
    "floats": (IMAGES[:2] + b"\x0d" + IMAGES[3:], "not an idx file of images or labels"),
    "two axes": (IMAGES[:3] + b"\x02" + IMAGES[4:], "not an idx file of images or labels"),
    "half a header": (IMAGES[:10], "ends within its header"),
    "short": (IMAGES[:-1], "should hold 15,680 bytes behind its header, and holds 15,679"),
    "long": (IMAGES + b"\0", "and holds more"),
    "too many": (IMAGES[:4] + b"\xff" * 12, "which cannot be"),
    "too large": (IMAGES[:4] + bytes(3) + b"\x14" + b"\xff" * 8, "which cannot be"),
    "cut gzip": (ZIPPED[:-10], "cannot be read"),
    "wrong checksum": (ZIPPED[:-8] + bytes(8), "cannot be read: CRC"),
    "gzip of much more": (gzip.compress(IMAGES + bytes(10**7), mtime=0), "and holds more"),
    "other size": (idx(np.zeros((20, 27, 28), np.uint8)), r"shape \(27, 28\), not 28 x 28"),
    "labels": (idx(np.arange(20, dtype=np.uint8) % 10), r"shape \(\), not 28 x 28"),
    "one too few": (idx(digits(19, 0)[0]), "19 images but labels"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_idx_files_are_refused_by_what_is_wrong(tmp_path, content, message):
    (as_idx_files(tmp_path) / "t10k-images.idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_mnist(tmp_path)


def test_labels_in_the_place_of_images_and_other_labels_are_refused(tmp_path):
    as_idx_files(tmp_path)
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(np.full(20, 10, np.uint8)))
    with pytest.raises(DataError, match="labels outside"):
        load_mnist(tmp_path)
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(IMAGES)
    with pytest.raises(DataError, match="20 images but labels of shape"):
        load_mnist(tmp_path)
    (tmp_path / "t10k-labels.idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"neither mnist\.npz nor t10k-labels-idx1-ubyte \(also with \.gz\)"):
        load_mnist(tmp_path)


@given(st.data())
def test_any_damage_to_an_idx_file_is_refused_or_changes_only_pixels(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from([IMAGES, ZIPPED])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(40, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged-idx3-ubyte"
    path.write_bytes(bytes(content))
    try:
        read = load_idx(path)
    except DataError:
        return
    assert read.size == 20 * 28 * 28


def test_a_picture_that_is_measured_on_is_neither_learned_from_nor_chosen_by():
    whole = numbered(60)
    rows = [*range(20), 25, 35, 45], [*range(20, 30), 38, 48], range(30, 40), range(40, 50)
    train, validation, test, other = (whole.take(np.array(some)) for some in rows)
    dataset = Dataset(tuple("0123456789"), train, validation, test, "numbers", elsewhere={"others": other})
    shared = shared_pictures(dataset)
    assert np.flatnonzero(shared["train"]).tolist() == [20, 21, 22]
    assert np.flatnonzero(shared["validation"]).tolist() == [10, 11]
    clean = without_shared_pictures(dataset)
    assert numbers(clean.train).tolist() == list(range(20))
    assert numbers(clean.validation).tolist() == list(range(20, 30))
    assert clean.test is test
    assert [each.source for each in clean.skipped] == [
        "2 of 12 pictures for validation",
        "3 of 23 pictures for train",
    ]
    assert without_shared_pictures(clean) is clean


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
