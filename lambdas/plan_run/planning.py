"""Plan a new run: its images, a line each, and its batches, ranges of those lines, as they stream in; what it skips."""

from collections.abc import Mapping
from typing import Any

from ics import paths
from ics.batches import BatchCutter, batches_of, child_batches, plan_lines
from ics.contracts import dump_line
from ics.errors import EmptySource, InvalidRequest
from ics.policy import parse_policy, policy_to_json
from ics.request import RunRequest, Source, parse_request
from lambdas.budget import Budget
from lambdas.runtime import ModelSettings, log, settings
from lambdas.s3 import read_results, write_lines, write_working
from lambdas.sources import describe, images_of


def plan(run: str, started: str, request: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Write the run's policy, images and batches, then its record, and return that: what PlanRun answers.

    Raises:
        InvalidRequest, InvalidPolicy: as their names say.
        EmptySource, RunTooLarge, SourceUnsafe, SourceNotFound, SourceForbidden, InvalidManifest: as `write_plan` does.
    """
    config = settings()
    asked = parse_request(request, models=config.models, default_model=config.default_model)
    model = config.models[asked.model]
    skip = skips_classified(asked, model, default=config.skip_classified)
    policy = parse_policy(read_results(paths.POLICY) or b"").applied(
        asked.model, requested=asked.threshold, default=config.threshold
    )
    write_working(paths.policy(run), policy_to_json(policy))
    at_once = config.at_once(asked.model)
    planned, batches = write_plan(run, asked.source, model.batch_images, child_batches(at_once), budget)
    log("planned", run=run, planned=planned, batches=batches, skipped=budget.skipped, model=asked.model)
    record = {
        "run": run,
        "started": started,
        "attempt": 0,
        "model": asked.model,
        "classify": model.classify,
        "threshold": policy.threshold,
        "policy": policy.version,
        "mode": asked.mode,
        "tolerated_percent": asked.tolerated_percent,
        "skip_classified": skip,
        "planned": planned,
        "skipped": budget.skipped,
        "batches": batches,
        "left": batches,
        "told": False,
        "max_concurrency": at_once // child_batches(at_once),
        "plan": {"bucket": config.working_bucket, "key": paths.plan(run)},
    }
    write_working(paths.record(run), dump_line(record))
    return record


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
