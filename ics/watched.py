"""The alert about watched labels: one message a batch that has any, sent as soon as the batch is judged."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ics.contracts import Batch
from ics.digest import one_line_subject, printable, shown
from ics.routing import QUARANTINED, WATCHED_LABEL

NAMED = 5
"""Images that an alert names; how many more there are it says."""

_REASONS = (WATCHED_LABEL, QUARANTINED, "QuarantineFailed")
_LONGEST_LABEL = 200
_LONGEST_URI = 300


def watched(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that people are told of at once, those first that should be hidden but are not, then the surest."""
    found = [row for row in rows if row["reason"] in _REASONS]
    return sorted(found, key=lambda row: (-_REASONS.index(row["reason"]), -row["confidence"], row["s3_uri"]))


def watched_alert(environment: str, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is published: subject, text, message (SNS's `MessageStructure: json`, the text in it) and attributes.

    Args:
        environment: its name.
        batch: the batch that the rows are of.
        rows: what `watched` gave, at least one.
    """
    images = [
        {**{name: row[name] for name in ("s3_uri", "reason", "confidence")}, "label": row["label"][:_LONGEST_LABEL]}
        for row in rows[:NAMED]
    ]
    content = {
        "alert": alert_id(batch),
        "environment": environment,
        "run": batch.run,
        "batch": batch.batch,
        "model": batch.model,
        "policy": batch.policy,
        "count": len(rows),
        "images": images,
    }
    said, text = json.dumps(content, ensure_ascii=False), watched_text(content)
    attributes = {name: str(content[name]) for name in ("alert", "environment", "model")} | {"status": "WATCHED"}
    return {
        "subject": watched_subject(content),
        "text": text,
        "message": json.dumps({"default": said, "email": text}, ensure_ascii=False),
        "attributes": attributes,
    }


def alert_id(batch: Batch) -> str:
    """Names the alert of a batch, the same however often it is done again; a resume of the run has its own."""
    return f"watched/{batch.run}/{batch.batch}" + (f"/{batch.attempt}" if batch.attempt else "")


def told_of(run: str) -> str:
    """The `pk` of the table's items that say what was told of a run."""
    return f"alerts#{run}"


def told_key(batch: Batch) -> dict[str, str]:
    """The key of the item that says that a batch was told, and in which words."""
    return {"pk": told_of(batch.run), "sk": f"{batch.batch:06}/{batch.attempt}"}


def watched_subject(content: Mapping[str, Any]) -> str:
    """One line: how many images, of which run."""
    count = content["count"]
    images = "1 image with a watched label" if count == 1 else f"{count:,} images with watched labels"
    return one_line_subject(f"[ICS {content['environment']}] WATCHED: {images}, run {content['run']}")


def watched_text(content: Mapping[str, Any]) -> str:
    """The e-mail: which images, why, and what to do now."""
    lines = [
        f"ICS {content['environment']}: run {content['run']}, batch {content['batch']}, model {content['model']}",
        "",
        "Labels that the routing policy watches, whatever the confidence:",
    ]
    for image in content["images"]:
        lines.append(
            f"  {printable(image['label'], _LONGEST_LABEL)!r} at {shown(image['confidence'])}, {image['reason']}"
        )
        lines.append(f"      {printable(image['s3_uri'], _LONGEST_URI)}")
    more = content["count"] - len(content["images"])
    lines += [f"  and {more:,} more"] if more else []
    lines += [
        "",
        "Look at them now. The run goes on; when it has ended:",
        f"  ics results {content['run']} --env {content['environment']}",
        f"  ics quarantine list --env {content['environment']}",
    ]
    return "\n".join(lines) + "\n"
