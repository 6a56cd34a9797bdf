"""S3: an unconditional Deny for everyone in a bucket policy answers 403 AccessDenied, as on AWS; in a key policy, too.

MiniStack checks no rights. These are the ones that can be had for the price of a lookup, and they let a test see what
an object that may not be read, or not be decrypted (SSE-KMS), does to a run. Conditions are not evaluated:
`aws:SecureTransport` would refuse all that comes over loopback without TLS.
"""

import functools
import json
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import kms, s3

ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


def apply() -> None:
    """Look at the policies of the bucket and of the object's key before the emulator answers."""
    handle = s3.handle_request

    async def checked(method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any,
                      **options: Any) -> Any:  # fmt: skip
        bucket, key = s3._parse_bucket_key(path, headers)
        action = ACTIONS.get(method) if key else "s3:ListBucket" if method == "GET" and "list-type" in query else None
        policy = s3._bucket_policies.get(bucket) if action else None
        if policy and _denied(policy, action, f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"):
            return s3._error("AccessDenied", "Access Denied", 403, path)
        encrypted_under = _key_of(bucket, key, query) if method == "GET" and key else None
        if encrypted_under and _denied(encrypted_under["Policy"], "kms:Decrypt", encrypted_under["Arn"]):
            # The words of IAM User Guide, "Troubleshoot access denied error messages"
            said = f"User: {iam_evaluator.caller_arn()} is not authorized to perform: kms:Decrypt on resource: "
            said += f"{encrypted_under['Arn']} with an explicit deny in a resource-based policy"
            return s3._error("AccessDenied", said, 403, path)
        return await handle(method, path, headers, body, query, *rest, **options)

    s3.handle_request = checked


def _denied(policy: str, action: str | None, resource: str) -> bool:
    return any(
        iam_evaluator._action_matches(action, statement.actions, statement.not_actions)
        and iam_evaluator._resource_matches(resource, statement.resources, statement.not_resources)
        for statement in _denials(policy)
    )


def _key_of(bucket: str, key: str, query: Any) -> Any:
    """The KMS key under which an object, or the version asked for, is encrypted; None where there is none."""
    stored = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
    wanted = s3._qp(query, "versionId", "")
    for version in s3._object_versions.get((bucket, key), []) if wanted else []:
        if version["version_id"] == wanted:
            stored = s3._object_record_from_version(version)
    sse = s3._stored_sse_headers(stored) if stored else {}
    return kms._resolve_key(sse.get("x-amz-server-side-encryption-aws-kms-key-id", ""))


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
