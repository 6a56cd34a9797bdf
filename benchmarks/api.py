"""`python -m benchmarks.api`: many clients ask the local HTTP API at once; exit 1 where it failed anybody.

Needs `ics up`. Each client classifies a digit again and again on one kept connection, through the front door, as a
browser does. What the stage's throttle refuses (429) is no failure, and is counted; 5xx and broken connections are.
"""

import argparse
import http.client
import io
import json
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

from PIL import Image
from sklearn.datasets import load_digits

from cli import web
from cli.deployment import LOCAL, connect
from cli.options import state

PATH = "/v1/classify?model=digits"
PAUSE = 0.5
"""Seconds a client waits after a 429, as one should."""


def main() -> int:
    """Measure, and print what was found as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    deployment = connect(LOCAL, state())
    found = web.find(deployment, state())
    headers = {"Authorization": f"Bearer {web.local_token(deployment, found, 'viewer', state())}"}
    answers: list[tuple[int, float]] = []
    until = time.monotonic() + options.seconds
    clients = [
        threading.Thread(target=_ask, args=(found.api, headers, number, until, answers))
        for number in range(options.clients)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    statuses = Counter(status for status, _ in answers)
    answered = sorted(seconds for status, seconds in answers if status == 200)
    told = {
        "clients": options.clients,
        "seconds": options.seconds,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "answered_per_second": round(len(answered) / options.seconds, 1),
        "p50_ms": _percentile(answered, 0.5),
        "p99_ms": _percentile(answered, 0.99),
    }
    print(json.dumps(told, indent=2))
    return int(not answered or any(status == 0 or status >= 500 for status in statuses))


def _ask(url: str, headers: dict[str, str], number: int, until: float, answers: list[tuple[int, float]]) -> None:
    """Ask until the time is over; a broken connection counts as status 0."""
    picture, parts = _digit(number), urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connection.request("POST", PATH, picture, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            connection.close()
            status = 0
        answers.append((status, time.monotonic() - began))
        if status == 429:
            time.sleep(PAUSE)


def _digit(number: int) -> bytes:
    ink = (load_digits().images[number] * 255 / 16).astype("uint8")
    out = io.BytesIO()
    Image.fromarray(ink).resize((28, 28)).save(out, "PNG")
    return out.getvalue()


def _percentile(found: list[float], share: float) -> float | None:
    return round(1000 * found[min(len(found) - 1, int(share * len(found)))], 1) if found else None


if __name__ == "__main__":
    sys.exit(main())
