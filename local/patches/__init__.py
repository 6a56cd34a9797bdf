"""What MiniStack gets wrong, one module a gap; each has a contract test that fails when the gap is gone."""

from pathlib import Path

from local.patches import (
    api_origins,
    batch_windows,
    bucket_denials,
    event_versions,
    function_signatures,
    http_subscriptions,
    lambda_workers,
    map_paths,
    metric_math_alarms,
    missing_paths,
    outbox,
    retries,
    sagemaker_resources,
    site_origins,
    sns_integration,
    state_machine_calls,
    state_sizes,
    stop_execution,
    version_ranges,
    viewer_requests,
)
from local.processes import Children
from local.sagemaker.hosting import Hosting


def apply(state: Path, children: Children, hosting: Hosting) -> None:
    """Patch the emulator of this process."""
    lambda_workers.apply(children)
    missing_paths.apply()
    map_paths.apply()
    retries.apply()
    state_sizes.apply()
    stop_execution.apply()
    outbox.apply(state)
    http_subscriptions.apply()
    sns_integration.apply()
    sagemaker_resources.apply(hosting)
    metric_math_alarms.apply()
    version_ranges.apply()
    bucket_denials.apply()
    state_machine_calls.apply()
    batch_windows.apply()
    event_versions.apply()
    api_origins.apply()
    site_origins.apply()
    function_signatures.apply()
    viewer_requests.apply()
