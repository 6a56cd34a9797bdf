"""CountPartition: join the labels and predictions of a partition, and count them."""

from collections.abc import Mapping
from typing import Any

from ics.joining import Joining
from lambdas.evaluation import LABELS, ROWS, records, write_counts
from lambdas.runtime import log


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{evaluation, partition}` -> `{}`.

    Raises:
        TooManyVersions: as its name says.
    """
    evaluation, partition = event["evaluation"], event["partition"]
    joining = Joining()
    for label in records(evaluation, LABELS, partition):
        joining.label(label)
    for row in records(evaluation, ROWS, partition):
        joining.prediction(row)
    counts = joining.joined()
    write_counts(evaluation, f"partition-{partition}", counts)
    log("counted", evaluation=evaluation, partition=partition, labelled=counts.labelled, conflicts=counts.conflicting)
    return {}
