"""Twenty thousand mutated requests in every `make test`, and that such a soak would find what it is for."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.server import answers, checked


def test_twenty_thousand_mutated_requests_harm_nothing(tmp_path: Path) -> None:
    soaked = subprocess.run(
        [sys.executable, "-m", "tests.soak.server", "--requests", "20000", "--seed", "9", "--faults", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert soaked.returncode == 0, soaked.stdout + soaked.stderr
    assert "20,000 requests" in soaked.stdout
    assert "; 0 faults" in soaked.stdout
    for outcome in ("  200\n", "422 TruncatedImage", "400 MalformedLine", "415 Unsupported", "wild: 400 MalformedReq"):
        assert outcome in soaked.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ],
)
def test_what_no_client_may_get_is_a_fault(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ValueError):  # noqa: PT011  (whatever it says)
            _ = [checked(*answer) for answer in answers(ours, None)]
