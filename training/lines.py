"""A line as ink, and the picture of it that a model is given, in training and when it is served.

Ink is uint8 [height, width], light on black, as high and wide as what is drawn. Everything random comes from the
`random.Random` and the numpy generator that are passed in.
"""

import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ics.artifact import InputSpec
from ics.imaging import prepare
from serving.model import decode

Ink = NDArray[np.uint8]

FAINT = 40
"""Ink of at most this is not seen as ink."""


@dataclass(frozen=True)
class Line:
    """A text and its ink; `middles` says at which column each of its characters is, empty where nobody knows."""

    text: str
    ink: Ink
    middles: Sequence[float] = ()


def trimmed(line: Line) -> Line:
    """The line without empty rows and columns around its ink; [1, 1] of none."""
    rows, columns = np.flatnonzero(line.ink.max(axis=1) > FAINT), np.flatnonzero(line.ink.max(axis=0) > FAINT)
    if not len(rows):
        return Line(line.text, np.zeros((1, 1), np.uint8))
    ink = line.ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Line(line.text, ink, [middle - columns[0] for middle in line.middles])


def written(line: Line, rng: random.Random) -> Line:
    """The same line by a rougher hand: slanted, turned, thicker or thinner."""
    ink, middles = line.ink, line.middles
    height, width = ink.shape
    slant, turn = rng.uniform(-0.35, 0.45), rng.uniform(-0.025, 0.025)
    if rng.random() < 0.75:
        # output pixel (x, y) comes from (x + slant y, turn x + y), moved so that all of the line stays in
        wider, higher = abs(slant) * height, abs(turn) * width
        size = (int(width + wider) + 2, int(height + higher) + 2)
        shift = (min(0.0, -slant * size[1]), min(0.0, -turn * size[0]))
        picture = Image.fromarray(ink).transform(
            size, Image.Transform.AFFINE, (1, slant, shift[0], turn, 1, shift[1]), Image.Resampling.BILINEAR
        )
        ink = np.asarray(picture)
        middles = [middle - slant * size[1] / 2 - shift[0] for middle in middles]
    thicker = rng.uniform(-0.5, 1.0)
    if thicker > 0:
        ink = _mixed(ink, _grown(_grown(ink) if thicker > 0.6 else ink), thicker)
    elif height > 30:
        ink = _mixed(ink, 255 - _grown(255 - ink), -thicker)
    return trimmed(Line(line.text, ink, middles))


def _grown(ink: Ink) -> Ink:
    grown = ink.copy()
    np.maximum(grown[1:], ink[:-1], out=grown[1:])
    np.maximum(grown[:-1], ink[1:], out=grown[:-1])
    np.maximum(grown[:, 1:], ink[:, :-1], out=grown[:, 1:])
    np.maximum(grown[:, :-1], ink[:, 1:], out=grown[:, :-1])
    return grown


def _mixed(ink: Ink, other: Ink, share: float) -> Ink:
    return (ink + (other.astype(np.float32) - ink) * share).astype(np.uint8)


def pictured(
    line: Line, rng: random.Random, noise: np.random.Generator, width: int, height: int
) -> tuple[NDArray[np.float32], list[float]]:
    """A line as it may come out of `ics.imaging.prepare` for a net of `width` x `height`: float32 [height, w] in 0..1.

    With it come the columns at which its characters are now.

    The picture around the ink gets margins, is scaled to fit, aspect kept, and has the ground and grain of paper; what
    is beyond it is black. `prepare` centres it in the full width; here only some of that black is left, as much as a
    net of local convolutions sees from the line.
    """
    if len(line.ink) > 60:  # larger than it can come to be seen: what follows would take longer for nothing
        share = 48 / len(line.ink)
        size = max(1, round(line.ink.shape[1] * share)), 48
        smaller = np.asarray(Image.fromarray(line.ink).resize(size, Image.Resampling.BILINEAR))
        line = Line(line.text, smaller, [middle * share for middle in line.middles])
    line = written(line, rng)
    rows, columns = line.ink.shape
    across = columns * math.exp(rng.uniform(math.log(0.55), math.log(1.1)))
    airy = rng.random() < 0.4
    over, under = (rng.uniform(0, 0.3 if airy else 0.06) * rows for _ in range(2))
    before, after = (rng.uniform(0, (0.3 if rng.random() < 0.95 else 1.5) if airy else 0.1) * rows for _ in range(2))
    scale = min(height / (rows + over + under), width / (across + before + after))
    if rng.random() < 0.25:  # as in a picture of a longer line
        scale *= rng.uniform(0.6, 1)
    box_height = min(height, max(1, round((rows + over + under) * scale)))
    box_width = min(width, max(1, round((across + before + after) * scale)))
    size = (max(1, min(box_width, round(across * scale))), max(1, min(box_height, round(rows * scale))))
    small = Image.fromarray(line.ink)
    if rng.random() < 0.15:  # of few pixels, enlarged
        small = small.resize((max(1, round(size[0] * 0.7)), max(1, round(size[1] * 0.7))), Image.Resampling.BOX)
    inside = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32) / 255

    box = np.zeros((box_height, box_width), np.float32)
    left, top = min(round(before * scale), box_width - size[0]), min(round(over * scale), box_height - size[1])
    box[top : top + size[1], left : left + size[0]] = inside
    strength = 1.0 if rng.random() < 0.3 else rng.uniform(0.45, 1)
    if rng.random() < 0.4:
        ground = rng.uniform(0, 0.35) * strength
        slope = np.linspace(-1, 1, box_width, dtype=np.float32) * rng.uniform(-0.1, 0.1)
        lift = np.clip(ground + slope, 0, 0.5)
        box = lift + box * (strength - lift)
        box += noise.standard_normal(box.shape, np.float32) * rng.uniform(0, 0.05)
    else:
        box *= strength
    canvas = np.zeros((height, min(width, box_width + rng.randint(8, 40))), np.float32)
    above, beside = (height - box_height) // 2, rng.randint(0, canvas.shape[1] - box_width)
    canvas[above : above + box_height, beside : beside + box_width] = np.clip(box, 0, 1)
    return canvas, [beside + left + middle * size[0] / columns for middle in line.middles]


def as_served(ink: Ink, spec: InputSpec, rng: random.Random) -> NDArray[np.uint8]:
    """A line as a model is given it, through `ics.imaging.prepare`: black on white paper with narrow margins.

    uint8 [height, width, channels].
    """
    margin = max(1, round(rng.uniform(0.04, 0.15) * len(ink)))
    file = io.BytesIO()
    Image.fromarray(np.pad(255 - ink, margin, constant_values=255)).save(file, "PNG")
    return decode(prepare(file.getvalue(), spec), spec)


def without_borders(image: Ink) -> Ink:
    """A prepared picture without the black that `ics.imaging.prepare` put beside, or above and below it."""
    there = image > 12  # a JPEG's black is not quite black
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
