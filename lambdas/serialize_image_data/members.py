"""The members of shards: however many a batch holds of one, they are read in one request."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ics.contracts import ImageRef
from ics.errors import ImageError
from lambdas.s3 import read_range


def read_members(members: Mapping[int, ImageRef]) -> Iterator[tuple[int, ImageRef, memoryview | bytes | ImageError]]:
    """Each member by its place in the batch: as read, and its bytes, or why its shard cannot be read.

    The range is held while its members are taken; BatchCutter bounds it.
    """
    shards: dict[tuple[str, str, str, str], list[int]] = {}
    for place, ref in members.items():
        shards.setdefault((ref.bucket, ref.key, ref.etag, ref.version), []).append(place)
    for places in shards.values():
        start = min(members[place].offset for place in places)
        end = max(members[place].offset + members[place].size for place in places)
        try:
            read = read_range(members[places[0]], start, end - start)
        except ImageError as error:
            yield from ((place, members[place], error) for place in places)
            continue
        for place in places:
            ref = replace(members[place], version=read.ref.version)
            yield place, ref, read.content[ref.offset - start : ref.offset - start + ref.size]
