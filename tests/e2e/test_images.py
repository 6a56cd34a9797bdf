"""What bad images get: a failed row with the reason, while the rest goes on. And keys as odd as S3 allows."""

import io
import json
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from cli.deployment import Deployment
from tests.e2e.harness import Ended

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]


def _bomb(side: int) -> bytes:
    """A PNG that claims side x side pixels in under a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_each_bad_image_is_a_failed_row_and_the_rest_goes_on(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    photo = io.BytesIO()
    Image.effect_noise((300, 300), 90).convert("RGB").save(photo, "JPEG")
    contents = {
        "good.png": (digits[0], None),
        "empty.png": (b"", "EmptyObject"),
        "truncated.jpg": (photo.getvalue()[:2000], "TruncatedImage"),
        "text.png": (b"milk, bread\n", "NotAnImage"),
        "photo.heic": (b"\x00\x00\x00\x18ftypheic" + bytes(64), "UnsupportedFormat"),
        "bomb.png": (_bomb(60_000), "TooManyPixels"),
        "good-too.png": (digits[1], None),
    }
    uris = [f"s3://{deployment.images_bucket}/{put(name, content)}" for name, (content, _) in contents.items()]
    ended = finish(
        {"images": [*uris, f"s3://{deployment.images_bucket}/gone.png", "s3://no-such-bucket-of-ours/x.png"]}
    )
    expected = {name: reason for name, (_, reason) in contents.items() if reason}
    reasons = ended.reasons()
    assert {name: reasons[name] for name in expected} == expected
    assert reasons["gone.png"] == reasons["x.png"] == "ObjectNotFound"
    assert {row["decision"] for row in ended.rows if row["s3_uri"].endswith(("good.png", "good-too.png"))} <= {
        "accepted",
        "uncertain",
    }
    assert all((row["decision"] == "failed") == (row["label"] is None) for row in ended.rows)
    assert ended.execution["error"] == "ImagesNeedAttention"


def test_an_image_that_changed_since_the_plan_is_not_classified(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    key = put("changed.png", digits[0])
    image = {"s3_bucket": deployment.images_bucket, "s3_key": key, "etag": "0" * 32}
    assert finish({"images": [image]}).reasons() == {"changed.png": "ObjectChanged"}


def test_a_version_is_read_though_a_newer_one_and_a_delete_marker_lie_over_it(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    bucket, key = deployment.images_bucket, put("old.png", digits[3])
    version = deployment.s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    deployment.s3.put_object(Bucket=bucket, Key=key, Body=b"not an image any more")
    deployment.s3.delete_object(Bucket=bucket, Key=key)
    (row,) = finish({"images": [{"s3_bucket": bucket, "s3_key": key, "version": version}]}).rows
    assert (row["version"], row["reason"] in (None, "BelowThreshold")) == (version, True)
    assert finish({"images": [f"s3://{bucket}/{key}"]}).reasons() == {"old.png": "ObjectNotFound"}


def test_an_image_that_may_not_be_read_is_a_failed_row(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    bucket, secret, public = deployment.images_bucket, put("secret.png", digits[0]), put("public.png", digits[1])
    before = deployment.s3.get_bucket_policy(Bucket=bucket)["Policy"]
    policy = json.loads(before)
    policy["Statement"].append(
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/{secret}"}
    )
    deployment.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    try:
        ended = finish({"images": [f"s3://{bucket}/{secret}", f"s3://{bucket}/{public}"]})
    finally:
        deployment.s3.put_bucket_policy(Bucket=bucket, Policy=before)
    assert ended.reasons()["secret.png"] == "AccessDenied"
    assert ended.reasons()["public.png"] != "AccessDenied"


def test_odd_keys_are_read_as_they_are(deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]) -> None:
    names = [
        "with space.png",
        "plus+and%2Bpercent%.png",
        "цифра-семь.png",
        "q?a#b&c=d.png",
        "double//slash.png",
        "dots/../up.png",
        "./here.png",
        "tab\tand\x01control.png",
        "quote'\"<>.png",
        "back\\slash.png",
        "long-" + "ж" * 400 + ".png",
    ]
    keys = [put(name, digits[number]) for number, name in enumerate(names)]
    prefix = f"s3://{deployment.images_bucket}/{keys[0].partition('/')[0]}/"
    ended = finish({"prefix": prefix})
    assert {row["s3_uri"] for row in ended.rows} == {f"s3://{deployment.images_bucket}/{key}" for key in keys}
    assert {row["reason"] for row in ended.rows} <= {None, "BelowThreshold"}
    labels = {row["s3_uri"]: row["label"] for row in ended.rows}
    again = finish({"images": [f"s3://{deployment.images_bucket}/{key}" for key in keys]})
    assert {row["s3_uri"]: row["label"] for row in again.rows} == labels
