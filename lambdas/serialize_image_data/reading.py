"""The images of a batch, read and prepared for the model: many are read at once, one at a time is decoded."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from operator import itemgetter

from ics.artifact import InputSpec
from ics.contracts import ImageRef
from ics.errors import ImageError, image_error
from ics.imaging import prepare, prepare_photo
from lambdas.runtime import settings
from lambdas.s3 import read_image
from lambdas.serialize_image_data.members import read_members

READERS = 8
"""Images read at once. Each may hold 64 MiB of source; only one at a time is decoded, so that memory is bounded."""

SMALL = 32 * 1024
"""Bytes of an image that is kept until all of the batch are read: preparing the small ones in a row takes half the CPU
time of preparing them between reads. A batch has at most 1,000."""

_decoding = threading.Lock()


def read_prepared(refs: Iterable[ImageRef], spec: InputSpec | None) -> list[tuple[ImageRef, bytes | ImageError]]:
    """Each image, in order, as read (with its etag), and its prepared bytes, or what is wrong with it.

    Without a `spec` it is prepared as a photograph. Members of a shard are read in one request, from the first one's
    first byte to the last one's last.
    """
    refs = list(refs)
    members = {place: ref for place, ref in enumerate(refs) if ref.member and not ref.fault}
    waiting = iter([(place, ref) for place, ref in enumerate(refs) if place not in members])
    with ThreadPoolExecutor(READERS) as readers:  # whoever is free takes the next: cheaper than a task an image
        parts = readers.map(lambda _: [(place, *_read(ref, spec)) for place, ref in waiting], range(READERS))
        read = sorted(chain(*parts), key=itemgetter(0))
    found = {place: (ref, _prepared(small, spec) if small else ready) for place, ref, ready, small in read}
    for place, ref, content in read_members(members):
        ready = content if isinstance(content, ImageError) else _prepared(bytes(content), spec)
        found[place] = (ref, ready)
    return [found[place] for place in range(len(refs))]


def _read(ref: ImageRef, spec: InputSpec | None) -> tuple[ImageRef, bytes | ImageError, bytes]:
    """An image as read: prepared, or what is wrong with it; or, where small, as its source has it."""
    if ref.fault:
        return ref, image_error(ref.fault), b""
    try:
        ref, content = read_image(ref)
    except ImageError as error:
        return ref, error, b""
    if 0 < len(content) <= SMALL:
        return ref, b"", content
    with _decoding:
        return ref, _prepared(content, spec), b""


def _prepared(content: bytes, spec: InputSpec | None) -> bytes | ImageError:
    limit = settings().max_pixels
    try:
        return prepare(content, spec, limit) if spec else prepare_photo(content, limit)
    except ImageError as error:
        return error
