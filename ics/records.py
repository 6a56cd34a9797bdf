"""What a run leaves behind: result rows, a receipt a batch, and the summary reduced from the receipts.

Rows are the record. A receipt counts a batch's rows and names its worst; reducing receipts costs one small read a batch
instead of one an image, and a batch counts only once its receipt is there.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Literal

from ics.contracts import DECISIONS, Batch, ImageRef, Mode, Verdict, prediction_to_json
from ics.errors import NotReconciled

WORST = 24
"""Images that a receipt names, and a contact sheet shows."""

NAMED = 10
"""Images that the summary and the alert name, the first of these."""

_NAMED_BY = ("s3_uri", "decision", "reason", "label", "confidence", "threshold")

_MAX_BRIEF_LABEL = 200
"""Characters of a label in a receipt: what a model reads may be long, and the worst images travel in an alert."""

Status = Literal["SUCCEEDED", "FAILED"]


@dataclass(frozen=True, slots=True)
class Sent:
    """Where an image was sent: the inference id of the request, and its line in the captured body, from 1."""

    inference_id: str
    line: int


def inference_id(batch: Batch, body: str) -> str:
    """Names one request to the endpoint, in at most 64 characters: `<12 hex of the run>-<batch>-<body>`.

    The 12 hex digits are the run name's SHA-256. Data capture records this id, so that captured lines join to rows. The
    n-th resume of a run writes `r<n>.` before the body.
    """
    resumed = f"r{batch.attempt}." if batch.attempt else ""
    return f"{hashlib.sha256(batch.run.encode()).hexdigest()[:12]}-{batch.batch}-{resumed}{body}"


def result_row(verdict: Verdict, batch: Batch, sent: Sent | None, decided_at: str) -> dict[str, Any]:
    """One line of the results; `decided_at` is ISO 8601 UTC. An image that was never sent has no inference id."""
    prediction = prediction_to_json(verdict.prediction) if verdict.prediction else {}
    return {
        "image_id": verdict.image.image_id,
        "s3_uri": verdict.image.uri,
        "version": verdict.image.version,
        "member": _member(verdict.image),
        "model": batch.model,
        "model_version": prediction.get("model", ""),
        "decision": verdict.decision,
        "reason": verdict.reason,
        "label": prediction.get("label"),
        "confidence": prediction.get("confidence"),
        "alternatives": prediction.get("alternatives", ()),
        "boxes": prediction.get("boxes", ()),
        "text": prediction.get("text"),
        "threshold": batch.threshold if verdict.threshold is None else verdict.threshold,
        "policy": batch.policy,
        "run": batch.run,
        "batch": batch.batch,
        "inference_id": sent.inference_id if sent else None,
        "line": sent.line if sent else None,
        "decided_at": decided_at,
    }


def image_of(row: Mapping[str, Any]) -> ImageRef:
    """Where the image of a row, or of one of the worst that a summary names, can be read again. Its etag is unknown."""
    bucket, _, key = row["s3_uri"].removeprefix("s3://").partition("/")
    version, member = row.get("version", ""), row.get("member")
    if not member:
        return ImageRef(bucket, key, version=version)
    key = key.removesuffix(f"#{member['name']}")
    return ImageRef(bucket, key, "", version, member["name"], member["offset"], member["size"])


def receipt(batch: Batch, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Count a batch's rows by decision and reason, and keep its worst."""
    rows = list(rows)
    return {
        "run": batch.run,
        "batch": batch.batch,
        "attempt": batch.attempt,
        "images": len(rows),
        **_count(rows),
        "reasons": dict(Counter(row["reason"] for row in rows if row["reason"])),
        "model_versions": sorted({row["model_version"] for row in rows if row["model_version"]}),
        "worst": worst(_brief(row) for row in rows if row["decision"] != "accepted"),
    }


def worst(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows a person should see first: flagged, then failed, then uncertain by rising confidence."""
    order = {"flagged": 0, "failed": 1, "uncertain": 2}

    def rank(row: Mapping[str, Any]) -> tuple[int, float, str, str, str]:
        # Reason and label settle the order where an image is listed twice.
        return (
            order[row["decision"]],
            row["confidence"] or 0.0,
            row["s3_uri"],
            row["reason"] or "",
            row["label"] or "",
        )

    return sorted(rows, key=rank)[:WORST]


@dataclass(frozen=True, slots=True)
class Reduction:
    """What the receipts of a run add up to. Reducing is associative: any order of receipts gives the same counts."""

    batches: int = 0
    accepted: int = 0
    uncertain: int = 0
    flagged: int = 0
    failed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    model_versions: tuple[str, ...] = ()
    worst: tuple[Mapping[str, Any], ...] = ()

    @property
    def decided(self) -> int:
        """Images with a verdict."""
        return self.accepted + self.uncertain + self.flagged + self.failed

    @property
    def need_attention(self) -> int:
        """Images that a person should look at."""
        return self.decided - self.accepted


def reduce_receipts(receipts: Iterable[Mapping[str, Any]]) -> Reduction:
    """Add up receipts, in one pass and constant memory."""
    batches = 0
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    versions: set[str] = set()
    shown: list[Mapping[str, Any]] = []
    for one in receipts:
        batches += 1
        counts.update({decision: one[decision] for decision in DECISIONS})
        reasons.update(one["reasons"])
        versions.update(one["model_versions"])
        shown = worst([*shown, *one["worst"]])
    return Reduction(
        batches=batches,
        **{decision: counts[decision] for decision in DECISIONS},
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        model_versions=tuple(sorted(versions)),
        worst=tuple(shown),
    )


def reconcile(planned: int, reduction: Reduction) -> None:
    """Prove planned = accepted + uncertain + flagged + failed.

    Raises:
        NotReconciled: names both sides.
    """
    if planned != reduction.decided:
        raise NotReconciled(
            f"{planned} planned, but {reduction.accepted} accepted + {reduction.uncertain} uncertain + "
            f"{reduction.flagged} flagged + {reduction.failed} failed = {reduction.decided}"
        )


def outcome(mode: Mode, tolerated_percent: float, planned: int, reduction: Reduction) -> tuple[Status, str | None]:
    """How the execution ends, and the error's name where it fails.

    Strict: any image that needs a person fails the execution, after everything is done and told. Tolerant: only more of
    them than `tolerated_percent` of the planned images.
    """
    if mode == "strict":
        return ("FAILED", "ImagesNeedAttention") if reduction.need_attention else ("SUCCEEDED", None)
    # Decimal, or 57 of 10,000 would exceed 0.57 percent, which is a little less than that in binary.
    if 100 * reduction.need_attention > Decimal(str(tolerated_percent)) * planned:
        return "FAILED", "ToleranceExceeded"
    return "SUCCEEDED", None


def named(shown: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first of the worst, as the summary and the alert name them."""
    return [{name: row[name] for name in (*_NAMED_BY, "member") if name in row} for row in islice(shown, NAMED)]


def _count(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(row["decision"] for row in rows)
    return {decision: counts[decision] for decision in DECISIONS}


def _member(image: ImageRef) -> dict[str, Any] | None:
    """Where in its shard an image lies."""
    return {"name": image.member, "offset": image.offset, "size": image.size} if image.member else None


def _brief(row: Mapping[str, Any]) -> dict[str, Any]:
    brief = {name: row[name] for name in (*_NAMED_BY, "image_id", "version")}
    if row.get("member"):
        brief["member"] = row["member"]
    if brief["label"] is not None:
        brief["label"] = brief["label"][:_MAX_BRIEF_LABEL]
    return brief
