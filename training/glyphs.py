"""Sources of lines: texts set in fonts, collages and words of real handwriting, and lines as people wrote them.

Everything random comes from the `random.Random` that is passed in.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.corpus import make_text
from training.data import DataError, load_arrays
from training.letters import PEN_UP, Track
from training.lines import FAINT, Ink, Line, trimmed

Draw = Callable[[random.Random, int, int], Line]
"""A source of lines: (random, shortest, longest) to a line of so many characters, where it can."""


# --- fonts


@dataclass(frozen=True)
class Font:
    """One face of a family: its files, of which the first that has a character draws it, and what they have."""

    family: str
    files: tuple[Path, ...]
    covers: tuple[frozenset[str], ...]

    def has(self, character: str) -> bool:
        """Whether any file has this character; all have a space."""
        return character == " " or any(character in covered for covered in self.covers)


def find_fonts(folder: Path, charset: str) -> list[Font]:
    """The fonts of npm's @fontsource in a folder and below it, those that have all small Russian letters.

    Its Cyrillic faces lack digits and marks, and get them from the Latin files beside them.

    Raises:
        DataError: there is none.
    """
    fonts = []
    for path in sorted(folder.rglob("*-cyrillic-[0-9]*.woff2")):
        latin = path.with_name(path.name.replace("-cyrillic-", "-latin-"))
        files = (path, latin) if latin.is_file() else (path,)
        fonts.append(_font(path.name.split("-cyrillic-")[0], files, charset))
    return _russian(fonts, f"{folder}; npm ci --prefix training/fonts brings some")


def read_fonts(files: Sequence[Path], charset: str) -> list[Font]:
    """TTF and OTF files, each a family of its own, those that have all small Russian letters.

    Raises:
        DataError: there is none, or a file is no font.
    """
    return _russian([_font(path.stem, (path,), charset) for path in sorted(files)], ", ".join(map(str, files)))


def _russian(fonts: Sequence[Font], where: str) -> list[Font]:
    fonts = [font for font in fonts if all(font.has(letter) for letter in "абвгдежзийклмнопрстуфхцчшщъыьэюя")]
    if not fonts:
        raise DataError(f"no font with Russian letters in {where}")
    return fonts


def _font(family: str, files: tuple[Path, ...], charset: str) -> Font:
    covers = []
    for file in files:
        try:
            with file.open("rb") as stream, TTFont(stream, lazy=True) as face:
                covers.append(frozenset(charset) & frozenset(map(chr, face.getBestCmap())))
        except (TTLibError, OSError) as error:
            raise DataError(f"{file} is no font: {error}") from error
    return Font(family, files, tuple(covers))


@lru_cache(maxsize=1024)
def _face(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=100_000)
def _set_character(file: Path, size: int, character: str) -> tuple[Ink, int, int, float]:
    """A character's ink, the place of its left and top relative to the pen on the baseline, and the pen's advance."""
    face = _face(file, size)
    left, top, right, bottom = face.getbbox(character, anchor="ls")
    canvas = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=face, anchor="ls")
    return np.asarray(canvas), int(left), int(top), face.getlength(character)


def set_in_font(
    text: str, font: Font, size: int, space: float = 1.0, moves: Iterable[tuple[int, int]] = repeat((0, 0))
) -> Line:
    """A text in a font of `size` pixels an em, without kerning, spaces `space` times as wide as they are.

    `moves` says of each character how many pixels it is apart from the one before, and how many below the baseline.
    Characters are drawn once and then pasted: drawing each line anew would cost more than learning from it.
    """
    placed, middles, pen = [], [], float(size)
    for character, (apart, below) in zip(text, moves, strict=False):
        file = next((file for file, covered in zip(font.files, font.covers, strict=True) if character in covered), None)
        ink, left, top, advance = _set_character(file or font.files[0], size, character)
        if character == " ":
            advance = max(advance, size / 5) * space
        else:
            pen = max(0.0, pen + apart)
            placed.append((ink, max(0, round(pen) + left), 2 * size + top + below))
        middles.append(pen + advance / 2)
        pen += advance
    canvas = np.zeros((4 * size, int(pen) + 2 * size), np.uint8)
    for ink, left, top in placed:
        part = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(part, ink, out=part)
    return trimmed(Line(text, canvas, middles))


def font_lines(fonts: Sequence[Font], words: Sequence[str], charset: str, *, by_hand: bool = False) -> Draw:
    """Texts of all kinds in fonts, each family as often as any other.

    `by_hand` sets half of them as hands write: letters closer or farther apart than the font has them, and uneven.
    """
    families: dict[str, list[Font]] = {}
    for font in fonts:
        families.setdefault(font.family, []).append(font)
    names = sorted(families)

    def draw(rng: random.Random, shortest: int, longest: int) -> Line:
        font = rng.choice(families[rng.choice(names)])
        text = make_text(rng, words, charset, shortest, longest)
        text = " ".join("".join(filter(font.has, text)).split()) or rng.choice("абвгдежзиклмнопрст")
        size, space = rng.choice((30, 36, 44)), rng.uniform(0.8, 2.2)
        if not by_hand or rng.random() < 0.5:
            return set_in_font(text, font, size, space)
        apart, uneven = rng.uniform(-0.03, 0.12) * size, rng.uniform(0, 0.05) * size
        moves = [(round(rng.gauss(apart, uneven / 2)), round(rng.gauss(0, uneven))) for _ in text]
        return set_in_font(text, font, size, space, moves)

    return draw


# --- handwriting


@dataclass(frozen=True)
class Glyph:
    """A handwritten character or word: its ink, and where its top is, in pixels below the baseline (so negative)."""

    ink: Ink
    top: int


Letters = Mapping[str, Sequence[Glyph]]
"""A writer's characters, each with its glyphs; x-height is about 20 pixels."""


@dataclass(frozen=True)
class Strokes:
    """A pen's way in strokes of points [N, 2]: x rightward, y downward from the baseline, x-height about 20."""

    writer: int | str
    label: str
    strokes: tuple[NDArray[np.float64], ...]


def strokes_of(track: Track) -> Strokes:
    """A track in its strokes: a long wait lifts the pen, and so does a gap of 60 units, half a letter's height."""
    points = np.stack([np.array(track.x, float), BASELINE - np.array(track.y, float)], axis=1) * 0.5
    steps = np.hypot(*np.diff(points, axis=0).T)
    lifted = np.flatnonzero((steps > 30) | (np.array(track.dt_ms, float)[1:] > PEN_UP)) + 1
    return Strokes(track.writer, track.label, tuple(np.split(points, lifted)))


BASELINE = 210
"""The height, in the tracks' units, on which their letters stand."""


def inked(track: Strokes, pen: float, bend: NDArray[np.float64] | None = None) -> Glyph:
    """A track drawn with a pen so many pixels wide, after the linear map `bend` [2, 2] about the baseline."""
    strokes = [stroke @ bend.T if bend is not None else stroke for stroke in track.strokes]
    points = np.concatenate(strokes)
    edge = int(pen) + 2
    left, top = np.floor(points.min(axis=0)).astype(int) - edge
    width, height = np.ceil(points.max(axis=0)).astype(int) + edge - (left, top)
    # drawn at twice the size, and halved for smooth edges
    canvas = Image.new("L", (2 * int(width), 2 * int(height)))
    draw, line = ImageDraw.Draw(canvas), max(1, round(2 * pen))
    for stroke in strokes:
        path = [((x - left) * 2, (y - top) * 2) for x, y in stroke.tolist()]
        if len(path) > 1:
            draw.line(path, fill=255, width=line, joint="curve")
        else:
            ((x, y),) = path
            draw.ellipse((x - pen, y - pen, x + pen, y + pen), fill=255)
    ink = np.asarray(canvas.reduce(2))
    rows = np.flatnonzero(ink.max(axis=1) > FAINT)
    first, last = (rows[0], rows[-1]) if len(rows) else (0, 0)
    columns = np.flatnonzero(ink.max(axis=0) > FAINT)
    start, end = (columns[0], columns[-1]) if len(columns) else (0, 0)
    return Glyph(ink[first : last + 1, start : end + 1].copy(), int(top + first))


def track_glyphs(
    tracks: Sequence[Strokes], variants: int, rng: random.Random
) -> tuple[dict[int | str, dict[str, list[Glyph]]], list[tuple[str, Glyph]]]:
    """Tracks as ink, each in so many variants of pen, slant, turn and proportion: (letters by writer, whole words).

    With one variant, the track as it is, in a middling pen.
    """
    letters: dict[int | str, dict[str, list[Glyph]]] = {}
    words = []
    for track in tracks:
        for _ in range(variants):
            if variants == 1:
                glyph = inked(track, 2.2)
            else:
                turn, slant = rng.uniform(-0.1, 0.1), rng.uniform(-0.3, 0.3)
                wide, high = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2)
                bend = np.array([[wide, -slant], [turn, high]])
                glyph = inked(track, rng.choice((1.5, 2.0, 2.5, 3.5)), bend)
            if len(track.label) == 1:
                letters.setdefault(track.writer, {}).setdefault(track.label, []).append(glyph)
            else:
                words.append((track.label, glyph))
    return letters, words


def load_cmnist(path: Path) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """CMNIST's Russian letters by part (train, validation, test): bits [N, 98] of 28 x 28 pictures for each letter.

    Raises DataError where the file is missing or lacks an array.
    """
    arrays = load_arrays(path, ("images_packed", "label33", "lower", "split", "alphabet33"))
    images, labels, lower, split = (arrays[name] for name in ("images_packed", "label33", "lower", "split"))
    alphabet = "".join(map(str, arrays["alphabet33"]))
    parts: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for number, part in enumerate(("train", "validation", "test")):
        for index, letter in enumerate(alphabet):
            for case, form in ((1, letter.lower()), (0, letter.upper())):
                rows = images[(split == number) & (labels == index) & (lower == case)]
                if len(rows):
                    parts.setdefault(part, {})[form] = rows
    return parts


def boxed_glyph(bits: NDArray[np.uint8], letter: str, rng: random.Random, *, even: bool) -> Glyph:
    """A CMNIST letter, whose 28 x 28 box says nothing of its size: brought to the size its form has in a line.

    `even` leaves all letters equally high, as they are in their boxes.
    """
    picture = np.unpackbits(bits).reshape(28, 28) * 255
    height, below = rng.uniform(19, 24), 0.0
    if even:
        height *= 1.3
    elif letter == "ф":
        height, below = height * 1.8, 0.25
    elif letter in "дзруцщ":
        height, below = height * 1.4, 0.28
    elif letter in "ДЦЩ":
        height, below = height * 1.7, 0.15
    elif letter.isupper() or letter in "бвйё":
        height *= 1.55
    ink = trimmed(Line(letter, picture.astype(np.uint8))).ink
    scale = height / 28 if even else height / ink.shape[0]
    size = (max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale)))
    ink = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
    return Glyph(ink, round(size[1] * below) - size[1])


def joined(text: str, glyphs: Sequence[Glyph | None], gaps: Sequence[int], jumps: Sequence[int]) -> Line:
    """Glyphs on one baseline: after each a gap, each moved down by its jump, in pixels; None only leaves its gap."""
    tops = [glyph.top + jump for glyph, jump in zip(glyphs, jumps, strict=True) if glyph]
    ends = [glyph.top + jump + len(glyph.ink) for glyph, jump in zip(glyphs, jumps, strict=True) if glyph]
    widths = [0 if glyph is None else glyph.ink.shape[1] for glyph in glyphs]
    canvas = np.zeros((max(ends) - min(tops), sum(widths) + sum(max(0, gap) for gap in gaps) + 1), np.uint8)
    at, middles = 0, []
    for glyph, gap, jump in zip(glyphs, gaps, jumps, strict=True):
        if glyph:
            row, (height, width) = glyph.top + jump - min(tops), glyph.ink.shape
            part = canvas[row : row + height, at : at + width]
            np.maximum(part, glyph.ink, out=part)
            middles.append(at + width / 2)
            at += width
        else:
            middles.append(at + gap / 2)
        at = max(0, at + gap)
    return trimmed(Line(text, canvas, middles))


def collage_lines(writers: Sequence[Letters], words: Sequence[str], charset: str) -> Draw:
    """Texts put together from one writer's characters; what the writer lacks is left out."""

    def draw(rng: random.Random, shortest: int, longest: int) -> Line:
        letters = rng.choice(writers)
        text = make_text(rng, words, charset, shortest, longest)
        text = " ".join("".join(c for c in text if c == " " or c in letters).split()) or rng.choice(sorted(letters))
        glyphs = [None if c == " " else rng.choice(letters[c]) for c in text]
        even = rng.random() < 0.12  # as if each letter had been cut out and brought to one height
        if even:
            glyphs = [glyph and Glyph(_as_high(glyph.ink, 36), -36) for glyph in glyphs]
        return _spread(rng, text, glyphs)

    return draw


def boxed_lines(letters: Mapping[str, NDArray[np.uint8]], words: Sequence[str], charset: str) -> Draw:
    """Texts put together from CMNIST's letters, each by whoever wrote it."""

    def draw(rng: random.Random, shortest: int, longest: int) -> Line:
        text = make_text(rng, words, charset, shortest, longest)
        text = " ".join("".join(c for c in text if c == " " or c in letters).split()) or rng.choice(sorted(letters))
        even = rng.random() < 0.25
        glyphs = [
            None if c == " " else boxed_glyph(letters[c][rng.randrange(len(letters[c]))], c, rng, even=even)
            for c in text
        ]
        return _spread(rng, text, glyphs)

    return draw


def word_lines(words: Sequence[tuple[str, Glyph]]) -> Draw:
    """Whole handwritten words, as many in a line as fit."""

    def draw(rng: random.Random, shortest: int, longest: int) -> Line:
        fitting = [(text, glyph) for text, glyph in (rng.choice(words) for _ in range(12)) if len(text) <= longest]
        text, glyph = fitting[0] if fitting else min(words, key=lambda word: len(word[0]))
        glyphs: list[Glyph | None] = [glyph]
        for more, other in fitting[1:]:
            if len(text) >= shortest or len(text) + 1 + len(more) > longest:
                break
            text, glyphs = f"{text} {more}", [*glyphs, None, other]
        return Line(text, _spread(rng, text, glyphs).ink)

    return draw


def transcribed_lines(lines: Sequence[tuple[str, Ink]]) -> Draw:
    """Real lines, of the lengths that are asked for where there are any."""
    ordered = sorted(lines, key=lambda line: len(line[0]))
    lengths = [len(text) for text, _ in ordered]

    def draw(rng: random.Random, shortest: int, longest: int) -> Line:
        first, last = bisect_left(lengths, shortest), bisect_right(lengths, longest)
        return Line(*(ordered[rng.randrange(first, last)] if first < last else rng.choice(ordered)))

    return draw


def _spread(rng: random.Random, text: str, glyphs: Sequence[Glyph | None]) -> Line:
    wide = rng.choice((0, 0, 2, 5))
    gaps = [rng.randint(14, 30) if glyph is None else rng.randint(-2, 5) + wide for glyph in glyphs]
    uneven = rng.choice((0, 1, 2))
    return joined(text, glyphs, gaps, [rng.randint(-uneven, uneven) for _ in glyphs])


def _as_high(ink: Ink, height: int) -> Ink:
    width = max(2, min(2 * height, round(ink.shape[1] * height / ink.shape[0])))
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR))
