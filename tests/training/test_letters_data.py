"""Reading letters: packed bits, and pen tracks that are drawn as pictures; damaged files are refused by their fault."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data import DataError
from training.letters import (
    MARGIN,
    PAGE,
    PENS,
    Track,
    drawn,
    load_packed_letters,
    load_tracks,
    packed_letters,
    pen_tracks,
)
from training.pictures import prepared
from training.recipe import RecipeError, load_recipe

LETTERS = load_recipe("cyrillic-letters")


def packed(seed=0, count=60):
    """Arrays as in cmnist.npz: three letters and one that is not Russian, in three parts."""
    random = np.random.default_rng(seed)
    return {
        "images_packed": random.integers(0, 256, (count, 98), np.uint8),
        "label33": np.tile([0, 1, 2, -1], count // 4).astype(np.int8),
        "split": np.repeat([0, 1, 2], count // 3).astype(np.uint8),
        "alphabet33": np.array(["Д", "Ж", "Ё"]),
    }


def track(label="ё", writer=1, **changed):
    """Two strokes: one up, then, after a pause, one to the right."""
    return {
        "writer": writer,
        "label": label,
        "x": [0, 0, 5, 10],
        "y": [0, 20, 0, 0],
        "dt_ms": [9000, 10, 46, 10],
    } | changed


def written(path, *lines):
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def test_packed_letters_come_out_as_they_were_in_their_parts(tmp_path):
    arrays = packed()
    pictures = np.random.default_rng(1).integers(0, 2, (60, 28, 28), np.uint8)
    np.savez(tmp_path / "letters.npz", **arrays | {"images_packed": np.packbits(pictures.reshape(60, -1), axis=1)})
    alphabet, parts = load_packed_letters(tmp_path / "letters.npz")
    assert alphabet == ("Д", "Ж", "Ё")
    for number, part in enumerate(parts):
        rows = np.flatnonzero((arrays["split"] == number) & (arrays["label33"] >= 0))
        assert (part.images[..., 0] == pictures[rows] * 255).all()
        assert (part.labels == arrays["label33"][rows]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label33": None}, "lacks the arrays label33"),
        ({"images_packed": np.zeros((60, 97), np.uint8)}, r"\[N, 98\], not uint8 \(60, 97\)"),
        ({"images_packed": np.zeros((60, 98), np.int64)}, "not int64"),
        ({"images_packed": np.uint8(3)}, r"not uint8 \(\)"),
        ({"label33": np.zeros(59, np.int8)}, "label33 must be 60 whole numbers"),
        ({"label33": np.zeros(60)}, "not float64"),
        ({"label33": np.full(60, 3, np.int8)}, r"outside -1\.\.2"),
        ({"label33": np.full(60, -2, np.int8)}, r"outside -1\.\.2"),
        ({"split": np.full(60, 3, np.uint8)}, r"outside 0\.\.2"),
        ({"alphabet33": np.arange(3)}, "alphabet33 must be a list of letters"),
        ({"alphabet33": np.array([{}], object)}, "cannot be read as an npz file"),  # pickled: never unpickled
    ],
)
def test_unusable_arrays_are_refused_by_what_is_wrong(tmp_path, change, message):
    arrays = {name: array for name, array in (packed() | change).items() if array is not None}
    np.savez(tmp_path / "letters.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_packed_letters(tmp_path / "letters.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("letters") / "whole.npz"
    np.savez_compressed(path, **packed())
    return path


@given(st.data())
def test_a_damaged_npz_is_refused_or_read_as_it_was(whole, data):
    content = whole.read_bytes()
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "at")]
    else:
        place = data.draw(st.integers(0, len(content) - 1), "place")
        content = content[:place] + bytes([data.draw(st.integers(0, 255), "byte")]) + content[place + 1 :]
    damaged = whole.with_name("damaged.npz")
    damaged.write_bytes(content)
    try:
        alphabet, parts = load_packed_letters(damaged)
    except DataError:
        return
    before = load_packed_letters(whole)
    assert alphabet == before[0]
    for part, other in zip(parts, before[1], strict=True):
        assert (part.images == other.images).all()
        assert (part.labels == other.labels).all()


@pytest.mark.parametrize("nothing", ["", "none.npz"])
def test_missing_letters_are_named(tmp_path, nothing):
    with pytest.raises(DataError, match="no such file"):
        load_packed_letters(tmp_path / nothing)


def test_every_bad_line_is_told_and_the_others_are_read(tmp_path):
    bad = {
        b"{": "EOF",
        b"\xff\xfe": "unicode|utf|expected value",
        b"[" * 100_000: "recursion|EOF|expected",
        b"[]": "object|dictionary|instance",
        json.dumps(track(x=[1, 2, 3])).encode(): "3 x, 4 y and 4 dt_ms",
        json.dumps(track(x=[], y=[], dt_ms=[])).encode(): "x: .*at least 1",
        json.dumps(track(label="")).encode(): "label: .*at least 1",
        json.dumps(track(label=None)).encode(): "label: .*string",
        json.dumps(track(y=["0"] * 4)).encode(): "y.0: .*number",
        json.dumps(track(y=[1e300] * 4)).encode(): "y.0: .*1000000",
        json.dumps(track(y=[float("nan")] * 4)).encode(): "y.0: .*(finite|greater)",
        json.dumps(track(y=[float("inf")] * 4)).encode(): "y.0: .*(finite|less)",
        b'{"writer": 1, "label": "a", "x": [' + b"9" * 5000 + b'], "y": [1], "dt_ms": [1]}': "x.0|number",
        b'{"label": "a", "x": [1], "y": [1], "dt_ms": [1]}': "writer: .*required",
    }
    path = written(tmp_path / "tracks.jsonl", track("д"), b"", *bad, b" \r", track("ж", session="more is fine"))
    tracks, skipped = load_tracks(path)
    assert [each.label for each in tracks] == ["д", "ж"]
    assert [each.source for each in skipped] == [f"tracks.jsonl, line {number}" for number in range(3, 3 + len(bad))]
    for reason, each in zip(bad.values(), skipped, strict=True):
        assert re.search(reason, each.reason, re.IGNORECASE), each


def test_a_file_without_any_track_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no track; tracks\.jsonl, line 1: Invalid JSON"):
        load_tracks(written(tmp_path / "tracks.jsonl", b"{"))
    with pytest.raises(DataError, match=r"has no track$"):
        load_tracks(written(tmp_path / "tracks.jsonl"))
    with pytest.raises(DataError, match="no such file"):
        load_tracks(tmp_path / "none.jsonl")


def only(path, made):
    (one,) = load_tracks(written(path, made))[0]
    return one


def test_a_track_is_drawn_upright_with_the_pen_lifted_between_strokes(tmp_path):
    page = drawn(only(tmp_path / "t.jsonl", track()), pen=0.1)
    ink = page < 128
    rows, columns = np.nonzero(ink)
    free = PAGE * MARGIN
    assert page.shape == (PAGE, PAGE)
    assert page.dtype == np.uint8
    # the first stroke is the left edge of the box around the writing, the second half of its lower edge: y grows upward
    line = 0.1 * PAGE * (1 - 2 * MARGIN)
    assert rows.min() == pytest.approx(free - line / 2, abs=2)
    assert rows.max() == pytest.approx(PAGE - free + line / 2, abs=2)
    assert ink[: PAGE // 2].any(axis=0).sum() == pytest.approx(line, abs=3)  # above, only the upright
    bottom = ink[int(PAGE - free)]
    assert bottom[: PAGE // 2].any()
    assert bottom[PAGE // 2 :].any()
    gap = slice(int(columns.min() + line + 2), int(PAGE / 2 - line / 2 - 2))
    assert gap.stop - gap.start > 5
    assert not ink[:, gap].any()  # nothing is drawn where the pen was up
    joined = drawn(only(tmp_path / "t.jsonl", track(dt_ms=[9000, 10, 45, 10])), pen=0.1)
    assert (joined < 128)[:, gap].any()


def test_a_dot_is_seen():
    page = drawn(Track(writer=1, label=".", x=[3.0], y=[3.0], dt_ms=[0.0]), pen=0.1)
    rows, columns = np.nonzero(page < 128)
    assert rows.mean() == pytest.approx(PAGE / 2, abs=1)
    assert columns.mean() == pytest.approx(PAGE / 2, abs=1)
    assert 30 < len(rows) < 200


@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2, st.floats(0, 1e6)), min_size=1, max_size=30), st.floats(0.01, 0.3)
)
def test_any_track_is_drawn_within_its_page(points, pen):
    x, y, times = (list(values) for values in zip(*points, strict=True))
    page = drawn(Track(writer=1, label="д", x=x, y=y, dt_ms=times), pen)
    assert page.min() < 255  # there is ink, and none at the border
    free = int(PAGE * (MARGIN - pen / 2)) - 2
    if free > 0:
        assert (page[:free] == 255).all()
        assert (page[:, :free] == 255).all()
        assert (page[-free:] == 255).all()
        assert (page[:, -free:] == 255).all()


def folder_of(tmp_path, *tracks):
    options = LETTERS.data.options
    for name in options.values():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / options["letters"], **packed())
    written(tmp_path / options["tracks"], *tracks)
    return tmp_path


def test_tracks_are_measured_beside_the_letters_in_one_case_and_never_learned(tmp_path):
    folder = folder_of(tmp_path, track("ё", 1), track("Ж", 2), track("слово"), track("7"), track("ю"), b"{")
    dataset = packed_letters(LETTERS, folder, 0)
    assert dataset.labels == ("Д", "Ж", "Ё")
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [15, 15, 15]
    assert len(dataset.elsewhere) == 2
    for described, part in dataset.elsewhere.items():
        assert "2 other writers" in described
        assert part.labels.tolist() == [2, 1]
        assert part.images.shape == (2, 28, 28, 1)
        assert part.images[:, 0].max() == 0  # light on dark, with a margin
        assert part.images.max() > 128
    assert [each.source for each in dataset.skipped] == ["tracks.jsonl, line 6"]
    alone = packed_letters(LETTERS, folder / LETTERS.data.options["letters"], 0)
    assert (alone.train.images == dataset.train.images).all()
    assert not alone.elsewhere


def test_a_folder_without_its_parts_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file.*cmnist\.npz"):
        packed_letters(LETTERS, tmp_path, 0)
    folder = folder_of(tmp_path, track("слово"))
    with pytest.raises(DataError, match="no track is of one of Д Ж Ё"):
        packed_letters(LETTERS, folder, 0)
    (folder / LETTERS.data.options["tracks"]).unlink()
    with pytest.raises(DataError, match=r"no such file.*tracks\.jsonl"):
        packed_letters(LETTERS, folder, 0)


@pytest.mark.parametrize("options", [{}, {"letters": "a", "tracks": 3}, {"letters": "a", "tracks": "b", "c": "d"}])
def test_other_options_are_refused(tmp_path, options):
    recipe = dataclasses.replace(LETTERS, data=dataclasses.replace(LETTERS.data, options=options))
    with pytest.raises(RecipeError, match="letters and tracks"):
        packed_letters(recipe, tmp_path, 0)


def test_tracks_alone_are_parted_by_writer(tmp_path):
    tracks = [
        track(label, writer, x=[0, writer, 40, 30 + 7 * number], y=[0, 20, number, 3])
        for writer in range(10)
        for number, label in enumerate("дЖ7")
    ]
    path = written(tmp_path / "tracks.jsonl", *tracks, track("слово"))
    dataset = pen_tracks(LETTERS, path, 0)
    assert dataset.labels == ("7", "Д", "Ж")
    letters = [each for each in load_tracks(path)[0] if len(each.label) == 1]
    images = prepared([drawn(each, PENS["a pen"]) for each in letters], LETTERS.input)
    writer_of = {image.tobytes(): each.writer for image, each in zip(images, letters, strict=True)}
    assert len(writer_of) == 30
    parts = [dataset.train, dataset.validation, dataset.test]
    writers = [{writer_of[image.tobytes()] for image in part.images} for part in parts]
    assert [len(part) for part in parts] == [3 * len(some) for some in writers]
    assert sorted(writer for some in writers for writer in some) == list(range(10))
    assert len(writers[2]) == 2
    with pytest.raises(DataError, match="three writers"):
        pen_tracks(LETTERS, written(tmp_path / "tracks.jsonl", *tracks[:6]), 0)
