"""`ics export`: images and what people say of them, for fine-tuning elsewhere."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from PIL import ExifTags, Image

from cli import runs, show
from cli.deployment import LOCAL, Deployment, connect
from cli.options import Env, Json, app, complete_run, print_json, state
from cli.pictures import content_of
from ics.contracts import dump_line
from ics.custom_labels import Joined, Picture, Truth, boxes_line, join, parse_truths, unfit, whole_picture_line
from ics.request import split_uri

MANIFEST, REPORT = "custom-labels.manifest", "report.json"


class Format(StrEnum):
    """What the export is for."""

    custom_labels = "custom-labels"


@app.command()
def export(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs whose images are meant.", autocompletion=complete_run)
    ],
    labels: Annotated[
        Path,
        typer.Option(help="JSON Lines of s3_uri or image_id, label, maybe boxes.", exists=True, dir_okay=False),
    ],
    out: Annotated[str, typer.Option(metavar="DIR|S3", help="A folder, or s3://bucket/prefix/.")],
    format_: Annotated[
        Format, typer.Option("--format", help="For Amazon Rekognition Custom Labels.")
    ] = Format.custom_labels,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Write a manifest of images with their truth labels, which Amazon Rekognition Custom Labels imports.

    Images whose labels differ, that no row knows or that cannot be imported are held out, and named in report.json.

    Example: `ics export classify-20260721-101500-3f9a1c --labels labels.jsonl --out /tmp/shoes`
    """
    with labels.open("rb") as file:
        truths = parse_truths(file)
    deployment = connect(env, state())
    joined = join(truths, (row for one in run for row in _rows(deployment, one)))
    manifest, held_out = _manifest(deployment, joined)
    counts = Counter(label for line in manifest for label in _labels_of(line))
    report = {
        "format": format_.value,
        "runs": run,
        "images": len(manifest),
        "labels": dict(sorted(counts.items())),
        "held_out": [{"image": image, "reason": reason} for image, reason in held_out],
    }
    places = _write(
        deployment,
        out,
        {
            MANIFEST: b"".join(map(dump_line, manifest)),
            REPORT: json.dumps(report, ensure_ascii=False, indent=2).encode() + b"\n",
        },
    )
    if json_:
        print_json({**report, "manifest": places[0]})
        return
    show.facts(
        {
            "manifest": [places[0]],
            "images": [f"{len(manifest):,}"],
            "labels": [f"{label}: {count:,}" for label, count in sorted(counts.items())] or ["none"],
            "held out": [f"{image}: {reason}" for image, reason in held_out] or ["none"],
        }
    )


def _rows(deployment: Deployment, run: str) -> Iterator[dict[str, Any]]:
    """The rows of a run; RunNotFound where there is none of this name."""
    runs.describe(deployment, run)
    summary = runs.summary(deployment, run)
    return runs.rows(deployment, summary) if summary else iter(())


def _manifest(deployment: Deployment, joined: Joined) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The manifest's lines, and all that is held out.

    Boxes on any image make it a manifest of boxes; images without any are then held out, as nobody said that there is
    nothing on them.
    """
    with_boxes = any(truth.boxes for _, truth in joined.rows)
    fit: list[tuple[str, Truth, Picture]] = []
    held_out = list(joined.held_out)
    for row, truth in joined.rows:
        try:
            picture = _picture(content_of(deployment, row))
        except (ClientError, OSError, ValueError) as error:
            held_out.append((row["s3_uri"], f"it cannot be read any more: {error}"))
            continue
        problem = "it has no boxes, and others have" if with_boxes and not truth.boxes else unfit(picture)
        if problem:
            held_out.append((row["s3_uri"], problem))
        else:
            fit.append((row["s3_uri"], truth, picture))
    names = {box[0] for _, truth, _ in fit for box in truth.boxes} if with_boxes else {one.label for _, one, _ in fit}
    labels, created = sorted(names), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    if with_boxes:
        return [boxes_line(uri, truth, picture, labels, created) for uri, truth, picture in fit], held_out
    return [whole_picture_line(uri, truth.label, labels, created) for uri, truth, _ in fit], held_out


def _picture(content: bytes) -> Picture:
    """What the header says."""
    with Image.open(io.BytesIO(content)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        depth = 1 if image.mode in ("1", "L") else 3
        return Picture(image.format or "", image.width, image.height, depth, len(content), turned)


def _labels_of(line: dict[str, Any]) -> list[str]:
    (facts,) = (value for key, value in line.items() if key.endswith("-metadata"))
    if "class-name" in facts:
        return [facts["class-name"]]
    (said,) = (value for value in line.values() if isinstance(value, dict) and "annotations" in value)
    return [facts["class-map"][str(one["class_id"])] for one in said["annotations"]]


def _write(deployment: Deployment, out: str, files: dict[str, bytes]) -> list[str]:
    """Write the files into a folder or under a prefix; where each is."""
    if out.startswith("s3://"):
        bucket, prefix = split_uri(out.rstrip("/") + "/x")
        keys = {name: prefix.removesuffix("x") + name for name in files}
        for name, content in files.items():
            deployment.s3.put_object(Bucket=bucket, Key=keys[name], Body=content)
        return [f"s3://{bucket}/{key}" for key in keys.values()]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]
