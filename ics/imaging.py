"""One image transform for everyone: bytes as people uploaded them -> bytes as a model wants them.

Training evaluation, pipeline, API and in-Lambda inference all use `prepare`, so that their predictions are equal to
the bit on equal prepared bytes.
"""

import contextlib
import functools
import io
import math
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ics.artifact import InputSpec
from ics.errors import (
    CorruptImage,
    EmptyObject,
    ImageError,
    ImageTooSmall,
    NotAnImage,
    ObjectTooLarge,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from PIL import ImageCms

# ICS reads the size from the header and refuses by its own, configurable limit before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

MAX_PIXELS = 64_000_000
"""The default pixel limit. Decoding and flattening such a PNG with transparency takes 1 GB, the dearest case."""

PNG_UP_TO = 64
"""Up to this width and height a PNG is as small as a JPEG, and loses nothing."""

PHOTO_LEAST, PHOTO_SIDE, PHOTO_MOST = 80, 1920, 4096
"""Pixels a side of a photograph: Rekognition's least, what is sent of a larger one, and what Custom Labels takes."""

MAX_PHOTO = 4_500_000
"""Bytes of a photograph: in base64 it fits a request body as ICS stages it, and Rekognition's 5 MB."""

# Magic numbers, with Pillow's names for the formats.
_SUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"\x00\x00\x01\x00", "ICO"),
    (b"8BPS", "PSD"),
    (b"\x00\x00\x00\x0cjP  \r\n", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
)
_ISO_MEDIA_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

_LIGHT = 127.5
"""A border brighter than this is a light background."""

_CLEARLY = 8.0
"""How far from `_LIGHT` a border must be to send a conforming image through the transform again. Without it, a prepared
JPEG whose border is close to the middle would flip with the coding's noise each time it is prepared."""

# What a conforming image may carry besides its pixels. All else (EXIF, colour profiles, gamma, comments) is either
# understood differently by different decoders or nobody's business.
_HARMLESS = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression"}

# The parts of a file that are the picture: PNG, 3rd edition, section 5; JPEG, ITU-T T.81, annex B, and JFIF's APP0.
_PNG_CHUNKS = {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
_JPEG_SEGMENTS = {0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xE0}
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JFIF_WITHOUT_THUMBNAIL = 16

MAX_SCANS = 100
"""Scans of one JPEG: cameras and encoders write 1 to 10, and each goes over the whole image, however few bytes it has.
libtiff allows as many."""

MAX_PROFILE = 4 * 1024 * 1024
"""Bytes of a colour profile that is looked at; the largest for print have 3 MB."""


def sniff(content: bytes) -> str:
    """The image format by its magic number: JPEG, PNG, GIF, WEBP, BMP or TIFF. The key's ending says nothing.

    Raises:
        EmptyObject: no bytes.
        UnsupportedFormat: an image format that ICS does not read.
        NotAnImage: anything else.
    """
    if not content:
        raise EmptyObject("the object has zero bytes")
    for magic, name in _SUPPORTED:
        if content.startswith(magic):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are too few to tell a picture from a text: the header's size, 12 to 124 as a 32-bit number, tells.
    if content[:2] == b"BM" and content[15:18] == bytes(3):
        return "BMP"
    for magic, name in _UNSUPPORTED:
        if content.startswith(magic):
            raise UnsupportedFormat(f"{name} is not read; convert it to JPEG or PNG")
    if content[4:8] == b"ftyp" and content[8:12] in _ISO_MEDIA_BRANDS:
        raise UnsupportedFormat("HEIC and AVIF are not read; convert to JPEG or PNG")
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in start:
        raise UnsupportedFormat("SVG is not read; convert it to PNG")
    raise NotAnImage("the content is no known image format")


def prepare(content: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> bytes:
    """Turn an uploaded image into the model's: the first frame, upright, in the model's size, colour and polarity.

    Colours are those of the embedded profile, converted to sRGB; a profile that cannot be read, or that is not for this
    kind of image, is ignored, as browsers do. Only the picture is kept: no metadata, and nothing that lies behind it.
    The image is scaled to fit inside `spec.width` x `spec.height` (bicubic, antialiased) and centred on its background.
    Transparency is laid on white. Where the model knows one polarity, an image whose border is of the other is
    inverted. The answer is a PNG up to 64 px and a JPEG of quality 95, 4:4:4, above; content that already is exactly
    that is passed through as it is.

    Args:
        content: the object's bytes, of any supported format.
        spec: what the model takes.
        max_pixels: refuse larger images before they are decoded.

    Raises:
        EmptyObject, NotAnImage, UnsupportedFormat, TooManyPixels, TruncatedImage, CorruptImage: as their names say.
    """
    format_ = sniff(content)
    with _faults_named(format_):
        image = _decode(content, format_, spec, max_pixels)
        if _conforms(image, content, spec):
            return content
        image = _flatten(image, spec)
    return _encode(_fit(image, spec), spec)


def prepare_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> bytes:
    """Turn an uploaded image into a photograph for Rekognition: upright, in its own proportions, within the limits.

    As `prepare` does it, but nothing is added at the sides, so that boxes relative to the answer are relative to the
    upright picture; and nothing is scaled up. What is larger is scaled to at most `PHOTO_SIDE` a side, or more where
    the shorter one would get too small. A PNG or JPEG that already is all this is passed through as it is.

    Source of the limits: Amazon Rekognition Developer Guide, "Guidelines and quotas": PNG and JPEG, 80 pixels a side or
    more, 5 MB as bytes; Custom Labels takes 4,096 pixels a side.

    Raises:
        ImageTooSmall: fewer than 80 pixels a side, or so once the other side has 4,096.
        ObjectTooLarge: even compressed hard it exceeds `MAX_PHOTO`.
        EmptyObject, NotAnImage, UnsupportedFormat, TooManyPixels, TruncatedImage, CorruptImage: as their names say.
    """
    format_ = sniff(content)
    with _faults_named(format_):
        with Image.open(io.BytesIO(content), formats=(format_,)) as header:
            spec = _photo_box(*header.size)
        image = _decode(content, format_, spec, max_pixels)
        if _is_sendable(image, content):
            return content
        image = _flatten(image, spec)
    size = _fitted(*image.size, spec)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    for quality in (95, 85, 70):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        if out.tell() <= MAX_PHOTO:
            return out.getvalue()
    raise ObjectTooLarge(f"{out.tell():,} bytes at JPEG quality {quality}; the limit is {MAX_PHOTO:,}")


def _photo_box(width: int, height: int) -> InputSpec:
    """The square into which a photograph of this size is fitted: never larger than the photograph."""
    longer, shorter = max(width, height), min(width, height)
    if shorter < PHOTO_LEAST or longer * PHOTO_LEAST > shorter * PHOTO_MOST:
        problem = f"no side may have fewer than {PHOTO_LEAST}, nor be {PHOTO_MOST // PHOTO_LEAST} times the other"
        raise ImageTooSmall(f"{width} x {height} pixels; {problem}")
    side = min(longer, max(PHOTO_SIDE, math.ceil(longer * PHOTO_LEAST / shorter)))
    return InputSpec("photo", side, side, "rgb")


def _is_sendable(image: Image.Image, content: bytes) -> bool:
    return (
        image.format in ("JPEG", "PNG")  # None once shrunk
        and image.mode in ("L", "RGB")
        and max(image.size) <= PHOTO_SIDE
        and image.info.keys() <= _HARMLESS
        and len(content) <= min(MAX_PHOTO, image.width * image.height * 4 + 4096)
        and _is_picture_only(content)
    )


@contextlib.contextmanager
def _faults_named(format_: str) -> Iterator[None]:
    """Whatever a decoder stumbles over is that image's fault, and no other's: raised as an ImageError."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            raise CorruptImage(f"the {format_} header cannot be read") from error
        problem = str(error) or type(error).__name__
        if "truncated" in problem.lower() or isinstance(error, EOFError):
            raise TruncatedImage(problem) from error
        raise CorruptImage(problem) from error


def wire_format(spec: InputSpec) -> str:
    """The format of prepared bytes for this model: PNG or JPEG."""
    return "PNG" if max(spec.width, spec.height) <= PNG_UP_TO else "JPEG"


def _decode(content: bytes, format_: str, spec: InputSpec, max_pixels: int) -> Image.Image:
    image = cast("Image.Image", Image.open(io.BytesIO(content), formats=(format_,)))
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(f"{width} x {height} pixels; the limit is {max_pixels:,}")
    if format_ == "TIFF":  # a tile is decoded whole, and may be larger than its image
        width, height = (image.getexif().get(tag, 0) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength))
        if width * height > max_pixels:
            raise TooManyPixels(f"tiles of {width} x {height} pixels; the limit is {max_pixels:,}")
    if format_ == "JPEG":
        if _has_endless_scans(image, content):
            raise CorruptImage(f"more than {MAX_SCANS} scans")
        image = _shrink(image, spec)
    image.load()
    if format_ == "TIFF" or not image.info.keys() <= _HARMLESS:  # nowhere else can it say that it must be turned
        with contextlib.suppress(Exception):  # unreadable metadata does not make the picture unreadable
            ImageOps.exif_transpose(image, in_place=True)
    return image


def _has_endless_scans(image: Image.Image, content: bytes) -> bool:
    """Whether a JPEG has more than MAX_SCANS, found as libjpeg finds them: what is no marker is skipped."""
    progressive = "progressive" in image.info
    if progressive and content.count(b"\xff\xda") <= MAX_SCANS:
        return False
    scans, at = 0, 2
    while scans <= MAX_SCANS and (found := _AFTER_SCAN.search(content, at)):
        at, kind = found.end(), content[found.end() - 1]
        if kind == 0xD9:
            break
        if kind == 0xDA:
            scans += 1
            if not progressive and content[at + 2 : at + 3] == bytes((len(image.getbands()),)):
                return False  # all components in one scan: libjpeg reads no other
        at += int.from_bytes(content[at : at + 2], "big")
    return scans > MAX_SCANS


def _shrink(image: Image.Image, spec: InputSpec) -> Image.Image:
    """A large JPEG, not yet decoded, in its final size but not yet turned; any other as it is.

    Decodes straight to the smallest scale of 1/2, 1/4, 1/8 that is still four times the final size: on a camera's photo
    of 12 megapixels 4-6x cheaper than decoding it all, at a mean difference of at most 0.2 of 255. The scaled picture
    ends within its last column and row; `box` is where, and without it the picture would be stretched.
    """
    orientation = 1
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    size = _fitted(*image.size, spec) if orientation < 5 else _fitted(*image.size[::-1], spec)[::-1]
    full = image.size
    draft = image.draft(image.mode, (4 * size[0], 4 * size[1]))
    if draft is None or image.size == full:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, box=draft[1])


def _fitted(width: int, height: int, spec: InputSpec) -> tuple[int, int]:
    """The size of an upright picture scaled to fit the model's."""
    scale = min(spec.width / width, spec.height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _conforms(image: Image.Image, content: bytes, spec: InputSpec) -> bool:
    return (
        image.format == wire_format(spec)  # None once shrunk
        and image.size == (spec.width, spec.height)
        and image.mode == ("L" if spec.colour == "grey" else "RGB")
        and image.info.keys() <= _HARMLESS
        # Pure noise takes up to 1.25 bytes a sample. More is junk behind the picture, which must not go on the wire.
        and len(content) <= spec.width * spec.height * spec.channels * 4 // 3 + 4096
        and _is_picture_only(content)
        and not _inverted(image, spec, _CLEARLY)
    )


def _is_picture_only(content: bytes) -> bool:
    """Whether a readable PNG or JPEG holds the picture's own parts, and ends with them.

    Anything may hide in other parts and behind the end: a ZIP archive, a script, somebody's secrets.
    """
    if content.startswith(b"\x89PNG"):
        at = 8
        while content[at + 4 : at + 8] in _PNG_CHUNKS:
            end = at + 12 + int(struct.unpack_from(">I", content, at)[0])
            if content[at + 4 : at + 8] == b"IEND":
                return end == at + 12 == len(content)
            at = end
        return False
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] in _JPEG_SEGMENTS:
        kind, length = content[at + 1], int(struct.unpack_from(">H", content, at + 2)[0])
        if kind == 0xE0 and length != _JFIF_WITHOUT_THUMBNAIL:
            return False
        at += 2 + length
        if kind == 0xDA:
            found = _AFTER_SCAN.search(content, at)
            at = found.start() if found else len(content)
    return content[at:] == b"\xff\xd9"


def _flatten(image: Image.Image, spec: InputSpec) -> Image.Image:
    """The image in the model's colour, without transparency and without metadata.

    16-bit grey is scaled. 32-bit integers and floats have no agreed white: their darkest value becomes black, their
    brightest white.
    """
    if image.mode == "LAB":
        raise UnsupportedFormat("the LAB colour space is not read; convert it to RGB")
    if image.mode.startswith("I;16"):
        transparent = image.info.pop("transparency", None)
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
        if transparent is not None:
            image.info["transparency"] = round(transparent / 257)
    elif image.mode in ("I", "F"):
        low, high = cast("tuple[float, float]", image.getextrema())
        image = image.point(lambda value: (value - low) * (255.0 / ((high - low) or 1.0))).convert("L")
    profile = image.info.get("icc_profile")
    kind = "L" if image.mode in ("1", "L", "LA", "La") else "CMYK" if image.mode == "CMYK" else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if profile and len(profile) <= MAX_PROFILE:
        image = _to_srgb(image.convert(kind), profile)
    image = image.convert("L" if spec.colour == "grey" else "RGB")
    image.info.clear()  # or Pillow would write the profile and the comment into the prepared image
    return image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A grey (L), RGB or CMYK image with its colours as the profile means them; as it is where there is nothing to do.

    White stays white, so that transparency may already be laid on it.
    """
    from PIL import ImageCms  # noqa: PLC0415 - most images have no profile, and a cold function should not pay for it

    transform = _transform_to_srgb(profile, image.mode)
    if transform is None:
        return image
    if image.mode == "L":
        ramp = cast(
            "Image.Image", ImageCms.applyTransform(Image.frombytes("L", (256, 1), bytes(range(256))), transform)
        )
        return image.point(list(ramp.convert("L").tobytes()))
    if image.mode == "RGB":  # where it lies: a copy of the largest image would cost 256 MB more
        ImageCms.applyTransform(image, transform, inPlace=True)
        return image
    return cast("Image.Image", ImageCms.applyTransform(image, transform))


@functools.lru_cache(maxsize=8)  # the pictures of one camera have one profile
def _transform_to_srgb(profile: bytes, mode: str) -> "ImageCms.ImageCmsTransform | None":
    """None for a profile that cannot be used, and for one that changes nothing: sRGB, whatever its name."""
    from PIL import ImageChops, ImageCms  # noqa: PLC0415

    try:
        transform = ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    levels = (0, 16, 48, 80, 128, 176, 224, 255)
    colours = (
        [(r, g, b) for r in levels for g in levels for b in levels] if mode == "RGB" else [(n,) * 3 for n in levels]
    )
    probe = Image.frombytes("RGB", (len(colours), 1), bytes(sample for colour in colours for sample in colour))
    seen = cast("Image.Image", ImageCms.applyTransform(probe.convert(mode), transform))
    difference = cast("tuple[tuple[int, int], ...]", ImageChops.difference(seen, probe).getextrema())
    return transform if max(high for _, high in difference) > 1 else None


def _fit(image: Image.Image, spec: InputSpec) -> Image.Image:
    """The image scaled and centred on its background, in the model's polarity."""
    size = _fitted(*image.size, spec)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    if _inverted(image, spec):
        image = ImageOps.invert(image)
    if size == (spec.width, spec.height):
        return image
    canvas = Image.new(image.mode, (spec.width, spec.height), "white" if spec.polarity == "dark-on-light" else "black")
    canvas.paste(image, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
    return canvas


def _inverted(image: Image.Image, spec: InputSpec, margin: float = 0.0) -> bool:
    """Whether the image's polarity, judged by the mean of its border, is not the model's, by more than `margin`."""
    if spec.polarity == "any":
        return False
    width = image.width
    pixels = (image if image.mode == "L" else image.convert("L")).tobytes()
    border = pixels[:width] + pixels[-width:] + pixels[::width] + pixels[width - 1 :: width]
    lightness = sum(border) / len(border) - _LIGHT
    return (lightness if spec.polarity == "light-on-dark" else -lightness) > margin


def _encode(image: Image.Image, spec: InputSpec) -> bytes:
    out = io.BytesIO()
    if wire_format(spec) == "PNG":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
