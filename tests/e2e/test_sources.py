"""The three sources of images, and what a request that cannot be planned gets."""

import json
from collections.abc import Callable

import pytest

from cli.deployment import Deployment
from tests.e2e.harness import Ended

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]


def test_images_prefix_and_each_manifest_classify_the_same(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    bucket = deployment.images_bucket
    keys = [put(f"pictures/{number}.png", digits[number]) for number in range(5)]
    csv = put("list.csv", ("s3_bucket,s3_key\n" + "".join(f"{bucket},{key}\n" for key in keys)).encode())
    jsonl = put("list.jsonl", "".join(json.dumps({"bucket": bucket, "key": key}) + "\n" for key in keys).encode())
    array = put("list.json", json.dumps([f"s3://{bucket}/{key}" for key in keys]).encode())
    requests = [
        {"images": [{"s3_bucket": bucket, "s3_key": keys[0]}, *(f"s3://{bucket}/{key}" for key in keys[1:])]},
        {"prefix": f"s3://{bucket}/{keys[0].rpartition('/')[0]}/"},
        *({"manifest": f"s3://{bucket}/{manifest}"} for manifest in (csv, jsonl, array)),
    ]
    ended = [finish(request) for request in requests]
    said = [[(row["s3_uri"], row["image_id"], row["label"], row["confidence"]) for row in one.rows] for one in ended]
    assert len(said[0]) == 5
    assert all(one == said[0] for one in said[1:])


def test_a_prefix_is_a_string_not_a_folder(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    wanted = put("day-1/a.png", digits[0])
    put("day-2/a.png", digits[1])
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key=f"{wanted.rpartition('/')[0]}/folder/", Body=b"")
    ended = finish({"prefix": f"s3://{deployment.images_bucket}/{wanted.rpartition('-1/')[0]}-1"})
    assert [row["s3_uri"] for row in ended.rows] == [f"s3://{deployment.images_bucket}/{wanted}"]


REFUSED = {
    "unknown key": ({"prefix": "s3://b/p", "treshold": 0.5}, "InvalidRequest", "treshold"),
    "no source": ({"threshold": 0.5}, "InvalidRequest", "exactly one"),
    "two sources": ({"prefix": "s3://b/p", "manifest": "s3://b/m.csv"}, "InvalidRequest", "exactly one"),
    "bad threshold": ({"prefix": "s3://b/p", "threshold": 94}, "InvalidRequest", "threshold"),
    "unknown model": ({"prefix": "s3://b/p", "model": "letters"}, "InvalidRequest", "digits"),
    "no object": (["s3://b/p"], "InvalidRequest", "JSON object"),
    "too many images": ({"images": ["s3://b/k"] * 101}, "InvalidRequest", "manifest"),
    "missing bucket": ({"prefix": "s3://no-such-bucket-of-ours/p"}, "SourceNotFound", "no-such-bucket-of-ours"),
    "missing manifest": ({"manifest": "s3://IMAGES/no/list.csv"}, "SourceNotFound", "no/list.csv"),
    "own bucket": ({"prefix": "s3://RESULTS/"}, "SourceUnsafe", "own files"),
    "empty prefix": ({"prefix": "s3://IMAGES/nothing/here/"}, "EmptySource", "nothing/here/"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_cannot_be_planned_fails_with_its_name_and_an_alert(
    name: str, deployment: Deployment, finish: Finish
) -> None:
    request, error, says = REFUSED[name]
    buckets = {"IMAGES": deployment.images_bucket, "RESULTS": deployment.results_bucket}
    text = json.dumps(request)
    for placeholder, bucket in buckets.items():
        text = text.replace(placeholder, bucket)
    ended = finish(json.loads(text))  # which also asserts the alert
    assert ended.execution["status"] == "FAILED"
    assert ended.execution["error"] == error
    assert says in ended.execution["cause"]
    assert ended.summary["planned"] == 0


def test_an_unreadable_manifest_names_the_line(deployment: Deployment, put: Put, finish: Finish) -> None:
    manifest = put("list.jsonl", b'"s3://b/one.png"\n"s3://b/two.png"\n{"bucket": "b"}\n')
    ended = finish({"manifest": f"s3://{deployment.images_bucket}/{manifest}"})
    assert ended.execution["error"] == "InvalidManifest"
    assert "line 3" in ended.execution["cause"]
