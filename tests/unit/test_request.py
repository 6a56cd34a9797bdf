"""Requests and manifests as people write them: defaults, refusals that say what to do, any key that S3 allows."""

import csv
import io
import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import ImageRef
from ics.errors import InvalidManifest, InvalidRequest
from ics.request import Images, Manifest, Prefix, RunRequest, parse_manifest, parse_request, split_uri


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
        ({"manifest": "s3://b/list.txt"}, "must end in .csv, .jsonl, .json"),
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


# --- manifests

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
REFS = st.lists(
    st.builds(
        ImageRef,
        bucket=st.text("abcdefghij.-0", min_size=3, max_size=12),
        key=KEYS,
        etag=st.text("0123456789abcdef", max_size=8),
        version=st.text("abcXYZ.", max_size=8),
    ),
    max_size=8,
)


def listed(key: str, content: bytes) -> list[ImageRef]:
    return list(parse_manifest(key, io.BytesIO(content)))


@given(REFS, st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trip(refs: list[ImageRef], s3: bool, bom: bool, line_end: str) -> None:
    out = io.StringIO()
    # Python's writer leaves a lone carriage return unquoted where lines end in a line feed; a reader must refuse that.
    quoting = csv.QUOTE_ALL if any("\r" in ref.key for ref in refs) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=line_end, quoting=quoting)
    writer.writerow(["s3_bucket", "s3_key", "etag", "version"] if s3 else ["bucket", "key", "etag", "version"])
    writer.writerows((ref.bucket, ref.key, ref.etag, ref.version) for ref in refs)
    assert listed("l.csv", out.getvalue().encode("utf-8-sig" if bom else "utf-8")) == refs


def _image(ref: ImageRef, form: int):
    if form == 0 and not ref.etag and not ref.version:
        return ref.uri
    names = ("bucket", "key") if form == 1 else ("s3_bucket", "s3_key")
    return {names[0]: ref.bucket, names[1]: ref.key, "etag": ref.etag, "version": ref.version}


@given(REFS, st.integers(0, 2), st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_json_lines_round_trip(refs: list[ImageRef], form: int, ascii_: bool, bom: bool, line_end: str) -> None:
    content = "".join(json.dumps(_image(ref, form), ensure_ascii=ascii_) + line_end for ref in refs)
    assert listed("l.jsonl", content.encode("utf-8-sig" if bom else "utf-8")) == refs


@given(REFS, st.integers(0, 2), st.booleans(), st.booleans(), st.sampled_from([None, 1]))
def test_json_round_trip(refs: list[ImageRef], form: int, wrapped: bool, bom: bool, indent: int | None) -> None:
    images = [_image(ref, form) for ref in refs]
    content = json.dumps({"images": images} if wrapped else images, indent=indent, ensure_ascii=False)
    assert listed("l.json", content.encode("utf-8-sig" if bom else "utf-8")) == refs


@pytest.mark.parametrize(
    ("key", "content", "line", "says"),
    [
        ("l.csv", b"b,k\n", 1, "the header must be bucket,key or s3_bucket,s3_key"),
        ("l.csv", b"\n\ns3://b/k\n", 3, "the header must be"),
        ("l.csv", b"bucket,s3_bucket,key\n", 1, "the header must be"),
        ("l.csv", b"bucket,key\nb,k\nb\n", 3, "1 fields where the header has 2"),
        ("l.csv", b"bucket,key\nb,k,x\n", 2, "3 fields where the header has 2"),
        ("l.csv", b"bucket,key\nb,\n", 2, "s3_key is missing or empty"),
        ("l.csv", b"bucket,key,size\nb,k,3\n", 2, "unknown key 'size'"),
        ("l.csv", b'bucket,key\nb,"k\nb,k2\n', 3, "unexpected end of data"),
        ("l.csv", b'bucket,key\nb,"a\nb"\nb\n', 4, "1 fields"),  # the quoted key spans two lines
        ("l.csv", b"bucket,key\nb,\xff\n", 2, "not UTF-8"),
        ("l.csv", b"bucket,key\nb," + b"k" * 1025 + b"\n", 2, "1,025 bytes"),
        ("l.csv", b"bucket,key\nb," + b"k" * 200_000 + b"\n", 2, "field larger than field limit"),
        ("l.jsonl", b'"s3://b/k"\n\n"b/k"\n', 3, "not of the form"),
        ("l.jsonl", b"s3://b/k\n", 1, "not JSON"),
        ("l.jsonl", b'"s3://b/k"\n{"bucket": "b"}\n', 2, "s3_key is missing"),
        ("l.jsonl", b"[" * 100_000, 1, "not JSON"),
        ("l.jsonl", b"9" * 5000, 1, "not JSON"),
        ("l.jsonl", b'"s3://b/k"\n\xff\n', 2, "not UTF-8"),
        ("l.jsonl", b'{"bucket": "b", "key": "\\ud800"}\n', 1, "surrogates"),
        ("l.json", b'["s3://b/k",\n"b/k"]', 2, "not of the form"),
        ("l.json", b'["s3://b/k",\n', 2, "not JSON"),
        ("l.json", b"", 1, "not JSON"),
        ("l.json", b'{"bucket": "b", "key": "k"}', 1, "expected one array of images"),
        ("l.json", b"[" * 100_000, 1, "not JSON"),
        ("l.json", b"[" + b"9" * 5000 + b"]", 1, "not JSON"),
    ],
)
def test_an_error_names_its_line(key: str, content: bytes, line: int, says: str) -> None:
    with pytest.raises(InvalidManifest, match=says) as caught:
        listed(key, content)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"\n\n", b"bucket,key\n"])
def test_an_empty_csv_lists_nothing(content: bytes) -> None:
    assert listed("l.csv", content) == []


def test_another_ending_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidRequest, match=r"must end in \.csv, \.jsonl, \.json"):
        parse_manifest("list.xlsx", iter(()))


@pytest.mark.parametrize(
    ("key", "first", "line"),
    [("l.csv", b"bucket,key\n", b"b,k%d\n"), ("l.jsonl", b'"s3://b/k"\n', b'"s3://b/k%d"\n')],
)
def test_lines_are_read_only_as_images_are_taken(key: str, first: bytes, line: bytes) -> None:
    taken = itertools.count()

    def endless() -> Iterator[bytes]:
        yield first
        for number in taken:
            yield line % number

    assert len(list(itertools.islice(parse_manifest(key, endless()), 100))) == 100
    assert next(taken) <= 102


@given(st.sampled_from(["l.csv", "l.jsonl", "l.json"]), st.binary(max_size=60))
def test_any_manifest_is_read_or_refused(key: str, content: bytes) -> None:
    try:
        refs = listed(key, b"bucket,key\n" + content if key == "l.csv" else content)
    except InvalidManifest:
        return
    assert all(ref.uri.encode() for ref in refs)
