"""The images of a request's source, as a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ics.contracts import ImageRef
from ics.errors import SourceUnsafe
from ics.manifests import parse_manifest
from ics.paths import MANIFESTS
from ics.request import Images, Manifest, Prefix, Source
from ics.shards import is_compressed, is_shard
from lambdas.budget import Budget
from lambdas.runtime import settings
from lambdas.s3 import list_images, read_chunks
from lambdas.shards import images_of_shard

LOOK = 1_000
"""Objects of a listing between two looks at the time left: a page of it."""


def images_of(source: Source, budget: Budget) -> Iterator[tuple[ImageRef, int]]:
    """The source's images with their sizes in bytes, 0 where only S3 would know; of a shard, its members.

    Raises:
        SourceUnsafe: the source, or an image of it, is in one of ICS's own buckets.
        SourceNotFound, SourceForbidden, InvalidManifest: it cannot be read.
        RunTooLarge: the budget is spent.
    """
    own = {settings().working_bucket, settings().results_bucket}
    if not isinstance(source, Images) and source.bucket in own and not _is_of_events(source):
        raise SourceUnsafe(f"{source.bucket!r} holds ICS's own files; keep images in another bucket")
    for ref, size in _objects_of(source, budget):
        if ref.bucket in own:
            raise SourceUnsafe(f"{ref.uri!r} is a file of ICS's own; keep images in another bucket")
        if is_shard(ref.key):
            yield from ((image, image.size) for image in images_of_shard(ref, budget))
        elif is_compressed(ref.key):
            yield replace(ref, fault="CompressedShard"), 0
        else:
            yield ref, size


def _objects_of(source: Source, budget: Budget) -> Iterator[tuple[ImageRef, int]]:
    match source:
        case Images(refs):
            yield from ((ref, 0) for ref in refs)
        case Prefix(bucket, prefix):
            for number, found in enumerate(list_images(bucket, prefix)):
                if number % LOOK == 0:
                    budget.check()
                yield found
        case Manifest(bucket, key):
            yield from parse_manifest(key, _spent(read_chunks(bucket, key), budget), budget.check)


def _spent(chunks: Iterable[bytes], budget: Budget) -> Iterator[bytes]:
    for chunk in chunks:
        budget.spend(len(chunk))
        yield chunk


def describe(source: Source) -> str:
    """The source as a person would name it."""
    match source:
        case Prefix(bucket, prefix):
            return f"s3://{bucket}/{prefix}"
        case Manifest(bucket, key):
            return f"the manifest s3://{bucket}/{key}"
        case Images():
            return "images"


def _is_of_events(source: Prefix | Manifest) -> bool:
    """Whether it is a manifest that ICS itself wrote, of uploads that it was told of."""
    place = settings().working_bucket, MANIFESTS
    return isinstance(source, Manifest) and (source.bucket, source.key[: len(MANIFESTS)]) == place
