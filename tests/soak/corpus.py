"""Valid bodies to start from, a list a target, small, so that mutations hit what matters."""

import base64
import json
import zlib

import numpy as np
from PIL import Image, ImageCms

from ics.contracts import Alternative, Box, Prediction
from ics.wire import answer_line, request_line
from tests.odd_images import encoded, tile_bomb

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def images() -> list[bytes]:
    """Small images of every format and mode that Pillow writes: deep, animated, rotated, with profile, transparent."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), "uint8")
    picture = Image.fromarray(noise).resize((24, 18), Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = [encoded(picture, format_) for format_ in FORMATS]
    found += [encoded(picture.convert("L"), format_) for format_ in FORMATS]
    found += [encoded(picture.convert("RGBA"), format_) for format_ in ("PNG", "WEBP", "TIFF")]
    found += [encoded(picture, format_, exif=exif) for format_ in ("JPEG", "PNG", "WEBP", "TIFF")]
    found += [encoded(picture, format_, icc_profile=profile) for format_ in ("JPEG", "PNG", "WEBP", "TIFF")]
    found += [encoded(picture, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")]
    found += [
        encoded(picture, format_, save_all=True, append_images=[picture.rotate(180)]) for format_ in ("GIF", "WEBP")
    ]
    found += [
        encoded(picture, "JPEG", progressive=True),
        encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture.convert("P"), "PNG"),
        encoded(picture.convert("1"), "PNG"),
        encoded(picture.convert("1"), "TIFF", compression="group4"),
        encoded(picture.convert("P"), "GIF", transparency=3),
        encoded(picture, "WEBP", lossless=True),
        tile_bomb(32),  # a tiled TIFF, which Pillow does not write
        encoded(Image.fromarray(np.arange(0, 60_000, 1_000, "uint16").reshape(6, 10)), "PNG"),
        encoded(Image.fromarray(np.linspace(0, 1, 60, dtype="float32").reshape(6, 10)), "TIFF"),
        encoded(picture.resize((300, 200)), "JPEG"),  # large enough to be shrunk while decoding
        encoded(picture.convert("L").resize((28, 28)), "PNG"),  # passes through
    ]
    return found


def manifests() -> list[bytes]:
    """Lists of images as .csv, .jsonl and .json; the first byte says which."""
    uris = [f"s3://bucket/folder/{name}" for name in ("a.png", "b c+d%20.jpg", "ключ é.png")]
    objects = [{"s3_bucket": "bucket", "s3_key": uri[12:], "etag": "ab" * 16, "version": "v.1"} for uri in uris]
    return [
        b'cbucket,key\nb,k\nb,"a\nb,c""d"\n',
        b"c" + "\ufeffs3_bucket,s3_key,etag,version\r\nb,ключ,,\r\nb,k2,ab,v\r\n".encode(),
        b"l" + "".join(json.dumps(value) + "\n" for value in [*uris, *objects]).encode(),
        b"l" + "".join(json.dumps(value, ensure_ascii=False) + "\r\n\r\n" for value in [*uris, *objects]).encode(),
        b"a" + json.dumps([*uris, *objects]).encode(),
        b"a" + json.dumps({"images": [*uris, *objects]}, indent=1, ensure_ascii=False).encode(),
    ]


def requests() -> list[bytes]:
    """Requests for a run, as JSON."""
    options = {"model": "digits", "threshold": 0.5, "mode": "tolerant", "tolerated_percent": 2}
    sources = (
        {"images": ["s3://bucket/key", {"s3_bucket": "b", "s3_key": "k", "etag": "\u00e9", "version": "1"}]},
        {"prefix": "s3://bucket/incoming/2026/"},
        {"manifest": "s3://bucket/list.csv"},
    )
    return [json.dumps(source | extra).encode() for source in sources for extra in ({}, options)]


def bodies() -> list[bytes]:
    """Requests to the model, as JSON Lines."""
    content = zlib.compress(b"an image, as far as the wire format is concerned")
    spaced = json.dumps({"id": "7\u00e9", "image": base64.b64encode(content).decode(), "more": [1, None]}).encode()
    return [request_line("ab" * 32, content), request_line("ab", b"") * 3, spaced + b"\r\n" + spaced]


def answers() -> list[bytes]:
    """A model's answers to two images, `ab` and `cd`."""
    classified = Prediction("7", 0.75, (Alternative("1", 0.2), Alternative("9", 0.05)), model="v" * 12)
    boxed = Prediction("cat", 0.5, boxes=(Box("cat", 0.5, 0.1, 0.2, 0.3, 0.4),), text="MEOW \u00e9")
    return [
        answer_line("ab", one) + answer_line("cd", other) for one, other in ((classified, boxed), (boxed, classified))
    ]


def lines() -> list[bytes]:
    """Truth labels, predictions and pairs, as JSON Lines; the first byte says which."""
    name = {"image_id": "ab" * 32, "s3_uri": "s3://bucket/ключ é.png"}
    labels = [
        {"image_id": "ab" * 32, "label": "7", "by": "ada", "at": "2026-01-31T12:00:00.000Z"},
        {"s3_uri": name["s3_uri"], "label": None, "by": "ada", "at": "2026-01-31T14:00:00+02:00", "boxes": []},
        {"s3_uri": name["s3_uri"], "label": "кит é"},
    ]
    row = {"model_version": "0f", "decision": "accepted", "confidence": 0.5, "decided_at": "2026-01-31T12:00:00.000Z"}
    rows = [
        {**name, **row, "label": "7", "text": None},
        {**name, **row, "label": "кит", "text": "кит"},
        {**name, **row, "decision": "failed", "label": None, "confidence": None},
    ]
    pairs = [{"truth": "7", "label": "1", "confidence": 1}, {"truth": "7", "label": "7"}]
    return [
        kind + "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in some).encode()
        for kind, some in ((b"l", labels), (b"p", rows), (b"t", pairs))
    ]
