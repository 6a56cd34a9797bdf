"""Class folders: pictures in folders that are named after what they show, all together or in parts.

    <root>/<class>/**                                    one heap, from which validation and test are drawn
    <root>/{train,validation (or val),test}/<class>/**   parts as they are; a missing one is drawn from train

A picture is brought to the recipe's input by `ics.imaging.prepare`, so that training sees what serving will see. What
is drawn is drawn at random within each class, picture by picture: whoever has several pictures of one thing keeps them
together by making the parts.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ics.artifact import InputSpec
from ics.errors import ImageError
from training.data import DataError, Dataset, Labelled, Skipped, split
from training.pictures import pixels
from training.recipe import Recipe

PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
"""Folders that are parts, where `train` is among them and holds folders itself."""

HEAP = "train"
"""The part of pictures that are in no part: what is missing is drawn from it."""

NAMED = 10
"""So many of a kind are named in an error, the rest are counted."""


@dataclass(frozen=True)
class _File:
    path: Path
    part: str
    label: str


def class_folders(recipe: Recipe, path: Path, seed: int) -> Dataset:
    """Read and check class folders, and draw the parts that are not there.

    Hidden files and folders are passed over. What is no picture, cannot be read, lies in no class's folder or repeats
    another picture of its part and class is `skipped`, each file by name.

    Raises:
        DataError: there are no class folders, or other folders beside the parts; a class has no picture that can be
            read, or too few to draw from; the same picture is in two parts or in two classes.
    """
    classes, stray = _class_folders(path)
    files = [
        _File(file, part, _label(folder))
        for part, folders in classes.items()
        for folder in folders
        for file in _in(folder)
    ]
    images, kept, skipped = _read(files, path, recipe.input)
    full = {(file.part, file.label) for file in kept}
    for folder in (
        folder for part, folders in classes.items() for folder in folders if (part, _label(folder)) not in full
    ):
        name = str(folder.relative_to(path))
        reasons = [each.reason for each in skipped if each.source.startswith(f"{name}/")]
        why = f"; {len(reasons)} files there were skipped, the first as: {reasons[0]}" if reasons else ""
        raise DataError(f"{path}: {name} holds no picture that can be read{why}")
    single, copies = _without_copies(images, kept, path)
    labels = tuple(sorted({file.label for file in kept}))
    numbers = np.array([labels.index(kept[row].label) for row in single], np.int64)
    parts = np.array([kept[row].part for row in single])
    given = {part: Labelled(images[np.array(single)[parts == part]], numbers[parts == part]) for part in classes}
    complete = _drawn(given, recipe, seed, labels)
    test = "its own test part" if "test" in given else f"{recipe.data.test:.0%} of it, drawn with seed {seed}"
    return Dataset(
        labels,
        complete["train"],
        complete["validation"],
        complete["test"],
        described=f"{path.resolve().name}, {test}",
        skipped=(*stray, *skipped, *copies),
    )


def _class_folders(path: Path) -> tuple[Mapping[str, Sequence[Path]], list[Skipped]]:
    """The folders of classes by part, and the files that are in none."""
    if not path.is_dir():
        raise DataError(f"no such folder: {path}")
    inside = _folders(path)
    in_parts = [folder for folder in inside if folder.name in PARTS and _folders(folder)]
    if not in_parts:
        classes, stray = {HEAP: inside}, [path]
    else:
        names = [folder.name for folder in in_parts]
        if others := [folder.name for folder in inside if folder not in in_parts]:
            raise DataError(
                f"{path} holds {_some(names)}, which hold folders, and beside them {_some(others)}: which are classes?"
            )
        if len({PARTS[name] for name in names}) < len(names):
            raise DataError(f"{path} holds both val and validation, which mean the same")
        if "train" not in names:
            raise DataError(f"{path} holds {_some(names)}, but no train")
        classes, stray = {PARTS[folder.name]: _folders(folder) for folder in in_parts}, [path, *in_parts]
    if not any(classes.values()):
        raise DataError(f"{path} holds no folders; a folder a class, named after it, is expected")
    lost = [file for folder in stray for file in sorted(folder.iterdir()) if file.is_file() and _shown(file)]
    return classes, [Skipped(str(file.relative_to(path)), "lies in no class's folder") for file in lost]


def _label(folder: Path) -> str:
    """A class's name, composed (NFC): some file systems write й as two characters."""
    label = unicodedata.normalize("NFC", folder.name)
    if not label.isprintable():
        raise DataError(f"the folder {str(folder)!r} cannot name a class: people must be able to read it")
    return label


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and _shown(folder))


def _in(folder: Path) -> list[Path]:
    """What is in a folder and in the folders therein, but not behind links to others: they may go round in circles."""
    inside = [path for path in sorted(folder.iterdir()) if _shown(path)]
    return [found for path in inside for found in (_in(path) if path.is_dir() and not path.is_symlink() else [path])]


def _read(files: Sequence[_File], root: Path, spec: InputSpec) -> tuple[NDArray[np.uint8], list[_File], list[Skipped]]:
    """The pictures [N, height, width, channels] that can be read, their files, and what else is among the files."""
    images = np.empty((len(files), spec.height, spec.width, spec.channels), np.uint8)
    kept: list[_File] = []
    skipped: list[Skipped] = []
    console = Console(stderr=True)
    for file in track(files, "reading", console=console, transient=True, disable=not console.is_terminal):
        name = str(file.path.relative_to(root))
        try:
            if not file.path.is_file():  # a link to nowhere or to a folder, a pipe
                skipped.append(Skipped(name, "is no file"))
                continue
            images[len(kept)] = pixels(file.path.read_bytes(), spec)
            kept.append(file)
        except ImageError as error:
            skipped.append(Skipped(name, f"{error.reason}: {error}"))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be opened: {error.strerror}"))
    return images[: len(kept)], kept, skipped


def _without_copies(images: NDArray[np.uint8], files: Sequence[_File], root: Path) -> tuple[list[int], list[Skipped]]:
    """The rows without those that repeat an earlier one of their part and class, which are `Skipped`."""
    first: dict[bytes, _File] = {}
    single, copies, clashes = [], [], []
    for row, (image, file) in enumerate(zip(images, files, strict=True)):
        seen = first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), file)
        name, other = file.path.relative_to(root), seen.path.relative_to(root)
        if seen is file:
            single.append(row)
        elif (seen.part, seen.label) == (file.part, file.label):
            copies.append(Skipped(str(name), f"the same picture as {other}"))
        else:
            clashes.append(f"{other} and {name}")
    if clashes:
        raise DataError(
            f"{root}: the same picture is in two parts or two classes; remove one of each: {_some(clashes, '; ')}"
        )
    return single, copies


def _drawn(given: Mapping[str, Labelled], recipe: Recipe, seed: int, labels: Sequence[str]) -> dict[str, Labelled]:
    """All three parts: those that are missing are drawn from train, by the recipe's shares of what it holds."""
    missing = [part for part in ("test", "validation") if part not in given]
    train = given["train"]
    counts = np.bincount(train.labels, minlength=len(labels))
    for label, count in zip(labels, counts, strict=True):
        if 0 < count <= len(missing):
            raise DataError(f"class {label} has {count} pictures; {' and '.join(missing)} take one each, and train one")
    parts = dict(given)
    total = len(train)
    for part in missing:
        share = getattr(recipe.data, part) * total / len(parts["train"])
        parts["train"], parts[part] = split(parts["train"], share, seed)
    return parts


def _some(names: Sequence[str], between: str = ", ") -> str:
    rest = f"{between}and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + rest
