"""Text models: what the training loop learns of drawn and written lines, and how well an exported graph reads them.

Connectionist temporal classification (Graves et al. 2006): class 0 is the blank, class k the k-th character.
"""

import dataclasses
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from ics.errors import ImageError, InvalidArtifact
from ics.imaging import prepare
from ics.measures import distance
from serving.ctc import read_line
from serving.language import PROPERTY, Language, Weights, weights_from_json
from serving.model import decode, language_of, open_graph
from training.augment import augmented, textures
from training.corpus import LONGEST, load_words, word_forms
from training.data import DataError, Skipped
from training.evaluate import THRESHOLD
from training.glyphs import (
    Draw,
    Font,
    Glyph,
    Letters,
    boxed_lines,
    collage_lines,
    find_fonts,
    font_lines,
    load_cmnist,
    read_fonts,
    strokes_of,
    track_glyphs,
    transcribed_lines,
    word_lines,
)
from training.language import learned
from training.letters import load_tracks
from training.lines import Ink, as_served, pictured, without_borders
from training.measures import Answers, figures
from training.nets import LINE_NETS
from training.recipe import Recipe, RecipeError
from training.report import Report
from training.samples import transcripts
from training.train import Task, outputs

FONTS = Path(__file__).parent / "fonts" / "node_modules"
"""Where `npm ci --prefix training/fonts` puts the fonts and the word list."""

OPTIONS = {
    "test_fonts",
    "validation_fonts",
    "test_writers",
    "validation_writers",
    "steps",
    "longer_from",
    "nothing",
    "validation_lines",
    "watched_lines",
}
"""What a text recipe says under data.options, `language` beside it; recipes/cyrillic-text.toml says what each is."""

LANGUAGE = {"order", "gain", "forms", *(field.name for field in dataclasses.fields(Weights))}
"""What a recipe says under data.options.language."""

LENGTHS = ((1, 3), (3, 8), (8, 18), (17, 40))
LENGTH_SHARES = (0.1, 0.55, 0.27, 0.08)
"""How many characters a line has, from and to, and how often. A net that reads words reads lines: most are short."""

POOL = 8
"""So many batches are drawn at once, and parted by width, so that little of a batch is padding."""

TEST_LINES = 400
"""So many lines of each kind are made to measure on."""


@dataclass(frozen=True)
class Lines:
    """Pictures of lines and what they say: uint8 [N, height, width, 1], as they are served, and N texts."""

    images: NDArray[np.uint8]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """What a text model learns from and is measured on.

    `sources` draw endless training lines, each for its share of them. `validation` chooses and calibrates: its first
    lines are of all its sources. `tests` are measured once, by description, in the order of interest. `drawn` is how
    many lines are drawn to learn from, in all epochs. `properties` are what the graph carries beside the net.
    """

    labels: tuple[str, ...]
    sources: tuple[tuple[float, Draw], ...]
    validation: Lines
    tests: Mapping[str, Lines]
    drawn: int
    skipped: tuple[Skipped, ...] = ()
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """How many lines there are of each part."""
        return {
            "train": self.drawn,
            "validation": len(self.validation),
            "test": sum(len(lines) for lines in self.tests.values()),
        }


def load(recipe: Recipe, path: Path, seed: int) -> TextData:
    """Fonts and words from FONTS, and what the folder `path` holds: handwriting, transcribed lines, more fonts.

    It may hold `russian-handwritings-tracked/` and `cmnist-cyrillic/` as development's data does, `train.tsv` and
    `test.tsv` with their pictures as Kaggle's `cyrillic-handwriting-dataset` does, and TTF or OTF files. FONTS itself,
    or the folder it is in, means that nothing else is learned from.

    Raises:
        DataError: fonts, words or handwriting are missing or broken, or `path` holds nothing of all this.
        RecipeError: the charset has a character twice or no space, or an option is missing or names no font.
    """
    charset, options = recipe.labels, recipe.data.options
    if missing := OPTIONS - options.keys():
        raise RecipeError(f"data.options: a text model needs {', '.join(sorted(missing))}")
    if len(set(charset)) != len(charset) or " " not in charset:
        raise RecipeError("labels: a charset has each of its characters once, and a space")
    rng = random.Random(seed)
    dictionary = FONTS / "dictionary-ru" / "index.dic"
    words, kept = load_words(dictionary, "".join(filter(str.isalpha, charset)))
    properties = _language(options["language"], dictionary, words, kept) if "language" in options else {}
    fonts = _fonts(recipe, path, words, kept)
    written = [*_tracks(recipe, path, words, kept, rng), *_boxed(recipe, path, words, kept)]
    validation = _drawn(
        [draw for one in (fonts, *written) for draw in one.held], options["validation_lines"], recipe, rng
    )
    tests = {
        described: _drawn([draw], count, recipe, rng)
        for one in (*written, fonts)
        for described, (draw, count) in one.tests.items()
    }
    shares = [share for one in (fonts, *written) for share in one.learned]
    skipped = tuple(row for one in written for row in one.skipped)
    if (path / "train.tsv").is_file():
        real, more, test, bad = _transcribed(recipe, path, rng)
        skipped += bad
        shares.append((1.0, transcribed_lines(real)))
        validation, tests = _interleaved(validation, more), {f"{path.name}, test.tsv": test, **tests}
    elif not written and not fonts.own and path.resolve() not in (FONTS.resolve(), FONTS.parent.resolve()):
        raise DataError(
            f"{path} holds nothing to learn lines from: no train.tsv, no cmnist-cyrillic/ or "
            f"russian-handwritings-tracked/, no fonts; --data training/fonts learns from the shipped fonts alone"
        )
    drawn = options["steps"] * recipe.schedule.batch * recipe.schedule.epochs
    return TextData(tuple(charset), tuple(shares), validation, tests, drawn, skipped, properties)


def _language(
    options: Mapping[str, Any], dictionary: Path, words: Sequence[str], kept: Sequence[str]
) -> dict[str, str]:
    """The property that holds the language of the words for training, the only ones that it is learned from."""
    if set(options) != LANGUAGE:
        raise RecipeError(f"data.options.language: needs {', '.join(sorted(LANGUAGE))}, and nothing else")
    if not (isinstance(options["order"], int) and 2 <= options["order"] <= 10):
        raise RecipeError(f"data.options.language.order: {options['order']!r}; it must be from 2 to 10")
    if not (isinstance(options["forms"], int) and options["forms"] >= 0):
        raise RecipeError(f"data.options.language.forms: {options['forms']!r}; it must be at least 0")
    if not isinstance(options["gain"], int | float):
        raise RecipeError(f"data.options.language.gain: {options['gain']!r}; it must be a number of nats")
    try:
        weights = weights_from_json({field.name: options[field.name] for field in dataclasses.fields(Weights)})
    except InvalidArtifact as error:
        raise RecipeError(f"data.options.language: {error}") from error
    forms = word_forms(dictionary, words, kept, options["forms"])
    return {PROPERTY: learned(forms, options["order"], options["gain"], weights)}


@dataclass(frozen=True)
class _Source:
    """What draws training lines and how often, validation lines, and tests by description with their sizes."""

    learned: Sequence[tuple[float, Draw]]
    held: Sequence[Draw]
    tests: Mapping[str, tuple[Draw, int]]
    own: bool = False
    skipped: tuple[Skipped, ...] = ()


def _fonts(recipe: Recipe, path: Path, words: Sequence[str], kept: Sequence[str]) -> _Source:
    """Texts in the fonts of FONTS, and in those at `path`, `own` where there are any."""
    charset, options = recipe.labels, recipe.data.options
    fonts = find_fonts(FONTS, charset)
    known = {font.family for font in fonts}
    apart = {*options["validation_fonts"], *options["test_fonts"]}
    if strange := apart - known:
        raise RecipeError(f"data.options: no font {', '.join(sorted(strange))}; there are: {', '.join(sorted(known))}")

    def among(families: Collection[str]) -> list[Font]:
        return [font for font in fonts if font.family in families]

    files = [file for folder in (path, path / "fonts") for kind in ("*.ttf", "*.otf") for file in folder.glob(kind)]
    own = read_fonts(files, charset) if files else []
    return _Source(
        learned=[(0.48, font_lines([*among(known - apart), *own], words, charset, by_hand=True))],
        held=[font_lines(among(options["validation_fonts"]), kept, charset)],
        tests={
            f"fonts never seen ({', '.join(options['test_fonts'])})": (
                font_lines(among(options["test_fonts"]), kept, charset),
                TEST_LINES,
            )
        },
        own=bool(own),
    )


def _tracks(
    recipe: Recipe, path: Path, words: Sequence[str], kept: Sequence[str], rng: random.Random
) -> Iterator[_Source]:
    """Collages of letters and whole words, as pens went; whole writers are kept aside."""
    folder, charset, options = path / "russian-handwritings-tracked", recipe.labels, recipe.data.options
    if not folder.is_dir():
        return
    known, skipped = load_tracks(folder / "tracks.jsonl")
    tracks = [strokes_of(track) for track in known if set(track.label) <= set(charset)]
    testing, validating = set(options["test_writers"]), set(options["validation_writers"])

    def glyphs(chosen: Callable[[int | str], bool], variants: int) -> tuple[list[Letters], list[tuple[str, Glyph]]]:
        letters, whole = track_glyphs([track for track in tracks if chosen(track.writer)], variants, rng)
        if not letters or not whole:
            raise DataError(
                f"{folder}: too few writers: some of train, validation and test have no letters or no words"
            )
        return list(letters.values()), whole

    letters, whole = glyphs(lambda writer: writer not in testing | validating, 12)
    held_letters, held_whole = glyphs(validating.__contains__, 1)
    test_letters, test_whole = glyphs(testing.__contains__, 1)
    yield _Source(
        learned=[(0.28, collage_lines(letters, words, charset)), (0.02, word_lines(whole))],
        held=[collage_lines(held_letters, kept, charset), word_lines(held_whole)],
        tests={
            "collages of letters of writers never seen": (collage_lines(test_letters, kept, charset), TEST_LINES),
            "words of writers never seen (9 different words)": (word_lines(test_whole), 100),
        },
        skipped=tuple(skipped),
    )


def _boxed(recipe: Recipe, path: Path, words: Sequence[str], kept: Sequence[str]) -> Iterator[_Source]:
    """Collages of CMNIST's letters, in its own parts."""
    folder, charset = path / "cmnist-cyrillic", recipe.labels
    if not folder.is_dir():
        return
    parts = load_cmnist(folder / "cmnist.npz")
    train, validation, test = (
        boxed_lines(parts[part], among, charset)
        for part, among in (("train", words), ("validation", kept), ("test", kept))
    )
    yield _Source([(0.22, train)], [validation], {"collages of CMNIST test letters": (test, TEST_LINES)})


def _transcribed(
    recipe: Recipe, path: Path, rng: random.Random
) -> tuple[list[tuple[str, Ink]], Lines, Lines, tuple[Skipped, ...]]:
    """The lines of train.tsv, some of them kept aside for validation, those of test.tsv, and what cannot be used."""
    train, bad = read_transcribed(path / "train.tsv", recipe)
    test, more = read_transcribed(path / "test.tsv", recipe)
    rng.shuffle(train)
    aside = min(600, round(recipe.data.validation * len(train)))
    if not aside or not test:
        raise DataError(f"{path}: {len(train)} lines to learn from and {len(test)} to test on are too few")
    validation = [(text, image) for text, image in train[:aside]]
    learned = [(text, without_borders(image[..., 0])) for text, image in train[aside:]]
    return learned, _as_lines(validation), _as_lines(test), (*bad, *more)


def read_transcribed(table: Path, recipe: Recipe) -> tuple[list[tuple[str, NDArray[np.uint8]]], list[Skipped]]:
    """The texts and prepared pictures [height, width, 1] of a TSV, and each row that cannot be used, with its reason.

    Raises:
        DataError: as `training.samples.transcripts` does.
    """
    samples, skipped = transcripts(table)
    known, lines = set(recipe.labels), []
    for sample in samples:
        reason = ""
        if len(sample.true) > LONGEST:
            reason = f"{len(sample.true)} characters; at most {LONGEST} are read"
        elif strange := sorted(set(sample.true) - known):
            reason = f"characters that the recipe does not have: {' '.join(strange)}"
        else:
            try:
                content = prepare(sample.picture.read_bytes(), recipe.input)
                lines.append((sample.true, decode(content, recipe.input)))
            except (ImageError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
        if reason:
            skipped.append(Skipped(f"{table.name}:{sample.row}", reason))
    return lines, skipped


def _as_lines(lines: Sequence[tuple[str, NDArray[np.uint8]]]) -> Lines:
    return Lines(np.stack([image for _, image in lines]), tuple(text for text, _ in lines))


def _interleaved(some: Lines, others: Lines) -> Lines:
    """Both, evenly mixed, so that the first of them are of both."""
    order = np.argsort(np.concatenate([np.linspace(0, 1, len(some)), np.linspace(0, 1, len(others))]), kind="stable")
    texts = (*some.texts, *others.texts)
    return Lines(np.concatenate([some.images, others.images])[order], tuple(texts[row] for row in order))


def _drawn(draws: Sequence[Draw], count: int, recipe: Recipe, rng: random.Random) -> Lines:
    """So many lines as they are served, of all sources in turn: words, and a third longer."""
    texts, images = [], []
    for number in range(count):
        shortest, longest = (2, 14) if number % 3 else (15, 40)
        line = draws[number // 3 % len(draws)](rng, shortest, longest)
        texts.append(line.text)
        images.append(as_served(line.ink, recipe.input, rng))
    return Lines(np.stack(images), tuple(texts))


def task(recipe: Recipe, data: TextData) -> Task:
    """CTC over freshly drawn lines, short ones first.

    Raises:
        RecipeError: there is no such network or augmentation, or it takes other options.
    """
    schedule, options = recipe.schedule, recipe.data.options
    width, height = recipe.input.width, recipe.input.height
    shares, draws = zip(*data.sources, strict=True)
    place = {character: number for number, character in enumerate(data.labels, 1)}

    def batches(epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Any]]:
        seed = int(torch.randint(2**62, (), generator=generator))
        rng, noise = random.Random(seed), np.random.default_rng(seed)
        known = 1 + sum(epoch >= start for start in options["longer_from"])
        for _ in range(options["steps"] // POOL):
            lines = [
                drawn(rng.choices(LENGTHS[:known], LENGTH_SHARES[:known])[0], rng, noise, generator)
                for _ in range(POOL * schedule.batch)
            ]
            lines.sort(key=lambda line: line[1].shape[1])
            order = list(range(0, len(lines), schedule.batch))
            rng.shuffle(order)
            for start in order:
                texts, pictures, middles = zip(*lines[start : start + schedule.batch], strict=True)
                inputs = torch.from_numpy(_stacked(pictures))
                inputs, _ = augmented(inputs, torch.empty(len(inputs), 0), recipe.augment, generator)
                symbols = [[place[character] for character in text] for text in texts]
                yield inputs, (symbols, _by_frame(symbols, middles, inputs.shape[3] // 4))

    def drawn(
        lengths: tuple[int, int], rng: random.Random, noise: np.random.Generator, generator: torch.Generator
    ) -> tuple[str, NDArray[np.float32], list[float]]:
        if rng.random() < options["nothing"]:
            return "", textures(1, 1, height, rng.randrange(40, 120), generator)[0, 0].numpy(), []
        line = rng.choices(draws, shares)[0](rng, *lengths)
        return line.text, *pictured(line, rng, noise, width, height)

    def loss(logits: Tensor, targets: tuple[Sequence[Sequence[int]], Tensor]) -> Tensor:
        symbols, frames = targets
        return _ctc(logits, symbols) + F.cross_entropy(logits.transpose(1, 2), frames, ignore_index=-1)

    def validate(net: nn.Module) -> tuple[float, float]:
        some = Lines(
            data.validation.images[: options["watched_lines"]], data.validation.texts[: options["watched_lines"]]
        )
        logits = outputs(net, torch.from_numpy(some.images), batch=50)
        said = [read_line(row, data.labels).text for row in logits.double().numpy()]
        symbols = [[place[character] for character in text] for text in some.texts]
        return _ctc(logits, symbols).item(), character_error_rate(some.texts, said)

    return Task(
        recipe.name,
        lambda: _net(recipe, 1 + len(data.labels)),
        steps=options["steps"],
        batches=batches,
        loss=loss,
        validate=validate,
        metric="character error rate",
        warm_up=0.1,  # the short lines that come first are easy, and end soon
        identity={"sources": list(shares), "validation": len(data.validation), "labels": "".join(data.labels)},
    )


def _net(recipe: Recipe, classes: int) -> nn.Module:
    if recipe.net.name not in LINE_NETS:
        raise RecipeError(f"net.name: no network {recipe.net.name!r}; there are: {', '.join(sorted(LINE_NETS))}")
    try:
        return LINE_NETS[recipe.net.name](classes, recipe.input.channels, **recipe.net.options)
    except TypeError as error:
        raise RecipeError(f"net.options: {error}") from error


def _ctc(logits: Tensor, symbols: Sequence[Sequence[int]]) -> Tensor:
    """The mean over lines of CTC's negative log-likelihood a character, for logits [N, frames, classes]."""
    lengths = torch.tensor([len(line) for line in symbols])
    flat = torch.tensor([symbol for line in symbols for symbol in line])
    frames = torch.full((len(logits),), logits.shape[1])
    return F.ctc_loss(logits.log_softmax(2).transpose(0, 1), flat, frames, lengths, zero_infinity=True)


def _by_frame(symbols: Sequence[Sequence[int]], middles: Sequence[Sequence[float]], frames: int) -> Tensor:
    """What each frame shows, [N, frames]: a character at its middle, blank elsewhere, -1 where that is not known.

    CTC alone takes long to find out where characters are. For drawn lines that is known, so it is said; the frames
    beside a middle are left to CTC, and so are whole lines whose middles are not known.
    """
    found = torch.full((len(symbols), frames), -1)
    for row, line, places in zip(found, symbols, middles, strict=True):
        at = torch.tensor(places).div(4).long().clamp(0, frames - 1) if line and len(places) else None
        if at is not None:
            row.zero_()
            row[(at - 1).clamp(0)] = row[(at + 1).clamp(max=frames - 1)] = -1
            row[at] = torch.tensor(line)
    return found


def _stacked(pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Pictures [height, w] of several widths as [N, 1, height, width], black on their right; width is in fours."""
    width = -(-max(picture.shape[1] for picture in pictures) // 4) * 4
    batch = np.zeros((len(pictures), 1, len(pictures[0]), width), np.float32)
    for row, picture in zip(batch, pictures, strict=True):
        row[0, :, : picture.shape[1]] = picture
    return batch


def character_error_rate(true: Sequence[str], said: Sequence[str]) -> float:
    """Edits over characters (CER), of all lines together."""
    return sum(distance(one, other) for one, other in zip(true, said, strict=True)) / sum(map(len, true))


def report(graph: bytes, recipe: Recipe, data: TextData) -> Report:
    """Calibrate a graph on the validation lines, and measure it on each of the tests; the first is the headline."""
    language = language_of(open_graph(graph))
    held = _logits(graph, recipe, data.validation)
    temperature = fit_temperature(
        lambda temperature: _read(held, data.validation.texts, data.labels, temperature, language),
        recipe.caution,
        (0.05, 20) if language is None else NEAR,
    )
    answers = {
        described: _read(_logits(graph, recipe, lines), lines.texts, data.labels, temperature, language)
        for described, lines in data.tests.items()
    }
    found = {described: figures(one, "text", data.labels) for described, one in answers.items()}
    head, *elsewhere = (_metrics(described, figure) for described, figure in found.items())
    table = [*TABLE_HEAD, *(_row(described, figure) for described, figure in found.items())]
    return Report(temperature, {**head, "elsewhere": elsewhere}, "\n".join(table), next(iter(answers.values())))


def _logits(graph: bytes, recipe: Recipe, lines: Lines) -> NDArray[np.float32]:
    """The graph's answers [N, frames, 1 + characters], line by line as it is served."""
    session = open_graph(graph)
    return np.concatenate([session.run(None, {recipe.input.tensor: image[np.newaxis]})[0] for image in lines.images])


def _read(
    logits: NDArray[np.float32],
    texts: tuple[str, ...],
    labels: tuple[str, ...],
    temperature: float,
    language: Language | None = None,
) -> Answers:
    read = [read_line(row.astype(np.float64) / temperature, labels, language, temperature) for row in logits]
    confidence = np.array([line.confidence for line in read])
    return Answers(texts, tuple(line.text for line in read), confidence)


def fit_temperature(
    read: Callable[[float], Answers], caution: float = 0.0, bounds: tuple[float, float] = (0.05, 20)
) -> float:
    """The temperature within `bounds` at which a line's confidence best tells whether it was read without any mistake.

    `read` gives the answers to the same lines at a temperature. A line's confidence is the probability of all
    that was read, so the lowest cross-entropy between it and what came out is looked for, rather than that of single
    frames, of which most are blank and certain. `caution` is as in `training.calibrate.fit_temperature`.
    """

    def cost(exponent: float) -> float:
        answers = read(float(np.exp(exponent)))
        sure = np.clip(answers.confidence, 1e-9, 1 - 1e-9)
        return float(-np.where(answers.right, np.log(sure), np.log1p(-sure)).mean())

    low, high = bounds
    found = minimize_scalar(cost, bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 0.01})
    best = float(np.exp(found.x))
    if not caution:
        return best
    wanted = read(best).confidence.mean() - caution
    if read(high).confidence.mean() >= wanted:
        return best
    return float(brentq(lambda temperature: read(temperature).confidence.mean() - wanted, best, high))


def _metrics(described: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "accuracy": found["accuracy"]["value"],
        "cer": found["cer"]["value"],
        "wer": found["wer"]["value"],
        "ece": found["ece"]["value"],
        f"share_at_{THRESHOLD}": found["accepted"]["value"],
        f"accuracy_at_{THRESHOLD}": found["accuracy_of_accepted"]["value"],
        f"wrong_below_{THRESHOLD}": found["wrong_below_threshold"]["value"],
        "images": found["images"],
        "data": described,
    }


NEAR = (0.5, 2.0)
"""Temperatures to try where there is a language: what it makes of a line then depends on the temperature, too, and far
from 1 every line is misread and known to be, which looks calibrated and is of no use."""

TABLE_HEAD = (
    "| source | lines | CER (95% interval) | WER | exact | ECE | accepted | exact of those "
    f"| wrong below {THRESHOLD} |",
    "|---|---|---|---|---|---|---|---|---|",
)


def _row(described: str, found: Mapping[str, Any]) -> str:
    cer, of = found["cer"], found["accuracy_of_accepted"]["value"]
    below = found["wrong_below_threshold"]
    return (
        f"| {described} | {found['images']:,} | {cer['value']:.1%} ({cer['low']:.1%} to {cer['high']:.1%}) "
        f"| {found['wer']['value']:.1%} | {found['accuracy']['value']:.1%} | {found['ece']['value']:.3f} "
        f"| {found['accepted']['value']:.1%} | {'-' if of is None else f'{of:.1%}'} "
        f"| {below['count']:,} of {below['of']:,} |"
    )
