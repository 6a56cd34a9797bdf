"""S3: a Deny for everyone in a bucket policy answers 403 AccessDenied, as on AWS; in a key policy, too.

MiniStack checks no rights. These are the ones that can be had for the price of a lookup, and they let a test see what
an object that may not be read, or not be decrypted (SSE-KMS), or that is in quarantine does to a run. Of conditions
only those on an object's tags and on the caller's are evaluated: `aws:SecureTransport` would refuse all that comes over
loopback without TLS. A caller's tags are those of its IAM user or role; a function's role is named by its session token
(see `local.calls`).
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_actions, iam_evaluator, router
from ministack.services import iam, kms, s3

from local.control import ACCOUNT, REGION

OBJECT_TAG, CALLER_TAG = "s3:existingobjecttag/", "aws:principaltag/"
"""What the conditions that are evaluated are on: a statement with any other is left out."""


def apply() -> None:
    """Look at the policies of the bucket and of the object's key before the emulator answers."""
    handle = s3.handle_request

    async def checked(method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any,
                      **options: Any) -> Any:  # fmt: skip
        bucket, key = s3._parse_bucket_key(path, headers)
        if any(_refused(one, headers, query) for one in _reads_and_writes(method, bucket, key, headers, query)):
            return s3._error("AccessDenied", "Access Denied", 403, path)
        encrypted_under = _key_of(bucket, key, query) if method == "GET" and key else None
        if encrypted_under and _refused_key(encrypted_under):
            # The words of IAM User Guide, "Troubleshoot access denied error messages"
            said = f"User: {iam_evaluator.caller_arn()} is not authorized to perform: kms:Decrypt on resource: "
            said += f"{encrypted_under['Arn']} with an explicit deny in a resource-based policy"
            return s3._error("AccessDenied", said, 403, path)
        return await handle(method, path, headers, body, query, *rest, **options)

    s3.handle_request = checked


@dataclass(frozen=True)
class Access:
    """One thing that a request does: an action on an object or, without `key`, on a bucket."""

    action: str
    bucket: str
    key: str
    version: str = ""

    @property
    def resource(self) -> str:
        """Its ARN."""
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket}"


def _reads_and_writes(method: str, bucket: str, key: str, headers: dict[str, str], query: Any) -> Iterator[Access]:
    """What a request does: itself, and the reading of what it copies."""
    action = iam_actions._s3_action(method, "/bucket/key" if key else "/bucket", query)
    if action and (key or "list-type" in query):
        yield Access(f"s3:{action}", bucket, key, s3._qp(query, "versionId", ""))
    source = iam_actions._s3_source_object(headers) if key and method == "PUT" else None
    if source:
        arn, version = source
        name, _, copied = arn.removeprefix("arn:aws:s3:::").partition("/")
        yield Access("s3:GetObjectVersion" if version else "s3:GetObject", name, copied, version)


def _refused(access: Access, headers: dict[str, str], query: Any) -> bool:
    policy = s3._bucket_policies.get(access.bucket)
    return policy is not None and any(
        not statement.conditions or _holds(statement.conditions, access, headers, query)
        for statement in _denials(policy, access.action, access.resource)
    )


def _refused_key(key: Any) -> bool:
    return any(not statement.conditions for statement in _denials(key["Policy"], "kms:Decrypt", key["Arn"]))


def _holds(conditions: Any, access: Access, headers: dict[str, str], query: Any) -> bool:
    """Whether a statement's conditions are met. Most objects have no tags, and are told by that alone."""
    tags = _tags(access)
    if not tags and any(name.lower().startswith(OBJECT_TAG) for test in conditions.values() for name in test):
        return False
    context = iam_evaluator.EvalContext(
        principal_arn="",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=access.action,
        resource_arn=access.resource,
        region=REGION,
        service_context={f"{OBJECT_TAG}{name.lower()}": value for name, value in tags.items()},
        principal_keys=_about_caller(headers, query),
    )
    return bool(iam_evaluator._conditions_met(conditions, context))


def _tags(access: Access) -> dict[str, str]:
    found = s3._buckets.get(access.bucket)
    if found is None or not access.key:
        return {}
    wanted = {"versionId": [access.version]} if access.version else {}
    version = s3._resolve_subresource_version(wanted, found, access.key)
    tags: dict[str, str] = s3._object_tags.get((access.bucket, access.key, version), {})
    return tags


def _about_caller(headers: dict[str, str], query: Any) -> dict[str, Any]:
    """The condition keys about the caller, its tags among them."""
    token = headers.get("x-amz-security-token", "")
    if token.startswith("arn:"):
        role = iam._roles.get_scoped(ACCOUNT, None, token.rpartition("/")[2]) or {}
        return {f"{CALLER_TAG}{tag['Key'].lower()}": tag["Value"] for tag in role.get("Tags") or []}
    caller = iam_evaluator.resolve_credential(router.extract_access_key_id(headers, query) or "", ACCOUNT)
    if isinstance(caller, iam_evaluator.CredentialResolutionError):
        return {}
    keys: dict[str, Any] = iam_evaluator._principal_keys(caller)
    return keys


def _key_of(bucket: str, key: str, query: Any) -> Any:
    """The KMS key under which an object, or the version asked for, is encrypted; None where there is none."""
    stored = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
    wanted = s3._qp(query, "versionId", "")
    for version in s3._object_versions.get((bucket, key), []) if wanted else []:
        if version["version_id"] == wanted:
            stored = s3._object_record_from_version(version)
    sse = s3._stored_sse_headers(stored) if stored else {}
    return kms._resolve_key(sse.get("x-amz-server-side-encryption-aws-kms-key-id", ""))


def _denials(policy: str, action: str, resource: str) -> Iterator[Any]:
    """The policy's statements that deny everyone this, if their conditions hold."""
    for statement in _all_denials(policy):
        if iam_evaluator._action_matches(
            action, statement.actions, statement.not_actions
        ) and iam_evaluator._resource_matches(resource, statement.resources, statement.not_resources):
            yield statement


@functools.lru_cache(maxsize=64)
def _all_denials(policy: str) -> list[Any]:
    """Return the policy's statements that deny everyone, with no condition or with those that are evaluated."""
    statements = json.loads(policy)["Statement"]
    everyone = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if statement["Effect"] == "Deny"
        and all(
            name.lower().startswith((OBJECT_TAG, CALLER_TAG))
            for test in statement.get("Condition", {}).values()
            for name in test
        )
        and statement.get("Principal") in ("*", {"AWS": "*"})
    ]
    parsed: list[Any] = iam_evaluator.parse_policy_document({"Statement": everyone})
    return parsed
