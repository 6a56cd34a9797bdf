"""What is counted of predictions whose truth is known: a commutative monoid of integers, from which all figures come.

`Counts()` is empty; a pair is added, and two are merged, in any order and any split, to the same bytes: there is no
floating-point sum in it, and what is kept of an unbounded list is its smallest entries. So a combiner may merge
anywhere between the lines and the figures (MapReduce, Dean and Ghemawat 2004, 4.3).
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ics.errors import TooManyVersions
from ics.measures import BINS, distance

STEPS = 1000
"""Thresholds that are told apart: 0, 0.001 ... 1."""

UNIT = 10**9
"""A confidence of 1 in the integers that are summed."""

MAX_CLASSES = 512
"""Labels that a confusion matrix has at most. Beyond there is none, and no figures by class."""

MAX_VERSIONS = 100
"""Versions of a model whose figures are kept apart."""

NAMED = 50
"""Images, or lines, that are named of each kind."""

_STEPS = [step / STEPS for step in range(STEPS + 1)]


@dataclass(frozen=True, slots=True)
class Pair:
    """A prediction and the truth of its image. `confidence` is in [0, 1], None where nobody knows it.

    `is_text`: truth and prediction are texts that were read, not classes.
    """

    truth: str
    said: str
    confidence: float | None
    decision: str = ""
    is_text: bool = False
    s3_uri: str = ""
    image_id: str = ""


@dataclass(slots=True)
class Edits:
    """Edits `e` and lengths `l` of texts, for a rate and how sure it is: the sums of e, l, e², el and l²."""

    edits: int = 0
    length: int = 0
    edits_squared: int = 0
    edits_by_length: int = 0
    length_squared: int = 0

    def add(self, edits: int, length: int) -> None:
        """One more text."""
        self.merge(Edits(edits, length, edits * edits, edits * length, length * length))

    def merge(self, other: "Edits") -> None:
        """The texts of another."""
        for name in Edits.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Smallest:
    """The `NAMED` smallest of any number of entries: JSON objects in the order of their keys, which tell them apart."""

    def __init__(self) -> None:
        self._found: list[tuple[list[Any], Mapping[str, Any]]] = []

    def add(self, key: list[Any], entry: Mapping[str, Any]) -> None:
        """One more entry."""
        self._found.append((key, entry))
        if len(self._found) >= 8 * NAMED:
            self._found = heapq.nsmallest(NAMED, self._found, key=lambda one: one[0])

    def merge(self, other: "Smallest") -> None:
        """The entries of another."""
        for key, entry in other._found:
            self.add(key, entry)

    def kept(self) -> list[tuple[list[Any], Mapping[str, Any]]]:
        """The entries that are kept, with their keys, in order."""
        return heapq.nsmallest(NAMED, self._found, key=lambda one: one[0])

    def entries(self) -> list[Mapping[str, Any]]:
        """The entries that are kept, in order."""
        return [entry for _, entry in self.kept()]


@dataclass(slots=True)
class Answered:
    """What is counted of one version of a model.

    `latest` is when it last decided; `bins` are those of the calibration error, each `[images, right, sum of the
    confidences, sum of (confidence - right) squared]` in `UNIT`s and their squares; `steps` by step of the threshold
    up to which they are accepted `[images, right]`; `decisions` the same by what the pipeline decided; `cells` how
    often a class (the truth) was taken for another, None where `classes` are more than `MAX_CLASSES`; `characters` and
    `words` the edits of texts; `mistakes` the surest wrong answers.
    """

    latest: str = ""
    images: int = 0
    right: int = 0
    texts: int = 0
    bins: list[list[int]] = field(default_factory=lambda: [[0, 0, 0, 0] for _ in range(BINS)])
    steps: dict[int, list[int]] = field(default_factory=dict)
    decisions: dict[str, list[int]] = field(default_factory=dict)
    cells: Counter[tuple[str, str]] | None = field(default_factory=Counter)
    classes: set[str] = field(default_factory=set)
    characters: Edits = field(default_factory=Edits)
    words: Edits = field(default_factory=Edits)
    mistakes: Smallest = field(default_factory=Smallest)

    def add(self, pair: Pair) -> None:
        """One more prediction whose truth is known."""
        right = pair.truth == pair.said
        self.images += 1
        self.right += right
        _count(self.decisions, pair.decision, [1, int(right)])
        units = 0
        if pair.confidence is not None:
            units = round(pair.confidence * UNIT)
            gap = units - UNIT * right
            place = min(int(pair.confidence * BINS), BINS - 1)  # as training/calibrate.py puts it
            _add(self.bins[place], [1, int(right), units, gap * gap])
            _count(self.steps, bisect_right(_STEPS, pair.confidence) - 1, [1, int(right)])
        if pair.is_text:
            self.texts += 1
            self.characters.add(distance(pair.truth, pair.said), len(pair.truth))
            words = pair.truth.split()
            self.words.add(distance(words, pair.said.split()), len(words))
        elif self.cells is not None:
            self.cells[pair.truth, pair.said] += 1
            self.classes |= {pair.truth, pair.said}
            self._bound()
        if not right:
            entry = {"s3_uri": pair.s3_uri, "image_id": pair.image_id, "truth": pair.truth, "said": pair.said}
            exact = [pair.confidence is None, -(pair.confidence or 0.0)]  # what rounds to the same is told apart
            key = [-units, pair.s3_uri, pair.image_id, pair.truth, pair.said, *exact]
            self.mistakes.add(key, {**entry, "confidence": pair.confidence})

    def merge(self, other: "Answered") -> None:
        """What another has counted."""
        self.latest = max(self.latest, other.latest)
        self.images += other.images
        self.right += other.right
        self.texts += other.texts
        for mine, theirs in zip(self.bins, other.bins, strict=True):
            _add(mine, theirs)
        for step, counted in other.steps.items():
            _count(self.steps, step, counted)
        for decision, counted in other.decisions.items():
            _count(self.decisions, decision, counted)
        self.classes |= other.classes
        if self.cells is not None and other.cells is not None:
            self.cells.update(other.cells)
            self._bound()
        else:
            self.cells = None
        self.characters.merge(other.characters)
        self.words.merge(other.words)
        self.mistakes.merge(other.mistakes)

    def _bound(self) -> None:
        """Too many classes stay too many, whatever is merged: so this, too, is the same in any order."""
        if len(self.classes) > MAX_CLASSES:
            self.cells = None

    def to_json(self) -> dict[str, Any]:
        """All of it, in one order."""
        cells = None if self.cells is None else sorted([*cell, count] for cell, count in self.cells.items())
        return {
            "latest": self.latest,
            "images": self.images,
            "right": self.right,
            "texts": self.texts,
            "bins": self.bins,
            "steps": [[step, *counted] for step, counted in sorted(self.steps.items())],
            "decisions": dict(sorted(self.decisions.items())),
            "cells": cells,
            "characters": [getattr(self.characters, name) for name in Edits.__slots__],
            "words": [getattr(self.words, name) for name in Edits.__slots__],
            "mistakes": self.mistakes.kept(),
        }


_NUMBERS = ("label_lines", "prediction_lines", "bad_lines", "labelled", "withdrawn", "conflicting", "failed", "unknown")


@dataclass(slots=True)
class Counts:
    """All that is counted of labels and predictions.

    `label_lines`, `prediction_lines`: lines that were understood; `bad_lines`: those that were not. Of images:
    `labelled` with a label that counts, `withdrawn` and `conflicting` without; of the labelled, `failed` have rows but
    no prediction, `unknown` no row at all. `rows` counts the rows by decision.
    """

    label_lines: int = 0
    prediction_lines: int = 0
    bad_lines: int = 0
    labelled: int = 0
    withdrawn: int = 0
    conflicting: int = 0
    failed: int = 0
    unknown: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    named_bad: Smallest = field(default_factory=Smallest)
    named_conflicts: Smallest = field(default_factory=Smallest)
    named_unknown: Smallest = field(default_factory=Smallest)
    versions: dict[str, Answered] = field(default_factory=dict)

    def add(self, version: str, pair: Pair) -> None:
        """One more prediction whose truth is known, of a version of the model.

        Raises:
            TooManyVersions: as its name says.
        """
        self.version(version).add(pair)

    def version(self, version: str) -> Answered:
        """What is counted of a version.

        Raises:
            TooManyVersions: as its name says.
        """
        found = self.versions.get(version)
        if found is None:
            if len(self.versions) >= MAX_VERSIONS:
                raise TooManyVersions(
                    f"the predictions are of more than {MAX_VERSIONS} versions of the model; narrow them by since and "
                    "until, or evaluate files of fewer versions"
                )
            found = self.versions[version] = Answered()
        return found

    def bad_line(self, file: str, line: int, problem: str) -> None:
        """One more line that was not understood, the file's `line`th."""
        self.bad_lines += 1
        self.named_bad.add([file, line, problem], {"file": file, "line": line, "problem": problem})

    def merge(self, other: "Counts") -> None:
        """What another has counted.

        Raises:
            TooManyVersions: as its name says.
        """
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rows.update(other.rows)
        self.named_bad.merge(other.named_bad)
        self.named_conflicts.merge(other.named_conflicts)
        self.named_unknown.merge(other.named_unknown)
        for version, answered in other.versions.items():
            self.version(version).merge(answered)

    def to_json(self) -> dict[str, Any]:
        """All of it, in one order: equal counts are equal bytes."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            "rows": dict(sorted(self.rows.items())),
            "named_bad": self.named_bad.kept(),
            "named_conflicts": self.named_conflicts.kept(),
            "named_unknown": self.named_unknown.kept(),
            "versions": {version: answered.to_json() for version, answered in sorted(self.versions.items())},
        }


def counts_from_json(fields: Mapping[str, Any]) -> Counts:
    """Counts as `Counts.to_json` wrote them."""
    return Counts(
        **{name: fields[name] for name in _NUMBERS},
        rows=Counter(fields["rows"]),
        named_bad=_smallest(fields["named_bad"]),
        named_conflicts=_smallest(fields["named_conflicts"]),
        named_unknown=_smallest(fields["named_unknown"]),
        versions={version: _answered(one) for version, one in fields["versions"].items()},
    )


def _answered(fields: Mapping[str, Any]) -> Answered:
    cells = fields["cells"]
    return Answered(
        **{name: fields[name] for name in ("latest", "images", "right", "texts", "bins", "decisions")},
        steps={step: counted for step, *counted in fields["steps"]},
        cells=None if cells is None else Counter({(truth, said): count for truth, said, count in cells}),
        classes={label for *cell, _ in cells or () for label in cell},
        characters=Edits(*fields["characters"]),
        words=Edits(*fields["words"]),
        mistakes=_smallest(fields["mistakes"]),
    )


def _smallest(kept: Iterable[Iterable[Any]]) -> Smallest:
    found = Smallest()
    for key, entry in kept:
        found.add(cast(list[Any], key), cast(Mapping[str, Any], entry))
    return found


def _add(mine: list[int], theirs: list[int]) -> None:
    for place, count in enumerate(theirs):
        mine[place] += count


def _count(by_key: dict[Any, list[int]], key: Any, counted: list[int]) -> None:
    if key in by_key:
        _add(by_key[key], counted)
    else:
        by_key[key] = list(counted)
