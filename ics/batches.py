"""How a run is cut into batches: byte ranges of its images.jsonl, few enough for one Map, in constant memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from ics.contracts import ImageRef, dump_line
from ics.errors import RunTooLarge

MAX_BATCHES = 40_000
"""Children of one Map: it answers with one array of `{}`, which must stay under AWS's 256 KiB of state."""

MAX_BATCH_IMAGES = 1_000
"""Images of one child, so that it ends well within an Express execution's five minutes."""


@dataclass(frozen=True, slots=True)
class Span:
    """Adjacent lines of images.jsonl: `length` bytes from `offset`; `source_bytes` is the size of their pictures."""

    offset: int
    length: int
    images: int
    source_bytes: int


class BatchCutter:
    """Cuts a stream of images into batches without knowing how many will come.

    It fills batches of `batch_images`; when there are more than `MAX_BATCHES`, it doubles that number (up to
    `MAX_BATCH_IMAGES`) and merges neighbours. So it holds at most `MAX_BATCHES` spans, whatever the run's size.
    """

    def __init__(self, batch_images: int, batch_source_bytes: int) -> None:
        self.batch_images = batch_images
        self._source_bytes = batch_source_bytes
        self._spans: list[Span] = []
        self._open = Span(0, 0, 0, 0)
        self.images = 0

    def add(self, ref: ImageRef, size: int = 0) -> bytes:
        """Take the next image (`size`: its bytes, 0 where unknown) and return its line of images.jsonl.

        Raises:
            RunTooLarge: more batches than one Map can hold, even at `MAX_BATCH_IMAGES` a batch.
        """
        line = image_line(ref)
        if self._open.images and (
            self._open.images >= self.batch_images or self._open.source_bytes + size > self._source_bytes
        ):
            self._close()
        span = self._open
        self._open = Span(span.offset, span.length + len(line), span.images + 1, span.source_bytes + size)
        self.images += 1
        return line

    def spans(self) -> list[Span]:
        """All batches, in order."""
        return [*self._spans, self._open] if self._open.images else list(self._spans)

    def _close(self) -> None:
        self._spans.append(self._open)
        self._open = Span(self._open.offset + self._open.length, 0, 0, 0)
        while len(self._spans) >= MAX_BATCHES:
            if self.batch_images >= MAX_BATCH_IMAGES:
                raise _too_large(f" and {self._source_bytes:,} bytes")
            self.batch_images = min(2 * self.batch_images, MAX_BATCH_IMAGES)
            self._spans = list(self._merged())

    def _merged(self) -> Iterator[Span]:
        spans = iter(self._spans)
        left = next(spans)
        for right in spans:
            images, size = left.images + right.images, left.source_bytes + right.source_bytes
            if images <= self.batch_images and size <= self._source_bytes:
                left = Span(left.offset, left.length + right.length, images, size)
            else:
                yield left
                left = right
        yield left


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
        "split the source into several runs"
    )


def image_line(ref: ImageRef) -> bytes:
    """An image's line of images.jsonl; what is unknown is left out."""
    fields = {"bucket": ref.bucket, "key": ref.key, "etag": ref.etag, "version": ref.version}
    return dump_line({name: value for name, value in fields.items() if value})
