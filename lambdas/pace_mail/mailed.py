"""Which alerts were mailed: each is claimed by one invocation, which marks it once its mail is out."""

import time
from typing import Literal

from lambdas import table

CLAIMED_SECONDS = 40
"""How long a claim lasts: longer than the function may take, so that nobody else sends the alert meanwhile."""

KEPT_SECONDS = 30 * 24 * 3600
"""How long a mark is kept: longer than a queue keeps a message."""


def claim(alert: str) -> Literal["ours", "anothers", "mailed"]:
    """Claim an alert for this invocation, unless it was mailed, or is another's at the moment."""
    now = int(time.time())
    ours: table.Item = {**_key(alert), "until": now + CLAIMED_SECONDS, "expires": now + KEPT_SECONDS}
    if table.put_new(ours):
        return "ours"
    known = table.get(**_key(alert))
    if known is None or "until" not in known:
        return "mailed" if known else "anothers"
    if int(known["until"]) < now and table.put_over(ours, {"until": known["until"]}):
        return "ours"
    return "anothers"


def mark(alert: str) -> None:
    """Note that an alert was mailed."""
    table.put({**_key(alert), "expires": int(time.time()) + KEPT_SECONDS})


def _key(alert: str) -> dict[str, str]:
    return {"pk": "mail", "sk": f"alert/{alert}"}
