"""SerializeImageData: read each image of a batch, prepare it for the model, stage request bodies."""

from collections.abc import Iterator, Mapping
from typing import Any

from ics import paths
from ics.contracts import ImageRef, batch_from, dump_line, fields_of
from ics.errors import ImageError
from ics.wire import cut_bodies, request_line
from lambdas.runtime import log, settings
from lambdas.s3 import read_batch, write_working
from lambdas.serialize_image_data.reading import read_prepared


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """A batch -> the number of `bodies` staged for it.

    The staged list says of each image, in the batch's order, in which body it is, or the reason why it is in none.
    """
    batch = batch_from(event)
    read = read_prepared(read_batch(batch), settings().models[batch.model].input)
    lines = (request_line(ref.image_id, ready) for ref, ready in read if isinstance(ready, bytes))
    sizes = []
    for number, body in enumerate(cut_bodies(lines)):
        write_working(paths.staged_body(batch, number), b"".join(body))
        sizes.append(len(body))
    places = ({"body": number, "line": line} for number, size in enumerate(sizes) for line in range(size))
    write_working(paths.staged_images(batch), b"".join(_staged(read, places)))
    failed = sum(not isinstance(ready, bytes) for _, ready in read)
    log("serialized", run=batch.run, batch=batch.batch, images=len(read), failed=failed, bodies=len(sizes))
    return {"bodies": len(sizes)}


def _staged(read: list[tuple[ImageRef, bytes | ImageError]], places: Iterator[dict[str, int]]) -> Iterator[bytes]:
    for ref, ready in read:
        place = {"reason": ready.reason} if isinstance(ready, ImageError) else next(places)
        yield dump_line({**fields_of(ref), **place})
