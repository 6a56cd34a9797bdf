"""Every odd image and every odd object, in one run through the real pipeline: the label it must get, or its reason."""

import base64
import hashlib
import io
import json
import time
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from PIL import Image, ImageCms

from cli.deployment import Deployment
from ics.contracts import ImageRef
from tests.e2e.harness import Ended
from tests.odd_images import bombs, encoded, icc_profile, scan_bomb, tile_bomb

SAME = "the upright digit's label"
ANY = "any label"

MARK = b"do not send this"
WHITE_D50, NOTHING = (0.9642, 1.0, 0.8249), (0.0, 0.0, 0.0)
TRANSPOSITIONS = {  # by EXIF orientation, what the camera did to the upright picture
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def contents(digit: Image.Image, other: Image.Image) -> dict[str, tuple[bytes, str]]:
    """By name: the file, and its label or its reason. `digit` and `other` are light on dark, 140 x 140, grey."""
    colour, behind = digit.convert("RGB"), _zip()
    blank = Image.new("L", digit.size)
    found: dict[str, tuple[bytes, str]] = {"upright.png": (encoded(digit, "PNG"), SAME)}
    for orientation, transposition in TRANSPOSITIONS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = digit if transposition is None else digit.transpose(transposition)
        found[f"exif-{orientation}.jpg"] = encoded(stored, "JPEG", quality=95, exif=exif), SAME
    ink = Image.merge("LA", (blank, digit))  # black ink on nothing: transparency is laid on white, and then inverted
    deep = Image.frombytes("I;16", digit.size, b"".join(bytes((0, value)) for value in digit.tobytes()))
    seen_by_profile_alone = Image.merge("RGB", (blank, other, digit))  # to luma, green's `other` outweighs blue
    only_blue = icc_profile(NOTHING, NOTHING, WHITE_D50)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = {"save_all": True, "append_images": [other.convert("RGB")]}
    small = digit.resize((28, 28), Image.Resampling.BICUBIC)
    photo = Image.effect_noise((300, 300), 90).convert("RGB")
    gif = encoded(digit, "GIF")
    files = {
        "alpha.png": encoded(ink, "PNG"),
        "alpha.webp": encoded(ink.convert("RGBA"), "WEBP", lossless=True),
        "palette.png": encoded(colour.quantize(16), "PNG"),
        "palette.gif": gif,
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG", quality=95),
        "deep.png": encoded(deep, "PNG"),
        "deep.tif": encoded(deep, "TIFF"),
        "grey.jpg": encoded(digit, "JPEG"),
        "animated.gif": encoded(colour, "GIF", **frames),
        "animated.webp": encoded(colour, "WEBP", lossless=True, **frames),
        "progressive.jpg": encoded(colour, "JPEG", progressive=True),
        "colour-managed.png": encoded(seen_by_profile_alone, "PNG", icc_profile=only_blue),
        "colour-managed.jpg": encoded(seen_by_profile_alone, "JPEG", quality=95, subsampling=0, icc_profile=only_blue),
        "srgb.jpg": encoded(colour, "JPEG", icc_profile=srgb),
        "hostile-profile.png": encoded(colour, "PNG", icc_profile=srgb[:200] + b"\xff" * 400),
        "jpeg-and-zip.jpg": encoded(colour, "JPEG") + behind,
        "png-and-page.png": encoded(digit, "PNG") + b"<html><script>" + MARK + b"</script>",
        "gifar.gif": gif + behind,
        "conforming-and-zip.png": encoded(small, "PNG") + behind,
        "really-png.jpg": encoded(digit, "PNG"),
        "really-jpeg.txt": encoded(digit, "JPEG"),
        "really-webp.png": encoded(colour, "WEBP", lossless=True),
        "no-ending": encoded(digit, "BMP"),
    }
    found |= {name: (content, SAME) for name, content in files.items()}
    for width, height in ((1, 1), (20_000, 1), (1, 20_000)):
        found[f"{width}x{height}.png"] = encoded(Image.new("RGB", (width, height), "navy"), "PNG"), ANY
    found["other.png"] = encoded(other, "PNG"), ANY
    found["without-profile.png"] = encoded(seen_by_profile_alone, "PNG"), ANY
    found["20000x1.jpg"] = encoded(Image.new("RGB", (20_000, 1), "navy"), "JPEG"), ANY
    found |= {f"bomb.{format_}": (bombs()[format_], "TooManyPixels") for format_ in ("PNG", "GIF", "WEBP")}
    found["tile-bomb.tif"] = tile_bomb(9_000), "TooManyPixels"
    found["scan-bomb.jpg"] = scan_bomb(200), "CorruptImage"
    found["truncated.jpg"] = encoded(photo, "JPEG")[:4_000], "TruncatedImage"
    found["truncated-progressive.jpg"] = encoded(photo, "JPEG", progressive=True)[:4_000], "TruncatedImage"
    found["page-and-png.png"] = b"<html>" + encoded(digit, "PNG"), "NotAnImage"
    return found


def keys() -> list[str]:
    """Keys that a decoder, a normaliser or a file system would change or refuse."""
    accented = "caf\u00e9 \u00c5ngstr\u00f6m.png"
    return [
        unicodedata.normalize("NFC", accented),
        unicodedata.normalize("NFD", accented),
        "a+b.png",
        "a b.png",
        "a%20b.png",
        "a%2Bb.png",
        "100%.png",
        "%.png",
        "\U0001f5bc\ufe0f.png",
        "漢字 .png ",
    ]


@dataclass(frozen=True)
class Run:
    """The one run over all of it, and where things were put."""

    ended: Ended
    bucket: str
    prefix: str
    expected: dict[str, str]
    contents: dict[str, bytes]

    def row(self, name: str, version: str | None = None) -> dict:
        uri = f"s3://{self.bucket}/{self.prefix}{name}"
        (row,) = (row for row in self.ended.rows if row["s3_uri"] == uri and version in (None, row["version"]))
        return row


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("secret.txt", MARK)
    return out.getvalue()


def _key_policy(effect: str, account: str) -> str:
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}
    everyone = {"Effect": effect, "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [own, everyone]})


@pytest.fixture(scope="module")
def run(deployment: Deployment, finish: Callable[..., Ended], digits: list[bytes], aws) -> Run:
    pictures = [Image.open(io.BytesIO(content)).resize((140, 140), Image.Resampling.BICUBIC) for content in digits[:10]]
    s3, kms, bucket = (
        deployment.s3,
        deployment.session.client("kms", endpoint_url=aws.endpoint_url),
        deployment.images_bucket,
    )
    prefix = f"odd-{time.time_ns()}/"
    files = contents(pictures[4], pictures[1])
    longest = "long/" + "k" * (1024 - len(prefix) - len("long/.png")) + ".png"
    assert len((prefix + longest).encode()) == 1024
    for number, name in enumerate([*keys(), longest]):
        files[name] = digits[number], ANY

    images: list[dict] = []

    def put(name: str, content: bytes, listed: bool = True, **options: str) -> str:
        answer = s3.put_object(Bucket=bucket, Key=prefix + name, Body=content, **options)
        if listed:
            images.append({"s3_bucket": bucket, "s3_key": prefix + name})
        return answer["VersionId"]

    for name, (content, _) in files.items():
        put(name, content)
    expected = {name: label_or_reason for name, (_, label_or_reason) in files.items()}
    written = {name: content for name, (content, _) in files.items()}

    digit = files["upright.png"][0]
    for storage_class, reason in (
        ("GLACIER", "ObjectArchived"), ("DEEP_ARCHIVE", "ObjectArchived"), ("GLACIER_IR", SAME),
    ):  # fmt: skip
        for name in (f"{storage_class}.png", f"odd//{storage_class}.png"):  # two ways to read, see lambdas/s3.py
            put(name, digit, StorageClass=storage_class)
            expected[name] = reason
    for effect, label_or_reason in (("Deny", "AccessDenied"), ("Allow", SAME)):
        key = kms.create_key(Policy=_key_policy(effect, aws.account))["KeyMetadata"]["Arn"]
        for name in (f"kms-{effect}.png", f"odd//kms-{effect}.png"):
            put(name, digit, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
            expected[name] = label_or_reason

    put("deleted.png", digit)
    s3.delete_object(Bucket=bucket, Key=prefix + "deleted.png")["VersionId"]
    expected["deleted.png"] = "ObjectNotFound"
    put("marker.png", digit, listed=False)
    marker = s3.delete_object(Bucket=bucket, Key=prefix + "marker.png")["VersionId"]
    images.append({"s3_bucket": bucket, "s3_key": prefix + "marker.png", "version": marker})
    expected["marker.png"] = "ObjectNotFound"
    first = put("overwritten.png", digit, listed=False)
    put("overwritten.png", b"no image any more", listed=False)
    s3.delete_object(Bucket=bucket, Key=prefix + "overwritten.png")
    images.append({"s3_bucket": bucket, "s3_key": prefix + "overwritten.png", "version": first})
    expected["overwritten.png"] = SAME
    return Run(finish({"images": images, "mode": "tolerant"}), bucket, prefix, expected, written)


def test_every_odd_image_gets_its_label_or_its_reason(run: Run) -> None:
    upright = run.row("upright.png")["label"]
    assert upright is not None
    got = {}
    for name, expected in run.expected.items():
        row = run.row(name)
        label = SAME if row["label"] == upright and expected == SAME else ANY if row["label"] is not None else None
        got[name] = label or row["reason"]
        assert (row["decision"] == "failed") == (row["label"] is None), name
    assert got == run.expected


def test_only_the_profile_tells_the_colour_managed_digit(run: Run) -> None:
    assert run.row("without-profile.png")["label"] == run.row("other.png")["label"] != run.row("upright.png")["label"]


def test_turned_pictures_are_as_sure_as_the_upright_one(run: Run) -> None:
    upright = run.row("exif-1.jpg")
    for orientation in range(2, 9):
        assert run.row(f"exif-{orientation}.jpg")["confidence"] == pytest.approx(upright["confidence"], abs=0.02)


def test_keys_are_told_apart_to_the_byte(run: Run) -> None:
    classified = {name for name in run.contents if run.row(name)["label"] is not None}
    assert classified >= set(keys())
    for name in classified:
        etag = hashlib.md5(run.contents[name]).hexdigest()
        assert run.row(name)["image_id"] == ImageRef(run.bucket, run.prefix + name, etag).image_id, name
    composed, decomposed, *_ = keys()
    assert composed != decomposed == unicodedata.normalize("NFD", composed)


def test_versions_are_recorded(run: Run) -> None:
    assert run.row("overwritten.png")["version"]
    assert run.row("overwritten.png")["reason"] in (None, "BelowThreshold")


def test_nothing_but_pictures_went_on_the_wire(run: Run, deployment: Deployment) -> None:
    pages = deployment.s3.get_paginator("list_objects_v2").paginate(
        Bucket=deployment.working_bucket, Prefix=f"runs/{run.ended.run}/"
    )
    sent = []
    for item in (item for page in pages for item in page.get("Contents", [])):
        body = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=item["Key"])["Body"].read()
        lines = [line for line in body.splitlines() if line.startswith(b'{"id":"')]
        sent += [base64.b64decode(fields["image"]) for fields in map(json.loads, lines) if "image" in fields]
    assert len(sent) == sum(row["label"] is not None for row in run.ended.rows)
    for content in sent:
        assert MARK not in content
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.size, image.info) == ("PNG", "L", (28, 28), {})
