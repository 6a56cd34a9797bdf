"""Which role called which AWS API on which resource: the record against which `tests/` hold the policies.

The emulator checks no rights. So every call that is made as a role is written down as IAM would judge it (principal,
action, resource), whether it came as a request (`watch`) or an AWS service made it inside the emulator (`record`).
A request names its role in its session token: what `local` gives to a Lambda function as AWS_SESSION_TOKEN is the ARN
of its role, which every client sends along; the access key stays the account's, as the emulator wants it.
"""

import functools
import json
import re
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, unquote

from ministack.core import iam_actions

from local.control import ACCOUNT, REGION

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEPT = 200_000
"""Distinct calls held in memory, some 100 MB; calls beyond are counted only."""

_SIGNED_FOR = re.compile(rb"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations(?:-response-stream)?")

_STATEMENT = re.compile(r'(INSERT|UPDATE|DELETE|SELECT)\b[^"]*"([^"]+)"')

_calls: dict[tuple[str, str, str], int] = {}
_dropped = 0
_mutex = threading.Lock()


def record(role: str, action: str, resource: str) -> None:
    """Count one call of `action` (`s3:GetObject`) on `resource`, an ARN, made as the role with the ARN `role`."""
    global _dropped  # noqa: PLW0603
    call = (role, action, resource)
    with _mutex:
        if call in _calls or len(_calls) < KEPT:
            _calls[call] = _calls.get(call, 0) + 1
        else:
            _dropped += 1


def recorded() -> dict[str, Any]:
    """Return `calls`, a `{principal, action, resource, count}` each distinct call, and `dropped`, those beyond KEPT."""
    names = ("principal", "action", "resource", "count")
    with _mutex:
        return {
            "calls": [dict(zip(names, (*call, count), strict=True)) for call, count in _calls.items()],
            "dropped": _dropped,
        }


async def watch(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Record a request made as a role; return what the application is to receive from and to send to.

    A call that is not understood is recorded on a resource that no policy allows, so that it does not go unseen.
    """
    given = dict(scope["headers"])
    role = given.get(b"x-amz-security-token", b"").decode("latin-1")
    by_url = not role and _signed_by(scope["query_string"])  # a URL that a function gave away
    if not (by_url or role).startswith("arn:"):  # the account itself, or a session of whoever deploys
        return receive, send
    signed = _SIGNED_FOR.search(given.get(b"authorization", b""))
    service = signed[1].decode() if signed else "unsigned"
    if by_url or service == "s3":
        return receive, _watch_s3(by_url or role, scope, send)
    invoked = _INVOCATIONS.fullmatch(scope["path"])
    if service == "sagemaker" and invoked:
        name = unquote(invoked[1]).lower()
        record(role, "sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}")
        return receive, send
    headers = _text(scope)
    body = await read_body(receive)
    query = _query(scope["query_string"])
    if service in ("sns", "sts"):  # their APIs take forms, and what a call is about is in them
        query |= parse_qs(body.decode("latin-1"))
    request = (service, scope["method"], scope["path"], headers, body, query)
    if service == "rekognition":
        record(role, *_rekognition(headers, body))
        return _again(body, receive), send
    action = iam_actions.extract_iam_action(*request) or f"{service}:{scope['method']} {scope['path']}"
    if action == "dynamodb:BatchExecuteStatement":
        _record_statements(role, body)
        return _again(body, receive), send
    # Service Authorization Reference, "Actions ... for Amazon SQS": a batch needs the right to do each of its parts.
    action = re.sub("^(sqs:.+)Batch$", r"\1", action)
    map_run = json.loads(body)["mapRunArn"] if action == "states:DescribeMapRun" else None  # MiniStack looks elsewhere
    record(role, action, map_run or iam_actions.extract_resource_arn(*request, REGION, ACCOUNT))
    return _again(body, receive), send


def _signed_by(search: bytes) -> str:
    """Whose signature is in a presigned URL, empty where there is none (S3 API reference, "Authenticating ...")."""
    return _query(search).get("X-Amz-Security-Token", [""])[0] if b"X-Amz-Security-Token=" in search else ""


def _record_statements(role: str, body: bytes) -> None:
    """Amazon DynamoDB Developer Guide, "IAM security policies with PartiQL for DynamoDB": an action for each verb."""
    for one in json.loads(body)["Statements"]:
        found = _STATEMENT.match(one["Statement"])
        verb, table = found.groups() if found else ("Unknown", "*")
        record(role, f"dynamodb:PartiQL{verb.title()}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}")


def _watch_s3(role: str, scope: MutableMapping[str, Any], send: Send) -> Send:
    """Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3".

    S3 API reference, GetObject and HeadObject, "Permissions": that an object is not there is told (404, not 403) to
    whoever may list the bucket.
    """
    bucket, _, key = scope["path"].removeprefix("/").partition("/")
    method, search = scope["method"], scope["query_string"]
    bucket_arn = f"arn:aws:s3:::{bucket}"
    action = _s3_action(method, "/bucket/key" if key else "/bucket" if bucket else "/", search)
    record(role, f"s3:{action or method}", f"{bucket_arn}/{key}" if key else bucket_arn)
    if search or method != "GET":  # a plain GET, which is most of what a run asks for, needs no other right
        for also, resource in iam_actions.s3_additional_checks(
            method, scope["path"], _text(scope), b"", _query(search)
        ):
            record(role, also, resource)  # the source of a copy
    if not key or method not in ("GET", "HEAD"):
        return send

    async def watched(message: MutableMapping[str, Any]) -> None:
        if message.get("status") == 404:
            record(role, "s3:ListBucket", bucket_arn)
        await send(message)

    return watched


def _rekognition(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Service Authorization Reference, "Amazon Rekognition": DetectLabels has no resource, a version is one."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    version = re.search(rb'"ProjectVersionArn": ?"([^"]+)"', body)
    return f"rekognition:{operation}", version[1].decode() if version else "*"


@functools.lru_cache(maxsize=1024)
def _s3_action(method: str, path: str, search: bytes) -> str | None:
    action: str | None = iam_actions._s3_action(method, path, _query(search))
    return action


def _query(search: bytes) -> dict[str, list[str]]:
    return parse_qs(search.decode("latin-1"), keep_blank_values=True)


def _text(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """A request's headers."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive) -> bytes:
    """The whole body of an ASGI request."""
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives the body that was read already, and then what comes."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> MutableMapping[str, Any]:
        return unread.pop() if unread else await receive()

    return given
