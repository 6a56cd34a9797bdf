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
    with pytest.raises(RunTooLarge, match="more than 6 batches of up to 16 images and 100 bytes; split the source"):
        cut([*images, images[0]], 1, 100)


@pytest.mark.usefixtures("small_map")
def test_large_images_fill_the_map_where_merging_cannot_help() -> None:
    images = [(ImageRef("b", f"{number:03}"), 10) for number in range(7)]
    assert len(cut(images[:6], 1, 10)[1]) == 6
    with pytest.raises(RunTooLarge):
        cut(images, 1, 10)


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
