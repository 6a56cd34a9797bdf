"""Data capture: what goes through an endpoint, as JSON Lines in S3, in AWS's layout and format.

SageMaker Developer Guide, "Data capture": the file name starts with minute, second and millisecond under
`<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/`. AWS delivers minutes late, here it takes about a second.
"""

import asyncio
import base64
import json
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local.sagemaker.hosting import Endpoint, Variant

PutObject = Callable[[str, str, str, bytes], Awaitable[None]]
"""Writes an S3 object: the writer's role, bucket, key, content."""

FLUSH_SECONDS = 1.0


class Capture:
    """Gathers lines in memory and writes them about a second later, a file a folder."""

    def __init__(self, put_object: PutObject) -> None:
        self._put_object = put_object
        self._lines: dict[tuple[str, str], list[bytes]] = {}  # by role and folder
        self._delivery: asyncio.Task[None] | None = None

    def add(self, endpoint: Endpoint, variant: Variant, request: tuple[str, bytes], response: tuple[str, bytes],
            inference_id: str | None, attributes: str | None) -> None:  # fmt: skip
        """Keep one exchange, (content type, body) each way, where the endpoint's configuration wants it."""
        config = endpoint.capture
        if not config or not config.get("EnableCapture"):
            return
        if random.uniform(0, 100) >= config["InitialSamplingPercentage"]:  # noqa: S311
            return
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        types = config.get("CaptureContentTypeHeader") or {}
        data: dict[str, Any] = {}
        if modes & {"Input", "InputAndOutput"}:
            data["endpointInput"] = _side("INPUT", *request, types)
        if modes & {"Output", "InputAndOutput"}:
            data["endpointOutput"] = _side("OUTPUT", *response, types)
        now = datetime.now(UTC)
        metadata: dict[str, Any] = {"eventId": str(uuid.uuid4()), "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if inference_id:
            metadata["inferenceId"] = inference_id
        if attributes:
            metadata["customAttributes"] = [attributes]
        line = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
        folder = f"{config['DestinationS3Uri'].rstrip('/')}/{endpoint.name}/{variant.name}/{now:%Y/%m/%d/%H}"
        self._lines.setdefault((variant.role, folder), []).append(json.dumps(line).encode() + b"\n")
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.create_task(self._deliver())

    async def _flush(self) -> None:
        while self._lines:
            (role, folder), lines = self._lines.popitem()
            bucket, _, prefix = folder.removeprefix("s3://").partition("/")
            now = datetime.now(UTC)
            name = f"{now:%M-%S}-{now.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
            await self._put_object(role, bucket, f"{prefix}/{name}", b"".join(lines))

    async def _deliver(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        await self._flush()


def _side(mode: str, content_type: str, body: bytes, types: Mapping[str, Any]) -> dict[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    encoding = "BASE64"
    if kind in [listed.lower() for listed in types.get("JsonContentTypes") or ()]:
        encoding = "JSON"
    elif kind in [listed.lower() for listed in types.get("CsvContentTypes") or ()]:
        encoding = "CSV"
    try:
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
