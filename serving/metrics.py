"""What a process tree counts: each process in a slot of its own in shared memory, and any of them can tell the sum.

Written for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

import bisect
import mmap
from collections.abc import Sequence

STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 429, 431, 499, 500, 503)
"""All statuses that a request can end with."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the buckets in which durations are counted; one more bucket has what took longer."""

GAUGES = {
    "connections": "Open connections.",
    "waiting": "Requests that wait for a turn to compute.",
    "held_bytes": "Bytes of the bodies that are held.",
    "computing": "Requests that hold one of the tree's turns to compute.",
}
"""What a process has at the moment, by name."""

NO_MODEL = "-"
"""Stands for the model of a request that was none for a model."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metrics:
    """Counters for these models and this many processes, in memory that they share once forked."""

    def __init__(self, models: Sequence[str], processes: int) -> None:
        self._models = (NO_MODEL, *models)
        self._index = {model: number for number, model in enumerate(self._models)}
        self._per_model = len(STATUSES) + 1 + len(SECONDS) + 1 + 1  # statuses, images, buckets, sum of seconds
        self._slot = self._per_model * len(self._models) + len(GAUGES)
        self._processes = processes
        self._numbers = memoryview(mmap.mmap(-1, 8 * self._slot * processes)).cast("d")

    def count(self, slot: int, model: str, status: int, images: int, seconds: float) -> None:
        """Count a request that ended; only the slot's own process may, on one thread."""
        numbers, at = self._numbers, slot * self._slot + self._index[model] * self._per_model
        numbers[at + STATUSES.index(status)] += 1
        at += len(STATUSES)
        numbers[at] += images
        numbers[at + 1 + bisect.bisect_left(SECONDS, seconds)] += 1
        numbers[at + 2 + len(SECONDS)] += seconds

    def gauge(self, slot: int, name: str, value: float) -> None:
        """Set what a process has at the moment."""
        self._numbers[(slot + 1) * self._slot - len(GAUGES) + list(GAUGES).index(name)] = value

    def value(self, slot: int, name: str) -> float:
        """What `gauge` was last told."""
        return self._numbers[(slot + 1) * self._slot - len(GAUGES) + list(GAUGES).index(name)]

    def least(self, name: str) -> float:
        """The least that any process has of this at the moment."""
        return min(self.value(slot, name) for slot in range(self._processes))

    def render(self) -> bytes:
        """The sums over all processes, for Prometheus."""
        total = [sum(self._numbers[place :: self._slot]) for place in range(self._slot)]
        requests, images, seconds = [], [], []
        for model, number in self._index.items():
            name, at = model.translate(_ESCAPES), number * self._per_model
            requests += [
                f'ics_requests_total{{model="{name}",status="{status}"}} {total[at + place]:.0f}'
                for place, status in enumerate(STATUSES)
                if total[at + place]
            ]
            at += len(STATUSES)
            images.append(f'ics_images_total{{model="{name}"}} {total[at]:.0f}')
            so_far = 0.0
            for place, bound in enumerate((*SECONDS, float("inf"))):
                so_far += total[at + 1 + place]
                limit = "+Inf" if bound == float("inf") else f"{bound:g}"
                seconds.append(f'ics_request_seconds_bucket{{model="{name}",le="{limit}"}} {so_far:.0f}')
            seconds.append(f'ics_request_seconds_sum{{model="{name}"}} {total[at + 2 + len(SECONDS)]:.6f}')
            seconds.append(f'ics_request_seconds_count{{model="{name}"}} {so_far:.0f}')
        lines = [
            "# HELP ics_requests_total Requests that ended, by status; 499 where the connection broke off.",
            "# TYPE ics_requests_total counter",
            *requests,
            "# HELP ics_images_total Images that were answered for.",
            "# TYPE ics_images_total counter",
            *images,
            "# HELP ics_request_seconds From a request's first byte to its answer.",
            "# TYPE ics_request_seconds histogram",
            *seconds,
            f"# HELP ics_workers Worker processes.\n# TYPE ics_workers gauge\nics_workers {self._processes}",
        ]
        for value, (name, said) in zip(total[-len(GAUGES) :], GAUGES.items(), strict=True):
            lines.append(f"# HELP ics_{name} {said}\n# TYPE ics_{name} gauge\nics_{name} {value:.0f}")
        return "\n".join([*lines, ""]).encode()
