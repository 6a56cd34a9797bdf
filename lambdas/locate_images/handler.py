"""LocateImages: give the labels of a partition that name an image by its id to the partition of its URI."""

from collections.abc import Mapping
from typing import Any

from ics.joining import Locating
from lambdas.evaluation import IDS, LABELS, NAMED, Dealer, records


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{evaluation, partitions, partition}` -> `{}`."""
    evaluation, partition = event["evaluation"], event["partition"]
    locating = Locating()
    for label in records(evaluation, NAMED, partition):
        locating.label(label)
    if locating.wanted:
        for image_id, uri in records(evaluation, IDS, partition):
            locating.image(image_id, uri)
    dealer = Dealer(evaluation, event["partitions"], f"named-{partition}")
    for label in locating.labels():
        dealer.deal(LABELS, label[0], label)
    dealer.close()
    return {}
