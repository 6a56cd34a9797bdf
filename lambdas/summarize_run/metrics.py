"""What a run counts in CloudWatch: images by decision, and how long it took, by environment and model."""

from collections.abc import Mapping
from typing import Any

from ics.contracts import DECISIONS
from lambdas.runtime import measure


def count_run(environment: str, summary: Mapping[str, Any], counted: Mapping[str, int]) -> None:
    """Metrics `PlannedImages`, `AcceptedImages` ... `RunSeconds`; a run that was not planned has the model `none`.

    Of a run that is resumed only the difference to what was `counted` before, so that the sums over all runs stay true.
    """
    images = {
        f"{name.title()}Images": (summary[name] - counted.get(name, 0), "Count") for name in ("planned", *DECISIONS)
    }
    measure(
        "summarized",
        {"Environment": environment, "Model": summary["model"] or "none"},
        {**images, "RunSeconds": (summary["seconds"], "Seconds")},
        run=summary["run"],
        status=summary["status"],
    )
