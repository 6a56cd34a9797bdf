"""One image transform for everyone: bytes as people uploaded them -> bytes as a model wants them.

Training evaluation, pipeline, API and in-Lambda inference all use `prepare`, so that their predictions are equal to
the bit on equal prepared bytes.
"""

import io
from typing import cast

from PIL import Image, ImageOps

from ics.artifact import InputSpec
from ics.errors import (
    CorruptImage,
    EmptyObject,
    NotAnImage,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
)

# ICS reads the size from the header and refuses by its own, configurable limit before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

MAX_PIXELS = 100_000_000
"""The default pixel limit: about 300 MB decoded, twice a large camera's picture."""

PNG_UP_TO = 64
"""Up to this width and height a PNG is as small as a JPEG, and loses nothing."""

# Magic numbers. The first six are the formats ICS reads, by Pillow's names for them.
_SUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
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
    for magic, name in _UNSUPPORTED:
        if content.startswith(magic):
            raise UnsupportedFormat(f"{name} is not read; convert it to JPEG or PNG")
    if content[4:8] == b"ftyp" and content[8:12] in _ISO_MEDIA_BRANDS:
        raise UnsupportedFormat("HEIC and AVIF are not read; convert to JPEG or PNG")
    if content[:1024].lstrip()[:5].lower() in (b"<svg ", b"<?xml") and b"<svg" in content[:4096]:
        raise UnsupportedFormat("SVG is not read; convert it to PNG")
    raise NotAnImage("the content is no known image format")


def prepare(content: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> bytes:
    """Turn an uploaded image into the model's: the first frame, upright, in the model's size, colour and polarity.

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
    image = _decode(content, format_, spec, max_pixels)
    if _conforms(image, format_, spec):
        return content
    return _encode(_fit(_flatten(image, spec), spec), spec)


def wire_format(spec: InputSpec) -> str:
    """The format of prepared bytes for this model: PNG or JPEG."""
    return "PNG" if max(spec.width, spec.height) <= PNG_UP_TO else "JPEG"


def _decode(content: bytes, format_: str, spec: InputSpec, max_pixels: int) -> Image.Image:
    try:
        image = cast("Image.Image", Image.open(io.BytesIO(content), formats=(format_,)))
        width, height = image.size
        if width * height > max_pixels:
            raise TooManyPixels(f"{width} x {height} pixels; the limit is {max_pixels:,}")
        if format_ == "JPEG":
            # Decode straight to the smallest scale of 1/1, 1/2, 1/4, 1/8 that is still twice the target: 4-7x cheaper
            # on large photos, at a mean difference of 0.13 of 255.
            side = max(width, height)
            target = 2 * max(spec.width, spec.height)
            image.draft(image.mode, (width * target // side or 1, height * target // side or 1))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except (TooManyPixels, MemoryError):
        raise
    except Exception as error:  # whatever a decoder stumbles over is that image's fault, and no other's
        problem = str(error) or type(error).__name__
        if "truncated" in problem.lower() or isinstance(error, EOFError):
            raise TruncatedImage(problem) from error
        raise CorruptImage(problem) from error
    return image


def _conforms(image: Image.Image, format_: str, spec: InputSpec) -> bool:
    return (
        format_ == wire_format(spec)
        and image.size == (spec.width, spec.height)
        and image.mode == ("L" if spec.colour == "grey" else "RGB")
        and not image.info.keys() & {"transparency", "exif", "icc_profile", "gamma", "srgb"}
        and not _inverted(image, spec)
    )


def _flatten(image: Image.Image, spec: InputSpec) -> Image.Image:
    """The image in the model's colour, without transparency."""
    if image.mode.startswith("I;16"):
        image = image.point([value >> 8 for value in range(65536)], "L")
    elif image.mode in ("I", "F"):
        low, high = cast("tuple[float, float]", image.getextrema())
        image = image.point(lambda value: (value - low) * (255.0 / ((high - low) or 1.0))).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if spec.colour == "grey" else "RGB")


def _fit(image: Image.Image, spec: InputSpec) -> Image.Image:
    """The image scaled and centred on its background, in the model's polarity."""
    scale = min(spec.width / image.width, spec.height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    if _inverted(image, spec):
        image = ImageOps.invert(image)
    if size == (spec.width, spec.height):
        return image
    canvas = Image.new(image.mode, (spec.width, spec.height), "white" if spec.polarity == "dark-on-light" else "black")
    canvas.paste(image, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
    return canvas


def _inverted(image: Image.Image, spec: InputSpec) -> bool:
    """Whether the image's polarity, judged by the mean of its border, is not the model's."""
    if spec.polarity == "any":
        return False
    grey = image.convert("L")
    width, height = grey.size
    border = b"".join(
        grey.crop(box).tobytes()
        for box in ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    )
    return (sum(border) / len(border) > _LIGHT) != (spec.polarity == "dark-on-light")


def _encode(image: Image.Image, spec: InputSpec) -> bytes:
    out = io.BytesIO()
    if wire_format(spec) == "PNG":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
