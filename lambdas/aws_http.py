"""Signed AWS requests over kept connections, where obstore has no call for it.

Importing botocore costs a cold function 160-300 ms of CPU; the few requests needed here (InvokeEndpoint, Rekognition's,
ListObjectsV2, GetObject for keys that obstore cannot express, DynamoDB's) need a signature and `http.client`. The
signature is AWS Signature Version 4 (IAM User Guide, "Create a signed AWS API request"); a test holds it against
botocore's.
"""

import hashlib
import hmac
import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

MAX_RESPONSE = 64 * 1024 * 1024
"""Bytes of an answer's body; more are not read."""

_connections: dict[str, list[http.client.HTTPConnection]] = {}
"""By origin, those that are open and in nobody's use: threads take one each, and give it back."""


class ResponseTooLarge(OSError):
    """The answer's body is larger than MAX_RESPONSE."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and body of an answer, whatever the status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS credentials; `session_token` is empty for long-term ones."""

    access_key: str
    secret_key: str
    session_token: str = ""


def own_credentials() -> Credentials:
    """Those of this function, from its environment."""
    return Credentials(
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ.get("AWS_SESSION_TOKEN", "")
    )


def service_url(service: str, host: str) -> str:
    """Where a service is: `AWS_ENDPOINT_URL_<SERVICE>`, else `AWS_ENDPOINT_URL`, as in the AWS SDKs, else its host."""
    override = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL")
    return (override or f"https://{host}.{os.environ['AWS_REGION']}.amazonaws.com").rstrip("/")


def request(
    method: str,
    url: str,
    *,
    service: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout: float = 25.0,
    credentials: Credentials | None = None,
) -> Response:
    """Sign and send one request, once, as this function or with other `credentials`.

    `url` is already percent-encoded; `query` is not.

    A kept connection that the other side has closed meanwhile is opened again; nothing else is tried twice.

    Raises:
        ResponseTooLarge: the body exceeds MAX_RESPONSE.
        OSError, http.client.HTTPException: no answer: refused, reset or timed out.
    """
    parts = urlsplit(url)
    search = canonical_query(query or {})
    signed = sign(
        method, parts.netloc, parts.path or "/", search, dict(headers or {}), body,
        service=service, region=os.environ["AWS_REGION"], credentials=credentials or own_credentials(),
        at=datetime.now(UTC),
    )  # fmt: skip
    target = f"{parts.path or '/'}?{search}" if search else parts.path or "/"
    origin = f"{parts.scheme}://{parts.netloc}"
    kept = _free(origin)
    if kept is not None:
        try:
            return _send(kept, origin, method, target, signed, body, timeout)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            kept.close()
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return _send(kind(parts.netloc, timeout=timeout), origin, method, target, signed, body, timeout)


def sign(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    credentials: Credentials,
    at: datetime,
) -> dict[str, str]:
    """The headers of a request with its Signature Version 4. `path` and `query` are already canonical."""
    timestamp, date = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    signed = {**headers, "Host": host, "X-Amz-Date": timestamp, "X-Amz-Content-SHA256": digest}
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token
    pairs = sorted((name.lower(), " ".join(value.split())) for name, value in signed.items())
    names = ";".join(name for name, _ in pairs)
    canonical = "\n".join((method, path, query, *(f"{name}:{value}" for name, value in pairs), "", names, digest))
    scope = f"{date}/{region}/{service}/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = hmac.digest(signing_key(credentials, scope), to_sign.encode(), "sha256").hex()
    signed["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def signing_key(credentials: Credentials, scope: str) -> bytes:
    """The key of Signature Version 4 for a scope, `<date>/<region>/<service>/aws4_request`."""
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_query(query: Mapping[str, str]) -> str:
    """A query string as Signature Version 4 wants it: all but A-Z a-z 0-9 - _ . ~ encoded, and then sorted."""
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, v in query.items()))


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _free(origin: str) -> http.client.HTTPConnection | None:
    try:
        return _connections.get(origin, []).pop()
    except IndexError:
        return None


def _send(
    connection: http.client.HTTPConnection,
    origin: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: float,
) -> Response:
    connection.timeout = timeout
    if connection.sock is not None:
        connection.sock.settimeout(timeout)
    try:
        connection.request(method, target, body or None, dict(headers))
        answer = connection.getresponse()
        content = answer.read(MAX_RESPONSE + 1)
        if len(content) > MAX_RESPONSE:
            raise ResponseTooLarge(f"more than {MAX_RESPONSE:,} bytes")
    except BaseException:
        connection.close()
        raise
    if not answer.will_close:
        _connections.setdefault(origin, []).append(connection)
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
