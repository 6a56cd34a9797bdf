"""The contact sheet: whatever labels and keys are called and whatever pictures are, one JPEG of the same measures."""

import io
from pathlib import Path
from typing import Any

import font_source_sans_pro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ics.contact_sheet import COLUMNS, HEIGHT, TILES, WIDTH, Tile, draw, thumbnail
from ics.errors import ImageError

FONT = Path(font_source_sans_pro.SourceSansPro).read_bytes()


def row(key: str = "in/a.png", label: str | None = "7", decision: str = "uncertain") -> dict[str, Any]:
    confidence = None if label is None else 0.9399
    return {"s3_uri": f"s3://b/{key}", "decision": decision, "reason": "R", "label": label, "confidence": confidence}


def picture(colour: str, size: tuple[int, int] = (400, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def opened(sheet: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(sheet))
    image.load()
    assert image.format == "JPEG"
    return image


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_rows = st.builds(row, _texts, st.none() | _texts, st.sampled_from(["flagged", "failed", "uncertain"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(_rows, min_size=1, max_size=TILES + 3), _texts)
def test_any_rows_make_a_sheet_that_grows_by_rows_of_tiles(rows: list[dict[str, Any]], title: str) -> None:
    sheet = opened(draw(title, [Tile(one, None, "NotAnImage") for one in rows], FONT))
    one = opened(draw("", [Tile(row(), None)], FONT))
    shown = min(len(rows), TILES)
    high = 1 + (shown - 1) // COLUMNS
    tile = opened(draw("", [Tile(row(), None)] * (COLUMNS + 1), FONT)).height - one.height
    assert sheet.height == one.height + (high - 1) * tile
    assert WIDTH * min(shown, COLUMNS) < sheet.width < (WIDTH + 20) * max(min(shown, COLUMNS), 4) + 20


def test_pictures_are_where_they_belong_in_the_order_given() -> None:
    colours = ("red", "lime", "blue")
    sheet = opened(draw("", [Tile(row(), thumbnail(picture(colour))) for colour in colours], FONT))
    middle = HEIGHT // 2 + 44
    for number, expected in enumerate(((254, 0, 0), (0, 255, 1), (0, 0, 254))):
        seen = sheet.getpixel((12 + number * (WIDTH + 12) + WIDTH // 2, middle))
        assert all(abs(a - b) < 12 for a, b in zip(seen, expected, strict=True)), (number, seen)


def test_labels_of_other_scripts_are_drawn_and_not_as_boxes() -> None:
    def drawn(label: str) -> bytes:
        return opened(draw("", [Tile(row(label=label), None)], FONT)).tobytes()

    assert len({drawn(label) for label in ("Ж", "Я", "é", "€", "\uffff")}) == 5


@pytest.mark.parametrize("content", [b"", b"milk, bread", picture("red")[:60]])
def test_what_is_no_picture_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(ImageError):
        thumbnail(content)
