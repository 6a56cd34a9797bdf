"""The contact sheet of a run: one JPEG of the images that a person should see first, and what was said of each."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ics.artifact import InputSpec
from ics.digest import printable, shown
from ics.imaging import MAX_PIXELS, prepare

TILES = 24
"""Images of a sheet."""

COLUMNS = 6
WIDTH, HEIGHT = 180, 140
"""Pixels of a picture on the sheet, which is scaled to fit."""

_CAPTION_LINES = 3
_LINE = 16
_GAP = 12
_HEAD = 44
_PAPER, _INK, _FAINT, _NO_PICTURE = "#ffffff", "#1c1c1c", "#6a6a6a", "#e4e4e4"
_COLOURS = {"flagged": "#a0238e", "failed": "#c0392b", "uncertain": "#b97a00"}
_LAYOUT = ImageFont.Layout.BASIC  # the other one is not in every build of Pillow, and refuses some characters
_PICTURE = InputSpec("", WIDTH, HEIGHT, "rgb")


@dataclass(frozen=True, slots=True)
class Tile:
    """One image: its row's brief, and its picture of `thumbnail`, or why there is none."""

    row: Mapping[str, Any]
    picture: bytes | None
    instead: str = ""


def thumbnail(content: bytes, max_pixels: int = MAX_PIXELS) -> bytes:
    """An uploaded image as it goes on a sheet, made with the care that `ics.imaging` takes of strangers' bytes.

    Raises:
        ImageError: it cannot be decoded, by its name.
    """
    return prepare(content, _PICTURE, max_pixels)


def draw(title: str, tiles: Sequence[Tile], font: bytes) -> bytes:
    """The sheet as a JPEG: the title, then at most `TILES` tiles, row by row, as they are given.

    Args:
        title: one line above all.
        tiles: at least one.
        font: a TrueType font that has the characters of labels and keys.
    """
    tiles = tiles[:TILES]
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    tile = (WIDTH + _GAP, HEIGHT + _CAPTION_LINES * _LINE + 2 * _GAP)
    wide = max(columns, 4) * tile[0] + _GAP
    sheet = Image.new("RGB", (wide, _HEAD + rows * tile[1]), _PAPER)
    pen = ImageDraw.Draw(sheet)
    small, large = (ImageFont.truetype(io.BytesIO(font), size, layout_engine=_LAYOUT) for size in (12, 15))
    pen.text((_GAP, 14), _cut(printable(title, 300), large, wide - 2 * _GAP), _INK, large)
    for number, one in enumerate(tiles):
        left, top = _GAP + number % columns * tile[0], _HEAD + number // columns * tile[1]
        _draw_tile(sheet, pen, one, (left, top), small)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=85)
    return out.getvalue()


def _draw_tile(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], font: ImageFont.FreeTypeFont
) -> None:
    left, top = at
    colour = _COLOURS.get(tile.row["decision"], _FAINT)
    if tile.picture is not None:
        sheet.paste(Image.open(io.BytesIO(tile.picture)), at)
    else:
        pen.rectangle((left, top, left + WIDTH - 1, top + HEIGHT - 1), _NO_PICTURE)
        said = _cut(tile.instead, font, WIDTH - 8)
        pen.text((left + WIDTH / 2, top + HEIGHT / 2), said, _FAINT, font, anchor="mm")
    pen.rectangle((left, top + HEIGHT, left + WIDTH - 1, top + HEIGHT + 3), colour)
    label, confidence = tile.row["label"], tile.row["confidence"]
    answer = "no answer" if label is None else f"{label!r} at {shown(confidence)}"
    key = tile.row["s3_uri"].partition("://")[2].partition("/")[2]
    lines = ((answer, _INK), (f"{tile.row['decision']}: {tile.row['reason']}", colour), (key, _FAINT))
    for number, (text, ink) in enumerate(lines):
        place = (left, top + HEIGHT + 7 + number * _LINE)
        cut = _cut_front if text is key else _cut
        pen.text(place, cut(printable(text, 300), font, WIDTH), ink, font)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Text that is not wider than so many pixels, its end left out where it would be."""
    while font.getlength(text) > width:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def _cut_front(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The same, its beginning left out: of a key the end tells more."""
    while font.getlength(text) > width:
        text = f"…{text.removeprefix('…')[1:]}"
    return text
