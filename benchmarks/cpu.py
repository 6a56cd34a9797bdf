"""CPU time of whole process trees, read from Linux's /proc.

On a shared machine wall time swings several-fold; the CPU time of all that took part, paired in alternation, does not.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree_seconds(roots: Iterable[int]) -> float:
    """User and system CPU seconds of these processes and all their descendants, ended ones included.

    A process that has ended is counted by the parent that waited for it: `cutime` and `cstime` of proc_pid_stat(5). So
    the difference between two calls is what the tree used in between, as long as no process in it is orphaned.

    Raises:
        FileNotFoundError: a root has ended, or this is not Linux.
    """
    return sum(_ticks(pid) for pid in _descendants(list(roots))) / _TICK


def _ticks(pid: int) -> int:
    utime, stime, cutime, cstime = _stat(pid)[11:15]
    return int(utime) + int(stime) + int(cutime) + int(cstime)


def _descendants(roots: list[int]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):  # ended since it was listed
                continue
    waiting = list(dict.fromkeys(roots))
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting.extend(child for child in children.get(pid, ()) if child not in roots)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third (state) on; the second, in brackets, may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
