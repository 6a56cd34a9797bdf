"""Handwritten letters: Cyrillic-MNIST as packed bits, and pen tracks, drawn as a person's picture of a letter.

Both cases of a letter are one class: many Cyrillic ones are written alike.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from training.data import DataError, Dataset, Labelled, Skipped, load_arrays, split_groups
from training.pictures import load_photograph_squares, prepared
from training.recipe import Recipe, RecipeError

SIDE = 28
"""Width and height of a packed letter, pixels."""

PEN_UP = 45.0
"""Where more milliseconds than these lie between two points of a track, the pen was lifted."""

PAGE = 144
"""Width and height of a drawn track, pixels."""

MARGIN = 1 / 8
"""What stays free on each side of a drawn track, of the page."""

PENS = {"a pen": 1 / 10, "a fine pen": 1 / 25}
"""Width of a pen's line, of the letter's longer side: 0.6 and 0.24 mm, if a letter is 6 mm."""

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="ignore"))
class Track:
    """What a pen did: points in the writer's own unit, y grows upward; `dt_ms` is the time since the point before."""

    writer: int | str
    label: Annotated[str, Field(min_length=1)]
    x: Annotated[Sequence[Number], Field(min_length=1)]
    y: Sequence[Number]
    dt_ms: Sequence[Number]

    @model_validator(mode="after")
    def _as_many_of_each(self) -> Self:
        if not len(self.x) == len(self.y) == len(self.dt_ms):
            raise ValueError(f"{len(self.x)} x, {len(self.y)} y and {len(self.dt_ms)} dt_ms")
        return self


def load_tracks(path: Path) -> tuple[list[Track], list[Skipped]]:
    """Read pen tracks, one JSON object a line, and say which lines could not be read; blank lines are no lines.

    Raises:
        DataError: the file is missing, or has no track at all.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    reader = TypeAdapter(Track)
    tracks, skipped = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            try:
                tracks.append(reader.validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                skipped.append(Skipped(f"{path.name}, line {number}", f"{where}: {first['msg']}".removeprefix(": ")))
    if not tracks:
        raise DataError(f"{path} has no track" + (f"; {skipped[0].source}: {skipped[0].reason}" if skipped else ""))
    return tracks, skipped


def drawn(track: Track, pen: float) -> NDArray[np.uint8]:
    """A track as a picture: dark ink in the middle of a white page, uint8 [PAGE, PAGE].

    `pen` is the width of its line, of the writing's longer side.
    """
    fine = 2  # drawn at twice the size, for smooth edges
    points = np.array([track.x, np.negative(track.y)]).T
    low, high = points.min(axis=0), points.max(axis=0)
    longer = PAGE * fine * (1 - 2 * MARGIN)
    scale = longer / max((high - low).max(), 1e-9)
    points = (points - (low + high) / 2) * scale + PAGE * fine / 2
    width = max(1, round(pen * longer))
    page = Image.new("L", (PAGE * fine, PAGE * fine), 255)
    draw = ImageDraw.Draw(page)
    for stroke in np.split(points, np.flatnonzero(np.array(track.dt_ms[1:]) > PEN_UP) + 1):
        draw.line([tuple(point) for point in stroke], fill=0, width=width, joint="curve")
        for x, y in stroke[[0, -1]]:  # round ends, and a dot where the pen only touched
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return np.asarray(page.reduce(fine))


def load_packed_letters(path: Path) -> tuple[tuple[str, ...], list[Labelled]]:
    """Read Cyrillic-MNIST from an npz: its Russian classes, and its images for training, validation and test.

    The arrays, row by row: `images_packed` uint8 [N, 98], 28 x 28 bits as np.packbits packs them, 1 is ink; `label33`,
    the number in `alphabet33` or -1 for a letter that is not Russian, which is left out; `split`, 0 to 2 for the parts.
    Images come out as [N, 28, 28, 1], 255 is ink.

    Raises:
        DataError: the file is missing or damaged, lacks an array, or holds another shape, label or part.
    """
    arrays = load_arrays(path, ("images_packed", "label33", "split", "alphabet33"))
    packed, numbers, parts, alphabet = arrays.values()
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != SIDE * SIDE // 8:
        raise DataError(f"{path}: images_packed must be uint8 [N, {SIDE**2 // 8}], not {packed.dtype} {packed.shape}")
    for name, rows in (("label33", numbers), ("split", parts)):
        if rows.shape != packed.shape[:1] or not np.issubdtype(rows.dtype, np.integer):
            raise DataError(f"{path}: {name} must be {len(packed)} whole numbers, not {rows.dtype} {rows.shape}")
    if alphabet.ndim != 1 or alphabet.dtype.kind != "U":
        raise DataError(f"{path}: alphabet33 must be a list of letters, not {alphabet.dtype} {alphabet.shape}")
    if not np.isin(numbers, np.arange(-1, len(alphabet))).all():
        raise DataError(f"{path} holds labels outside -1..{len(alphabet) - 1}")
    if not np.isin(parts, np.arange(3)).all():
        raise DataError(f"{path} holds parts outside 0..2")
    images = np.unpackbits(packed, axis=1).reshape(-1, SIDE, SIDE, 1) * np.uint8(255)
    labels = numbers.astype(np.int64)
    return tuple(str(letter) for letter in alphabet), [
        Labelled(images, labels).take(np.flatnonzero((labels >= 0) & (parts == part))) for part in range(3)
    ]


def packed_letters(recipe: Recipe, path: Path, _seed: int) -> Dataset:
    """Cyrillic-MNIST in its own parts; from a folder, beside pen tracks that are drawn and never learned from.

    `path` is the npz, or the folder in which `data.options` names it (`letters`) and the tracks (`tracks`).

    Raises:
        DataError: as `load_packed_letters` and `load_tracks` do; no track is of a letter of the alphabet.
        RecipeError: an option is missing or unknown.
    """
    options = recipe.data.options
    if options.keys() != {"letters", "tracks"} or not all(isinstance(name, str) for name in options.values()):
        raise RecipeError("data.options must name two files: letters and tracks")
    alphabet, (train, validation, test) = load_packed_letters(path / options["letters"] if path.is_dir() else path)
    if train.images.shape[1:] != (recipe.input.height, recipe.input.width, recipe.input.channels):
        raise RecipeError(f"input: packed letters are {SIDE} x {SIDE}, grey")
    dataset = Dataset(
        alphabet,
        train,
        validation,
        test,
        described=f"Cyrillic-MNIST's own test part, {len(test):,} letters",
        nothing={"squares of scikit-learn's two sample photographs": prepared(load_photograph_squares(), recipe.input)},
    )
    if not path.is_dir():
        return dataset
    tracks, skipped = load_tracks(path / options["tracks"])
    if not (letters := [track for track in tracks if track.label.upper() in alphabet]):
        raise DataError(f"{path / options['tracks']}: no track is of one of {' '.join(alphabet)}")
    labels = np.array([alphabet.index(track.label.upper()) for track in letters], np.int64)
    writers = len({track.writer for track in letters})
    elsewhere = {
        f"pen tracks of {writers} other writers, drawn with {pen}": Labelled(
            prepared([drawn(track, width) for track in letters], recipe.input), labels
        )
        for pen, width in PENS.items()
    }
    return replace(dataset, elsewhere=elsewhere, skipped=tuple(skipped))


def pen_tracks(recipe: Recipe, path: Path, seed: int) -> Dataset:
    """Tracks of single characters, drawn with a pen; the parts share no writer.

    Raises:
        DataError: as `load_tracks` does; no track is of one character, or there are fewer than three writers.
    """
    tracks, skipped = load_tracks(path)
    tracks = [track for track in tracks if len(track.label.upper()) == 1]
    if len({track.writer for track in tracks}) < 3:
        raise DataError(f"{path}: single characters of three writers at least, one for each part, are needed")
    alphabet = tuple(sorted({track.label.upper() for track in tracks}))
    rest = Labelled(
        prepared([drawn(track, PENS["a pen"]) for track in tracks], recipe.input),
        np.array([alphabet.index(track.label.upper()) for track in tracks], np.int64),
    )
    writers = np.array([str(track.writer) for track in tracks])
    kept = []
    for share in (recipe.data.test, recipe.data.validation):
        aside = split_groups(rest, writers, share, seed)
        kept.append(rest.take(np.flatnonzero(aside)))
        rest, writers = rest.take(np.flatnonzero(~aside)), writers[~aside]
    test, validation = kept
    described = f"{len(test):,} tracks of writers who are in no other part"
    return Dataset(alphabet, rest, validation, test, described, skipped=tuple(skipped))
