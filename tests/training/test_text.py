"""Text models from fonts, handwriting and transcribed lines to an artifact, on tiny made-up data; needs torch."""

# ruff: noqa: RUF001

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")
matplotlib = pytest.importorskip("matplotlib", reason="its DejaVu fonts have Russian letters")

from ics.artifact import load_spec  # noqa: E402
from ics.imaging import prepare  # noqa: E402
from serving.model import load_model, open_graph  # noqa: E402
from training import glyphs, text  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.data import DataError  # noqa: E402
from training.export import to_onnx  # noqa: E402
from training.nets import LineNet  # noqa: E402
from training.recipe import RecipeError, load_recipe  # noqa: E402

pytestmark = pytest.mark.train

DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SHIPPED = load_recipe("cyrillic-text")
OPTIONS = {
    **SHIPPED.data.options,
    "test_fonts": ["DejaVuSerif"],
    "validation_fonts": ["DejaVuSansMono"],
    "steps": 8,
    "validation_lines": 12,
    "watched_lines": 6,
}
LANGUAGE = OPTIONS["language"]
RECIPE = dataclasses.replace(
    SHIPPED,
    data=dataclasses.replace(SHIPPED.data, options=OPTIONS, validation=0.25),
    net=dataclasses.replace(SHIPPED.net, options={"channels": [4, 4, 8, 8], "columns": 16}),
    schedule=dataclasses.replace(SHIPPED.schedule, epochs=1, batch=4),
)


@pytest.fixture(autouse=True)
def _few_fonts_and_words(monkeypatch, tmp_path):
    """As if `npm ci --prefix training/fonts` had brought three fonts and a small dictionary; one thread."""
    fonts = tmp_path / "fonts"
    (fonts / "node_modules" / "dictionary-ru").mkdir(parents=True)
    letters = "абвгдежзиклмнопрстуфхцчшщьюя"
    words = [f"{one}{two}а{one}" for one in letters for two in letters]
    (fonts / "node_modules" / "dictionary-ru" / "index.dic").write_text("\n".join(["784", *words]), "utf-8")
    (fonts / "node_modules" / "dictionary-ru" / "index.aff").write_text("SFX A Y 1\nSFX A   а   ы   а\n", "utf-8")
    faces = [DEJAVU / f"{name}.ttf" for name in ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif")]
    monkeypatch.setattr(text, "FONTS", fonts / "node_modules")
    monkeypatch.setattr(text, "find_fonts", lambda _folder, charset: glyphs.read_fonts(faces, charset))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(path, words, paper=235):
    """A scan of a line, dark on light."""
    image = Image.new("L", (24 * len(words) + 20, 48), paper)
    ImageDraw.Draw(image).text((10, 4), words, fill=30, font=ImageFont.truetype(DEJAVU / "DejaVuSans.ttf", 30))
    image.save(path)


@pytest.fixture
def kaggle(tmp_path):
    """Kaggle's layout: two tables and their folders, with all that may be wrong in one of them."""
    folder = tmp_path / "kaggle"
    for part, rows in (("train", 12), ("test", 3)):
        (folder / part).mkdir(parents=True)
        table = []
        for number in range(rows):
            picture(folder / part / f"{number}.png", f"строка {number}")
            table.append(f"{number}.png\tстрока {number}")
        (folder / f"{part}.tsv").write_text("\n".join(table) + "\n", "utf-8")
    picture(folder / "train" / "long.png", "оченьдлинная")
    (folder / "train" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk" * 20)
    with (folder / "train.tsv").open("a", encoding="utf-8") as table:
        table.write('0.png\t"кавычки\n')  # 13: a quote is a character
        table.write("none.png\tнет картинки\n")  # 14
        table.write("1.png\t \n")  # 15
        table.write(f"long.png\t{'д' * 41}\n")  # 16
        table.write("2.png\tLatin и §\n")  # 17
        table.write("broken.png\tиспорчена\n")  # 18
        table.write("3.png без табуляции\n")  # 19
    return folder


def test_every_row_that_cannot_be_used_is_told_with_its_reason(kaggle):
    read, skipped = text.read_transcribed(kaggle / "train.tsv", RECIPE)
    assert [true for true, _ in read] == [*(f"строка {number}" for number in range(12)), '"кавычки']
    assert all(image.shape == (32, 512, 1) and image.max() > 120 for _, image in read)
    reasons = {one.source: one.reason for one in skipped}
    assert set(reasons) == {f"train.tsv:{row}" for row in range(14, 20)}
    assert "no such picture: none.png" in reasons["train.tsv:14"]
    assert reasons["train.tsv:15"] == "no text"
    assert reasons["train.tsv:16"] == "41 characters; at most 40 are read"
    assert reasons["train.tsv:17"] == "characters that the recipe does not have: L a i n t §"
    assert reasons["train.tsv:18"].startswith("TruncatedImage")
    assert reasons["train.tsv:19"] == "no tab"


def test_transcribed_lines_are_learned_and_tested_beside_drawn_ones(kaggle):
    data = text.load(RECIPE, kaggle, 0)
    assert [share for share, _ in data.sources] == [0.48, 1.0]
    assert next(iter(data.tests)) == "kaggle, test.tsv"
    assert data.tests["kaggle, test.tsv"].texts == ("строка 0", "строка 1", "строка 2")
    assert len(data.validation) == 12 + 3
    held = set(data.validation.texts) & {'"кавычки', *(f"строка {number}" for number in range(12))}
    drawn = {data.sources[1][1](random.Random(seed), 1, 40).text for seed in range(200)}
    assert len(held) + len(drawn) == 13
    assert not held & drawn
    assert len(data.skipped) == 6


def test_a_recipe_becomes_an_artifact_that_reads(kaggle, tmp_path, monkeypatch):
    monkeypatch.setattr("training.command.load_recipe", lambda _name: RECIPE)
    monkeypatch.setattr(text, "TEST_LINES", 40)  # a net that has learned nothing yet takes long to read each
    out = tmp_path / "artifact"
    command = ["cyrillic-text", "--data", str(kaggle), "--out", str(out), "--threads", "1"]
    assert main([*command, "--checkpoint", str(tmp_path / "c.pt")]) == 0
    spec = load_spec(out)
    assert spec.kind == "text"
    assert spec.classes == 1 + len(SHIPPED.labels)
    assert spec.metrics["data"] == "kaggle, test.tsv"
    assert spec.metrics["cer"] > 0.5  # after 8 steps
    assert "fonts never seen (DejaVuSerif)" in (out / "card.md").read_text("utf-8")
    picture(tmp_path / "line.png", "слово")
    language = load_model(out).language
    assert language.letters == "абвгдежзиклмнопрстуфхцчшщьюя"
    assert dataclasses.asdict(language.weights).items() <= SHIPPED.data.options["language"].items()
    (prediction,) = load_model(out).predict([prepare((tmp_path / "line.png").read_bytes(), spec.input)])
    assert prediction.text is not None
    assert 0 <= prediction.confidence <= 1


def test_batches_are_the_same_again_and_others_in_another_epoch(tmp_path):
    task = text.task(RECIPE, text.load(RECIPE, text.FONTS, 0))

    def epoch(number):
        return list(task.batches(number, torch.Generator().manual_seed(number)))

    first, again, other = epoch(3), epoch(3), epoch(4)
    assert len(first) == task.steps == 8
    for (inputs, (symbols, frames)), (same, (same_symbols, same_frames)) in zip(first, again, strict=True):
        assert torch.equal(inputs, same)
        assert symbols == same_symbols
        assert torch.equal(frames, same_frames)
    assert [inputs.shape for inputs, _ in first] != [inputs.shape for inputs, _ in other]


def test_frames_say_characters_where_they_are():
    frames = text._by_frame([[7, 8], [], [9]], [[4.0, 30.0], [], []], 9)
    # 4 px is frame 1, 30 px frame 7; beside them CTC decides; of the others nothing is known
    assert frames[0].tolist() == [-1, 7, -1, 0, 0, 0, -1, 8, -1]
    assert frames[1:].unique().tolist() == [-1]


def test_the_loss_is_near_zero_for_what_is_right_and_large_for_what_is_not():
    task = text.task(RECIPE, text.load(RECIPE, text.FONTS, 0))
    logits = torch.zeros(1, 9, 1 + len(SHIPPED.labels))
    frames = text._by_frame([[7, 8]], [[4.0, 30.0]], 9)
    logits[0, torch.arange(9), frames[0].clamp(min=0)] = 20
    assert task.loss(logits, ([[7, 8]], frames)) < 1e-3
    assert task.loss(logits, ([[8, 7]], text._by_frame([[8, 7]], [[4.0, 30.0]], 9))) > 5


def test_temperature_is_the_one_that_right_lines_come_from():
    random_ = np.random.default_rng(0)
    logits = (random_.normal(size=(4000, 3, 4)) * 4).astype(np.float32)

    def read(temperature):
        return text._read(logits, ("",) * 4000, ("a", "b", "c"), temperature)

    said = read(2.0)
    right = random_.random(4000) < said.confidence
    truth = tuple(line if one else f"{line}x" for line, one in zip(said.said, right, strict=True))

    def against_truth(temperature):
        return text._read(logits, truth, ("a", "b", "c"), temperature)

    best = text.fit_temperature(against_truth)
    assert best == pytest.approx(2.0, rel=0.1)
    assert text.fit_temperature(against_truth, caution=0.05) > best


def test_a_line_is_the_same_to_the_bit_alone_and_among_others():
    torch.manual_seed(0)
    graph = open_graph(to_onnx(LineNet(20).eval(), SHIPPED.input))
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 512, 1), np.uint8)
    together = graph.run(None, {"image": images})[0]
    assert together.shape == (5, 128, 20)
    for number in range(5):
        assert graph.run(None, {"image": images[number : number + 1]})[0].tobytes() == together[number].tobytes()


def test_where_in_the_width_a_line_stands_makes_no_difference():
    torch.manual_seed(0)
    net, line = LineNet(20).eval(), torch.rand(1, 1, 32, 64)
    narrow, wide = torch.zeros(1, 1, 32, 256), torch.zeros(1, 1, 32, 512)
    narrow[..., 96:160], wide[..., 300:364] = line, line
    with torch.inference_mode():
        assert torch.allclose(net(narrow)[0, 18:46], net(wide)[0, 69:97], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "абва "}, "each of its characters once"),
        ({"labels": "абв"}, "and a space"),
        ({"options": {"test_fonts": ["Nowhere Sans"]}}, "no font Nowhere Sans"),
        ({"missing": "steps"}, "needs steps"),
        ({"options": {"language": {"order": 4}}}, "language: needs bonus, capital,"),
        ({"options": {"language": {**LANGUAGE, "order": 11}}}, "order: 11; it must be from 2 to 10"),
        ({"options": {"language": {**LANGUAGE, "forms": -1}}}, "forms: -1; it must be at least 0"),
        ({"options": {"language": {**LANGUAGE, "weight": "much"}}}, "weight is 'much'; it must be a number"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_told(tmp_path, changes, message):
    options = {**OPTIONS, **changes.get("options", {})}
    options.pop(changes.get("missing"), None)
    recipe = dataclasses.replace(
        RECIPE, labels=changes.get("labels", RECIPE.labels), data=dataclasses.replace(RECIPE.data, options=options)
    )
    with pytest.raises(RecipeError, match=message):
        text.load(recipe, text.FONTS, 0)


def test_a_recipe_without_a_language_makes_a_graph_without_one():
    options = {name: value for name, value in OPTIONS.items() if name != "language"}
    recipe = dataclasses.replace(RECIPE, data=dataclasses.replace(RECIPE.data, options=options))
    assert text.load(recipe, text.FONTS, 0).properties == {}


def test_the_same_lines_are_drawn_whether_there_is_a_language_or_none():
    options = {**OPTIONS, "language": {**LANGUAGE, "forms": 0}}
    recipe = dataclasses.replace(RECIPE, data=dataclasses.replace(RECIPE.data, options=options))
    one, other = text.load(recipe, text.FONTS, 0), text.load(RECIPE, text.FONTS, 0)
    assert (one.validation.texts, one.properties) == (other.validation.texts, other.properties)


def test_a_folder_of_nothing_is_told_and_own_fonts_are_learned_from(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(DataError, match="holds nothing to learn lines from"):
        text.load(RECIPE, folder, 0)
    (folder / "hand.ttf").symlink_to(DEJAVU / "DejaVuSans-Oblique.ttf")
    data = text.load(RECIPE, folder, 0)
    assert [share for share, _ in data.sources] == [0.48]
    (folder / "cyrillic.ttf").write_bytes(b"no font")
    with pytest.raises(DataError, match=r"cyrillic\.ttf is no font"):
        text.load(RECIPE, folder, 0)
