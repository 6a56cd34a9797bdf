"""Step Functions: `MaxDelaySeconds` and `JitterStrategy` of a retrier, and the errors a wildcard never matches.

Amazon States Language, "Retriers": the wait before retry n is IntervalSeconds * BackoffRate ** n, at most
MaxDelaySeconds, and with JitterStrategy FULL a random part of it. Developer Guide, "Error names": `States.ALL` can't
catch `States.DataLimitExceeded` and `States.Runtime`. MiniStack reads neither field and catches both errors.
"""

import random
from typing import Any

from ministack.services import stepfunctions

TERMINAL = ("States.DataLimitExceeded", "States.Runtime")


def apply() -> None:
    """Replace how the emulator matches errors, and how it chooses a retrier."""
    matches = stepfunctions._error_matches
    find = stepfunctions._find_matching_retrier

    def error_matches(names: list[str], error: str) -> bool:
        if error in TERMINAL:
            return error in names
        return bool(matches(names, error))

    def find_matching_retrier(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
        retrier, index = find(retriers, error, counts)
        if retrier is None:
            return retrier, index
        # The emulator waits IntervalSeconds * BackoffRate ** count: hand it the whole wait with no backoff.
        return {**retrier, "IntervalSeconds": _wait(retrier, counts.get(index, 0)), "BackoffRate": 1}, index

    stepfunctions._error_matches = error_matches
    stepfunctions._find_matching_retrier = find_matching_retrier


def _wait(retrier: dict[str, Any], count: int) -> float:
    seconds = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count)
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    return random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds  # noqa: S311
