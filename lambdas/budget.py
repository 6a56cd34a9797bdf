"""What one PlanRun may read: so much, and only as long as Lambda gives it time."""

from ics.errors import RunTooLarge
from lambdas.runtime import Context

MAX_BYTES = 40_000_000_000
"""Bytes of manifests and shards: at 45 MB/s they take PlanRun's 15 minutes."""

ONE_REQUEST = 1024 * 1024
"""What a request counts at least: it takes as long as reading so many bytes."""

KEPT_MS = 60_000
"""Milliseconds that are kept for writing the plan."""


class Budget:
    """Spent as a source is read. `skipped` counts the members of shards that are no pictures."""

    def __init__(self, context: Context, most: int = MAX_BYTES) -> None:
        self._context = context
        self._most = self._left = most
        self.skipped = 0

    def spend(self, read: int) -> None:
        """One request that read so many bytes.

        Raises:
            RunTooLarge: that was too much, or took too long.
        """
        self._left -= max(read, ONE_REQUEST)
        if self._left < 0:
            raise RunTooLarge(
                f"the source's manifests and shards hold more than the {self._most:,} bytes that one run can plan; "
                "split the source into several runs"
            )
        self.check()

    def check(self) -> None:
        """Raise RunTooLarge where no time is left to plan more."""
        if self._context.get_remaining_time_in_millis() < KEPT_MS:
            raise RunTooLarge("planning takes longer than PlanRun's 15 minutes; split the source into several runs")
