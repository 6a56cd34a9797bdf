"""S3: an unconditional Deny for everyone in a bucket policy answers 403 AccessDenied, as on AWS.

MiniStack checks no rights. This is the one that can be had for the price of a lookup, and it lets a test see what an
object that may not be read does to a run. Conditions are not evaluated: `aws:SecureTransport` would refuse all that
comes over loopback without TLS.
"""

import functools
import json
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import s3

ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


def apply() -> None:
    """Look at the bucket's policy before the emulator answers."""
    handle = s3.handle_request

    async def checked(method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any,
                      **options: Any) -> Any:  # fmt: skip
        bucket, key = s3._parse_bucket_key(path, headers)
        action = ACTIONS.get(method) if key else "s3:ListBucket" if method == "GET" and "list-type" in query else None
        policy = s3._bucket_policies.get(bucket) if action else None
        if policy and _denied(policy, action, f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"):
            return s3._error("AccessDenied", "Access Denied", 403, path)
        return await handle(method, path, headers, body, query, *rest, **options)

    s3.handle_request = checked


def _denied(policy: str, action: str | None, resource: str) -> bool:
    return any(
        iam_evaluator._action_matches(action, statement.actions, statement.not_actions)
        and iam_evaluator._resource_matches(resource, statement.resources, statement.not_resources)
        for statement in _denials(policy)
    )


@functools.lru_cache(maxsize=64)
def _denials(policy: str) -> list[Any]:
    """Return the policy's statements that deny everyone whatever the circumstances."""
    statements = json.loads(policy)["Statement"]
    everyone = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if statement["Effect"] == "Deny"
        and not statement.get("Condition")
        and statement.get("Principal") in ("*", {"AWS": "*"})
    ]
    parsed: list[Any] = iam_evaluator.parse_policy_document({"Statement": everyone})
    return parsed
