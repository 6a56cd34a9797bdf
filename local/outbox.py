"""What the local SNS delivered to addresses and queues, kept in `outbox.jsonl`: what mailboxes would show."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.control import OUTBOX


@dataclass(frozen=True)
class Delivery:
    """One message to one subscription. `attributes` are SNS message attributes by name (`Type`, `Value`)."""

    at: str
    topic_arn: str
    protocol: str
    endpoint: str
    subject: str | None
    message: str
    attributes: Mapping[str, Any]


def read(state: Path) -> list[Delivery]:
    """Return what was mailed in this state folder, oldest first; empty where nothing was."""
    return [one for one in _all(state) if one.protocol in ("email", "email-json")]


def queued(state: Path, queue: str) -> list[Delivery]:
    """Return what was delivered to the queue of this name, oldest first, whoever has taken it from there since."""
    return [one for one in _all(state) if one.protocol == "sqs" and one.endpoint.endswith(f":{queue}")]


def _all(state: Path) -> list[Delivery]:
    try:
        lines = (state / OUTBOX).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Delivery(**json.loads(line)) for line in lines]
