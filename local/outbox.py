"""What subscribers' mailboxes would show: the e-mail deliveries of the local SNS, kept in `outbox.jsonl`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.control import OUTBOX


@dataclass(frozen=True)
class Delivery:
    """One message to one e-mail subscription. `attributes` are SNS message attributes by name (`Type`, `Value`)."""

    at: str
    topic_arn: str
    protocol: str
    endpoint: str
    subject: str | None
    message: str
    attributes: Mapping[str, Any]


def read(state: Path) -> list[Delivery]:
    """Return all deliveries of this state folder, oldest first; empty where nothing was sent."""
    try:
        lines = (state / OUTBOX).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Delivery(**json.loads(line)) for line in lines]
