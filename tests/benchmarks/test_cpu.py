"""The CPU accounting of the bench counts what its doubters would ask for: children, living and ended, and theirs."""

import os
import subprocess
import sys

import pytest

from benchmarks.cpu import tree_seconds

BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"
OF_A_GRANDCHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}], check=True)\n"


@pytest.mark.parametrize("program", [BUSY, OF_A_GRANDCHILD])
def test_the_time_of_an_ended_child_and_of_its_children_counts(program: str) -> None:
    before = tree_seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", program], check=True)
    assert tree_seconds([os.getpid()]) - before >= 0.28


def test_the_time_of_a_living_child_counts_once_though_it_is_named_as_a_root_too() -> None:
    child = subprocess.Popen([sys.executable, "-c", BUSY + "print(flush=True)\ninput()"], stdin=-1, stdout=-1)
    try:
        before = tree_seconds([child.pid])
        assert child.stdout is not None
        child.stdout.readline()
        own, together = tree_seconds([child.pid]), tree_seconds([os.getpid(), child.pid])
        assert own - before >= 0.2
        assert together - tree_seconds([os.getpid()]) < 0.1
    finally:
        child.communicate(b"\n")


def test_a_root_that_is_not_there_is_an_error() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(FileNotFoundError):
        tree_seconds([gone.pid])
