"""MakeContactSheet: the images that a person should see first, on one picture beside the run's summary."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import font_source_sans_pro

from ics import paths
from ics.contact_sheet import Tile, draw, thumbnail
from ics.errors import ImageError
from ics.records import image_of
from ics.tagging import HIDDEN_REASONS
from lambdas.runtime import Context, log, settings
from lambdas.s3 import read_image, read_working, write_results

FONT = Path(font_source_sans_pro.SourceSansPro)
"""Latin, Greek and Cyrillic; Pillow's own font has Latin alone."""

LEFT_MS = 15_000
"""Milliseconds that must be left for another image to be read."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{run}` -> the number of `tiles`; nothing is made for a run that needs no person.

    The sheet is written with captions alone at first: an image that makes the function die leaves that one.
    """
    run, found = event["run"], json.loads(read_working(paths.worst(event["run"])) or b"{}")
    rows = found.get("worst", ())
    if not rows:
        return {"tiles": 0}
    title, font = f"Run {run}: the first {len(rows):,} of {found['attention']:,} that need a person", FONT.read_bytes()
    write_results(paths.contact_sheet(run), draw(title, [Tile(row, None, "no picture") for row in rows], font))
    write_results(paths.contact_sheet(run), draw(title, [_tile(row, context) for row in rows], font))
    log("contact sheet", run=run, tiles=len(rows))
    return {"tiles": len(rows)}


def _tile(row: Mapping[str, Any], context: Context) -> Tile:
    if row["reason"] in HIDDEN_REASONS:  # the bucket's policy hides it too, where it is the images bucket's
        return Tile(row, None, "in quarantine")
    if context.get_remaining_time_in_millis() < LEFT_MS:
        return Tile(row, None, "no time left")
    try:
        ref, content = read_image(image_of(row))
        if ref.image_id != row["image_id"] and row["decision"] != "failed":
            return Tile(row, None, "overwritten since")
        return Tile(row, thumbnail(content, settings().max_pixels))
    except ImageError as error:
        return Tile(row, None, error.reason)
