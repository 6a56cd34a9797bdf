"""PartitionShard: deal the lines of a shard's files out to the partitions of their images."""

from collections.abc import Mapping
from typing import Any

from lambdas.evaluation import Dealer, write_counts
from lambdas.partition_shard.dealing import deal_files
from lambdas.runtime import log


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{evaluation, partitions, shard, offset, length}` -> `{}`; what could not be understood is counted and named.

    Raises:
        SourceNotFound, SourceForbidden, ObjectChanged, ReadFailed: as their names say.
    """
    evaluation, name = event["evaluation"], f"shard-{event['shard']}"
    dealer = Dealer(evaluation, event["partitions"], name)
    counts = deal_files(evaluation, event["offset"], event["length"], dealer)
    dealer.close()
    write_counts(evaluation, name, counts)
    log(
        "partitioned",
        evaluation=evaluation,
        shard=event["shard"],
        labels=counts.label_lines,
        predictions=counts.prediction_lines,
        bad_lines=counts.bad_lines,
    )
    return {}
