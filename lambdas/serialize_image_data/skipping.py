"""Which images of a batch need not be classified, because they were, or are being, for another batch or run."""

from collections.abc import Mapping
from typing import Any

from ics.contracts import Batch, ImageRef
from ics.ledger import owner_of
from lambdas import ledger

Places = dict[int, dict[str, Any]]


def known_places(refs: Mapping[int, ImageRef], version: str) -> Places:
    """What is known of images whose etag the plan tells, by their number: they need not even be read."""
    ids = {number: ref.image_id for number, ref in refs.items() if ref.etag}
    found = ledger.look_up(set(ids.values()), version)
    return {number: {"known": found[one]} for number, one in ids.items() if one in found}


def claimed_places(read: Mapping[int, ImageRef], batch: Batch, version: str) -> Places:
    """Of images as read, by their number: what is known by now, and what others classify. The rest is this batch's.

    Of equal images in the batch the first is this batch's, and the others wait for its answer.
    """
    known, mine = ledger.claim(dict.fromkeys(ref.image_id for ref in read.values()), version, owner_of(batch))
    places: Places = {}
    for number, ref in read.items():
        if ref.image_id in known:
            places[number] = {"known": known[ref.image_id]}
        elif ref.image_id in mine:
            mine.remove(ref.image_id)
        else:
            places[number] = {"waits": version}
    return places
