"""Drawn lines: they say what they show, are the same for the same seed, and broken sources are told by name."""

# ruff: noqa: RUF001

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fontTools", reason="lines are drawn with fonttools: pip install -r requirements-train.txt")
matplotlib = pytest.importorskip("matplotlib", reason="its DejaVu Sans has Russian letters")

from training import corpus, glyphs, lines  # noqa: E402
from training.data import DataError  # noqa: E402
from training.letters import Track  # noqa: E402

LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
CHARSET = " !-.0123456789" + LETTERS.upper() + LETTERS
WORDS = ["съешь", "ещё", "мягких", "французских", "булок"]
DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@pytest.fixture(scope="module")
def font():
    (found,) = glyphs.read_fonts([DEJAVU], CHARSET)
    return found


def dot(size=9):
    ink = np.zeros((30, 30), np.uint8)
    ink[10 : 10 + size, 10 : 10 + size] = 255
    return ink


def track(writer, label):
    return Track(writer=writer, label=label, x=[100, 120, 140], y=[210, 250, 210], dt_ms=[0, 10, 10])


@pytest.mark.parametrize("longest", [3, 8, 18, 40])
def test_texts_keep_to_the_charset_and_the_length(longest):
    rng = random.Random(longest)
    for _ in range(300):
        text = corpus.make_text(rng, WORDS, CHARSET, min(3, longest), longest)
        assert 1 <= len(text) <= longest
        assert text == " ".join(text.split())


def test_characters_are_where_a_set_line_says(font):
    line = glyphs.set_in_font("шот!", font, 40)
    alone = [glyphs.set_in_font(character, font, 40).ink.shape[1] for character in "шот!"]
    assert list(line.middles) == sorted(line.middles)
    # the ink ends about half a character beyond the outer middles
    assert line.middles[0] == pytest.approx(alone[0] / 2, abs=5)
    assert line.ink.shape[1] - line.middles[-1] == pytest.approx(alone[-1] / 2, abs=8)


def test_what_a_font_lacks_is_left_out_of_the_text(font):
    draw = glyphs.font_lines([font], ["слово"], CHARSET + "\U0001f600")
    rng = random.Random(0)
    texts = [draw(rng, 3, 12).text for _ in range(200)]
    assert all(texts)
    assert not any("\U0001f600" in text for text in texts)


def test_glyphs_stand_on_one_baseline_and_say_where_they_are():
    tall, low = glyphs.Glyph(np.full((30, 10), 255, np.uint8), -30), glyphs.Glyph(np.full((10, 10), 255, np.uint8), -2)
    line = glyphs.joined("ту т", [tall, low, None, tall], [4, 0, 20, 0], [0, 0, 0, 0])
    assert line.ink.shape == (38, 54)
    assert line.ink[:28, 14:24].max() == 0  # the low one hangs below the baseline
    assert line.ink[28:, 14:24].min() == 255
    assert list(line.middles) == [5, 19, 34, 49]


@pytest.mark.parametrize("seed", range(20))
def test_pictures_fit_the_model_and_keep_track_of_characters(font, seed):
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    line = glyphs.set_in_font("мама мыла раму", font, 36)
    picture, middles = lines.pictured(line, rng, noise, 512, 32)
    assert picture.shape[0] == 32
    assert picture.shape[1] <= 512
    assert picture.dtype == np.float32
    assert 0 <= picture.min() < picture.max() <= 1
    assert len(middles) == 14
    assert 0 <= min(middles) < max(middles) < picture.shape[1]
    again, _ = lines.pictured(line, random.Random(seed), np.random.default_rng(seed), 512, 32)
    assert np.array_equal(picture, again)


def test_a_line_as_served_is_light_on_dark_and_centred(font):
    from ics.artifact import InputSpec

    spec = InputSpec(tensor="image", width=512, height=32, colour="grey", polarity="light-on-dark")
    image = lines.as_served(glyphs.set_in_font("слово", font, 44).ink, spec, random.Random(0))
    assert image.shape == (32, 512, 1)
    there = np.flatnonzero(image[..., 0].max(axis=0) > 120)
    assert abs((there[0] + there[-1]) / 2 - 255.5) < 6
    assert image[:, :50].max() < 16


def test_a_prepared_picture_loses_what_prepare_put_around_it():
    image = np.zeros((32, 512), np.uint8)
    image[:, 200:300] = 40
    assert lines.without_borders(image).shape == (32, 100)
    assert lines.without_borders(np.zeros((32, 512), np.uint8)).shape == (32, 512)


def test_blank_ink_is_no_error():
    assert lines.trimmed(lines.Line("", np.zeros((9, 9), np.uint8))).ink.shape == (1, 1)
    assert lines.trimmed(lines.Line("о", dot(), [14.0])).middles == [4.0]


def test_words_are_parted_for_good(tmp_path):
    path = tmp_path / "ru.dic"
    words = [f"{one}{two}о" for one in LETTERS for two in LETTERS]
    path.write_text("\n".join([str(len(words)), *(f"{word}/A" for word in words), "latin", "х"]), "utf-8")
    learned, kept = corpus.load_words(path, LETTERS)
    assert not set(learned) & set(kept)
    assert set(learned) | set(kept) == set(words)
    assert 0.05 < len(kept) / len(words) < 0.15
    path.write_text("1\nслово\n", "utf-8")
    with pytest.raises(DataError, match="too few"):
        corpus.load_words(path, LETTERS)
    with pytest.raises(DataError, match="npm ci"):
        corpus.load_words(tmp_path / "none.dic", LETTERS)


def test_a_file_that_is_no_font_is_told(tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    with pytest.raises(DataError, match=r"broken\.ttf is no font"):
        glyphs.read_fonts([broken], CHARSET)
    with pytest.raises(DataError, match="npm ci"):
        glyphs.find_fonts(tmp_path, CHARSET)


def test_pens_draw_what_they_went():
    tracks = [glyphs.strokes_of(one) for one in (track(0, "л"), track(1, "да"), track(1, "ж"))]
    letters, words = glyphs.track_glyphs(tracks, 1, random.Random(0))
    assert {writer: list(found) for writer, found in letters.items()} == {0: ["л"], 1: ["ж"]}
    assert [label for label, _ in words] == ["да"]
    (glyph,) = letters[0]["л"]
    # 40 units high are 20 pixels, and a pen's width
    assert 18 <= glyph.ink.shape[0] <= 26
    assert -24 <= glyph.top <= -19


def test_a_pen_is_lifted_by_a_wait_and_by_a_jump():
    way = Track(writer=1, label="л", x=[0, 1, 2, 3, 90, 91], y=[0] * 6, dt_ms=[0, 10, 50, 10, 10, 10])
    assert [len(stroke) for stroke in glyphs.strokes_of(way).strokes] == [2, 2, 2]


def test_boxed_letters_get_the_sizes_of_their_forms(tmp_path):
    box = np.zeros((28, 28), np.uint8)
    box[4:24, 4:24] = 1
    bits = np.packbits(box.reshape(-1))
    rng = random.Random(0)
    heights = {c: len(glyphs.boxed_glyph(bits, c, rng, even=False).ink) for c in "абА"}
    assert heights["а"] < heights["б"]
    assert heights["а"] < heights["А"]
    below = glyphs.boxed_glyph(bits, "р", rng, even=False)
    assert below.top + len(below.ink) > 0
    np.savez(tmp_path / "c.npz", images_packed=bits[None], label33=[0], lower=[1], split=[0])
    with pytest.raises(DataError, match="lacks the arrays alphabet33"):
        glyphs.load_cmnist(tmp_path / "c.npz")
