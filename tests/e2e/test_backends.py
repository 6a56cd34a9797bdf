"""One state machine, three backends: an endpoint, the same net inside a function, and (the local) Rekognition."""

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.deployment import Deployment
from ics import paths
from ics.contracts import Batch, fields_of
from ics.wire import request_line
from local.control import LocalAws
from tests.e2e.harness import Ended
from tests.rehearsal import set_faults

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]
OF_THE_RUN = ("model", "run", "inference_id", "decided_at")


@pytest.fixture
def uploaded(deployment: Deployment, put: Put) -> Callable[[str, bytes], str]:
    return lambda name, content: f"s3://{deployment.images_bucket}/{put(name, content)}"


@pytest.fixture
def broken(aws: LocalAws) -> Iterator[Callable[..., None]]:
    """Tell the local Rekognition which faults to have, for the length of a test."""
    yield partial(set_faults, aws, "rekognition")
    set_faults(aws, "rekognition")


def small(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(out, "PNG")
    return out.getvalue()


def test_rows_of_a_net_inside_a_function_are_the_endpoints_to_the_bit(
    uploaded: Put, finish: Finish, digits: list[bytes]
) -> None:
    for number, content in enumerate(digits[:200]):
        uri = uploaded(f"{number:03d}.png", content)
    uploaded("text.png", b"milk, bread")
    asked = {"prefix": uri.rpartition("/")[0] + "/", "mode": "tolerant", "tolerated_percent": 100}
    by_endpoint, inside = (finish({**asked, "model": model}).rows for model in ("digits", "digits-in-lambda"))

    def comparable(rows: list[dict[str, Any]]) -> list[str]:
        kept = ({name: value for name, value in row.items() if name not in OF_THE_RUN} for row in rows)
        return sorted(json.dumps(row) for row in kept)

    assert len(inside) == 201
    assert comparable(inside) == comparable(by_endpoint)
    assert {row["model"] for row in inside} == {"digits-in-lambda"}
    places = [(row["inference_id"], row["line"]) for row in inside if row["decision"] != "failed"]
    assert len(set(places)) == 200, "each row names its own line of a staged body"


def test_a_batch_that_rekognition_cannot_all_take_fails_only_what_it_cannot_by_name(
    uploaded: Put, finish: Finish
) -> None:
    uris = [
        uploaded("plain.png", small(300)),
        uploaded("text.jpg", b"milk, bread"),
        uploaded("tiny.png", small(20)),
        uploaded("eighty.png", small(80)),
    ]
    ended = finish({"images": uris, "model": "objects"})
    assert ended.reasons() == {
        "plain.png": "NothingFound",
        "text.jpg": "NotAnImage",
        "tiny.png": "ImageTooSmall",
        "eighty.png": "NothingFound",
    }
    found = next(row for row in ended.rows if row["s3_uri"].endswith("plain.png"))
    assert (found["decision"], found["label"], found["boxes"]) == ("uncertain", "", [])
    assert found["model_version"].startswith("opencv-4.")


def test_people_on_photos_get_labels_and_boxes(uploaded: Put, finish: Finish) -> None:
    data = os.environ.get("ICS_DATA")
    if not data or not (Path(data) / "coco128").is_dir():
        pytest.skip("ICS_DATA names no folder with coco128")
    photos = sorted((Path(data) / "coco128" / "images" / "val2017").glob("*.jpg"))[:40]
    for path in photos:
        uri = uploaded(path.name, path.read_bytes())
    rows = finish({"prefix": uri.rpartition("/")[0] + "/", "model": "objects", "mode": "tolerant"}).rows
    labelled = [row for row in rows if row["label"]]
    assert len(labelled) >= 5
    for row in labelled:
        assert {row["label"], *(one["label"] for one in row["alternatives"])} <= {"Person", "Face"}
        assert row["boxes"]
        assert row["boxes"][0]["confidence"] == row["confidence"] >= 0.55
        for box in row["boxes"]:
            assert 0 <= box["left"] <= box["left"] + box["width"] <= 1 + 1e-9
            assert 0 <= box["top"] <= box["top"] + box["height"] <= 1 + 1e-9


BAD_DAYS = {
    "throttled a while": ({"kind": "throttle", "times": 3}, "NothingFound"),
    "unavailable a while": ({"kind": "unavailable", "times": 3}, "NothingFound"),
    "nonsense once": ({"kind": "nonsense"}, "NothingFound"),
    "throttled": ({"kind": "throttle", "times": 10_000}, "EndpointThrottled"),
    "unavailable": ({"kind": "unavailable", "times": 10_000}, "EndpointUnavailable"),
    "nonsense": ({"kind": "nonsense", "times": 10_000}, "InvalidAnswer"),
}


@pytest.mark.parametrize("name", BAD_DAYS)
def test_on_a_bad_day_of_rekognition_every_image_is_accounted_for_by_name(
    name: str, uploaded: Put, finish: Finish, broken: Callable[..., None]
) -> None:
    fault, reason = BAD_DAYS[name]
    uris = [uploaded("plain.png", small(300)), uploaded("tiny.png", small(20))]
    broken(fault)
    assert finish({"images": uris, "model": "objects"}).reasons() == {"plain.png": reason, "tiny.png": "ImageTooSmall"}


def test_an_image_that_the_net_inside_a_function_cannot_take_fails_alone(
    deployment: Deployment, uploaded: Put, digits: list[bytes]
) -> None:
    """What SerializeImageData stages is what the net takes; so the function is given a staged body with a bad line."""

    batch = Batch(f"bad-{time.time_ns()}", "2026-01-01T00:00:00Z", "digits-in-lambda", 0.94, 0, 0, 0)
    lines = [request_line(f"{number:064x}", content) for number, content in enumerate((digits[0], b"bad", digits[1]))]
    place = {"Bucket": deployment.working_bucket, "Key": paths.staged_body(batch, 0)}
    deployment.s3.put_object(**place, Body=b"".join(lines))
    event = {"batch": {**fields_of(batch), "staged": {"bodies": 1}}, "retry": 0, "entered": "2099-01-01T00:00:00+00:00"}
    answer = deployment.functions.invoke(
        FunctionName="ics-local-classify-in-lambda-digits-in-lambda", Payload=json.dumps(event)
    )
    assert json.loads(answer["Payload"].read()) == {"sent": 1}
    place["Key"] = paths.predictions(batch, 0)
    staged = [json.loads(line) for line in deployment.s3.get_object(**place)["Body"].read().splitlines()]
    assert [one.get("reason") for one in staged] == [None, "ModelRefused", None]
