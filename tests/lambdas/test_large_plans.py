"""A million images are planned in the memory of a few: measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MORE_MIB = 16
"""What a plan may take more for ten times the images: its batches, of at most 40,000, are held in memory."""


def planned(source: str, images: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lambdas.large_plan", source, str(images)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


BESIDE_MIB = 16
"""What a plan of many images may take beside one of none: two parts of what is written, a piece of what is read."""


@pytest.mark.parametrize(
    ("source", "images", "batches"),
    [("manifest", 1_000_000, 10_000), ("listing", 200_000, 2_000), ("shards", 200_000, 200)],
)
def test_memory_is_the_same_for_many_images_as_for_few(source: str, images: int, batches: int) -> None:
    none, few, many = (planned(source, count) for count in (1_000, images // 10, images))
    assert (many["planned"], many["batches"]) == (images, batches)
    assert many["bytes"] > images * 90
    assert few["mib"] < none["mib"] + BESIDE_MIB
    assert many["mib"] < few["mib"] + MORE_MIB
