"""What a run will need and cost on AWS, predicted from the deployed design: nothing is started, nothing is asked.

The design (`Design`) is the synthesized one: the definition, and the memory and architecture of its functions. What a
run costs depends on it, on the run (`work.Load`), on assumed times (`work.Times`) and on a price list. Not counted:
storage, data transfer, and what is paid whether or not a run happens (endpoints, keys, alarms).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ics import digest
from ics.batches import child_batches
from ics.definition import Walk, walk
from ics.prices import Prices
from ics.records import WORST, Reduction
from ics.request import MAX_KEY_BYTES
from ics.summary import summary_of
from ics.work import ASKED_BY_IMAGE, LOG_BYTES, MAIL_READS, MAIL_WRITES, Load, Times, Work, work_of

DISPATCH = 1_000
"""Express children that a distributed Map starts in a second, about."""

ENDPOINT_READ = 25.0
"""Seconds after which ClassifyImage gives up a request."""

_EXPRESS_GB = 64 / 1024
"""Express executions are paid by chunks of 64 MB: 50 MB and what the definition and the payload take (pricing page)."""


@dataclass(frozen=True, slots=True)
class Function:
    """A deployed function: MiB, `arm64` or `x86_64`, and the seconds after which Lambda ends it."""

    memory: int
    architecture: str
    timeout: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What serves the model: instance type and number."""

    instance_type: str
    instances: int

    @property
    def processors(self) -> int:
        """The vCPUs of all instances, by the type's size: `large` has 2, `xlarge` 4, `8xlarge` 32."""
        size = self.instance_type.rpartition(".")[2]
        times = re.match(r"(\d*)xlarge", size)
        return self.instances * (4 * int(times[1] or 1) if times else 1 if size == "medium" else 2)


@dataclass(frozen=True, slots=True)
class Design:
    """A deployed environment, as far as a run's cost depends on it; `functions` by their names in the definition.

    `backend` is what classifies: an `endpoint`, which only then is there, `lambda`, `rekognition` or `custom-labels`.
    `reviews` is whether images that need a person wait for reviewers in the table.
    """

    definition: Mapping[str, Any]
    functions: Mapping[str, Function]
    max_concurrency: int
    endpoint: Endpoint | None
    backend: str = "endpoint"
    reviews: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """A prediction. `cost` is in US dollars, by service; `endpoint_cost` is None where the price is not known.

    `table` are request units of DynamoDB.
    """

    images: int
    batches: int
    batch_images: int
    transitions: int
    express_requests: int
    history_events: int
    largest_state_bytes: int
    seconds: float
    lambda_requests: int
    lambda_gb_seconds: float
    s3: Mapping[str, int]
    table: Mapping[str, int]
    cost: Mapping[str, float]
    endpoint_hours: float
    endpoint_cost: float | None
    warnings: tuple[str, ...]

    @property
    def cost_usd(self) -> float:
        """All services together, without the endpoint."""
        return sum(self.cost.values())


def forecast(design: Design, load: Load, times: Times, prices: Prices) -> Forecast:
    """Predict a run.

    Raises:
        InvalidDefinition: the definition is not one that this model knows.
    """
    parent = walk(design.definition)
    child = parent.batch()
    load = replace(load, paid_by_image=design.backend in ASKED_BY_IMAGE, reviewed=design.reviews)
    works = work_of(load, times, design.backend)
    a_child = child_batches(design.max_concurrency)
    at_once = min(design.max_concurrency // a_child * a_child, load.batches)
    alone = {name: works[name].seconds(design.functions[name].memory) for name in (*parent.functions, *child.functions)}
    taken, waited = _with_queue(alone, child, load, times, design.endpoint, at_once)
    batch_seconds = sum(taken[name] for name in child.functions)
    children = math.ceil(load.batches / a_child)
    processing = max(children / DISPATCH, math.ceil(load.batches / at_once) * batch_seconds)
    seconds = sum(taken[name] for name in parent.functions) + processing

    calls = dict.fromkeys(parent.functions, 1) | dict.fromkeys(child.functions, load.batches)
    starts = dict.fromkeys(parent.functions, 1) | dict.fromkeys(child.functions, at_once)
    gb_seconds = {
        name: (count * taken[name] + starts[name] * times.start / 1000) * design.functions[name].memory / 1024
        for name, count in calls.items()
    }
    requests = _requests(works, calls, at_once)
    units = {
        "reads": round(sum(works[name].reads * count for name, count in calls.items())) + MAIL_READS,
        "writes": round(sum(works[name].writes * count for name, count in calls.items())) + MAIL_WRITES,
    }
    transitions = len(parent.states) + children
    paid = load.images if design.backend == "rekognition" else 0
    cost = {
        "step_functions": transitions * prices.state_transitions_per_million / 1e6
        + children * prices.express_requests_per_million / 1e6
        + children * math.ceil(10 * batch_seconds) / 10 * _EXPRESS_GB * prices.express_gb_second,
        "lambda": sum(calls.values()) * prices.lambda_requests_per_million / 1e6
        + sum(
            amount * prices.lambda_gb_second(design.functions[name].architecture) for name, amount in gb_seconds.items()
        ),
        "s3": requests["get"] * prices.s3_get_per_million / 1e6
        + (requests["put"] + requests["list"]) * prices.s3_put_per_million / 1e6,
        "dynamodb": units["reads"] * prices.dynamodb_reads_per_million / 1e6
        + units["writes"] * prices.dynamodb_writes_per_million / 1e6,
        "sns": parent.published * prices.sns_publish_per_million / 1e6,
        **({"rekognition": paid * prices.rekognition_images_per_million / 1e6} if paid else {}),
        "logs": sum(calls.values()) * LOG_BYTES / 1e9 * prices.logs_gb,
    }
    hours = seconds / 3600 * design.endpoint.instances if design.endpoint else 0.0
    hourly = prices.instance_hours.get(design.endpoint.instance_type) if design.endpoint else 0.0
    return Forecast(
        images=load.images,
        batches=load.batches,
        batch_images=load.batch,
        transitions=transitions,
        express_requests=children,
        history_events=parent.events,
        largest_state_bytes=largest_state(),
        seconds=seconds,
        lambda_requests=sum(calls.values()),
        lambda_gb_seconds=sum(gb_seconds.values()),
        s3=requests,
        table=units,
        cost=cost,
        endpoint_hours=hours,
        endpoint_cost=None if hourly is None else hours * hourly,
        warnings=tuple(_warnings(design, load, taken, waited, times)),
    )


def largest_state() -> int:
    """Bytes of the largest input or output of any state of a run that goes well: SummarizeRun's answer.

    Made by the code that makes it, of a run whose worst images have keys as long as S3 allows and which failed for
    every reason there is. What a person types as a request is bounded by AWS before a run begins.
    """
    key = "s3://" + "b" * 63 + "/" + "k" * MAX_KEY_BYTES
    said = {"decision": "uncertain", "reason": "BelowThreshold", "label": "l" * 200, "confidence": 0.1}
    worst = {"s3_uri": key, **said, "threshold": 0.94}
    reasons = dict.fromkeys(digest.ADVICE, 10**6)
    run, started = "r" * 80, "2026-01-01T00:00:00.000Z"
    state = {"model": "m" * 63, "threshold": 0.94, "mode": "tolerant", "tolerated_percent": 0.0, "batches": 40_000}
    count = sum(reasons.values())
    event = {
        "run": run,
        "started": started,
        "execution": f"arn:aws:states:us-gov-west-1:111122223333:execution:{'s' * 80}:{run}",
        "state": {**state, "planned": count},
    }
    reduction = Reduction(
        batches=40_000, failed=count, reasons=reasons, model_versions=("v" * 64,) * 2, worst=(worst,) * WORST
    )
    summary = summary_of(event, reduction, finished=started, results_bucket="b" * 63, environment="e" * 20)
    answer = {"outcome": summary["cause"], "summary": summary["links"], "alert": digest.alert("e" * 20, summary)}
    return len(json.dumps(answer, ensure_ascii=False).encode())


def _with_queue(
    alone: Mapping[str, float], child: Walk, load: Load, times: Times, endpoint: Endpoint | None, at_once: int
) -> tuple[dict[str, float], float]:
    """Each function's seconds with those that it waits for the endpoint; and these, of one batch.

    By Little's law, batches that are processed at once take together no less than the endpoint needs for all of them:
    where it is the bottleneck, the rest of the time is spent, and paid for, in ClassifyImage.
    """
    if endpoint is None:
        return dict(alone), 0.0
    one = sum(alone[name] for name in child.functions)
    served = at_once * load.batch * times.infer / 1000 / endpoint.processors
    waited = max(0.0, served - one)
    return {**alone, "ClassifyImage": alone["ClassifyImage"] + waited}, waited


def _requests(works: Mapping[str, Work], calls: Mapping[str, int], at_once: int) -> dict[str, int]:
    """S3 requests of the whole run by kind; the Map reads the plan, and each FilterLowConfidence the policy once."""
    return {
        "get": round(sum(works[name].gets * count for name, count in calls.items())) + 1 + at_once,
        "put": round(sum(works[name].puts * count for name, count in calls.items())),
        "list": round(sum(works[name].lists * count for name, count in calls.items())),
    }


def _warnings(design: Design, load: Load, taken: Mapping[str, float], waited: float, times: Times) -> list[str]:
    """What would go wrong, or cost more than it needs to, in words."""
    found = [
        f"{name} would take {seconds:.0f} s, and is ended after {design.functions[name].timeout} s: "
        + ("use a manifest, or split the source" if name == "PlanRun" else "take fewer images a batch")
        for name, seconds in taken.items()
        if seconds > design.functions[name].timeout
    ]
    if design.backend == "custom-labels":
        found.append(
            "a Custom Labels version is paid by inference unit and hour, as long as it runs: that is not counted here"
        )
    request = waited / load.bodies + load.batch / load.bodies * times.infer / 1000
    if design.endpoint and request > ENDPOINT_READ:
        found.append(
            f"a request to the endpoint would take {request:.0f} s, and is given up after {ENDPOINT_READ:.0f} s: add "
            "instances, or lower max_concurrency"
        )
    elif waited > 0 and design.endpoint:
        own = design.endpoint.processors * sum(
            taken[name] for name in ("SerializeImageData", "ClassifyImage", "FilterLowConfidence")
        )
        enough = max(1, math.floor((own - design.endpoint.processors * waited) / (load.batch * times.infer / 1000)))
        found.append(
            f"the endpoint's {design.endpoint.processors} processors are the bottleneck, and batches wait "
            f"{waited:.1f} s each for them: max_concurrency {enough} would be as quick and cost less"
        )
    return found


def naive(design: Design, images: int, times: Times, prices: Prices) -> float:
    """US dollars of the usual design for as many images: an inline Map, three functions an image, base64 in the state.

    The functions are of the same memory and architecture. An execution's history ends it after about 1,470 images, so
    it takes many; that nobody starts for free is left out.
    """
    works = {
        "SerializeImageData": Work(gets=1, cpu_ms=times.decode, wait_ms=times.request),
        "ClassifyImage": Work(invokes=1, wait_ms=times.request + times.infer),
        "FilterLowConfidence": Work(cpu_ms=0.1),
    }
    functions = {name: design.functions[name] for name in works}
    compute = sum(
        works[name].seconds(one.memory) * one.memory / 1024 * prices.lambda_gb_second(one.architecture)
        for name, one in functions.items()
    )
    transitions = len(works) * prices.state_transitions_per_million / 1e6
    requests = len(works) * prices.lambda_requests_per_million / 1e6 + prices.s3_get_per_million / 1e6
    return images * (transitions + requests + compute)
