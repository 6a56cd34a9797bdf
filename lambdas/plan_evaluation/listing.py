"""The files of an evaluation, listed page by page into files.jsonl, a line a file."""

from collections.abc import Iterator

from ics import paths
from ics.contracts import dump_line
from ics.errors import EmptySource
from ics.evaluation import ENDING, EvaluationRequest, ShardCutter, of_dates
from ics.request import split_uri
from lambdas.runtime import settings
from lambdas.s3 import list_images, write_lines


def write_files(evaluation: str, request: EvaluationRequest) -> ShardCutter:
    """Write files.jsonl; return how it is cut into shards.

    Raises:
        EmptySource: a source has no file.
        SourceNotFound, SourceForbidden, EvaluationTooLarge: as their names say.
    """
    cutter = ShardCutter()
    write_lines(paths.evaluation_file(evaluation, "files.jsonl"), _lines(request, cutter))
    return cutter


def _lines(request: EvaluationRequest, cutter: ShardCutter) -> Iterator[bytes]:
    """A line a file, which `cutter` is told of."""
    for kind, bucket, prefix in _sources(request):
        before = cutter.files
        for found, size in _files(bucket, prefix):
            if kind != "predictions" or of_dates(found, request):
                line = dump_line({"kind": kind, "bucket": bucket, "key": found, "size": size})
                cutter.add(f"s3://{bucket}/{found}", line, size, labels=kind != "predictions")
                yield line
        if cutter.files == before:
            raise EmptySource(_missing(kind, f"s3://{bucket}/{prefix}", request))


def _sources(request: EvaluationRequest) -> Iterator[tuple[str, str, str]]:
    """Kind, bucket and prefix of all that is to be read: small labels before the many predictions."""
    if request.pairs:
        yield "pairs", *split_uri(request.pairs)
    elif request.labels:
        yield "labels", *split_uri(request.labels)
        yield "predictions", *split_uri(request.predictions)
    else:
        bucket = settings().results_bucket
        yield "labels", bucket, paths.model_labels(request.model)
        yield "predictions", bucket, paths.model_results(request.model)


def _files(bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Keys and sizes of the JSON Lines files under a prefix; a prefix that is a file's own key is that file alone."""
    for ref, size in list_images(bucket, prefix):
        if ref.key.endswith(ENDING) and (ref.key == prefix or not prefix.endswith(ENDING)):
            yield ref.key, size


def _missing(kind: str, place: str, request: EvaluationRequest) -> str:
    """Why there is nothing, and what to do."""
    text = f"no {kind} ({ENDING}) at {place}"
    if request.labels or request.pairs:
        return text
    if kind == "labels":
        return f"{text}: nobody has labelled an image of {request.model!r} yet; bring a file (ics accuracy --labels)"
    dates = f" from {request.since or 'the first'} to {request.until or 'the last'}"
    return f"{text}: no run of {request.model!r}{dates if request.since or request.until else ''}"
