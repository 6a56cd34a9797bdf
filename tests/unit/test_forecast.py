"""What a run is predicted to cost: by hand where it can be counted by hand, and what must hold for any run."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.forecast import Design, Endpoint, Function, forecast, largest_state, naive
from ics.prices import prices_from
from ics.work import ITEMS, MAIL_READS, MAIL_WRITES, QUEUED, Load, Times
from lambdas import review_queue, table

ROOT = Path(__file__).parents[2]
PRICES = prices_from(tomllib.loads((ROOT / "cli" / "prices.toml").read_text("utf-8")))
FUNCTIONS = {
    name: Function(1769, "arm64", 900)
    for name in (
        "PlanRun",
        "SerializeImageData",
        "ClassifyImage",
        "FilterLowConfidence",
        "SummarizeRun",
        "MakeContactSheet",
    )
}
DESIGN = Design(
    definition=json.loads((ROOT / "statemachine" / "classify_images.asl.json").read_text("utf-8")),
    functions=FUNCTIONS,
    max_concurrency=12,
    endpoint=Endpoint("ml.c6g.large", 2),
)
FREE = Times(decode=0, infer=0, request=0, start=0)


def load(images: int, batches: int, objects: int | None = None, image_bytes: int = 500) -> Load:
    return Load(images=images, batches=batches, objects=objects or images, image_bytes=image_bytes, listed=images)


def test_the_requests_of_a_run_are_those_that_its_steps_make() -> None:
    found = forecast(DESIGN, load(250, 3), Times(), PRICES)
    # The plan; the policy, its copy, PlanRun's answer; of each batch a range of images.jsonl, a body, the staged
    # list, the predictions, and its receipt; a summary that may be there; the worst images, their list, and the sheet
    # that is written twice.
    assert found.s3 == {"get": 1 + 1 + 3 + 250 + 3 * 4 + 3 + 1 + 25, "put": 4 + 3 * 5 + 2 + 2, "list": 1}
    assert found.lambda_requests == 3 + 3 * 3
    assert found.cost["s3"] == pytest.approx((296 * 0.4 + (23 + 1) * 5) / 1e6)
    assert found.cost["sns"] == pytest.approx(0.5e-6)


def test_images_that_wait_for_reviewers_are_two_items_each_and_at_most_fifty_a_batch() -> None:
    reviewed = replace(DESIGN, reviews=True)

    def writes(doubted: float, design: Design = reviewed, **more: int) -> int:
        return forecast(design, replace(load(1000, 10), doubted=doubted, **more), FREE, PRICES).table["writes"]

    assert writes(0) == MAIL_WRITES
    assert writes(0.02) == 10 * 2 * 2 + MAIL_WRITES
    assert writes(1) == 10 * QUEUED * 2 + MAIL_WRITES
    assert writes(1, DESIGN) == MAIL_WRITES  # nobody reviews
    # What was uploaded is noted, once, whether it waits or not.
    assert writes(0, uploaded=1000) == 1000 + MAIL_WRITES
    assert writes(0.02, uploaded=1000) == 1000 + 20 + MAIL_WRITES
    assert writes(0, DESIGN, uploaded=1000) == MAIL_WRITES


def test_the_ledger_costs_what_the_operations_page_says() -> None:
    asked = replace(load(1_000_000, 10_000), skip_classified=True)
    plain, ledger = (forecast(DESIGN, one, FREE, PRICES) for one in (load(1_000_000, 10_000), asked))
    assert ledger.cost["dynamodb"] - plain.cost["dynamodb"] == pytest.approx(1.375)
    unknown = forecast(DESIGN, replace(asked, listed=0), FREE, PRICES)  # without etags nothing can be looked up
    assert unknown.table["reads"] == MAIL_READS
    waiting = Times(decode=0, infer=0, request=0, start=0)
    assert forecast(DESIGN, asked, waiting, PRICES).cost["lambda"] > plain.cost["lambda"]


def test_what_is_counted_is_what_the_functions_do() -> None:
    assert (QUEUED, ITEMS) == (review_queue.PER_BATCH, table.MAX_WRITTEN)
    assert (ITEMS, 4 * ITEMS) == (table.MAX_STATEMENTS, table.MAX_READ)


def test_bodies_beyond_the_endpoints_limit_are_more_requests() -> None:
    one, four = (forecast(DESIGN, load(100, 1, image_bytes=size), Times(), PRICES) for size in (62_000, 250_000))
    assert one.s3["put"] + 2 * 3 == four.s3["put"]  # bodies and predictions, of three more bodies
    assert one.s3["get"] + 2 * 3 == four.s3["get"]


def test_compute_is_paid_by_memory_architecture_and_share_of_a_processor() -> None:
    times = replace(FREE, decode=10.0)
    arm = forecast(DESIGN, load(1000, 10), times, PRICES)
    still = forecast(DESIGN, load(1000, 10), FREE, PRICES)
    paid = 1000 * 0.010 * 1769 / 1024 * PRICES.lambda_arm64_gb_second
    assert arm.cost["lambda"] - still.cost["lambda"] == pytest.approx(paid)
    half = {**FUNCTIONS, "SerializeImageData": Function(885, "x86_64", 900)}  # half the processor, twice the time
    x86 = forecast(replace(DESIGN, functions=half), load(1000, 10), times, PRICES)
    x86_still = forecast(replace(DESIGN, functions=half), load(1000, 10), FREE, PRICES)
    price = PRICES.lambda_x86_64_gb_second / PRICES.lambda_arm64_gb_second
    assert x86.cost["lambda"] - x86_still.cost["lambda"] == pytest.approx(paid * price)


def test_waiting_for_a_busy_endpoint_is_paid_and_said_and_ends_where_fewer_batches_ask() -> None:
    run = load(1_000_000, 10_000)
    few, many = (forecast(replace(DESIGN, max_concurrency=most), run, Times(), PRICES) for most in (12, 200))
    assert many.cost["lambda"] > 2 * few.cost["lambda"]
    assert (len(few.warnings), len(many.warnings)) == (0, 1)
    enough = int(many.warnings[0].partition("max_concurrency ")[2].split()[0])
    as_told = forecast(replace(DESIGN, max_concurrency=enough), run, Times(), PRICES)
    assert as_told.warnings == ()
    assert as_told.seconds < 1.15 * many.seconds
    assert as_told.seconds > 1_000_000 * 0.005 / 4  # what the endpoint's four processors need, whoever asks


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batches": 200}, "a request to the endpoint would take"),
        ({"batches": 1_000}, "SerializeImageData would take 1000"),
    ],
)
def test_what_would_time_out_is_said(changed: dict[str, int], told: str) -> None:
    slow = Times(decode=1000) if told.startswith("Serialize") else Times(infer=100)
    design = replace(DESIGN, max_concurrency=12)
    warnings = forecast(design, load(1_000_000, changed["batches"]), slow, PRICES).warnings
    assert any(told in warning for warning in warnings)


@given(st.integers(1, 40_000_000), st.integers(1, 1000), st.integers(1, 10_000), st.sampled_from(["large", "4xlarge"]))
def test_any_run_costs_something_of_each_service_and_keeps_the_history_short(
    images: int, batch: int, at_once: int, size: str
) -> None:
    design = replace(DESIGN, max_concurrency=at_once, endpoint=Endpoint(f"ml.c6g.{size}", 1))
    found = forecast(design, load(images, -(-images // batch)), Times(), PRICES)
    assert all(cost > 0 for cost in found.cost.values())
    assert found.cost_usd == pytest.approx(sum(found.cost.values()))
    assert found.history_events < 200
    assert found.transitions > found.batches / 40
    assert found.seconds > images * 0.005 / design.endpoint.processors
    assert found.endpoint_cost is None or found.endpoint_cost > 0
    assert (found.endpoint_cost is None) == (size == "4xlarge")


def test_an_instances_processors_follow_from_its_size() -> None:
    sizes = {"ml.t2.medium": 1, "ml.c6g.large": 2, "ml.c6g.xlarge": 4, "ml.c7i.12xlarge": 48}
    assert {kind: Endpoint(kind, 1).processors for kind in sizes} == sizes
    assert Endpoint("ml.c6g.xlarge", 3).processors == 12


def test_the_largest_state_stays_far_below_what_aws_allows() -> None:
    assert 10_000 < largest_state() < 262_144 / 4


def test_the_usual_design_costs_about_78_dollars_a_million() -> None:
    """Three transitions an image alone are 75."""
    assert 75 < naive(DESIGN, 1_000_000, Times(), PRICES) < 80


def test_a_net_in_the_function_is_paid_as_its_time_and_no_endpoint_is() -> None:
    times = replace(FREE, infer=5.0)
    inside, still = (
        forecast(replace(DESIGN, endpoint=None, backend="lambda"), load(1000, 10), one, PRICES) for one in (times, FREE)
    )
    paid = 1000 * 0.005 * 1769 / 1024 * PRICES.lambda_arm64_gb_second
    assert inside.cost["lambda"] - still.cost["lambda"] == pytest.approx(paid)
    assert (inside.endpoint_hours, inside.endpoint_cost) == (0, 0)
    assert inside.cost_usd == sum(inside.cost.values())


def test_rekognition_is_paid_by_image_and_its_bodies_are_small() -> None:
    found = forecast(replace(DESIGN, endpoint=None, backend="rekognition"), load(1000, 40), FREE, PRICES)
    assert found.cost["rekognition"] == pytest.approx(1.0)
    # Three bodies of at most ten a batch of 25; the policy is read by PlanRun and by twelve functions at once.
    assert found.s3["get"] == 1 + 1000 + 40 * (1 + 3 + 1 + 3) + 40 + 1 + 1 + 12 + 25
    assert found.lambda_requests == 3 + 3 * 40


def test_custom_labels_are_asked_by_image_and_not_paid_so_which_is_said() -> None:
    design = replace(DESIGN, endpoint=None, backend="custom-labels")
    found = forecast(design, load(1000, 40), FREE, PRICES)
    other = forecast(replace(design, backend="rekognition"), load(1000, 40), FREE, PRICES)
    assert "rekognition" not in found.cost
    assert (found.s3, found.seconds) == (other.s3, other.seconds)
    (warning,) = set(found.warnings) - set(other.warnings)
    assert "paid by inference unit and hour" in warning
