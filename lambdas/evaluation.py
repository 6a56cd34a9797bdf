"""The files of an evaluation: read as they stream in, dealt out to partitions, counted; in constant memory."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore

from ics import paths
from ics.accuracy import Counts
from ics.contracts import dump_line
from ics.joining import lines_of, partition_of
from lambdas.ordered import in_order
from lambdas.runtime import settings, store
from lambdas.s3 import list_images, read_chunks, write_working

AT_ONCE = 16
"""Requests at once."""

SMALL = 1024 * 1024
"""Bytes of a file that is read as a whole, beside others."""

HELD = 32 * 1024 * 1024
"""Bytes for partitions that are held before they are written."""

ROWS, LABELS, IDS, NAMED = "rows", "labels", "ids", "named"
"""What is dealt out: predictions and labels by URI; by image id the URIs of images, and labels that name an id."""

File = tuple[str, str, int]
"""Bucket, key and bytes."""


def contents(files: Iterable[File]) -> Iterator[tuple[File, Iterable[bytes]]]:
    """Each file with its bytes in pieces, in order.

    Raises:
        SourceNotFound, SourceForbidden, ObjectChanged, ReadFailed: as their names say.
    """
    for file, whole in in_order(lambda file: (file, _whole(file)), files, AT_ONCE):
        yield file, read_chunks(*file[:2]) if whole is None else [whole]


def _whole(file: File) -> bytes | None:
    bucket, key, size = file
    return b"".join(read_chunks(bucket, key)) if size <= SMALL else None


class Dealer:
    """Deals records out to the files of partitions, which `name` tells from those of others. Close it at the end.

    Dealt the same again, it writes the same again: a step that is repeated overwrites its files.
    """

    def __init__(self, evaluation: str, partitions: int, name: str) -> None:
        self._evaluation, self._partitions, self._name = evaluation, partitions, name
        self._held: dict[tuple[str, int], bytearray] = defaultdict(bytearray)
        self._bytes = self._written = 0

    def deal(self, kind: str, by: str, record: object) -> None:
        """A record of a kind, to the partition of this URI or image id."""
        line = dump_line(record)
        self._held[kind, partition_of(by, self._partitions)] += line
        self._bytes += len(line)
        if self._bytes >= HELD:
            self.close()

    def close(self) -> None:
        """Write what is held."""
        with ThreadPoolExecutor(AT_ONCE) as writers:
            list(writers.map(self._write, self._held.items()))
        self._held.clear()
        self._written += 1
        self._bytes = 0

    def _write(self, held: tuple[tuple[str, int], bytearray]) -> None:
        (kind, partition), content = held
        prefix = paths.evaluation_parts(self._evaluation, kind, partition)
        write_working(f"{prefix}{self._name}-{self._written}.jsonl", bytes(content))


def records(evaluation: str, kind: str, partition: int) -> Iterator[Any]:
    """All records of a kind that were dealt to a partition."""
    for _, pieces in contents(_listed(paths.evaluation_parts(evaluation, kind, partition))):
        for line in lines_of(pieces):
            if line:
                yield json.loads(line)


def write_counts(evaluation: str, name: str, counts: Counts) -> None:
    """What a shard or a partition counted."""
    write_working(f"{paths.evaluation_counts(evaluation)}{name}.json", dump_line(counts.to_json()))


def all_counts(evaluation: str) -> Iterator[Any]:
    """What all shards and partitions counted, one after the other."""
    for _, pieces in contents(_listed(paths.evaluation_counts(evaluation))):
        yield json.loads(b"".join(pieces))


def _listed(prefix: str) -> Iterator[File]:
    for ref, size in list_images(settings().working_bucket, prefix):
        yield ref.bucket, ref.key, size


def listed_files(evaluation: str, offset: int, length: int) -> list[dict[str, Any]]:
    """The files of a shard: one ranged GET of its lines of files.jsonl."""
    key = paths.evaluation_file(evaluation, "files.jsonl")
    lines = obstore.get_range(store(settings().working_bucket), key, start=offset, length=length)
    return [json.loads(line) for line in bytes(lines).splitlines()]
