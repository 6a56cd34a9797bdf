"""What a million images cost on AWS, as `ics plan` predicts it, beside the usual design by the same model."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figures import Figure
from cli.deployment import ROOT

IMAGES = 1_000_000
GOALS = {"--batch=100": 1.10, "--batch=1000": 0.90, "--shards": 0.45}
"""US dollars, without the endpoint."""

NAMES = {
    "--batch=100": "a million images, 100 a batch",
    "--batch=1000": "a million images, 1,000 a batch",
    "--shards": "a million images in shards of 1,000",
}


def measure() -> Iterator[Figure]:
    """The prediction for `prod`, and what must stay small whatever the run's size."""
    for option, dollars in GOALS.items():
        found = predicted([option])
        yield Figure(
            name=NAMES[option],
            other="the usual design: a Map, 3 functions an image",
            unit="USD",
            goal=70,
            to_reach=True,
            pairs=[(found["naive_cost_usd"], found["cost_usd"])],
            details={"USD": found["cost_usd"], "history events": found["history_events"]},
            limits={"USD": dollars, "history events": 200},
        )


def predicted(options: Sequence[str]) -> dict[str, Any]:
    """What `ics plan --json` says of `IMAGES` images."""
    command = [sys.executable, "-m", "cli", "plan", f"--images={IMAGES}", "--compare", "--json", "--env=prod", *options]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found
