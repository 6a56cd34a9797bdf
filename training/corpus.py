"""The texts that lines are drawn of: words of a dictionary, numbers, dates and marks.

Everything random comes from the `random.Random` that is passed in.
"""

import random
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from zlib import crc32

from training.data import DataError

LONGEST = 40
"""Characters of the longest line: the Kaggle set's, and what stays legible at this model's width."""


def load_words(path: Path, alphabet: str) -> tuple[list[str], list[str]]:
    """The words of a hunspell dictionary (.dic, UTF-8) in this alphabet: (for training, kept for tests), sorted.

    A word is in the second part by its checksum, one in ten. Raises DataError where the file is missing or too short.
    """
    if not path.is_file():
        raise DataError(f"no word list {path}; npm ci --prefix training/fonts brings it")
    words = {line.split("/")[0].strip() for line in path.read_text("utf-8").splitlines()[1:]}
    usable = sorted(word for word in words if 1 < len(word) <= LONGEST and set(word.lower()) <= set(alphabet.lower()))
    kept = [word for word in usable if crc32(word.encode()) % 10 == 0]
    if len(kept) < 10:
        raise DataError(f"{path} holds {len(usable)} usable words: too few to learn from")
    return [word for word in usable if crc32(word.encode()) % 10], kept


def word_forms(path: Path, words: Collection[str], kept: Collection[str], most: int) -> list[str]:
    """The words, and of each as many as `most` other forms that the dictionary's suffixes make of it, sorted.

    The list of words (.dic) names them in one form only, nouns in the nominative and verbs in the infinitive; what
    people write is mostly another. The suffixes are in the `.aff` beside it (hunspell(5), SFX). A form that is one of
    the `kept` words is left out, and so is one of other letters than the words have.

    Raises:
        DataError: the .aff is missing or cannot be read as one.
    """
    if most == 0:
        return sorted(words)
    rules = _suffixes(path.with_suffix(".aff"))
    letters, apart, wanted = set("".join(words).lower()), set(kept), set(words)
    rng, found = random.Random(0), set(words)
    for line in sorted(set(path.read_text("utf-8").splitlines()[1:])):
        word, _, flags = line.strip().partition("/")
        if word not in wanted:
            continue
        others = sorted({form for flag in flags for form in _formed(word, rules.get(flag, ()))} - apart - {word})
        usable = [form for form in others if 1 < len(form) <= LONGEST and set(form.lower()) <= letters]
        found.update(rng.sample(usable, min(most, len(usable))))
    return sorted(found)


_Rule = tuple[str, str, re.Pattern[str]]
"""What is taken off a word's end, what is put there instead, and how the word must end for that."""


def _suffixes(path: Path) -> dict[str, list[_Rule]]:
    if not path.is_file():
        raise DataError(f"no suffixes {path}; npm ci --prefix training/fonts brings them")
    rules: dict[str, list[_Rule]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match line.split():
            case ["SFX", flag, strip, add, condition, *_]:
                try:
                    ending = re.compile(f"{condition}$")
                except re.error as error:
                    raise DataError(f"{path}, line {number}: {condition} is no condition: {error}") from error
                without = ("" if part == "0" else part for part in (strip, add.split("/")[0]))
                rules.setdefault(flag, []).append((*without, ending))
    return rules


def _formed(word: str, rules: Sequence[_Rule]) -> Iterator[str]:
    for strip, add, ending in rules:
        if word.endswith(strip) and ending.search(word):
            yield word[: len(word) - len(strip)] + add


def make_text(rng: random.Random, words: Sequence[str], charset: str, shortest: int, longest: int) -> str:
    """A text of `shortest` to `longest` characters: words, names, numbers, dates and marks, cut where it must end."""
    text = ""
    while len(text) < shortest:
        text = (f"{text} " if text else "") + _token(rng, words, charset)
        if len(text) >= shortest and len(text) < longest and rng.random() < 0.5:
            text += f" {_token(rng, words, charset)}"
    if len(text) > longest:
        start = 0 if rng.random() < 0.5 else rng.randint(0, len(text) - longest)
        text = text[start : start + longest]
    return " ".join(text.split()) or rng.choice(words)[:longest]


def _token(rng: random.Random, words: Sequence[str], charset: str) -> str:
    kind = rng.random()
    if kind < 0.06:
        return _number(rng)
    if kind < 0.09:  # what no language holds, so that the net reads letters and not words
        return "".join(rng.choices(charset, k=rng.randint(1, 6))).strip() or "-"
    word = rng.choice(words)
    case = rng.random()
    if case < 0.15:
        word = word[:1].upper() + word[1:]
    elif case < 0.24:
        word = word.upper()
    if kind < 0.10:
        word = f"{word}-{rng.choice(words)}"
    elif kind < 0.13:
        opening, closing = rng.choice(("«»", '""', "()", "[]", "''"))
        word = f"{opening}{word}{closing}"
    elif kind < 0.15:
        word = f"{rng.choice('АБВГДЕИКЛМНОПРСТФЮЯ')}. {word.capitalize()}"
    if rng.random() < 0.2:
        word += rng.choice((",", ",", ".", ".", "!", "?", ":", ";", "...", " -", "%", " ="))
    return word


def _number(rng: random.Random) -> str:
    number = rng.randint
    return rng.choice(
        (
            lambda: str(number(0, 10 ** number(1, 6))),
            lambda: f"{number(1, 31):02}.{number(1, 12):02}.{number(1900, 2030)}",
            lambda: f"{number(0, 23)}:{number(0, 59):02}",
            lambda: f"{number(0, 9999)},{number(0, 99):02}",
            lambda: f"№ {number(1, 999)}",
            lambda: f"{number(1, 100)}%",
            lambda: f"+7 ({number(300, 999)}) {number(100, 999)}-{number(10, 99)}-{number(10, 99)}",
            lambda: f"{number(1, 99)}/{number(1, 99)}",
            lambda: f"{number(1, 99)}+{number(1, 99)}={number(1, 199)}",
        )
    )()
