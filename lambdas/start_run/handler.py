"""StartRun: gather the uploads that a batch of messages tells of, and start one run over them, or one a model."""

from collections.abc import Mapping
from typing import Any

from ics.errors import InvalidEvent
from ics.uploads import Upload, model_of, parse_upload
from lambdas.runtime import log, settings
from lambdas.start_run.starting import start_run


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """SQS messages, each EventBridge's event of an upload -> those that SQS is to deliver again.

    They are what cannot be understood, which ends as a dead letter, and uploads that another invocation has claimed
    but has not begun to classify.
    """
    config = settings()
    told: dict[str, str] = {}
    uploads: dict[str | None, dict[str, Upload]] = {}
    again: list[str] = []
    for message in event["Records"]:
        try:
            upload = parse_upload(message["body"], bucket=config.images_bucket, prefix=config.upload_prefix)
        except InvalidEvent as error:
            log("message not understood", "ERROR", id=message["messageId"], problem=str(error))
            again.append(message["messageId"])
            continue
        if not upload.is_folder:
            told[message["messageId"]] = upload.upload_id
            model = model_of(upload.image.key, config.upload_prefix)
            uploads.setdefault(model, {})[upload.upload_id] = upload
    unsettled = {one for model, these in uploads.items() for one in start_run(these, model)}
    again += [message for message, upload_id in told.items() if upload_id in unsettled]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}
