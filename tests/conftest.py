"""For every test: no credentials and no AWS settings of the person who runs it, and steady property tests."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ics", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ics")

for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}

TOGETHER = ("e2e", "local", "infrastructure", "serving")
"""Folders whose tests share something that takes long to make: one process runs all of a folder's."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Several processes (`-n`) get whole groups of tests: a folder above, else a file."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER else item.path.name))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end tests take the longest, so they begin."""
    items.sort(key=lambda item: item.path.parent.name != "e2e")
