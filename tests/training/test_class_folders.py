"""Class folders: what is read, parted, skipped by name, and refused."""

import dataclasses
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ics.artifact import InputSpec
from training.data import DataError
from training.folders import class_folders
from training.pictures import pixels
from training.recipe import load_recipe

RECIPE = load_recipe("class-folders")
RECIPE = dataclasses.replace(RECIPE, input=InputSpec("image", 12, 10, "rgb"))


def save(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> Path:
    """A picture of noise of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def heap(root: Path, *classes: str, count: int = 10, start: int = 0) -> Path:
    for number, name in enumerate(classes):
        for index in range(count):
            save(root / name / f"{index}.png", start + 1000 * number + index)
    return root


def load(root: Path, seed: int = 0):
    return class_folders(RECIPE, root, seed)


def everything(dataset):
    return sorted(
        image.tobytes() for part in ("train", "validation", "test") for image in getattr(dataset, part).images
    )


def test_a_heap_is_parted_by_shares_completely_and_repeatably(tmp_path):
    heap(tmp_path, "bee", "wasp", count=20)
    one = load(tmp_path)
    assert one.labels == ("bee", "wasp")
    parts = (one.train, one.validation, one.test)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[14, 14], [3, 3], [3, 3]]  # 15% each
    files = [path.read_bytes() for path in tmp_path.rglob("*.png")]
    assert everything(one) == sorted(pixels(file, RECIPE.input).tobytes() for file in files)
    assert everything(load(tmp_path, seed=1)) == everything(one)
    assert load(tmp_path).test.images.tobytes() == one.test.images.tobytes()
    assert load(tmp_path, seed=1).test.images.tobytes() != one.test.images.tobytes()


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_parts_are_kept_and_missing_ones_drawn_from_train_only(tmp_path, validation):
    for start, part in enumerate(("train", validation, "test")):
        heap(tmp_path / part, "bee", "wasp", start=10_000 * start)
    whole = load(tmp_path)
    assert [len(whole.train), len(whole.validation), len(whole.test)] == [20, 20, 20]
    for path in (tmp_path / validation).rglob("*.png"):
        path.unlink()
    for folder in (tmp_path / validation / "bee", tmp_path / validation / "wasp", tmp_path / validation):
        folder.rmdir()
    drawn = load(tmp_path)
    assert [len(drawn.train), len(drawn.validation), len(drawn.test)] == [16, 4, 20]
    assert drawn.test.images.tobytes() == whole.test.images.tobytes()


def test_training_sees_what_serving_sees(tmp_path):
    """Turned by its EXIF note, fitted with bars, in the recipe's colour: `ics.imaging.prepare` did it."""
    heap(tmp_path, "a", "b", count=4)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (400, 200), "red").save(tmp_path / "a" / "0.png", exif=turned)
    for colour, channels in (("rgb", 3), ("grey", 1)):
        recipe = dataclasses.replace(RECIPE, input=dataclasses.replace(RECIPE.input, colour=colour))
        dataset = class_folders(recipe, tmp_path, 0)
        expected = pixels((tmp_path / "a" / "0.png").read_bytes(), recipe.input)
        assert expected.shape == (10, 12, channels)
        assert not expected[:, 0].any()  # upright, so the bars are at the sides
        assert expected.tobytes() in everything(dataset)


def test_whatever_is_not_learned_from_is_named(tmp_path):
    heap(tmp_path, "bee", "wasp")
    save(tmp_path / "bee" / "deeper" / "still" / "x.jpg", 77)
    (tmp_path / "bee" / "notes.txt").write_text("bees")
    (tmp_path / "bee" / "empty.png").write_bytes(b"")
    (tmp_path / "wasp" / "half.png").write_bytes((tmp_path / "wasp" / "1.png").read_bytes()[:200])
    (tmp_path / "wasp" / "copy.gif").write_bytes((tmp_path / "wasp" / "2.png").read_bytes())
    (tmp_path / "wasp" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "wasp" / "circle").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "wasp" / "pipe.png")  # reading it would wait for ever
    (tmp_path / "labels.csv").write_text("file,label")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "bee" / "._1.png").write_bytes(b"\0")
    heap(tmp_path, ".cache", start=5000)
    dataset = load(tmp_path)
    assert dataset.labels == ("bee", "wasp")
    assert len(everything(dataset)) == 21
    reasons = {each.source: each.reason.partition(":")[0] for each in dataset.skipped}
    assert reasons == {
        "labels.csv": "lies in no class's folder",
        "bee/notes.txt": "NotAnImage",
        "bee/empty.png": "EmptyObject",
        "wasp/half.png": "TruncatedImage",
        "wasp/nowhere.png": "is no file",
        "wasp/circle": "is no file",
        "wasp/pipe.png": "is no file",
        "wasp/copy.gif": "the same picture as wasp/2.png",
    }


def test_a_picture_in_two_parts_or_two_classes_is_refused_by_both_names(tmp_path):
    """By what is seen: another format, a comment or a larger copy does not hide it."""
    for start, part in enumerate(("train", "test")):
        heap(tmp_path / part, "bee", "wasp", start=10_000 * start)
    with Image.open(tmp_path / "train" / "bee" / "3.png") as image:
        image.save(tmp_path / "test" / "bee" / "again.bmp")
    with pytest.raises(DataError, match=r"two parts.*(test/bee/again\.bmp|train/bee/3\.png).* and "):
        load(tmp_path)
    (tmp_path / "test" / "bee" / "again.bmp").unlink()
    (tmp_path / "train" / "wasp" / "bee.png").write_bytes((tmp_path / "train" / "bee" / "4.png").read_bytes())
    with pytest.raises(DataError, match=r"two classes.*train/bee/4\.png and train/wasp/bee\.png"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "no such folder"),
        (["readme.txt"], "holds no folders"),
        (["bee/1.png", "wasp/"], "wasp holds no picture that can be read"),
        (["bee/1.png", "wasp/1.txt", "wasp/2.txt"], "wasp holds no picture.*2 files.*NotAnImage"),
        (["bee/1.png", "bee/2.png", "wasp/3.png", "wasp/4.png"], "class bee has 2 pictures"),
        (["test/bee/1.png", "test/wasp/2.png"], "no train"),
        (["train/bee/1.png", "val/bee/2.png", "validation/bee/3.png"], "both val and validation"),
        (["train/bee/1.png", "wasp/2.png"], "beside them wasp"),
        (["be\te/1.png", "wasp/2.png"], "cannot name a class"),
    ],
)
def test_folders_that_cannot_be_learned_from_are_refused_by_what_is_wrong(tmp_path, made, message):
    root = tmp_path / "data"
    for seed, name in enumerate(made):
        if name.endswith(".png"):
            save(root / name, seed)
        elif name.endswith("/"):
            (root / name).mkdir(parents=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
    with pytest.raises(DataError, match=message):
        load(root)


@pytest.mark.train
def test_a_class_that_is_missing_from_a_part_is_named(tmp_path):
    classification = pytest.importorskip("training.classification", exc_type=ImportError)
    for start, part in enumerate(("train", "test")):
        heap(tmp_path / part, "bee", "wasp", start=10_000 * start)
    heap(tmp_path / "train", "fly", start=90_000)
    with pytest.raises(DataError, match="the test part has no picture of fly"):
        classification.load(RECIPE, tmp_path, 0)
    heap(tmp_path / "test", "fly", "hornet", start=80_000)
    with pytest.raises(DataError, match="the train part has no picture of hornet"):
        classification.load(RECIPE, tmp_path, 0)


def test_names_from_other_file_systems_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "чай") for form in ("NFC", "NFD"))
    assert composed != decomposed
    heap(tmp_path / "train", composed, "кофе")
    heap(tmp_path / "test", decomposed, "кофе", start=9000)
    assert load(tmp_path).labels == ("кофе", composed)
