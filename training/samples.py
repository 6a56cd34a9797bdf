"""Labelled pictures to measure a model on: folders named after classes, lines of text in a TSV, or a recipe's data set.

Pictures stay files until they are needed, and then go the way they go in the pipeline.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ics.artifact import ModelSpec
from ics.imaging import prepare
from serving.model import decode
from training.data import DataError, Skipped
from training.loaders import LOADERS
from training.recipe import load_recipe, recipe_names


@dataclass(frozen=True)
class Sample:
    """A picture, what it truly shows, and what people call it by.

    The picture is a file as people have it, or pixels as the model takes them: uint8 [height, width, channels].
    `row` is where a table lists it, from 1; 0 where there is none.
    """

    source: str
    true: str
    picture: Path | NDArray[np.uint8]
    row: int = 0

    def pixels(self, spec: ModelSpec) -> NDArray[np.uint8]:
        """The picture as the model sees it, prepared as in the pipeline.

        Raises:
            ImageError: the file is no picture that can be prepared.
            OSError: it cannot be read.
        """
        if isinstance(self.picture, Path):
            return decode(prepare(self.picture.read_bytes(), spec.input), spec.input)
        return self.picture


@dataclass(frozen=True)
class Samples:
    """What there is to measure on.

    `unknown` counts the pictures of labels that the model does not have, which are not among the `samples`; of a text
    model it counts the characters that it cannot read, whose lines are. `skipped` is what could not be used, and why.
    """

    described: str
    samples: Sequence[Sample]
    unknown: Mapping[str, int] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()


def find_samples(path: Path, spec: ModelSpec, recipe: str | None = None, seed: int | None = None) -> Samples:
    """What `path` holds for this model.

    With `recipe`, the test part of the data set that its loader reads there, drawn with `seed` (or the recipe's)
    where it is drawn at all. Without one: for a text model a TSV; else class folders; else what the recipe of the
    model's own name reads.

    Raises:
        DataError: there is nothing there, or nothing of what the model knows.
        RecipeError: there is no such recipe.
    """
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path} is empty")
    if recipe is not None:
        return _of_loader(path, spec, recipe, seed)
    if spec.kind == "text":
        return _lines(path, spec)
    if path.is_dir() and (found := _class_folders(path, spec)) is not None:
        return found
    if spec.name in recipe_names():
        return _of_loader(path, spec, spec.name, seed)
    raise DataError(
        f"{path} holds no folders named after classes, and no recipe is called {spec.name!r}; "
        f"say with --recipe how to read it: {', '.join(recipe_names())}"
    )


def _class_folders(path: Path, spec: ModelSpec) -> Samples | None:
    """The pictures in `path`'s folders, or in those of its folder `test`; None where it has no folders at all.

    Names are compared in Unicode's NFC: some file systems write й as two characters.
    """
    folders = _folders(path)
    if not folders:
        return None
    names = {unicodedata.normalize("NFC", label): label for label in spec.labels}
    if not folders.keys() & names.keys() and _folders(path / "test").keys() & names.keys():
        return _class_folders(path / "test", spec)
    samples: list[Sample] = []
    unknown: Counter[str] = Counter()
    for name, folder in folders.items():
        files = list(_files(folder))
        if name in names:
            samples += [Sample(str(file.relative_to(path)), names[name], file) for file in files]
        elif files:
            unknown[name] = len(files)
    if not samples and not unknown:
        raise DataError(f"{path}: its folders are empty")
    if not samples:
        raise DataError(
            f"{path}: no folder is named after a class of {spec.name}. Folders: {_some(folders)}; "
            f"classes: {_some(spec.labels)}"
        )
    return Samples(f"class folders in {path.name or path}", samples, unknown)


def _folders(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        return {}
    inside = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    return {unicodedata.normalize("NFC", one.name): one for one in inside}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _of_loader(path: Path, spec: ModelSpec, name: str, seed: int | None) -> Samples:
    recipe = load_recipe(name)
    if recipe.data.loader not in LOADERS:
        raise DataError(f"the recipe {recipe.name} draws its pictures itself: give a TSV, without --recipe")
    if recipe.kind != spec.kind:
        raise DataError(f"the recipe {recipe.name} is of {recipe.kind} models; {spec.name} is a {spec.kind} model")
    dataset = LOADERS[recipe.data.loader](recipe, path, recipe.schedule.seed if seed is None else seed)
    size, wanted = dataset.test.images.shape[1:], (spec.input.height, spec.input.width, spec.input.channels)
    if size != wanted:
        raise DataError(f"the recipe {recipe.name} gives pictures of {list(size)}; {spec.name} takes {list(wanted)}")
    samples: list[Sample] = []
    unknown: Counter[str] = Counter()
    for number, (image, label) in enumerate(zip(dataset.test.images, dataset.test.labels, strict=True)):
        true = dataset.labels[label]
        if true in spec.labels:
            samples.append(Sample(f"test picture {number}", true, image))
        else:
            unknown[true] += 1
    if not samples:
        raise DataError(f"{path}: the model has none of its classes: {_some(dataset.labels)}")
    return Samples(dataset.described, samples, unknown, dataset.skipped)


def _lines(path: Path, spec: ModelSpec) -> Samples:
    samples, skipped = transcripts(path)
    if not samples:
        raise DataError(f"{path}: no line can be used; the first reason: {skipped[0].reason if skipped else 'empty'}")
    known = set(spec.labels) | {" "}
    unknown = Counter(character for sample in samples for character in sample.true if character not in known)
    return Samples(f"lines of {path.name or path}", samples, unknown, skipped)


def transcripts(path: Path) -> tuple[list[Sample], list[Skipped]]:
    """Pictures of lines and their texts, as listed in a TSV: the layout of Kaggle's `cyrillic-handwriting-dataset`.

    UTF-8, a row a picture: the file's name, a tab, the text. Quotes mean nothing. A first row that names no picture is
    taken for a header. The pictures of `x.tsv` are in the folder `x` beside it where there is one, else beside it. Of a
    folder it is `test.tsv`, or the only TSV there. Texts lose spaces at their ends and runs of them, as readings do.

    Raises:
        DataError: there is no TSV, or it cannot be read.
    """
    table = _table(path)
    folder = table.with_suffix("") if table.with_suffix("").is_dir() else table.parent
    try:
        rows = table.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DataError(f"{table}: {error}") from error
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            name, tab, text = row.decode("utf-8").partition("\t")
        except UnicodeDecodeError:
            skipped.append(Skipped(f"{table.name}:{number}", "not UTF-8"))
            continue
        picture, true = folder / name, " ".join(unicodedata.normalize("NFC", text).split())
        there = _inside(folder, name)
        if not there and number == 1 and not Path(name).suffix:
            continue  # a header
        problem = "no tab" if not tab else "no text" if not true else "" if there else f"no such picture: {name[:100]}"
        if problem:
            skipped.append(Skipped(f"{table.name}:{number}", problem))
        else:
            samples.append(Sample(name, true, picture, number))
    return samples, skipped


def _inside(folder: Path, name: str) -> bool:
    """Whether the file is there, and not anywhere else."""
    try:
        file = (folder / name).resolve()
        return bool(name) and file.is_relative_to(folder.resolve()) and file.is_file()
    except (OSError, ValueError):  # too long a name, or a zero byte in it
        return False


def _table(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.tsv"))
    tests = [one for one in found if one.name == "test.tsv"]
    if len(tests or found) != 1:
        raise DataError(f"{path} must hold test.tsv, or one TSV only; it holds: {_some([one.name for one in found])}")
    return (tests or found)[0]


def _some(names: Sequence[str] | Mapping[str, object], most: int = 12) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "") or "none"
