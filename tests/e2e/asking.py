"""Asking the HTTP API over real HTTP, as people of each role do, through the deployed distribution."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

from cli import web
from cli.deployment import Deployment
from local.control import LocalAws


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: Message
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def problem(self) -> str:
        """The name of the refusal, which is held to RFC 9457."""
        assert self.headers["content-type"] == "application/problem+json", self.content
        found = self.json
        assert found["status"] == self.status
        assert found["title"]
        assert found["detail"]
        return str(found["type"].removeprefix("/docs#"))


class Api:
    """The API of a deployment."""

    def __init__(self, aws: LocalAws, deployment: Deployment) -> None:
        self.web = web.find(deployment, aws.state)
        self._tokens = {role: web.local_token(deployment, self.web, role, aws.state) for role in web.ROLES}

    def token(self, role: str) -> str:
        return self._tokens[role]

    def ask(self, method: str, path: str, role: str | None = "viewer", body: Any = None, **headers: str) -> Answer:
        """Ask; a body that is no bytes is sent as JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if role is not None:
            given.setdefault("Authorization", f"Bearer {self._tokens[role]}")
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if content is not None:
            given.setdefault("Content-Type", "application/octet-stream" if content is body else "application/json")
        return send(urllib.request.Request(f"{self.web.api}{path}", content, given, method=method))


def send(request: urllib.request.Request) -> Answer:
    """Send a request; an error status is an answer, too."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
