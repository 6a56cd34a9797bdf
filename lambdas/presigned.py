"""Short-lived rights on one S3 object, given away as a URL or a form; whoever has it needs no credentials.

Signature Version 4 as in the Amazon S3 API reference, "Authenticating Requests: Using Query Parameters" and
"Browser-Based Uploads Using POST"; a test holds both against botocore's. Nothing is asked of S3.
"""

import base64
import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from lambdas import aws_http

_ALGORITHM = "AWS4-HMAC-SHA256"


def get_url(
    bucket: str,
    key: str,
    seconds: int,
    version: str = "",
    at: datetime | None = None,
    credentials: aws_http.Credentials | None = None,
) -> str:
    """A URL that gets an object, of a version where it is given, for so many seconds from `at`, by default from now.

    Whoever has it reads the object as this function, or as whose `credentials` are given.
    """
    credentials, moment = credentials or aws_http.own_credentials(), at or datetime.now(UTC)
    scope, timestamp = _scope(moment), f"{moment:%Y%m%dT%H%M%SZ}"
    url = f"{aws_http.service_url('s3', 's3')}/{bucket}/{quote(key, safe='/~')}"
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    if version:
        query["versionId"] = version
    search, parts = aws_http.canonical_query(query), urlsplit(url)
    canonical = "\n".join(("GET", parts.path, search, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"))
    to_sign = "\n".join((_ALGORITHM, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return f"{url}?{search}&X-Amz-Signature={_signature(credentials, scope, to_sign)}"


def post_form(bucket: str, key: str, most: int, seconds: int, at: datetime | None = None) -> dict[str, Any]:
    """A form that uploads one object under this very key, of 1 to `most` bytes: its `url` and its `fields`.

    The content comes in a last field named `file`.
    """
    credentials, moment = aws_http.own_credentials(), at or datetime.now(UTC)
    scope = _scope(moment)
    fields = {
        "key": key,
        "x-amz-algorithm": _ALGORITHM,
        "x-amz-credential": f"{credentials.access_key}/{scope}",
        "x-amz-date": f"{moment:%Y%m%dT%H%M%SZ}",
    }
    if credentials.session_token:
        fields["x-amz-security-token"] = credentials.session_token
    conditions: list[Any] = [{"bucket": bucket}, *({name: value} for name, value in fields.items())]
    expiration = f"{moment + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    policy = {"expiration": expiration, "conditions": [*conditions, ["content-length-range", 1, most]]}
    fields["policy"] = base64.b64encode(json.dumps(policy).encode()).decode()
    fields["x-amz-signature"] = _signature(credentials, scope, fields["policy"])
    return {"url": f"{aws_http.service_url('s3', 's3')}/{bucket}", "fields": fields}


def _scope(at: datetime) -> str:
    return f"{at:%Y%m%d}/{os.environ['AWS_REGION']}/s3/aws4_request"


def _signature(credentials: aws_http.Credentials, scope: str, to_sign: str) -> str:
    return hmac.digest(aws_http.signing_key(credentials, scope), to_sign.encode(), "sha256").hex()
