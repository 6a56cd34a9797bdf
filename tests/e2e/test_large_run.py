"""Thirty thousand planned images: reconciled, and no state carries more than references and counts."""

import json
from collections.abc import Callable

from cli.deployment import Deployment
from tests.e2e.harness import Ended

IMAGES = 30_000
OBJECTS = 200


def test_thirty_thousand_images_keep_the_state_small(
    deployment: Deployment, put: Callable[[str, bytes], str], finish: Callable[..., Ended], digits: list[bytes]
) -> None:
    keys = [put(f"{number}.png", digits[number]) for number in range(OBJECTS)]
    lines = [json.dumps({"bucket": deployment.images_bucket, "key": key}) + "\n" for key in keys]
    manifest = put("list.jsonl", "".join(lines * (IMAGES // OBJECTS)).encode())
    ended = finish({"manifest": f"s3://{deployment.images_bucket}/{manifest}", "mode": "tolerant"})
    assert ended.execution["status"] == "SUCCEEDED"
    assert (ended.summary["planned"], ended.summary["batches"]) == (IMAGES, IMAGES // 100)
    assert ended.summary["failed"] == 0
