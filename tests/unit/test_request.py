"""Requests and manifests as people write them: defaults, refusals that say what to do, any key that S3 allows."""

import pytest

from ics.contracts import ImageRef
from ics.errors import InvalidRequest
from ics.request import Images, Manifest, Prefix, RunRequest, parse_request, split_uri


def parsed(**request) -> RunRequest:
    return parse_request(request, models=["letters", "digits"], default_model="digits")


def test_what_is_left_out_is_filled_in() -> None:
    assert parsed(prefix="s3://b/in/") == RunRequest(Prefix("b", "in/"), "digits", None, "strict", 100.0)


def test_everything_can_be_said() -> None:
    request = parsed(manifest="s3://b/l.CSV", model="letters", threshold=0, mode="tolerant", tolerated_percent=2.5)
    assert request == RunRequest(Manifest("b", "l.CSV"), "letters", 0.0, "tolerant", 2.5)


@pytest.mark.parametrize(
    "image",
    [
        "s3://b/k",
        {"s3_bucket": "b", "s3_key": "k"},
        {"bucket": "b", "key": "k"},
        {"s3_bucket": "b", "s3_key": "k", "etag": None, "version": ""},
    ],
)
def test_an_image_is_named_in_either_way(image) -> None:
    assert parsed(images=[image]).source == Images((ImageRef("b", "k"),))


def test_an_etag_loses_its_quotes() -> None:
    image = {"s3_bucket": "b", "s3_key": "k", "etag": '"abc"', "version": "v1"}
    assert parsed(images=[image]).source == Images((ImageRef("b", "k", "abc", "v1"),))


@pytest.mark.parametrize(
    "key",
    ["a b.png", "a+b.png", "a%2Bb.png", "привет/день.png", "日本/🙂.png", " leading", "a//b", "?x#y", "й" * 512],
    ids=lambda key: key[:12],
)
def test_keys_are_never_decoded_or_changed(key: str) -> None:
    assert split_uri(f"s3://b/{key}") == ("b", key)
    assert parsed(images=[f"s3://b/{key}", {"bucket": "b", "key": key}]).source == Images((ImageRef("b", key),) * 2)
    assert parsed(prefix=f"s3://b/{key}").source == Prefix("b", key)


ONE = ["s3://b/k"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({}, "exactly one of images, prefix or manifest, or resume alone; found none"),
        ({"images": ONE, "prefix": "s3://b"}, "found images and prefix"),
        ({"images": ONE, "treshold": 0.9}, "unknown key 'treshold'; allowed are: .*threshold"),
        ({"images": ONE, "x" * 10_000: 1}, "unknown key"),
        ({"images": []}, "at least one image"),
        ({"images": "s3://b/k"}, "must be a list"),
        ({"images": ONE * 101}, "101 images in the request; the limit is 100: write them to a manifest"),
        ({"images": [*ONE, "b/k"]}, "image 2: 'b/k' is not of the form s3://bucket/key"),
        ({"images": [*ONE, "http://b/k"]}, "image 2: .* is not of the form"),
        ({"images": ["s3://b"]}, "image 1: s3_key is missing or empty"),
        ({"images": [7]}, "image 1: expected an s3:// URI or an object"),
        ({"images": [{"s3_bucket": "b"}]}, "image 1: s3_key is missing"),
        ({"images": [{"s3_bucket": "", "s3_key": "k"}]}, "image 1: s3_bucket is missing or empty"),
        ({"images": [{"s3_bucket": "b", "s3_key": 7}]}, "image 1: s3_key is missing"),
        ({"images": [{"s3_bucket": "b", "s3_key": "k", "name": "x"}]}, "unknown key 'name'; allowed are: s3_bucket"),
        ({"images": [{"s3_bucket": "b", "bucket": "c", "s3_key": "k"}]}, "given twice"),
        ({"images": [{"s3_bucket": "b", "s3_key": "k", "etag": 7}]}, "etag and version must be strings"),
        ({"images": [{"s3_bucket": "b", "s3_key": "й" * 513}]}, r"1,026 bytes; S3 allows 1,024"),
        ({"images": ["s3://b/" + "k" * 1025]}, r"1,025 bytes; S3 allows 1,024"),
        ({"images": ["s3://b/\ud800"]}, "surrogates"),
        ({"images": [{"s3_bucket": "\ud800", "s3_key": "k"}]}, "surrogates"),
        ({"prefix": "b/k"}, "prefix: 'b/k' is not of the form s3://bucket/key"),
        ({"prefix": "s3:///k"}, "prefix: .* is not of the form"),
        ({"prefix": None}, "prefix must be a string of the form s3://bucket/key"),
        ({"manifest": "s3://b/list.txt"}, "must end in .csv, .csv.gz, .jsonl, .jsonl.gz, .json"),
        ({"manifest": ["s3://b/l.csv"]}, "manifest must be a string"),
        ({"images": ONE, "model": "cats"}, "no model 'cats' in this environment; it has: digits, letters"),
        ({"images": ONE, "model": ["cats"]}, "no model"),
        ({"images": ONE, "threshold": 94}, "threshold is 94; it must be a number from 0 to 1"),
        ({"images": ONE, "threshold": "0.9"}, "threshold is '0.9'"),
        ({"images": ONE, "threshold": True}, "threshold is True"),
        ({"images": ONE, "threshold": None}, "threshold is None"),
        ({"images": ONE, "threshold": float("nan")}, "threshold is nan"),
        ({"images": ONE, "mode": "lenient"}, "mode is 'lenient'; it must be strict or tolerant"),
        ({"images": ONE, "mode": ["strict"]}, "mode is"),
        ({"images": ONE, "tolerated_percent": 5}, "add mode: tolerant"),
        ({"images": ONE, "mode": "tolerant", "tolerated_percent": 101}, "from 0 to 100"),
    ],
)
def test_a_refusal_says_what_to_do(request_, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        parsed(**request_)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("request_", [None, [], "s3://b/k", 7])
def test_a_request_is_an_object(request_) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_request(request_, models=["digits"], default_model="digits")
