"""`ics.imaging.prepare_photo`: within Rekognition's limits, in its own proportions, passed through where it can be."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from ics.errors import ImageError, ImageTooSmall, NotAnImage, ObjectTooLarge, TooManyPixels
from ics.imaging import MAX_PHOTO, PHOTO_LEAST, PHOTO_MOST, PHOTO_SIDE, prepare_photo
from ics.wire import MAX_BODY, request_image, request_line

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))


def corner(width: int, height: int) -> Image.Image:
    """White, the left top quarter black."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((0, 0, width // 2 - 1, height // 2 - 1), "black")
    return image


def read(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4500), st.integers(1, 4500), st.sampled_from(FORMATS))
def test_it_keeps_its_proportions_within_the_limits_or_is_named_too_small(
    width: int, height: int, format_: str
) -> None:
    width = min(width, 400_000 // height)  # so that it is quick
    content = saved(Image.new("RGB", (width, height), "teal"), format_)
    longer, shorter = max(width, height), min(width, height)
    if shorter < PHOTO_LEAST or longer / shorter > PHOTO_MOST / PHOTO_LEAST:
        with pytest.raises(ImageTooSmall, match=f"{width} x {height} pixels"):
            prepare_photo(content)
        return
    made = read(prepare_photo(content))
    assert made.format in ("JPEG", "PNG")
    assert min(made.size) >= PHOTO_LEAST
    assert max(made.size) <= min(longer, PHOTO_MOST), "nothing is scaled up"
    assert max(made.size) <= PHOTO_SIDE or min(made.size) == PHOTO_LEAST
    assert made.width / width == pytest.approx(made.height / height, rel=0.02), "nothing is added at the sides"


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_conforms_is_passed_through_as_it_is(format_: str, mode: str) -> None:
    content = saved(corner(640, 480).convert(mode), format_)
    assert prepare_photo(content) is content


@pytest.mark.parametrize("format_", FORMATS)
def test_what_it_shows_stays_where_it_was(format_: str) -> None:
    made = read(prepare_photo(saved(corner(2400, 1800), format_))).convert("L")
    assert made.size == (PHOTO_SIDE, PHOTO_SIDE * 3 // 4)
    half_wide, half_high = made.width // 2, made.height // 2
    assert made.crop((0, 0, half_wide - 4, half_high - 4)).getextrema()[1] < 20
    for place in ((half_wide + 4, 0, made.width, made.height), (0, half_high + 4, made.width, made.height)):
        assert made.crop(place).getextrema()[0] > 235


@pytest.mark.parametrize("size", [(2400, 1800), (640, 480)])
def test_a_turned_photograph_is_sent_upright_and_without_what_lies_behind_it(size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    content = saved(corner(*size), "JPEG", exif=exif) + b"PK secret"
    sent = prepare_photo(content)
    made, expected = read(sent), ImageOps.exif_transpose(read(content))
    assert made.width < made.height
    assert made.width / made.height == pytest.approx(expected.width / expected.height, rel=0.01)
    assert made.convert("L").getpixel((made.width - 10, 10)) < 20
    assert b"secret" not in sent
    assert not made.getexif()


def test_the_hardest_to_compress_still_fits_a_request() -> None:
    sent = prepare_photo(saved(noise(2000, 2000), "PNG", compress_level=1))
    assert len(sent) <= MAX_PHOTO
    line = request_line("a" * 64, bytes(MAX_PHOTO))
    assert len(line) < MAX_BODY
    assert len(request_image(line)) == len(line) - len(request_line("a" * 64, b""))


def test_what_even_so_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ics.imaging.MAX_PHOTO", 1000)
    with pytest.raises(ObjectTooLarge, match="at JPEG quality 70; the limit is 1,000"):
        prepare_photo(saved(noise(300, 300), "PNG"))


HOSTILE = {
    "a text": (b"milk, bread", NotAnImage),
    "twenty pixels": (saved(noise(20, 20), "PNG"), ImageTooSmall),
    "too many pixels": (saved(Image.new("1", (10_000, 9_000)), "PNG"), TooManyPixels),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_sent_has_a_name(name: str) -> None:
    content, expected = HOSTILE[name]
    with pytest.raises(expected):
        prepare_photo(content)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(FORMATS), st.integers(0, 2_000), st.binary(max_size=40))
def test_damage_is_always_an_image_error(format_: str, at: int, junk: bytes) -> None:
    content = saved(corner(120, 100), format_)
    damaged = content[: at % len(content)] + junk
    with contextlib.suppress(ImageError):
        read(prepare_photo(damaged))
