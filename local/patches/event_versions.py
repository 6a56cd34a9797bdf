"""S3 to EventBridge: the version of the object that an event is about.

MiniStack leaves `version-id` out, so that two uploads to one key differ by their sequencers only (Amazon S3 User Guide,
"EventBridge event message structure").
"""

import json
import threading
from typing import Any

from ministack.services import eventbridge, s3

_told = threading.local()


def apply() -> None:
    """Add the version to the events that S3 sends in a thread of their own."""
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event

    def fired(*arguments: Any, version_id: str | None = None, **more: Any) -> None:
        _told.version = version_id
        try:
            fire(*arguments, version_id=version_id, **more)
        finally:
            _told.version = None

    def dispatched(event: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        version = getattr(_told, "version", None)
        if version and event["Source"] == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, *arguments, **more)

    s3._fire_s3_event = fired
    eventbridge._dispatch_event = dispatched
