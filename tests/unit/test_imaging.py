"""Preparing images: every format, odd and hostile ones, and the promises that predictions rest on."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps
from sklearn.datasets import load_sample_image

from ics.artifact import InputSpec
from ics.errors import (
    CorruptImage,
    EmptyObject,
    ImageError,
    NotAnImage,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
)
from ics.imaging import MAX_PIXELS, prepare, sniff, wire_format
from tests.odd_images import bombs, chunk, encoded, icc_profile, png, scan_bomb, tile_bomb

# Pillow warns of unreadable metadata; in production the pixels still count.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

GREY = InputSpec("image", 28, 28, "grey")
DIGITS = InputSpec("image", 28, 28, "grey", "light-on-dark")
PAPER = InputSpec("image", 32, 24, "grey", "dark-on-light")
RGB = InputSpec("image", 32, 32, "rgb")
PHOTO = InputSpec("image", 224, 224, "rgb")
WRITING = InputSpec("image", 160, 80, "grey", "dark-on-light")
SPECS = (GREY, DIGITS, PAPER, RGB, PHOTO, WRITING)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(opened(content)).astype(int)


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A smooth picture with an unmistakable top left, so that turning and mirroring show."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), "uint8")
    noise[0, 0], noise[-1, -1] = 0, 255
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)
    return image.convert("P" if mode == "P" else mode)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("spec", SPECS)
def test_every_format_becomes_what_the_model_takes(format_: str, spec: InputSpec) -> None:
    content = encoded(picture(90, 60), format_)
    assert sniff(content) == format_
    prepared = opened(prepare(content, spec))
    assert (prepared.format, prepared.size) == (wire_format(spec), (spec.width, spec.height))
    assert prepared.mode == ("L" if spec.colour == "grey" else "RGB")
    assert not prepared.info.keys() - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_lossless_formats_agree_and_the_picture_is_centred_on_the_background() -> None:
    source = picture(60, 30)
    prepared = {format_: pixels(prepare(encoded(source, format_), RGB)) for format_ in ("PNG", "BMP", "TIFF")}
    assert (prepared["PNG"] == prepared["BMP"]).all()
    assert (prepared["PNG"] == prepared["TIFF"]).all()
    expected = np.zeros((32, 32, 3), int)
    expected[8:24] = np.asarray(source.resize((32, 16), Image.Resampling.BICUBIC))
    assert (prepared["PNG"] == expected).all()


def test_large_models_are_sent_jpeg_with_full_colour_resolution() -> None:
    prepared = prepare(encoded(picture(224, 224), "PNG"), PHOTO)
    assert {layer[1:3] for layer in opened(prepared).layer} == {(1, 1)}  # 4:4:4


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    upright = picture(64, 48)
    stored_as = {  # the transposition that the camera's orientation undoes
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format_, {})
    stored = upright if stored_as is None else upright.transpose(stored_as)
    turned = pixels(prepare(encoded(stored, format_, exif=exif, **options), RGB))
    expected = pixels(prepare(encoded(upright, "PNG"), RGB))
    assert abs(turned - expected).max() <= (4 if format_ == "JPEG" else 0)


def test_an_orientation_in_xmp_is_applied_to_a_picture_that_otherwise_conforms() -> None:
    upright = picture(28, 28, "L")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="3"/></x:xmpmeta>'
    text = b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + xmp
    raw = b"".join(b"\0" + row.tobytes() for row in np.asarray(upright.rotate(180)))
    assert (pixels(prepare(png(28, 28, 8, 0, raw, chunk(b"iTXt", text)), GREY)) == np.asarray(upright)).all()


def test_unreadable_exif_leaves_the_picture_as_it_is() -> None:
    content = encoded(picture(40, 40), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x63\xff" * 4)
    assert (pixels(prepare(content, RGB)) == pixels(prepare(encoded(picture(40, 40), "PNG"), RGB))).all()


def _half_transparent(mode: str) -> Image.Image:
    """Left half black and opaque, right half black and transparent."""
    image = Image.new("LA", (28, 28), (0, 255))
    image.paste((0, 0), (14, 0, 28, 28))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "format_"), [("LA", "PNG"), ("LA", "TIFF"), *(("RGBA", name) for name in ("PNG", "TIFF", "WEBP", "GIF"))]
)
def test_transparency_is_laid_on_white(mode: str, format_: str) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    prepared = pixels(prepare(encoded(_half_transparent(mode), format_, **options), GREY))
    assert (prepared[:, :14] == 0).all()
    assert (prepared[:, 14:] == 255).all()


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent", "extra"),
    [
        (1, 0, b"\x00" * 4, b"\0\0", ()),
        (8, 0, b"\x50" * 28, b"\0\x50", ()),
        (16, 0, b"\x50" * 56, b"\x50\x50", ()),
        (8, 2, b"\x50" * 84, b"\0\x50" * 3, ()),
        (8, 3, b"\x01" * 28, b"\xff\x00", (chunk(b"PLTE", bytes(6)),)),
    ],
    ids=["1-bit", "grey", "16-bit", "rgb", "palette"],
)
def test_png_colour_keys_are_laid_on_white(depth: int, colour: int, row: bytes, transparent: bytes, extra) -> None:
    content = png(28, 28, depth, colour, (b"\0" + row) * 28, *extra, chunk(b"tRNS", transparent))
    assert (pixels(prepare(content, GREY)) == 255).all()


def test_cmyk_jpegs_keep_their_colours() -> None:
    content = encoded(Image.new("RGB", (64, 64), (200, 40, 40)).convert("CMYK"), "JPEG")
    assert opened(content).mode == "CMYK"
    assert abs(pixels(prepare(content, RGB)) - (200, 40, 40)).max() <= 4


RAMP = np.tile(np.linspace(0, 65535, 28), (28, 1))


@pytest.mark.parametrize(
    ("mode", "content"),
    [
        ("I;16", encoded(Image.fromarray(RAMP.astype("uint16")), "PNG")),
        ("I;16", encoded(Image.fromarray(RAMP.astype("uint16")), "TIFF")),
        ("I;16B", encoded(Image.frombytes("I;16B", (28, 28), RAMP.astype(">u2").tobytes()), "TIFF")),
        ("I", encoded(Image.fromarray(RAMP.astype("int32")), "TIFF")),
        ("F", encoded(Image.fromarray((RAMP / 65535).astype("float32")), "TIFF")),
    ],
    ids=["png-16", "tiff-16", "tiff-16-big-endian", "tiff-int32", "tiff-float"],
)
def test_deep_greys_are_scaled_not_clipped(mode: str, content: bytes) -> None:
    assert opened(content).mode == mode
    assert abs(pixels(prepare(content, GREY)) - RAMP / 257).max() <= 1


def test_16_bit_black_and_white_are_black_and_white() -> None:
    content = png(28, 28, 16, 0, (b"\0" + b"\0\0" * 14 + b"\xff\xff" * 14) * 28)
    assert np.unique(pixels(prepare(content, GREY))).tolist() == [0, 255]


def test_one_bit_images_use_the_full_range() -> None:
    bits = Image.new("1", (28, 28))
    bits.paste(1, (0, 0, 28, 14))
    for format_ in ("PNG", "TIFF", "BMP", "GIF"):
        prepared = pixels(prepare(encoded(bits, format_), GREY))
        assert prepared[0, 0] == 255, format_
        assert prepared[-1, 0] == 0, format_


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_counts(format_: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}
    content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert opened(content).n_frames == 3
    assert (pixels(prepare(content, RGB)) == (255, 0, 0)).all()


def test_progressive_jpegs_give_what_baseline_ones_do() -> None:
    baseline, progressive = (encoded(picture(90, 90), "JPEG", progressive=flag) for flag in (False, True))
    assert (pixels(prepare(baseline, RGB)) == pixels(prepare(progressive, RGB))).all()


@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 20000), (3, 5000)])
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
@pytest.mark.parametrize("spec", [DIGITS, PHOTO])
def test_extreme_shapes(size: tuple[int, int], format_: str, spec: InputSpec) -> None:
    assert opened(prepare(encoded(Image.new("RGB", size, "white"), format_), spec)).size == (spec.width, spec.height)


# --- what is refused


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_named_so(format_: str, kept: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 90, 3), "uint8"))
    content = encoded(noise, format_)
    with pytest.raises(TruncatedImage):
        prepare(content[: int(len(content) * kept)], RGB)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, I am a text",
        b"BMW is a car, and this is no bitmap",
        b"<!doctype html><html><body><svg></svg></body></html>",
        b"PK\x03\x04" + bytes(60),
        b"%PDF-1.7\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x18ftypmp42" + bytes(16),
        bytes(100),
        b"\xff",
    ],
)
def test_other_content_is_not_an_image_whatever_its_name_says(content: bytes) -> None:
    with pytest.raises(NotAnImage):
        prepare(content, RGB)


def test_no_bytes_are_an_empty_object() -> None:
    with pytest.raises(EmptyObject):
        prepare(b"", RGB)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x00\x00\x00\x20ftypheic" + bytes(20), "HEIC"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(20), "AVIF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg>', "SVG"),
        (encoded(picture(16, 16), "ICO"), "ICO"),
        (encoded(picture(16, 16), "JPEG2000"), "JPEG 2000"),
        (b"8BPS\x00\x01" + bytes(20), "PSD"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (encoded(Image.new("LAB", (28, 28)), "TIFF"), "LAB"),
    ],
)
def test_formats_that_are_not_read_are_named(content: bytes, named: str) -> None:
    with pytest.raises(UnsupportedFormat, match=named):
        prepare(content, RGB)


@pytest.mark.parametrize("content", [png(0, 9, 8, 0, b""), png(9, 9, 8, 3, (b"\0" + bytes(9)) * 9)])
def test_no_pixels_and_no_palette_are_corrupt(content: bytes) -> None:
    with pytest.raises(CorruptImage) as caught:
        prepare(content, RGB)
    assert "0x" not in str(caught.value)  # no memory addresses in what people read


REFUSED_WITHIN = """
import sys
from ics.artifact import InputSpec
from ics.errors import TooManyPixels
from ics.imaging import prepare
from tests.soak.__main__ import peak_mib
before = peak_mib()
try:
    prepare(sys.stdin.buffer.read(), InputSpec("image", 224, 224, "rgb"))
except TooManyPixels:
    print(peak_mib() - before)
"""


def _mib_to_refuse(content: bytes) -> int:
    """The memory that refusing takes, in a process of its own: this one may have had a higher peak already."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_WITHIN],
        input=content,
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    return int(done.stdout)


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_bombs_are_refused_from_the_header(format_: str) -> None:
    content = bombs()[format_]
    assert len(content) < 2000
    with pytest.raises(TooManyPixels, match="limit is 64,000,000"):
        prepare(content, RGB)
    assert _mib_to_refuse(content) < 32


def test_tiles_larger_than_their_image_are_refused_from_the_header() -> None:
    content = tile_bomb(9_000)
    with pytest.raises(TooManyPixels, match="tiles of 9000 x 9000 pixels"):
        prepare(content, GREY)
    assert _mib_to_refuse(content) < 32
    assert (pixels(prepare(tile_bomb(256), GREY)) == 0).all()


@pytest.mark.parametrize("progressive", [True, False])
def test_jpegs_of_endless_scans_are_refused_before_they_are_decoded(
    progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = scan_bomb(200)
    if not progressive:  # one scan for each of two components is a sequential JPEG's way to have several
        content = encoded(picture(64, 64), "JPEG", subsampling=0)
        start = content.rindex(b"\xff\xda")
        scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + content[start + 14 : -2]
        content = content[:start] + scan * 200 + b"\xff\xd9"
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(CorruptImage, match="more than 100 scans"):
        prepare(content, PHOTO)


@pytest.mark.parametrize("progressive", [True, False])
def test_what_looks_like_scans_behind_a_picture_says_nothing(progressive: bool) -> None:
    video = b"\xff\xda\0\0" * 500  # as in a motion photo
    assert prepare(encoded(picture(90, 60), "JPEG", progressive=progressive) + video, PHOTO)


def test_the_pixel_limit_is_the_callers() -> None:
    content = encoded(picture(40, 30), "PNG")
    assert prepare(content, RGB, max_pixels=1200)
    with pytest.raises(TooManyPixels, match="40 x 30"):
        prepare(content, RGB, max_pixels=1199)
    assert MAX_PIXELS == 64_000_000


MAGIC = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00",
    b"II*\x00",
    b"MM\x00*",
    b"RIFF\x00\x10\x00\x00WEBP",
]
VALID = [encoded(picture(30, 20), format_) for format_ in FORMATS] + [
    encoded(picture(30, 20, "P"), "PNG"),
    encoded(Image.fromarray(RAMP.astype("uint16")), "PNG"),
    encoded(picture(30, 20).convert("RGBA"), "TIFF", compression="tiff_lzw"),
    encoded(picture(30, 20).convert("CMYK"), "JPEG"),
]


@settings(max_examples=400)
@given(st.sampled_from([b"", *MAGIC]), st.binary(max_size=300), st.sampled_from([DIGITS, PHOTO]))
def test_any_bytes_give_an_image_or_an_image_error(magic: bytes, rest: bytes, spec: InputSpec) -> None:
    _prepared_or_refused(magic + rest, spec)


@settings(max_examples=600)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=6),
    st.sampled_from([DIGITS, PHOTO]),
)
def test_flipped_bytes_give_an_image_or_an_image_error(content: bytes, flips, spec: InputSpec) -> None:
    broken = bytearray(content)
    for place, bits in flips:
        broken[int(place * len(broken))] ^= bits
    _prepared_or_refused(bytes(broken), spec)


def _prepared_or_refused(content: bytes, spec: InputSpec) -> None:
    try:
        prepared = prepare(content, spec, max_pixels=1_000_000)
    except ImageError:
        return
    assert opened(prepared).size == (spec.width, spec.height)


# --- colour profiles, and what hides behind a picture


SRGB_PRIMARIES = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
SWAPPED = icc_profile(SRGB_PRIMARIES[1], SRGB_PRIMARIES[0], SRGB_PRIMARIES[2])  # red says green, and green red
GAMMA_1 = icc_profile(None, None, None, b"GRAY", 1.0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colours_are_those_of_the_embedded_profile(format_: str, mode: str) -> None:
    red = Image.new("RGB", (40, 40), (250, 10, 10)).convert("RGB" if format_ == "JPEG" else mode)
    options = {"lossless": True} if format_ == "WEBP" else {}
    swapped = pixels(prepare(encoded(red, format_, icc_profile=SWAPPED, **options), RGB))
    assert abs(swapped[16, 16] - (10, 250, 10)).max() <= 8
    for harmless in (SRGB, GAMMA_1, b"profile"):  # sRGB itself, a profile for greys, none at all
        plain = prepare(encoded(red, format_, icc_profile=harmless, **options), RGB)
        assert (pixels(plain) == pixels(prepare(encoded(red, format_, **options), RGB))).all()


def test_a_large_photo_is_converted_too_and_greys_by_their_curve() -> None:
    photo = encoded(Image.new("RGB", (2000, 1500), (250, 10, 10)), "JPEG", icc_profile=SWAPPED)
    prepared = prepare(photo, PHOTO)
    assert abs(pixels(prepared)[112, 112] - (10, 250, 10)).max() <= 8
    assert "icc_profile" not in opened(prepared).info
    linear = pixels(prepare(encoded(Image.new("L", (28, 28), 128), "PNG", icc_profile=GAMMA_1), GREY))
    assert abs(linear - 188).max() <= 1  # linear .5 in sRGB: IEC 61966-2-1
    deep = Image.fromarray(np.full((28, 28), 128 * 257, "uint16"))
    assert (pixels(prepare(encoded(deep, "PNG", icc_profile=GAMMA_1), GREY)) == linear).all()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=8), st.sampled_from("LRC"))
def test_hostile_profiles_harm_nothing(flips, kind: str) -> None:
    hostile = bytearray({"L": GAMMA_1, "R": SWAPPED, "C": SRGB}[kind])
    for place, bits in flips:
        hostile[int(place * len(hostile))] ^= bits
    image = picture(40, 30, "L" if kind == "L" else "RGB")
    assert opened(prepare(encoded(image, "PNG", icc_profile=bytes(hostile)), RGB)).size == (32, 32)


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("secret.txt", "do not send")
    return out.getvalue()


@pytest.mark.parametrize("junk", [_zip(), b"<html><script>alert(1)</script></html>", b"\0"], ids=["zip", "html", "nul"])
@pytest.mark.parametrize(("format_", "spec"), [("PNG", GREY), ("JPEG", PHOTO), ("GIF", GREY), ("WEBP", GREY)])
def test_what_lies_behind_a_picture_is_left_behind(format_: str, spec: InputSpec, junk: bytes) -> None:
    content = encoded(picture(spec.width, spec.height, "L" if spec is GREY else "RGB"), format_)
    prepared = prepare(content + junk, spec)
    assert not prepared.endswith(junk)
    assert b"secret" not in prepared
    assert b"script" not in prepared
    assert abs(pixels(prepared) - pixels(prepare(content, spec))).max() <= 8


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        # an application segment that no decoder shows; a thumbnail in JFIF's own; a private chunk; an end with contents
        (encoded(picture(224, 224), "JPEG").replace(b"\xff\xdb", b"\xff\xe5\x00\x08hidden\xff\xdb", 1), PHOTO),
        (encoded(picture(224, 224), "JPEG").replace(b"\0\x10JFIF", b"\0\x16JFIF").replace(
            b"\xff\xdb", b"hidden\xff\xdb", 1), PHOTO),
        (encoded(picture(28, 28, "L"), "PNG")[:-12] + chunk(b"prVt", b"hidden") + chunk(b"IEND", b""), GREY),
        (encoded(picture(28, 28, "L"), "PNG")[:-12] + chunk(b"IEND", b"hidden"), GREY),
    ],
    ids=["app5", "thumbnail", "private-chunk", "end"],
)  # fmt: skip
def test_what_hides_within_a_picture_is_left_behind(content: bytes, spec: InputSpec) -> None:
    assert b"hidden" in content
    assert b"hidden" not in prepare(content, spec)


# --- polarity


def _ink(ink: int, ground: int, size: int = 28) -> Image.Image:
    image = Image.new("L", (size, size), ground)
    image.paste(ink, (size // 3, size // 3, size // 2, size // 2))
    return image


@pytest.mark.parametrize("size", [28, 100])
@pytest.mark.parametrize(("ink", "ground"), [(255, 0), (0, 255), (10, 200), (200, 90)])
def test_polarity_becomes_the_models(size: int, ink: int, ground: int) -> None:
    content = encoded(_ink(ink, ground, size), "PNG")
    light = InputSpec("image", 28, 28, "grey", "light-on-dark")
    dark = InputSpec("image", 28, 28, "grey", "dark-on-light")
    as_it_is = pixels(prepare(content, GREY))
    is_light = ink > ground
    assert (pixels(prepare(content, light)) == (as_it_is if is_light else 255 - as_it_is)).all()
    assert (pixels(prepare(content, dark)) == (255 - as_it_is if is_light else as_it_is)).all()


def test_padding_has_the_models_background() -> None:
    content = encoded(Image.new("L", (60, 30), 240), "PNG")
    assert pixels(prepare(content, PAPER))[0, 0] == 255
    assert pixels(prepare(content, DIGITS))[0, 0] == 0


# --- pass-through and idempotence


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        (encoded(picture(28, 28, "L"), "PNG"), GREY),
        (encoded(picture(28, 28, "L"), "PNG", dpi=(300, 300), optimize=True), GREY),
        (encoded(_ink(255, 0), "PNG"), DIGITS),
        (encoded(picture(224, 224), "JPEG", quality=60), PHOTO),
        (encoded(picture(224, 224), "JPEG", progressive=True), PHOTO),
    ],
)
def test_what_conforms_passes_through_byte_for_byte(content: bytes, spec: InputSpec) -> None:
    assert prepare(content, spec) is content


_EXIF = Image.Exif()
_EXIF[0x010F] = "A camera"


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        (encoded(picture(28, 28, "L"), "PNG", exif=_EXIF), GREY),
        (encoded(picture(28, 28, "L"), "PNG", icc_profile=b"profile"), GREY),
        (encoded(picture(28, 28, "L"), "PNG", transparency=0), GREY),
        (encoded(picture(28, 28, "L"), "PNG") + bytes(7_000_000), GREY),
        (encoded(picture(28, 28, "L"), "BMP"), GREY),
        (encoded(picture(28, 28, "L"), "JPEG"), GREY),
        (encoded(picture(28, 28, "RGB"), "PNG"), GREY),
        (encoded(picture(28, 28, "P"), "PNG"), GREY),
        (encoded(picture(28, 27, "L"), "PNG"), GREY),
        (encoded(_ink(0, 255), "PNG"), DIGITS),
        (encoded(picture(224, 224), "JPEG", exif=_EXIF), PHOTO),
        (encoded(picture(224, 224), "JPEG", comment=b"made with care"), PHOTO),
        (encoded(picture(224, 224), "JPEG", icc_profile=b"profile"), PHOTO),
        (encoded(picture(224, 224, "L"), "JPEG"), PHOTO),
        (encoded(picture(224, 224), "PNG"), PHOTO),
    ],
    ids=lambda value: None if isinstance(value, bytes) else f"{value.width}",
)
def test_what_does_not_conform_is_made_to_and_keeps_no_metadata(content: bytes, spec: InputSpec) -> None:
    prepared = prepare(content, spec)
    assert prepared != content
    assert prepare(prepared, spec) is prepared
    assert len(prepared) < 200_000


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """A picture of any size, mode, contrast and format."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"]))
    format_ = draw(st.sampled_from(FORMATS))
    seed, low, high = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 255)), draw(st.integers(0, 255))
    coarse = draw(st.integers(1, 40))
    noise = np.random.default_rng(seed).integers(min(low, high), max(low, high) + 1, (coarse, coarse, 3), "int64")
    image = Image.fromarray(noise.astype("uint8")).resize((width, height), Image.Resampling.NEAREST).convert(mode)
    if format_ == "JPEG" and mode in ("P", "LA", "RGBA", "1"):
        image = image.convert("RGB")
    if format_ in ("PNG", "BMP", "GIF", "WEBP") and mode in ("CMYK", "LA" if format_ == "BMP" else "CMYK"):
        image = image.convert("RGB")
    return encoded(image, format_)


@settings(max_examples=250)
@given(pictures(), st.sampled_from(SPECS))
def test_prepare_is_idempotent(content: bytes, spec: InputSpec) -> None:
    once = prepare(content, spec)
    image = opened(once)
    assert (image.size, image.mode) == ((spec.width, spec.height), "L" if spec.colour == "grey" else "RGB")
    assert prepare(once, spec) == once


def test_a_border_between_light_and_dark_does_not_flip_with_the_coding() -> None:
    for seed in range(100):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 160), "uint8")
        once = prepare(encoded(Image.fromarray(noise), "BMP"), WRITING)
        assert prepare(once, WRITING) is once, seed


# --- fidelity


@pytest.mark.parametrize("size", [(4032, 3024), (3001, 1999)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_shrinking_large_photos_while_decoding_is_close_to_plain_bicubic(
    name: str, orientation: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Image.fromarray(load_sample_image(name)).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo, "JPEG", quality=92, exif=exif)

    for width, height in ((64, 40), (224, 224)):
        spec = InputSpec("image", width, height, "rgb")
        monkeypatch.setattr("ics.imaging.PNG_UP_TO", 1024)  # so that nothing but the scaling differs
        difference = abs(pixels(prepare(content, spec)) - _plainly_fitted(opened(content), width, height))
        assert difference.mean() <= 0.2
        # A picture that ends within a coded block is a little softer at that edge.
        assert difference.max() <= (3 if size == (4032, 3024) else 6)


def _plainly_fitted(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Scaled as it is stored and then turned: each pass of a scaling rounds and clips, so that their order shows."""
    turned = ImageOps.exif_transpose(image)
    scale = min(width / turned.width, height / turned.height)
    fitted = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    fitted = ImageOps.exif_transpose(fitted)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    return np.asarray(canvas).astype(int)
