"""Lambda: AWS's error types, log lines without waiting, a clean environment, the 6 MB answer.

MiniStack reports every exception as `Runtime.HandlerError`, kills the worker of a handler that raises, waits 50 ms for
output that does not come, and lets a function see all that is installed and set where the emulator runs. So its worker
is replaced by `local.lambda_worker`; its pool, logs and concurrency limits stay.
"""

from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local.lambda_worker import Worker
from local.processes import Children


def apply(children: Children) -> None:
    """Make the emulator run Python functions in our workers."""

    def create(_function: str, config: dict[str, Any], code: bytes) -> Worker:
        layers = [lambda_svc._resolve_layer_zip(layer) for layer in config.get("Layers") or []]
        return Worker(children, config, code, [layer for layer in layers if layer])

    lambda_runtime._worker_class_for = lambda _config: create
    lambda_svc._execute_function_warm = _execute


def workers() -> list[dict[str, Any]]:
    """Return the live execution environments: function, process id, whether it is running an invocation."""
    with lambda_runtime._lock:
        pooled = [worker for pool in lambda_runtime._workers.values() for worker in pool]
    return [
        {"function": worker.config["FunctionName"], "pid": worker.pid, "in_use": worker.in_use}
        for worker in pooled
        if worker.pid is not None
    ]


def _execute(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """Run one invocation in a free or a new worker: the emulator's own function of this name, reduced."""
    config = function.get("config") or function
    lambda_svc._ensure_reaper_thread()
    worker, _ = lambda_runtime.acquire_worker(
        config["FunctionName"], config, function["code_zip"], qualifier=config.get("Version", "$LATEST")
    )
    try:
        outcome = worker.invoke(
            event,
            request_id,
            arn=config.get("FunctionArn", ""),
            trace_id=lambda_svc._xray_trace_id_for_invocation(config),
        )
    finally:
        lambda_runtime.release_worker(worker)
    if outcome.error is not None:
        stack = "".join(outcome.error.get("stackTrace") or [])
        report = f"[ERROR] {outcome.error['errorType']}: {outcome.error['errorMessage']}\n{stack}".rstrip()
        log = f"{outcome.log}\n{report}".lstrip("\n")
        return {"body": {**outcome.error, "requestId": request_id}, "error": True, "log": log}
    return {"body": outcome.result, "log": outcome.log}
