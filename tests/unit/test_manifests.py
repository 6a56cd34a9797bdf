"""Manifests as people and programs write them: every form read, constant memory, refusals that name the line."""

import csv
import gzip
import io
import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import manifests
from ics.contracts import ImageRef
from ics.errors import InvalidManifest, InvalidRequest
from ics.manifests import parse_manifest

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
    return [ref for ref, _ in parse_manifest(key, io.BytesIO(content))]


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
        ("l.csv", b"bucket,key,mode\nb,k,3\n", 2, "unknown key 'mode'"),
        ("l.csv", b"bucket,key,size\nb,k,-3\n", 2, "size is '-3'; it must be a number of bytes"),
        ("l.csv", b"bucket,key,size\nb,k,1e3\n", 2, "size is '1e3'"),
        ("l.csv", b"bucket,key,size\nb,k," + b"9" * 200 + b"\n", 2, "size is '999"),
        ("l.csv", b'bucket,key\nb,"k\nb,k2\n', 3, "unexpected end of data"),
        ("l.csv", b'bucket,key\nb,"a\nb"\nb\n', 4, "1 fields"),  # the quoted key spans two lines
        ("l.csv", b"bucket,key\nb,\xff\n", 2, "not UTF-8"),
        ("l.csv", b"bucket,key\nb," + b"k" * 1025 + b"\n", 2, "1,025 bytes"),
        ("l.csv", b"bucket,key\nb," + b"k" * 200_000 + b"\n", 2, "field larger than field limit"),
        ("l.csv", b"bucket,key\nb,k\nb," + b"k" * 300_000, 3, "longer than 262,144 bytes"),
        ("l.jsonl", b'"s3://b/k"\n\n"b/k"\n', 3, "not of the form"),
        ("l.jsonl", b"s3://b/k\n", 1, "not JSON"),
        ("l.jsonl", b'"s3://b/k"\n{"bucket": "b"}\n', 2, "s3_key is missing"),
        ("l.jsonl", b"[" * 100_000, 1, "not JSON"),
        ("l.jsonl", b"9" * 5000, 1, "not JSON"),
        ("l.jsonl", b'"s3://b/k"\n\xff\n', 2, "not UTF-8"),
        ("l.jsonl", b'{"bucket": "b", "key": "\\ud800"}\n', 1, "surrogates"),
        ("l.jsonl", b'{"bucket": "b", "key": "k", "size": true}\n', 1, "size is 'True'"),
        ("l.jsonl", b'{"bucket": "b", "key": "k", "size": -1}\n', 1, "size is '-1'"),
        ("l.jsonl", b'{"bucket": "b", "key": "k", "size": [1]}\n', 1, "it must be a number of bytes"),
        ("l.jsonl", b'"s3://b/k"\n"' + b"k" * 300_000, 2, "longer than 262,144 bytes"),
        ("l.jsonl.gz", b'"s3://b/k"\n', 1, "the gzip data cannot be read"),
        ("l.jsonl.gz", b"", 1, "it ends too early"),
        ("l.jsonl.gz", gzip.compress(b'"s3://b/k"\n"b/k"\n', mtime=0), 2, "not of the form"),
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
    with pytest.raises(InvalidRequest, match=r"must end in \.csv, \.csv\.gz, \.jsonl, \.jsonl\.gz, \.json"):
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


SIZED = [
    ("l.csv", b"bucket,key,size\nb,k,12\nb,k2,\n"),
    ("l.jsonl", b'{"bucket":"b","key":"k","size":12}\n"s3://b/k2"\n'),
]


@pytest.mark.parametrize(("key", "content"), SIZED)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_sizes_are_taken_wherever_the_bytes_are_cut(key: str, content: bytes, cut: int) -> None:
    for name, data in ((key, content), (key + ".gz", gzip.compress(content))):
        chunks = [data[start : start + cut] for start in range(0, len(data), cut)]
        assert list(parse_manifest(name, chunks)) == [(ImageRef("b", "k"), 12), (ImageRef("b", "k2"), 0)]


def test_gzip_members_one_behind_the_other_are_one_manifest() -> None:
    parts = [gzip.compress(f'"s3://b/{number}"\n'.encode()) for number in range(5)]
    assert [ref.key for ref in listed("L.JSONL.GZ", b"".join(parts) + bytes(512))] == ["0", "1", "2", "3", "4"]
    with pytest.raises(InvalidManifest, match="line 6: the gzip data cannot be read: it ends too early"):
        listed("l.jsonl.gz", b"".join(parts)[:-9])
    with pytest.raises(InvalidManifest, match="line 6: the gzip data cannot be read"):
        listed("l.jsonl.gz", b"".join(parts) + b"rest")


def test_a_manifest_that_lists_nothing_for_long_is_looked_at_all_the_while() -> None:
    class Enough(Exception):
        pass

    pieces = iter(range(40))

    def tick() -> None:
        if next(pieces, None) is None:
            raise Enough

    bomb = gzip.compress(b"\n" * (64 * manifests.PIECE))
    assert len(bomb) < manifests.PIECE
    with pytest.raises(Enough):
        list(parse_manifest("l.jsonl.gz", [bomb], tick))


def test_a_json_array_has_a_limit_that_names_json_lines() -> None:
    def endless() -> Iterator[bytes]:
        yield b"["
        while True:
            yield b'"s3://b/k",\n' * 10_000

    with pytest.raises(InvalidManifest, match=r"16,777,216 bytes; write \.jsonl"):
        list(parse_manifest("l.json", endless()))
