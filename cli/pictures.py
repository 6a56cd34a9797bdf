"""The pictures behind rows: read from S3 as they were classified, with the boxes of what was found drawn on them."""

import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from cli.deployment import Deployment
from ics.records import image_of

LARGEST = 1600
"""Pixels of the longer side of a picture that is drawn on; a larger one is scaled down."""

# Told apart by people with any colour vision, and on any picture: Okabe and Ito 2008, "Color universal design".
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def content_of(deployment: Deployment, row: Mapping[str, Any]) -> bytes:
    """The image of a row, of a shard its own bytes alone: the version that was classified, where it is known.

    Raises:
        ClientError: it is gone, or may not be read.
    """
    image = image_of(row)
    part = {"VersionId": image.version} if image.version else {}
    if image.member:
        part["Range"] = f"bytes={image.offset}-{image.offset + image.size - 1}"
    content: bytes = deployment.s3.get_object(Bucket=image.bucket, Key=image.key, **part)["Body"].read()
    return content


def with_boxes(content: bytes, boxes: Sequence[Mapping[str, Any]]) -> bytes:
    """The picture, upright, with each box in its label's colour and what it holds beside it; a JPEG.

    Raises:
        OSError: it is no image.
    """
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    draw, longer = ImageDraw.Draw(image), max(image.size)
    line, font = max(2, longer // 250), ImageFont.load_default(max(11, longer // 45))
    for box in sorted(boxes, key=lambda one: float(one["confidence"])):  # the surest on top
        colour = COLOURS[zlib.crc32(box["label"].encode()) % len(COLOURS)]
        left, top = box["left"] * image.width, box["top"] * image.height
        right, bottom = left + box["width"] * image.width, top + box["height"] * image.height
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        text = f" {box['label']} {box['confidence']:.2f} "
        _, _, wide, high = draw.textbbox((0, 0), text, font=font)
        x = max(0.0, min(left, image.width - wide))
        y = top - high - 2 if top - high - 2 >= 0 else top
        draw.rectangle((x, y, x + wide, y + high + 2), fill=colour)
        draw.text((x, y), text, fill="black", font=font)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()
