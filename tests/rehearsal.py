"""What the local AWS tells its tests, and how they have it fail for a while: its `/_local/` (`local/gateway.py`)."""

import json
import urllib.request
from typing import Any, Protocol
from urllib.parse import quote

PATIENCE = 60


class Place(Protocol):
    """A local AWS, or a deployment in one."""

    @property
    def endpoint_url(self) -> str | None:
        """Where it is asked."""


def about(aws: Place, what: str) -> Any:
    """What it knows of its `calls`, `endpoints`, `lambda-workers` or `state-sizes`."""
    with urllib.request.urlopen(f"{aws.endpoint_url}/_local/{what}", timeout=PATIENCE) as answer:
        return json.load(answer)


def set_faults(aws: Place, of: str, *faults: Any) -> None:
    """Have an endpoint, `rekognition` or `s3` fail so, instead of how it was told before; without faults, no more."""
    url = f"{aws.endpoint_url}/_local/faults/{quote(of)}"
    request = urllib.request.Request(url, json.dumps(faults).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 204
