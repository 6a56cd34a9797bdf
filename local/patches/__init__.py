"""What MiniStack gets wrong, one module a gap; each has a contract test that fails when the gap is gone."""

from pathlib import Path

from local.processes import Children


def apply(state: Path, children: Children) -> None:
    """Patch the emulator of this process."""
