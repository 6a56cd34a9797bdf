"""Cutting a run into batches: nothing lost, every limit kept, whatever its size."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import batches
from ics.batches import BatchCutter, Span
from ics.contracts import ImageRef
from ics.errors import RunTooLarge

REFS = st.builds(
    ImageRef,
    bucket=st.just("b"),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    etag=st.sampled_from(["", "e"]),
    version=st.sampled_from(["", "v"]),
)
IMAGES = st.lists(st.tuples(REFS, st.integers(0, 100)), max_size=120)


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Map of at most 6 children of at most 16 images."""
    monkeypatch.setattr(batches, "MAX_BATCHES", 6)
    monkeypatch.setattr(batches, "MAX_BATCH_IMAGES", 16)


def cut(images: list[tuple[ImageRef, int]], batch_images: int, source_bytes: int) -> tuple[list[bytes], list[Span]]:
    cutter = BatchCutter(batch_images, source_bytes)
    lines = [cutter.add(*image) for image in images]
    assert cutter.images == len(images)
    return lines, cutter.spans()


def check(images: list[tuple[ImageRef, int]], lines: list[bytes], spans: list[Span], source_bytes: int) -> None:
    """The spans tile images.jsonl; each holds whole lines, as many and as large as it says, and keeps its limit."""
    content, offset, first = b"".join(lines), 0, 0
    for span in spans:
        assert span.offset == offset
        offset += span.length
        held = content[span.offset : offset].splitlines(keepends=True)
        assert held == lines[first : first + span.images]
        assert span.images == len(held) > 0
        assert span.source_bytes == sum(size for _, size in images[first : first + span.images])
        assert span.source_bytes <= source_bytes or span.images == 1
        first += span.images
    assert (offset, first) == (len(content), len(images))
    assert [ImageRef(**json.loads(line)) for line in lines] == [ref for ref, _ in images]


@given(IMAGES, st.integers(1, 16), st.integers(50, 400))
def test_batches_tile_the_run_and_keep_their_limits(images, batch_images: int, source_bytes: int) -> None:
    lines, spans = cut(images, batch_images, source_bytes)
    check(images, lines, spans, source_bytes)
    assert all(span.images <= batch_images for span in spans)


@pytest.mark.usefixtures("small_map")
def test_more_batches_than_a_map_holds_are_merged() -> None:
    @given(IMAGES, st.integers(1, 16), st.integers(50, 2000))
    def merged(images, batch_images: int, source_bytes: int) -> None:
        try:
            lines, spans = cut(images, batch_images, source_bytes)
        except RunTooLarge:
            # Rightly so: of any two neighbours, one batch would hold too many images or too many bytes.
            assert len(images) / 16 + sum(size for _, size in images) / source_bytes > 6 / 2
            return
        check(images, lines, spans, source_bytes)
        assert len(spans) <= 6
        assert all(span.images <= 16 for span in spans)

    merged()


@pytest.mark.usefixtures("small_map")
def test_a_run_may_fill_the_map_to_its_last_image() -> None:
    images = [(ImageRef("b", f"{number:03}"), 0) for number in range(6 * 16)]
    lines, spans = cut(images, 1, 100)
    check(images, lines, spans, 100)
    assert [span.images for span in spans] == [16] * 6
    with pytest.raises(RunTooLarge, match=r"more than 6 batches of up to 16 images and 100 bytes, .*; split"):
        cut([*images, images[0]], 1, 100)


@pytest.mark.usefixtures("small_map")
def test_large_images_fill_the_map_where_merging_cannot_help() -> None:
    images = [(ImageRef("b", f"{number:03}"), 10) for number in range(7)]
    assert len(cut(images[:6], 1, 10)[1]) == 6
    with pytest.raises(RunTooLarge):
        cut(images, 1, 10)


# --- shards

PIECES = st.lists(
    st.one_of(
        st.builds(lambda key, size: [(ImageRef("b", key), size)], st.sampled_from("abc"), st.integers(0, 100)),
        st.builds(
            lambda shard, sizes, broken: [
                *(
                    (ImageRef("b", f"{shard}.tar", "e", member=f"{n}.png", offset=512 + 1000 * n, size=size), size)
                    if size < 90
                    else (ImageRef("b", f"{shard}.tar", "e", "", f"{n}.png", 512 + 1000 * n, size, "ObjectTooLarge"), 0)
                    for n, size in enumerate(sizes)
                ),
                *([(ImageRef("b", f"{shard}.tar", fault="BrokenShard"), 0)] if broken or not sizes else []),
            ],
            st.sampled_from("xy"),
            st.lists(st.integers(0, 100), max_size=40),
            st.booleans(),
        ),
    ),
    max_size=12,
)


def check_shards(images: list[tuple[ImageRef, int]], lines: list[bytes], spans: list[Span], most: int) -> None:
    """The spans tile images.jsonl; each reads one range of one shard at most, in its order, within the bytes."""
    offset, first = 0, 0
    for span in spans:
        assert (span.offset, span.length) == (offset, sum(map(len, lines[first : first + span.images])))
        refs = [ref for ref, _ in images[first : first + span.images] if ref.member and not ref.fault]
        assert len({ref.key for ref in refs}) <= 1
        assert sorted(refs, key=lambda ref: ref.offset) == refs
        if refs:
            assert not [ref for ref, _ in images[first : first + span.images] if not ref.member and not ref.fault]
            assert (span.shard, span.start) == (f"s3://b/{refs[0].key}", refs[0].offset)
            assert span.start + span.source_bytes == refs[-1].offset + refs[-1].size
            assert span.source_bytes <= most or len(refs) == 1
        offset, first = offset + span.length, first + span.images
    assert (offset, first) == (sum(map(len, lines)), len(images))


@given(PIECES, st.integers(1, 16), st.integers(100, 30_000))
def test_a_batch_reads_one_range_of_one_shard(pieces, batch_images: int, source_bytes: int) -> None:
    images = [image for piece in pieces for image in piece]
    lines, spans = cut(images, batch_images, source_bytes)
    check_shards(images, lines, spans, source_bytes)
    assert all(span.images <= batch_images for span in spans)
    assert [ImageRef(**json.loads(line)) for line in lines] == [ref for ref, _ in images]


@pytest.mark.usefixtures("small_map")
def test_shards_are_merged_only_with_themselves() -> None:
    @given(PIECES, st.integers(1, 16))
    def merged(pieces, batch_images: int) -> None:
        images = [image for piece in pieces for image in piece]
        try:
            lines, spans = cut(images, batch_images, 30_000)
        except RunTooLarge:
            return
        check_shards(images, lines, spans, 30_000)
        assert len(spans) <= 6

    merged()


def shard(number: int, members: int, step: int = 1024) -> list[tuple[ImageRef, int]]:
    return [
        (ImageRef("b", f"{number}.tar", "e", member=f"{n}.png", offset=512 + n * step, size=300), 300)
        for n in range(members)
    ]


@pytest.mark.parametrize(("batch_images", "expected"), [(100, [1000, 500, 1000, 500]), (50, [50] * 60)])
def test_a_thousand_images_of_a_shard_are_one_batch_unless_the_model_is_slow(batch_images, expected) -> None:
    _, spans = cut(shard(1, 1500) + shard(2, 1500), batch_images, 256_000_000)
    assert [span.images for span in spans] == expected


def test_a_batch_of_a_shard_reads_no_more_than_a_function_holds() -> None:
    _, spans = cut(shard(1, 1000, step=1_000_000), 100, 10**12)
    assert [span.images for span in spans] == [256, 256, 256, 232]
    assert max(span.source_bytes for span in spans) <= batches.MAX_RANGE


def test_the_real_limits_are_those_of_the_map() -> None:
    assert batches.MAX_BATCHES * len("{},") < 256 * 1024  # the Map's output: one array of {}
    assert batches.MAX_BATCHES * batches.MAX_BATCH_IMAGES == 40_000_000


@pytest.mark.usefixtures("small_map")
def test_even_batches_are_as_many_as_the_cutter_makes() -> None:
    @given(st.integers(1, 120), st.integers(1, 16))
    def even(images: int, batch_images: int) -> None:
        refs = [(ImageRef("b", f"{number:03}"), 0) for number in range(images)]
        try:
            expected = len(cut(refs, batch_images, 100)[1])
        except RunTooLarge:
            with pytest.raises(RunTooLarge, match="split the source"):
                batches.even_batches(images, batch_images)
        else:
            assert batches.even_batches(images, batch_images) == expected

    even()


@given(st.integers(1, 60), st.integers(1, 10))
def test_a_plan_has_every_batch_once_in_order_and_no_child_too_many(count: int, a_child: int) -> None:
    spans = [Span(number * 7, 7, 1, 0) for number in range(count)]
    lines = list(batches.plan_lines(batches.batches_of("r", spans), a_child))
    planned = batches.planned_batches(b"".join(lines))
    assert planned == [{"run": "r", "batch": n, "offset": 7 * n, "length": 7} for n in range(count)]
    assert len(lines) == -(-count // a_child)
    assert all(len(json.loads(line)["batches"]) <= a_child for line in lines)


@given(st.integers(1, 10_000))
def test_as_many_batches_as_allowed_are_processed_at_once_or_few_less(at_once: int) -> None:
    a_child = batches.child_batches(at_once)
    assert 1 <= a_child <= batches.MAX_CHILD_BATCHES
    assert 0.9 * at_once < at_once // a_child * a_child <= at_once  # not 10 of 19
