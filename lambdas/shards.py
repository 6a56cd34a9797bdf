"""The images of a shard in S3, found by reading it once; what cannot be planned of it is said, never left out."""

from collections.abc import Iterator
from dataclasses import replace

from ics.contracts import ImageRef
from ics.errors import AccessDenied, ObjectArchived, ObjectChanged, ObjectNotFound
from ics.shards import picture_of
from ics.tar import BrokenArchive, entries
from lambdas.budget import Budget
from lambdas.runtime import log
from lambdas.s3 import MAX_OBJECT_BYTES, read_range

CHUNK = 8 * 1024 * 1024
"""Bytes of a shard that are read at once."""

FAR = 2 * 1024 * 1024
"""Bytes of a member from which on it is cheaper to ask for what is behind it than to read it."""

BEHIND = 64 * 1024
"""Bytes read where something far was passed over: another large member may follow."""

_SAID = (AccessDenied, ObjectArchived, ObjectChanged, ObjectNotFound)
"""What another try would not change; where S3 does not answer, the state machine tries again."""


def images_of_shard(shard: ImageRef, budget: Budget) -> Iterator[ImageRef]:
    """The images in a shard, in its order, with etag, offset and size.

    A shard that cannot be read to its end, or that holds no image, comes as an image of its own, last, with a `fault`.

    Raises:
        RunTooLarge: the budget is spent.
        ReadFailed: S3 does not answer.
    """
    window = _Window(shard, budget)
    found, fault = 0, ""
    try:
        window.open()
        for entry in entries(window.read, window.total):
            image = picture_of(window.shard, entry, MAX_OBJECT_BYTES)
            if image is None:
                budget.skipped += 1
            else:
                found += 1
                yield image
    except BrokenArchive as error:
        fault = "BrokenShard"
        log("shard broken", "WARNING", shard=shard.uri, problem=str(error), images=found)
    except _SAID as error:
        fault = error.reason
    if not found and not fault:
        fault = "EmptyShard"
    if fault:
        yield replace(window.shard, fault=fault)


class _Window:
    """A part of the shard in memory, which moves forward as it is read."""

    def __init__(self, shard: ImageRef, budget: Budget) -> None:
        self.shard = shard
        self.total = 0
        self._budget = budget
        self._start = 0
        self._held: bytes | memoryview = b""

    def open(self) -> None:
        """Read the first part, which tells etag and size."""
        self._fill(0, CHUNK)

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes, fewer at the shard's end."""
        at = offset - self._start
        if at + length > len(self._held) and self._start + len(self._held) < self.total:
            far = at - len(self._held) > FAR
            self._fill(offset, max(length, BEHIND if far else CHUNK))
            at = 0
        return bytes(self._held[at : at + length])

    def _fill(self, offset: int, length: int) -> None:
        read, self._held, total = read_range(self.shard, offset, length)
        self.shard = replace(self.shard, etag=read.etag)
        self.total = self.total or total
        self._start = offset
        self._budget.spend(len(self._held))
