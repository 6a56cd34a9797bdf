"""Our signatures are botocore's, whatever is signed; answers, limits and kept connections over a real socket."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import aws_http

AT = datetime(2026, 7, 21, 10, 15, tzinfo=UTC)
_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)
_header = st.from_regex(r"[a-zA-Z0-9/;= .-]{1,20}", fullmatch=True).filter(str.strip)


@given(
    method=st.sampled_from(["GET", "POST"]),
    key=_text.filter(lambda key: not key.startswith("/")),
    query=st.dictionaries(_text.filter(bool), _text, max_size=3),
    body=st.binary(max_size=50),
    inference_id=_header,
    token=st.sampled_from(["", "session-token"]),
)
def test_a_signature_is_botocores(
    monkeypatch_at: None, method: str, key: str, query: dict[str, str], body: bytes, inference_id: str, token: str
) -> None:
    path = f"/bucket/{quote(key, safe='/~')}"
    search = aws_http.canonical_query(query)
    headers = {"X-Amzn-SageMaker-Inference-Id": inference_id, "Content-Type": "application/jsonlines"}
    ours = aws_http.sign(
        method, "s3.us-east-1.amazonaws.com", path, search, headers, body,
        service="s3", region="us-east-1", credentials=aws_http.Credentials("AKID", "secret", token), at=AT,
    )  # fmt: skip
    url = f"https://s3.us-east-1.amazonaws.com{path}" + (f"?{search}" if search else "")
    theirs = botocore.awsrequest.AWSRequest(method, url, headers=headers, data=body)
    theirs.context["payload_signing_enabled"] = True
    signer = botocore.auth.S3SigV4Auth(
        botocore.credentials.Credentials("AKID", "secret", token or None), "s3", "us-east-1"
    )
    signer.add_auth(theirs)
    assert ours["Authorization"] == theirs.headers["Authorization"]


@pytest.fixture(scope="module")
def monkeypatch_at() -> Iterator[None]:
    """Botocore signs at our time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: AT)
        yield


class _Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[Any]]
    close_after = False

    def do_GET(self) -> None:
        type(self).connections.add(self.client_address)
        size = int(self.path.rpartition("=")[2] or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * size)
        if type(self).close_after:
            self.close_connection = True  # without having said so: as an idle connection that is dropped

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Server(_Server):
        connections: ClassVar[set[Any]] = set()

    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    _Server.last = Server  # type: ignore[attr-defined]
    yield f"http://127.0.0.1:{listening.server_port}"
    for connection in chain.from_iterable(aws_http._connections.values()):
        connection.close()
    aws_http._connections.clear()
    listening.shutdown()
    listening.server_close()


def _get(server: str, size: int = 3) -> aws_http.Response:
    return aws_http.request("GET", f"{server}/bucket/key", service="s3", query={"size": str(size)})


def test_a_connection_is_kept_and_opened_again_where_the_other_side_dropped_it(server: str) -> None:
    handler = _Server.last  # type: ignore[attr-defined]
    assert [_get(server).body for _ in range(3)] == [b"xxx"] * 3
    assert len(handler.connections) == 1
    handler.close_after = True
    assert [_get(server).status for _ in range(3)] == [200] * 3
    assert len(handler.connections) == 3


def test_an_answer_beyond_the_limit_is_not_read(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_http, "MAX_RESPONSE", 1000)
    assert len(_get(server, 1000).body) == 1000
    with pytest.raises(aws_http.ResponseTooLarge):
        _get(server, 1001)


def test_where_a_service_is_follows_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert aws_http.service_url("s3", "s3") == "https://s3.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1/")
    assert aws_http.service_url("sagemaker_runtime", "runtime.sagemaker") == "http://localhost:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://localhost:2")
    assert aws_http.service_url("sagemaker_runtime", "runtime.sagemaker") == "http://localhost:2"
