"""What each function of the pipeline does in one invocation: requests, and the seconds that it is paid for.

The requests are those that the handlers make; a test holds them to the calls of a real run. The times are assumptions,
each with its source, and part of every prediction.
"""

import math
from dataclasses import dataclass, replace

from ics.records import WORST
from ics.wire import MAX_BODY, MAX_LINES

ONE_CPU = 1769
"""MiB of memory at which Lambda gives a function one processor; less gives a share of it (Lambda Developer Guide,
"Configure Lambda function memory")."""

LIST_PAGE = 1_000
"""Keys of one answer of ListObjectsV2."""

ASKED_BY_IMAGE = ("rekognition", "custom-labels")
"""The backends that are asked about one image in a request."""

PAID_TOGETHER, ASKED_AT_ONCE, DETECT_MS = 10, 4, 500.0
"""Images of a body for Rekognition, requests to it at once, and milliseconds that it takes for one, about."""

READERS = 8
"""Images that SerializeImageData reads at once."""

RECEIPT_READERS = 32
"""Receipts that SummarizeRun reads at once."""

# CPU milliseconds an image on one processor, measured on 2.5 GHz: parsing and staging an answer; making a row; a line
# of a listing; and, a receipt, reducing it.
ANSWER_MS, ROW_MS, LISTED_MS, RECEIPT_MS = 0.04, 0.08, 0.015, 0.1

QUEUED = 50
"""Images of a batch that FilterLowConfidence queues for reviewers at most, its worst; a test holds it to that."""

TABLE_MS, ITEM_MS, ITEMS = 10.0, 0.2, 25
"""Milliseconds of a request to DynamoDB (its Developer Guide says "single-digit" of the service alone), CPU
milliseconds of an item, and items of a request."""

MAIL_WRITES, MAIL_READS = 3, 10
"""What mailing a run's digest takes of the table: a claim, a slot and a mark, and looking twice at five slots."""

SHEET_MS = 300.0
"""CPU milliseconds of a contact sheet, its pictures read and drawn."""

LOG_BYTES = 700
"""Of one invocation: Lambda's START, END and REPORT lines, and the function's own one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds that a prediction assumes.

    `decode`: CPU time of one image in SerializeImageData, of about a megapixel (measured: 12 megapixels as JPEG take
    17 to 33 ms, a small PNG 0.1 ms). `infer`: time of one image in the endpoint, on one processor. `request`: one
    request to S3 or to the endpoint within the region (the S3 User Guide says "roughly 100-200 milliseconds" of small
    objects; warm connections measure 20 to 60). `start`: a function's first invocation, which is paid for, too.
    """

    decode: float = 10.0
    infer: float = 5.0
    request: float = 40.0
    start: float = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A run: `objects` are read from S3 for its images (shards hold many); `listed` images come from a listing.

    `image_bytes` are those of one image as it is sent to the model, `manifest` whether the images come from one.
    `doubted` is the share of images that are flagged or uncertain, from 0 to 1, and `reviewed` whether they wait for
    reviewers in the table; `uploaded` images lie under the upload prefix, and each is noted there. With
    `skip_classified` the ledger is asked of all, and knows none.
    """

    images: int
    batches: int
    objects: int
    image_bytes: int
    listed: int = 0
    manifest: bool = False
    paid_by_image: bool = False
    doubted: float = 0.0
    reviewed: bool = False
    uploaded: int = 0
    skip_classified: bool = False

    @property
    def queued(self) -> float:
        """Images of a batch that wait for reviewers: those doubted, at most so many."""
        return min(self.doubted * self.images / self.batches, QUEUED) if self.reviewed else 0.0

    @property
    def noted(self) -> float:
        """Images of a batch that the table tells where to find: those that wait, and those that were uploaded."""
        if not self.reviewed:
            return 0.0
        return self.queued + self.uploaded / self.batches * (1 - self.queued * self.batches / self.images)

    @property
    def batch(self) -> int:
        """Images of a full batch."""
        return math.ceil(self.images / self.batches)

    @property
    def bodies(self) -> int:
        """Request bodies of a full batch."""
        most = PAID_TOGETHER if self.paid_by_image else MAX_LINES
        return math.ceil(self.batch / min(most, max(1, MAX_BODY // self.image_bytes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One invocation: S3 requests by kind, requests to the endpoint, and milliseconds of CPU and of waiting.

    `reads` and `writes` are those of the table, in the units that DynamoDB is paid by: a consistent read of up to 4 KB,
    a write of up to 1 KB. An item here is smaller, but where a key is very long.
    """

    gets: float = 0.0
    puts: float = 0.0
    lists: float = 0.0
    invokes: float = 0.0
    reads: float = 0.0
    writes: float = 0.0
    cpu_ms: float = 0.0
    wait_ms: float = 0.0

    def seconds(self, memory: int) -> float:
        """How long it takes with `memory` MiB: its CPU time at the function's share of a processor, and its waits."""
        return (self.cpu_ms / min(1.0, memory / ONE_CPU) + self.wait_ms) / 1000


def work_of(load: Load, times: Times, backend: str = "endpoint") -> dict[str, Work]:
    """The work of one invocation of each function on the way to success, by its name in the definition.

    `backend` is what classifies: `endpoint`, `lambda`, `rekognition` or `custom-labels`.
    """
    images, bodies, request = load.batch, load.bodies, times.request
    read = load.objects / load.batches
    pages = math.ceil(load.listed / LIST_PAGE)
    # Reading overlaps with decoding, but for the first image; where it takes longer, it is what counts.
    slow_reads = max(0.0, read * request / READERS - images * times.decode)
    asked = images if load.skip_classified else 0  # the ledger
    known_etag = asked if load.listed else 0
    told = load.queued + load.noted
    return {
        "PlanRun": Work(
            lists=pages,
            gets=1 + load.manifest,  # the routing policy
            puts=4,  # images, plan, what of the policy applies, the answer
            cpu_ms=load.images * LISTED_MS,
            wait_ms=(3 * pages + load.manifest + 5) * request,  # a page of a thousand keys takes as long as three
        ),
        "SerializeImageData": Work(
            gets=1 + read,
            puts=bodies + 1,
            reads=known_etag,
            writes=asked,
            cpu_ms=images * times.decode + (known_etag + asked) * ITEM_MS,
            wait_ms=(2 + bodies + 1) * request + slow_reads + _table_ms(known_etag, 4 * ITEMS) + _table_ms(asked),
        ),
        "ClassifyImage": _classifying(images, bodies, times, backend),
        "FilterLowConfidence": Work(
            gets=1 + bodies,
            puts=2,
            writes=told + asked,
            cpu_ms=images * ROW_MS + (told + asked) * ITEM_MS,
            wait_ms=(3 + bodies) * request + _table_ms(load.noted) + _table_ms(load.queued) + _table_ms(asked),
        ),
        "SummarizeRun": Work(
            gets=load.batches + 1,
            puts=2,
            cpu_ms=load.batches * RECEIPT_MS,
            wait_ms=(math.ceil(load.batches / RECEIPT_READERS) + 3) * request,
        ),
        "MakeContactSheet": Work(gets=1 + WORST, puts=2, cpu_ms=SHEET_MS, wait_ms=(1 + WORST + 2) * request),
    }


def _table_ms(items: float, together: int = ITEMS) -> float:
    """Milliseconds of waiting for the table, asked of so many items at once."""
    return math.ceil(items / together) * TABLE_MS


def _classifying(images: int, bodies: int, times: Times, backend: str) -> Work:
    own = Work(gets=bodies, puts=bodies, cpu_ms=images * ANSWER_MS, wait_ms=2 * bodies * times.request)
    match backend:
        case "lambda":  # the net's time is the function's own
            return replace(own, cpu_ms=own.cpu_ms + images * times.infer)
        case _ if backend in ASKED_BY_IMAGE:
            return replace(own, invokes=images, wait_ms=own.wait_ms + images * DETECT_MS / ASKED_AT_ONCE)
        case _:
            return replace(own, invokes=bodies, wait_ms=own.wait_ms + bodies * times.request + images * times.infer)
