"""SerializeImageData: read each image of a batch, prepare it for the model, stage request bodies."""

from collections.abc import Mapping
from typing import Any

from ics import paths
from ics.contracts import batch_from, dump_line, image_to_json
from ics.errors import ImageError
from ics.staging import kept_rows
from ics.wire import MAX_LINES, cut_bodies, request_line
from lambdas.runtime import log, settings
from lambdas.s3 import read_batch, read_rows, write_working
from lambdas.serialize_image_data.reading import read_prepared
from lambdas.serialize_image_data.skipping import Places, claimed_places, known_places

PAID_TOGETHER = 10
"""Images of a body for Rekognition, which is paid by image: a body that fails as a whole is sent again as a whole."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """A batch -> the number of `bodies` staged for it, and of images `waiting` for another batch's answer.

    The staged list says of each image, in the batch's order, in which body it is, or why it is in none: a `reason`; its
    `row`, which it keeps where a run is resumed; or what is `known` of it or `waits` to be, with `skip_classified`.
    """
    batch = batch_from(event)
    model, refs = settings().models[batch.model], read_batch(batch)
    kept = kept_rows(refs, read_rows(batch) if batch.attempt else ())
    places: Places = {number: {"row": row} for number, row in enumerate(kept) if row is not None}
    if batch.skip_classified:
        places |= known_places({n: ref for n, ref in enumerate(refs) if n not in places}, model.version)
    wanted = [number for number in range(len(refs)) if number not in places]
    read = dict(zip(wanted, read_prepared([refs[number] for number in wanted], model.input), strict=True))
    places |= {n: {"reason": ready.reason} for n, (_, ready) in read.items() if isinstance(ready, ImageError)}
    if batch.skip_classified:
        places |= claimed_places({n: ref for n, (ref, _) in read.items() if n not in places}, batch, model.version)
    to_send = [(ref, ready) for n, (ref, ready) in read.items() if n not in places and isinstance(ready, bytes)]
    sizes = []
    lines = (request_line(ref.image_id, ready) for ref, ready in to_send)
    most = PAID_TOGETHER if model.detection else MAX_LINES
    for number, body in enumerate(cut_bodies(lines, max_lines=most)):
        write_working(paths.staged_body(batch, number), b"".join(body))
        sizes.append(len(body))
    sent = ({"body": number, "line": line} for number, size in enumerate(sizes) for line in range(size))
    staged = (
        dump_line({**image_to_json(read[number][0] if number in read else ref), **(places.get(number) or next(sent))})
        for number, ref in enumerate(refs)
    )
    write_working(paths.staged_images(batch), b"".join(staged))
    failed = sum("reason" in place for place in places.values())
    waiting = sum("waits" in place for place in places.values())
    counts: dict[str, object] = {"images": len(refs), "read": len(read), "failed": failed, "sent": len(to_send)}
    log("serialized", "INFO", run=batch.run, batch=batch.batch, bodies=len(sizes), **counts)
    return {"bodies": len(sizes), "waiting": waiting}
