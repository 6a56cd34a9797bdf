"""The queue of pictures that need a person: each is given to one reviewer at a time, the worst first."""

import time
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics import review
from ics.errors import InvalidParameter, NoSuchModel
from lambdas import table
from lambdas.api.answers import Reviews
from lambdas.api.router import MODEL, Parameter, answered, asked, asked_model, asked_number, caller, route

LIMIT = Parameter("limit", "how many pictures at most", kind="integer", most=25)
CURSOR = Parameter("cursor", "`next` of an answer", pattern=r"[0-9]-[0-9.]{8}#[0-9a-f]{64}")

READ = 100
"""Items of the queue that are read at once."""

PAGES = 5
"""Reads of one request: where others hold all that these tell of, `next` leads on."""


@route("GET", "/v1/reviews", answer=Reviews, query=(MODEL, LIMIT, CURSOR), errors=(NoSuchModel, InvalidParameter))
def list_reviews() -> Response[Any]:
    """Take pictures to review, the worst first: flagged ones, then uncertain ones by rising confidence.

    They are the caller's for ten minutes, in which nobody else is given them; who asks again gets them again. A label
    takes a picture out of the queue.
    """
    model, limit, after = asked_model(), asked_number(LIMIT, 10), asked(CURSOR) or ""
    now = int(time.time())
    taken: list[table.Item] = []
    for _ in range(PAGES):
        items, more = table.query(review.queue_key(model), after=after, most=READ)
        for item in items:
            after = str(item["sk"])
            if _is_free(item, now) and _take(item, model, now):
                taken.append(item)
                if len(taken) == limit:
                    break
        else:
            after = more
            if more and len(taken) < limit:
                continue
        break
    found = [review.waiting(item) for item in taken]
    return answered({"model": model, "items": found, "lease_seconds": review.LEASE_SECONDS, "next": after or None})


def _is_free(item: table.Item, now: int) -> bool:
    """Whether it may be tried to take it: nobody had it when it was read."""
    return item.get("holder") in (None, caller()) or int(item["held_until"]) < now


def _take(item: table.Item, model: str, now: int) -> bool:
    """Take an item, unless somebody was quicker; one whose picture was judged again since is removed."""
    record = table.get(review.image_key(str(item["image_id"])), f"row#{model}")
    if record is None or record.get("rank") != item["sk"]:
        table.delete(str(item["pk"]), str(item["sk"]))
        return False
    return table.lease(str(item["pk"]), str(item["sk"]), caller(), now, now + review.LEASE_SECONDS)
