"""`lambdas.serialize_image_data.reading`: order, faults, and how much is decoded at once; S3 is a dictionary here."""

import dataclasses
import io
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from ics.artifact import InputSpec
from ics.contracts import ImageRef
from ics.errors import ImageError, ObjectChanged, ObjectNotFound
from ics.imaging import prepare
from lambdas.s3 import Content
from lambdas.serialize_image_data import members, reading

SPEC = InputSpec("image", 28, 28, "grey", "light-on-dark")


def picture(side: int, seed: int) -> bytes:
    """Noise, so that the file grows with the side: 28 px take 1 KB, 300 px take 90 KB."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 100, (side, side), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The objects of a bucket, which answers the sooner the larger its key's number is."""
    objects: dict[str, bytes] = {}

    def read_image(ref: ImageRef) -> tuple[ImageRef, bytes]:
        time.sleep(0.002 / (1 + int(ref.key)))
        if ref.key not in objects:
            raise ObjectNotFound(ref.uri)
        return dataclasses.replace(ref, etag=f"etag of {ref.key}"), objects[ref.key]

    monkeypatch.setattr(reading, "read_image", read_image)
    return objects


def test_every_image_comes_back_in_its_place_with_its_own_bytes_or_fault(bucket: dict[str, bytes]) -> None:
    kinds = [picture(28, 1), picture(300, 2), b"", b"no image", picture(28, 3)[:-60], picture(300, 4)[:-60]]
    assert [len(content) > reading.SMALL for content in kinds] == [False, True, False, False, False, True]
    bucket |= {str(number): kinds[number % 7] for number in range(140) if number % 7 < 6}  # each seventh is missing
    refs = [ImageRef("b", str(number)) for number in range(140)]
    read = reading.read_prepared(refs, SPEC)
    assert [ref.key for ref, _ in read] == [ref.key for ref in refs]
    for number, (ref, found) in enumerate(read):
        kind = number % 7
        if kind < 2:
            assert found == prepare(kinds[kind], SPEC)
        else:
            assert isinstance(found, ImageError)
            reasons = ("EmptyObject", "NotAnImage", "TruncatedImage", "TruncatedImage", "ObjectNotFound")
            assert found.reason == reasons[kind - 2]
        assert ref.etag == ("" if kind == 6 else f"etag of {number}")


def test_never_are_two_decoded_at_once(bucket: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    decoding = threading.Lock()
    sizes = []

    def alone(content: bytes, spec: InputSpec, max_pixels: int) -> bytes:
        assert decoding.acquire(blocking=False)
        time.sleep(0.001)
        sizes.append(len(content))
        decoding.release()
        return content

    monkeypatch.setattr(reading, "prepare", alone)
    bucket |= {str(number): bytes(reading.SMALL + number % 2) for number in range(60)}
    assert len(reading.read_prepared([ImageRef("b", key) for key in bucket], SPEC)) == len(sizes) == 60
    assert sizes == sorted(sizes, reverse=True)  # the small ones once all are read


# --- shards


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Shards by their keys; each range that is read is noted under `(key, offset, length)`."""
    objects: dict[str, bytes] = {}

    def read_range(ref: ImageRef, offset: int, length: int) -> Content:
        if ref.etag != f"etag of {ref.key}":
            raise ObjectChanged(ref.uri)
        objects[f"GET {ref.key} {offset} {length}"] = b""
        found = memoryview(objects[ref.key])[offset : offset + length]
        return Content(dataclasses.replace(ref, version="v"), found, len(objects[ref.key]))

    monkeypatch.setattr(members, "read_range", read_range)
    return objects


def test_members_are_cut_from_one_range_and_fail_alone(bucket: dict[str, bytes], shards: dict[str, bytes]) -> None:
    pictures = [picture(28, 1), b"", b"no image", picture(28, 2)[:-60], picture(28, 3), picture(300, 4)]
    content, refs = bytes(512), []
    for number, one in enumerate(pictures):
        refs.append(ImageRef("b", "1", "etag of 1", "", f"{number}.png", len(content), len(one)))
        content += one + bytes(512)
    shards["1"] = content
    bucket["7"] = picture(28, 7)
    refs.insert(2, ImageRef("b", "1", "etag of 1", "", "link.png", 4, 4, "UnreadableMember"))
    refs += [ImageRef("b", "1", fault="BrokenShard"), ImageRef("b", "7")]
    read = reading.read_prepared(refs, SPEC)
    end = refs[6].offset + refs[6].size
    assert [name for name in shards if name != "1"] == [f"GET 1 512 {end - 512}"]
    found = [ready.reason if isinstance(ready, ImageError) else ready for _, ready in read]
    assert found == [
        prepare(pictures[0], SPEC), "EmptyObject", "UnreadableMember", "NotAnImage", "TruncatedImage",
        prepare(pictures[4], SPEC), prepare(pictures[5], SPEC), "BrokenShard", prepare(bucket["7"], SPEC),
    ]  # fmt: skip
    assert [(ref.member, ref.offset) for ref, _ in read] == [(ref.member, ref.offset) for ref in refs]
    assert {ref.version for ref, _ in read if ref.member and not ref.fault} == {"v"}


def test_a_shard_that_changed_fails_its_images(bucket: dict[str, bytes], shards: dict[str, bytes]) -> None:
    shards["1"] = bytes(4096)
    refs = [ImageRef("b", "1", "another", "", f"{number}.png", 512, 300) for number in range(3)]
    read = reading.read_prepared(refs, SPEC)
    assert [ready.reason for _, ready in read if isinstance(ready, ImageError)] == ["ObjectChanged"] * 3
    assert [ref for ref, _ in read] == refs
