"""The images of a request's source, as a stream."""

from collections.abc import Iterator

from ics.contracts import ImageRef
from ics.errors import SourceUnsafe
from ics.request import Images, Manifest, Prefix, Source, parse_manifest
from lambdas.runtime import settings
from lambdas.s3 import list_images, read_lines


def images_of(source: Source) -> Iterator[tuple[ImageRef, int]]:
    """The source's images with their sizes in bytes, 0 where only S3 would know.

    Raises:
        SourceUnsafe: the source is one of ICS's own buckets.
        SourceNotFound, SourceForbidden, InvalidManifest: it cannot be read.
    """
    config = settings()
    if not isinstance(source, Images) and source.bucket in (config.working_bucket, config.results_bucket):
        raise SourceUnsafe(f"{source.bucket!r} holds ICS's own files; keep images in another bucket")
    match source:
        case Images(refs):
            yield from ((ref, 0) for ref in refs)
        case Prefix(bucket, prefix):
            yield from list_images(bucket, prefix)
        case Manifest(bucket, key):
            yield from ((ref, 0) for ref in parse_manifest(key, read_lines(bucket, key)))


def describe(source: Source) -> str:
    """The source as a person would name it."""
    match source:
        case Prefix(bucket, prefix):
            return f"s3://{bucket}/{prefix}"
        case Manifest(bucket, key):
            return f"the manifest s3://{bucket}/{key}"
        case Images():
            return "images"
