"""Plan a new run: its images, a line each, and its batches, ranges of those lines, as they stream in; what it skips."""

from ics import paths
from ics.batches import BatchCutter, batches_of, plan_lines
from ics.errors import EmptySource, InvalidRequest
from ics.request import RunRequest, Source
from lambdas.budget import Budget
from lambdas.runtime import ModelSettings, settings
from lambdas.s3 import write_lines, write_working
from lambdas.sources import describe, images_of


def write_plan(run: str, source: Source, batch_images: int, a_child: int, budget: Budget) -> tuple[int, int]:
    """Write the run's images.jsonl and plan.jsonl, `a_child` batches a line; return how many images and batches.

    Raises:
        EmptySource: the source holds no image.
        RunTooLarge, SourceUnsafe, SourceNotFound, SourceForbidden, InvalidManifest: as their names say.
    """
    config = settings()
    cutter = BatchCutter(batch_images, config.batch_source_bytes)
    write_lines(paths.images(run), (cutter.add(ref, size) for ref, size in images_of(source, budget)))
    spans = cutter.spans()
    if not spans:
        raise EmptySource(f"{describe(source)} holds no image")
    write_working(paths.plan(run), b"".join(plan_lines(batches_of(run, spans), a_child)))
    return cutter.images, len(spans)


def skips_classified(request: RunRequest, model: ModelSettings, *, default: bool) -> bool:
    """Whether a run looks its images up in the ledger.

    Raises:
        InvalidRequest: the request wants it of a model whose version is known only afterwards.
    """
    if model.version:
        return default if request.skip_classified is None else request.skip_classified
    if request.skip_classified:
        raise InvalidRequest(
            f"skip_classified with {request.model!r}: which version of Rekognition answers is known only afterwards; "
            "start the run without it"
        )
    return False
