"""SerializeImageData: read each image of a batch, prepare it for the model, stage request bodies."""

from collections.abc import Iterator, Mapping
from typing import Any

from ics import paths
from ics.contracts import ImageRef, batch_from, dump_line, image_to_json
from ics.errors import ImageError
from ics.staging import kept_line, kept_rows
from ics.wire import MAX_LINES, cut_bodies, request_line
from lambdas.runtime import log, settings
from lambdas.s3 import read_batch, read_rows, write_working
from lambdas.serialize_image_data.reading import read_prepared

PAID_TOGETHER = 10
"""Images of a body for Rekognition, which is paid by image: a body that fails as a whole is sent again as a whole."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """A batch -> the number of `bodies` staged for it.

    The staged list says of each image, in the batch's order, in which body it is, or the reason why it is in none.
    Where a run is resumed, an image that has a row keeps it: it is neither read nor sent again.
    """
    batch = batch_from(event)
    model = settings().models[batch.model]
    refs = read_batch(batch)
    kept = kept_rows(refs, read_rows(batch) if batch.attempt else ())
    wanted = [ref for ref, row in zip(refs, kept, strict=True) if row is None]
    read = read_prepared(wanted, model.input)
    lines = (request_line(ref.image_id, ready) for ref, ready in read if isinstance(ready, bytes))
    sizes = []
    most = PAID_TOGETHER if model.detection else MAX_LINES
    for number, body in enumerate(cut_bodies(lines, max_lines=most)):
        write_working(paths.staged_body(batch, number), b"".join(body))
        sizes.append(len(body))
    places = ({"body": number, "line": line} for number, size in enumerate(sizes) for line in range(size))
    fresh = _staged(read, places)
    staged = (next(fresh) if row is None else kept_line(ref, row) for ref, row in zip(refs, kept, strict=True))
    write_working(paths.staged_images(batch), b"".join(staged))
    failed = sum(not isinstance(ready, bytes) for _, ready in read)
    counts: dict[str, object] = {"images": len(refs), "read": len(read), "failed": failed, "bodies": len(sizes)}
    log("serialized", "INFO", run=batch.run, batch=batch.batch, **counts)
    return {"bodies": len(sizes)}


def _staged(read: list[tuple[ImageRef, bytes | ImageError]], places: Iterator[dict[str, int]]) -> Iterator[bytes]:
    for ref, ready in read:
        place = {"reason": ready.reason} if isinstance(ready, ImageError) else next(places)
        yield dump_line({**image_to_json(ref), **place})
