"""Many pairs are evaluated in the memory of few: measured in processes of their own.

A million: `python -m tests.lambdas.large_evaluation 1000000` prints what it took.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALLER = 64
"""Shards of 1 MiB instead of 64, so that few pairs fill some."""

MORE_MIB = 8
"""What four times the pairs may take more."""


def evaluated(pairs: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lambdas.large_evaluation", str(pairs), str(SMALLER)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_memory_is_the_same_for_many_pairs_as_for_few() -> None:
    few, many = evaluated(3_000), evaluated(12_000)
    assert (few["images"], many["images"]) == (3_000, 12_000)
    assert 3 <= few["shards"] < many["shards"]
    assert few["accuracy"] == many["accuracy"] == 0.9
    assert many["mib"] < few["mib"] + MORE_MIB
