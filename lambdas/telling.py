"""People are told of watched labels as soon as a batch is judged, once a batch however often it is done again."""

import time
from collections.abc import Sequence
from typing import Any

from ics.contracts import Batch
from ics.errors import NotPublished, TableUnavailable
from ics.watched import told_key, watched, watched_alert
from lambdas import sns, table
from lambdas.runtime import log, now, settings

KEPT_SECONDS = 30 * 24 * 3600
"""How long it is known that a batch was told, and in which words."""


def tell(batch: Batch, rows: Sequence[dict[str, Any]]) -> None:
    """Publish the batch's alert, where it has watched labels and was not told before.

    It is noted as told after it is published: a worker that is killed in between makes it be published again, under the
    same id, by which whoever mails it knows it. An alert that cannot be published is logged, and the batch goes on: its
    images are flagged, and the run's digest names them.
    """
    found = watched(rows)
    if not found:
        return
    told = told_key(batch)
    try:
        if _is_known(told):
            return
        alert = watched_alert(settings().environment, batch, found)
        sns.publish(settings().alert_topic, alert["subject"], alert["message"], alert["attributes"], structured=True)
        log("told of watched labels", run=batch.run, batch=batch.batch, images=len(found))
        words = {"at": now(), "subject": alert["subject"], "text": alert["text"]}
        table.put({**told, **words, "expires": int(time.time()) + KEPT_SECONDS})
    except (NotPublished, TableUnavailable) as error:
        log("alert not sent", "ERROR", run=batch.run, batch=batch.batch, cause=str(error))


def _is_known(told: dict[str, str]) -> bool:
    try:
        return table.get(**told) is not None
    except TableUnavailable as error:  # rather twice than never
        log("alert may be sent twice", "WARNING", cause=str(error))
        return False
