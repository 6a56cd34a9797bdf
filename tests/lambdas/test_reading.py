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
from ics.errors import ImageError, ObjectNotFound
from ics.imaging import prepare
from lambdas.serialize_image_data import reading

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
