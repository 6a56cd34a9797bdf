"""The alert: one digest a run, as text a person understands and as JSON a program does."""

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_SUBJECT = 100
"""SNS refuses longer subjects; they are ASCII, without line breaks."""

MAX_MESSAGE = 262_144
"""SNS's limit for a message, in bytes, all protocols' texts together."""

_MAX_URI = 300
"""Characters of an image's URI in the e-mail: a key may have 1,024 bytes."""

_MAX_CAUSE = 2_000
"""Characters of an error's cause: Step Functions allows 32,768."""

# What a person can do about each reason.
ADVICE: Mapping[str, str] = {
    "BelowThreshold": "the model is not sure enough: look at the image and decide",
    "MarginTooSmall": "the two best answers are too close: look at the image and decide",
    "WatchedLabel": "the routing policy watches this label: look at the image now",
    "Quarantined": "the routing policy hides this label: a reviewer looks, then `ics quarantine release`",
    "NothingRead": "the model read no character: look at the image, whether there is a line on it",
    "NothingFound": "no label was found: look at the image, or lower min_confidence in the environment",
    "EmptyObject": "the object has zero bytes: upload it again",
    "NotAnImage": "the content is no image, whatever its name says: check who uploaded it",
    "UnsupportedFormat": "the format is not read: convert it to JPEG or PNG",
    "TruncatedImage": "the file ends too early: upload it again",
    "CorruptImage": "the file cannot be decoded: upload it again",
    "TooManyPixels": "larger than the pixel limit: scale it down, or raise max_pixels in the environment",
    "ImageTooSmall": "fewer than 80 pixels wide or high, or far too long and thin: upload a larger picture",
    "ObjectTooLarge": "too many bytes for one image: scale it down",
    "ObjectNotFound": "deleted between plan and read, or never there: check the source",
    "ObjectChanged": "overwritten during the run: run it again",
    "ObjectArchived": "in Glacier or Deep Archive: restore it (s3:RestoreObject), then resume the run",
    "AccessDenied": "ICS may not read it: is it in quarantine (`ics quarantine list`)? Else check the bucket policy, "
    "the key policy and source_buckets, then resume",
    "ReadFailed": "S3 did not answer after retries: resume the run",
    "BrokenShard": "the tar is damaged, or cut, and no member behind that was read: make it again",
    "EmptyShard": "the tar holds no member whose name ends like a picture's: check what was packed",
    "CompressedShard": "a compressed tar cannot be read in parts: pack it without compression, or with ics shard",
    "UnreadableMember": "a link, a sparse file or too long a name in the tar: pack plain files, or use ics shard",
    "ClaimedElsewhere": "another run was classifying it just then, and took its time: resume the run",
    "ModelRefused": "the model refuses this image alone: look at the endpoint's or the function's log",
    "QuarantineFailed": "it should be hidden, but S3 did not take its tag: everyone can read it still; hide it by hand",
    "TagFailed": "accepted, but S3 did not take its label as tag: free one of its ten tags, check rights, then resume",
    "EndpointThrottled": "over capacity: add instances (Rekognition: quota) or lower max_concurrency, then resume",
    "EndpointUnavailable": "the endpoint did not answer after retries: look at its log and its alarms, then resume",
    "EndpointRefused": "the endpoint refused the request: check that it exists and is in service, then resume",
    "InvalidAnswer": "the answer was not in the wire format: check the model's container or artifact, then resume",
    "BatchLost": "the batch ended without a receipt: resume the run",
}

# The reasons that may be gone once their cause is, without anybody touching the image.
_PASSING = frozenset(
    (
        "ObjectArchived", "AccessDenied", "ReadFailed", "ClaimedElsewhere",
        "EndpointThrottled", "EndpointUnavailable", "EndpointRefused",
        "InvalidAnswer", "BatchLost", "QuarantineFailed", "TagFailed",
    )
)  # fmt: skip


def may_mend(reason: str) -> bool:
    """Whether resuming the run may mend what failed by this reason; a function's own failure has a name of its own."""
    return reason in _PASSING or reason not in ADVICE


def alert(environment: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the state machine publishes: subject, message and attributes."""
    return {
        "subject": subject(environment, summary),
        "message": message(environment, summary),
        "attributes": attributes(environment, summary),
    }


def shown(confidence: float) -> str:
    """A confidence for people, cut to three digits: 0.9399 must not look like 0.94."""
    return f"{math.floor(1000 * confidence) / 1000:.3f}"


def subject(environment: str, summary: Mapping[str, Any]) -> str:
    """One line that says how the run ended and how many images need a person: ASCII, at most 100 characters."""
    return one_line_subject(f"[ICS {environment}] {summary['status']}: {_headline(summary)}, run {summary['run']}")


def one_line_subject(text: str) -> str:
    """Text as SNS takes it for a subject: ASCII without line breaks, at most 100 characters."""
    text = "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))
    return text if len(text) <= MAX_SUBJECT else text[: MAX_SUBJECT - 3] + "..."


def text(environment: str, summary: Mapping[str, Any]) -> str:
    """The e-mail: which run, how many, the worst images and why, and where to look."""
    lines = [f"ICS {environment}: run {summary['run']} {summary['status']}", ""]
    if summary["error"]:
        lines += [f"{summary['error']}: {printable(str(summary['cause']), _MAX_CAUSE)}", ""]
    if summary["planned"]:
        lines += [
            f"  model      {summary['model']}, threshold {summary['threshold']:g}, mode {summary['mode']}",
            f"  policy     {summary.get('policy') or '-'}",
            f"  planned    {summary['planned']:,}",
            f"  accepted   {summary['accepted']:,}",
            f"  uncertain  {summary['uncertain']:,}",
            f"  flagged    {summary['flagged']:,}",
            f"  failed     {summary['failed']:,}",
            "",
        ]
    if summary["reasons"]:
        lines.append("Why:")
        lines += [f"  {count:>7,}  {reason}: {_advice(reason)}" for reason, count in summary["reasons"].items()]
        lines.append("")
    if summary["worst"]:
        attention = summary["planned"] - summary["accepted"]
        named = len(summary["worst"])
        lines.append(f"The worst {named} of {attention:,}:" if attention > named else "The images:")
        lines += [_image_line({"threshold": summary["threshold"], **row}) for row in summary["worst"]]
        lines.append("")
    lines.append("Where to look:")
    lines += [f"  {name:<10} {place}" for name, place in summary["links"].items()]
    return "\n".join(lines) + "\n"


def message(environment: str, summary: Mapping[str, Any]) -> str:
    """SNS's `MessageStructure: json`: the text for e-mail, the JSON for every other protocol."""
    cause = summary["cause"] and summary["cause"][:_MAX_CAUSE]
    body = json.dumps({"environment": environment, **summary, "cause": cause}, ensure_ascii=False)
    email = text(environment, summary)
    return json.dumps({"default": body, "email": email}, ensure_ascii=False)


def attributes(environment: str, summary: Mapping[str, Any]) -> dict[str, str]:
    """Message attributes, as strings (SNS refuses empty ones), for subscription filter policies."""
    names = ("status", "mode", "model", "planned", "accepted", "uncertain", "flagged", "failed")
    return {
        "environment": environment,
        **{name: "none" if summary[name] is None else str(summary[name]) for name in names},
    }


def _headline(summary: Mapping[str, Any]) -> str:
    if not summary["planned"]:
        return str(summary["error"])
    attention = summary["planned"] - summary["accepted"]
    if not attention:
        return f"all {summary['planned']:,} images accepted"
    return f"{attention:,} of {summary['planned']:,} images need a person"


def _advice(reason: str) -> str:
    return ADVICE.get(reason, "see the rows and the function's log")


def _image_line(row: Mapping[str, Any]) -> str:
    if row["label"] is None:
        said = f"{row['decision']}: {row['reason']}"
    elif row["reason"] == "NothingRead":
        said = f"{row['decision']}: nothing read"
    else:
        why = f"threshold {row['threshold']:g}" if row["reason"] == "BelowThreshold" else row["reason"]
        said = f"{row['decision']}: {row['label']!r} at {shown(row['confidence'])}, {why}"
    return f"  {said}\n      {printable(row['s3_uri'], _MAX_URI)}"


def printable(text: str, longest: int) -> str:
    """Text as one line that no key, however odd, can forge: what does not print is escaped, what is long is cut."""
    line = text if text.isprintable() else text.encode("unicode_escape").decode()
    return line if len(line) <= longest else line[: longest - 3] + "..."
