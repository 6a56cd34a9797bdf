"""How a run is cut into batches: byte ranges of its images.jsonl, few enough for one Map, in constant memory."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ics.contracts import ImageRef, dump_line, image_to_json
from ics.errors import RunTooLarge

MAX_BATCHES = 40_000
"""Children of one Map: it answers with one array of `{}`, which must stay under AWS's 256 KiB of state."""

MAX_BATCH_IMAGES = 1_000
"""Images of one batch, so that its child ends well within an Express execution's five minutes."""

MAX_CHILD_BATCHES = 10
"""Batches of one child, which processes them all at once: a distributed Map pays a transition a child."""


USUAL_BATCH_IMAGES = 100
"""What a model takes at a time unless its environment says otherwise."""

MAX_RANGE = 256_000_000
"""Bytes of a shard that one child reads at once, and holds in memory."""


@dataclass(frozen=True, slots=True)
class Span:
    """Adjacent lines of images.jsonl: `length` bytes from `offset`; `source_bytes` is what is read for them.

    Where they are members of a shard, that is one range of it, from byte `start`; `shard` is its URI, else empty.
    """

    offset: int
    length: int
    images: int
    source_bytes: int
    shard: str = ""
    start: int = 0


class BatchCutter:
    """Cuts a stream of images into batches without knowing how many will come.

    It fills batches of `batch_images`; when there are more than `MAX_BATCHES`, it doubles that number (up to
    `MAX_BATCH_IMAGES`) and merges neighbours. So it holds at most `MAX_BATCHES` spans, whatever the run's size.

    A batch is of one shard or of none, so that one range is all that it reads of shards. Of a shard it takes
    `MAX_BATCH_IMAGES`, unless its model asks for fewer images than the usual at a time, because it is slow.
    """

    def __init__(self, batch_images: int, batch_source_bytes: int) -> None:
        self.batch_images = batch_images
        self._shard_images = MAX_BATCH_IMAGES if batch_images >= USUAL_BATCH_IMAGES else batch_images
        self._source_bytes = batch_source_bytes
        self._spans: list[Span] = []
        self._open = Span(0, 0, 0, 0)
        self.images = 0

    def add(self, ref: ImageRef, size: int = 0) -> bytes:
        """Take the next image (`size`: its bytes, 0 where unknown) and return its line of images.jsonl.

        Raises:
            RunTooLarge: more batches than one Map can hold, even at `MAX_BATCH_IMAGES` a batch.
        """
        line = dump_line(image_to_json(ref))
        last = self._open
        offset = last.offset + last.length
        if ref.fault:  # nothing is read for it
            shard, start, size = last.shard, last.start + last.source_bytes, 0
        elif ref.member:
            shard, start, size = f"s3://{ref.bucket}/{ref.key}", ref.offset, ref.size
        else:
            shard, start = "", 0
        image = Span(offset, len(line), 1, size, shard, start)
        joined = self._joined(last, image) if last.images else image
        if joined is None:
            self._close()
            joined = Span(offset, len(line), 1, size, "" if ref.fault else shard, 0 if ref.fault else start)
        self._open = joined
        self.images += 1
        return line

    def spans(self) -> list[Span]:
        """All batches, in order."""
        return [*self._spans, self._open] if self._open.images else list(self._spans)

    def _close(self) -> None:
        self._spans.append(self._open)
        while len(self._spans) >= MAX_BATCHES:
            if self.batch_images >= MAX_BATCH_IMAGES:
                raise _too_large(f" and {self._source_bytes:,} bytes, each of one shard at most")
            self.batch_images = min(2 * self.batch_images, MAX_BATCH_IMAGES)
            self._shard_images = max(self._shard_images, self.batch_images)
            self._spans = list(self._merged())

    def _merged(self) -> Iterator[Span]:
        spans = iter(self._spans)
        left = next(spans)
        for right in spans:
            joined = self._joined(left, right)
            if joined is None:
                yield left
            left = joined or right
        yield left

    def _joined(self, left: Span, right: Span) -> Span | None:
        """Two neighbours as one batch, None where that would be too much, or is not read in one go."""
        images, length = left.images + right.images, left.length + right.length
        if left.shard != right.shard:
            return None
        if not left.shard:
            size = left.source_bytes + right.source_bytes
            most_images, most_bytes = self.batch_images, self._source_bytes
        else:
            if right.start < left.start + left.source_bytes:
                return None  # the shard is listed twice
            size = right.start + right.source_bytes - left.start
            most_images, most_bytes = self._shard_images, min(self._source_bytes, MAX_RANGE)
        if images > most_images or size > most_bytes:
            return None
        return Span(left.offset, length, images, size, left.shard, left.start)


def child_batches(max_concurrency: int) -> int:
    """How many batches a child of the Map gets where so many batches are to be processed at once.

    Children are of one size, so that with 12 at once there are two of 6 instead of one of 10, and at least nine of ten
    that are allowed are used.
    """
    return max_concurrency // -(-max_concurrency // MAX_CHILD_BATCHES)


def batches_of(run: str, spans: Iterable[Span]) -> Iterator[dict[str, Any]]:
    """What the plan says of each batch: `run`, `batch` (its number), `offset` and `length` in images.jsonl."""
    for number, span in enumerate(spans):
        yield {"run": run, "batch": number, "offset": span.offset, "length": span.length}


def plan_lines(batches: Iterable[dict[str, Any]], a_child: int) -> Iterator[bytes]:
    """The plan: a line a child, `{"batches": [...]}`, `a_child` batches each."""
    waiting = iter(batches)
    while child := list(islice(waiting, a_child)):
        yield dump_line({"batches": child})


def planned_batches(plan: bytes) -> list[dict[str, Any]]:
    """All batches of a plan, in order."""
    return [batch for line in plan.splitlines() for batch in json.loads(line)["batches"]]


def even_batches(images: int, batch_images: int) -> int:
    """How many batches `BatchCutter` makes of so many images of unknown sizes, at first `batch_images` a batch.

    Raises:
        RunTooLarge: as `BatchCutter` does.
    """
    while images > MAX_BATCHES * batch_images:
        if 2 * batch_images > MAX_BATCH_IMAGES:
            raise _too_large("")
        batch_images *= 2
    return -(-images // batch_images)


def _too_large(also: str) -> RunTooLarge:
    return RunTooLarge(
        f"more than {MAX_BATCHES:,} batches of up to {MAX_BATCH_IMAGES:,} images{also}; "
        "split the source into several runs, or pack more images into a shard"
    )
