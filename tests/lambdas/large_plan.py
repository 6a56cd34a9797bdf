"""A plan of so many images in a process of its own, which prints its peak memory: S3 is made up as it is read.

What is written goes to files, by the parts and buffers with which obstore writes to S3.
"""

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from obstore.store import LocalStore

from ics import paths, tar
from ics.contracts import ImageRef
from ics.request import Manifest, Prefix
from lambdas import aws_http, budget, s3, shards, sources
from lambdas.plan_run import planning
from tests.soak.__main__ import peak_mib
from tests.unit.test_tar import header

PAGE = 1_000
MEMBERS = 1_000
MEMBER = header(b"0001.png", b"00000001000\0") + bytes(512)
SHARD_BYTES = MEMBERS * len(MEMBER) + 2 * tar.BLOCK


class Clock:
    """A Lambda context with all its time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def listing(images: int, ending: str) -> None:
    """S3's own listing of so many objects, page by page, as its XML."""

    def request(method: str, url: str, *, service: str, query: Mapping[str, str], headers: object) -> aws_http.Response:
        start = int(query.get("continuation-token", "0"))
        items = "".join(
            f"<Contents><Key>incoming/2026/{number:08}.{ending}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><Size>5000</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(start, min(start + PAGE, images))
        )
        following = start + PAGE
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following < images else ""
        body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{items}{token}</ListBucketResult>'
        return aws_http.Response(200, {}, body.encode())

    aws_http.request = request  # type: ignore[assignment]


def manifest(images: int) -> None:
    """A .jsonl of so many lines, in chunks as S3 gives them."""

    def read_chunks(bucket: str, key: str) -> Iterator[bytes]:
        numbers = iter(range(images))
        while some := list(itertools.islice(numbers, 12_000)):  # about lambdas.s3.CHUNK
            yield b"".join(
                b'{"bucket": "my-bucket", "key": "incoming/2026/%08d.png", "etag": "%032x", "size": 5000}\n' % (n, n)
                for n in some
            )

    sources.read_chunks = read_chunks


def read_range(ref: ImageRef, offset: int, length: int) -> s3.Content:
    """A part of a shard of a thousand members."""
    length = min(length, SHARD_BYTES - offset)
    first = offset // len(MEMBER)
    held = (MEMBER * (length // len(MEMBER) + 2))[offset - first * len(MEMBER) :][:length]
    zeros = max(0, offset + length - MEMBERS * len(MEMBER))
    return s3.Content(ref, held[: length - zeros] + bytes(zeros), SHARD_BYTES)


def main(source: str, images: int) -> None:
    os.environ |= {"WORKING_BUCKET": "working", "RESULTS_BUCKET": "results", "AWS_REGION": "us-east-1"}
    shards.read_range = read_range
    if source == "manifest":
        manifest(images)
    else:
        listing(images if source == "listing" else images // MEMBERS, "png" if source == "listing" else "tar")
    what = Manifest("b", "list.jsonl") if source == "manifest" else Prefix("b", "incoming/")
    with tempfile.TemporaryDirectory() as top:
        s3.store = lambda _: LocalStore(top)  # type: ignore[assignment,return-value]
        planned, batches = planning.write_plan("run", what, 100, 10, budget.Budget(Clock()))
        written = Path(top, paths.images("run")).stat().st_size
    sys.stdout.write(json.dumps({"planned": planned, "batches": batches, "bytes": written, "mib": peak_mib()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
