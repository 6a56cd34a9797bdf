"""What a model's answers amount to: accuracy, calibration, what a threshold lets through, and how sure each figure is.

Everything here is counted from `Answers`, whatever gave them. Shares and errors are in 0..1. An interval is of 95%: by
Wilson's score where the figure is a share of pictures, else by the bootstrap's percentiles.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ics.artifact import Kind
from ics.measures import BINS, distance, share
from ics.routing import DEFAULT_THRESHOLD
from training.calibrate import bin_of, expected_calibration_error

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Thresholds to compare with the one that is used."""

RESAMPLES = 1000
"""Draws of the bootstrap."""


def chosen_by(metric: str) -> str:
    """What an epoch is chosen by, where its validation has this metric: the lowest of it wins.

    An error rate chooses for itself: where a model grows surer of its mistakes the loss rises though it reads better,
    and how sure it is gets calibrated afterwards. Others are too coarse on few pictures: there the loss chooses.
    """
    return metric if metric.endswith("error rate") else "validation loss"


@dataclass(frozen=True)
class Answers:
    """Pictures and what a model said of them, row by row: the true label or text, the model's, and its confidence."""

    true: tuple[str, ...]
    said: tuple[str, ...]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.true)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which answers are exactly the truth."""
        return np.array([true == said for true, said in zip(self.true, self.said, strict=True)], bool)


def figures(
    answers: Answers,
    kind: Kind,
    labels: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    seed: int = 0,
) -> dict[str, Any]:
    """All that is measured of at least one answer, ready for JSON; a text model's `labels` are not used.

    `accuracy` of a text model is the share of lines read without any mistake. What cannot be said, such as the accuracy
    of the accepted where none was, is None.
    """
    right, confidence = answers.right, answers.confidence
    accepted = confidence >= threshold
    wrong = len(answers) - int(right.sum())
    found: dict[str, Any] = {
        "images": len(answers),
        "threshold": threshold,
        "accuracy": share(int(right.sum()), len(answers)),
        "ece": _with_interval(
            expected_calibration_error(confidence, right),
            resampled(len(answers), seed, lambda weights: expected_calibration_error(confidence, right, weights)),
        ),
        "accepted": share(int(accepted.sum()), len(answers)),
        "accuracy_of_accepted": share(int(right[accepted].sum()), int(accepted.sum())),
        "wrong_below_threshold": share(int((~right & ~accepted).sum()), wrong),
    }
    if kind == "text":
        found |= _text_figures(answers, seed)
    else:
        found |= _class_figures(answers, labels, seed)
    coverage, error = risk_coverage(answers)
    # every answer would be one point: for a file, at most a few hundred of them
    places = np.unique(np.linspace(0, len(coverage) - 1, 200).round().astype(int))
    return found | {
        "thresholds": [at_threshold(answers, each) for each in sorted({*THRESHOLDS, threshold})],
        "reliability": [asdict(bin_) for bin_ in reliability(answers)],
        "risk_coverage": [
            {"accepted": float(coverage[place]), "error": float(error[place])} for place in places if len(coverage)
        ],
    }


def _with_interval(value: float, draws: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """The bootstrap's percentile interval (Efron 1979).

    It is made to hold the figure itself: one that cannot be negative, such as ECE, is larger in most draws than in the
    whole where it is near zero.
    """
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": value, "low": min(value, float(low)), "high": max(value, float(high))}


def resampled(count: int, seed: int, figure: Callable[[NDArray[np.float64]], float]) -> list[float]:
    """A figure of `count` rows in each draw of the bootstrap; it gets how often each row was drawn [count]."""
    generator = np.random.default_rng(seed)
    return [
        figure(np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64))
        for _ in range(RESAMPLES)
    ]


def at_threshold(answers: Answers, threshold: float) -> dict[str, Any]:
    """What a threshold does: how many answers it accepts, how many of those are wrong, how many others go to people."""
    accepted = answers.confidence >= threshold
    return {
        "threshold": threshold,
        "accepted": int(accepted.sum()),
        "wrong_accepted": int((accepted & ~answers.right).sum()),
        "to_people": int((~accepted).sum()),
        "wrong_to_people": int((~accepted & ~answers.right).sum()),
    }


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence is in [low, high): how many, how many of them right, and their mean confidence."""

    low: float
    high: float
    images: int
    right: int
    confidence: float | None


def reliability(answers: Answers) -> list[Bin]:
    """The bins of the calibration error, from 0 to 1; the mean confidence of no answers is None."""
    places = bin_of(answers.confidence)
    counts = np.bincount(places, minlength=BINS)
    sure = np.bincount(places, weights=answers.confidence, minlength=BINS)
    right = np.bincount(places[answers.right], minlength=BINS)
    return [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int(counts[place]),
            int(right[place]),
            float(sure[place] / counts[place]) if counts[place] else None,
        )
        for place in range(BINS)
    ]


def risk_coverage(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each possible threshold would accept: (share accepted, share of wrong answers among those), rising shares.

    The risk-coverage curve of selective classification (El-Yaniv, Wiener 2010). Answers of equal confidence are
    accepted together, so there is a point for each different confidence.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    sure = answers.confidence[order]
    last = np.append(sure[1:] != sure[:-1], True) if len(sure) else np.zeros(0, bool)
    accepted = np.arange(1, len(sure) + 1)
    error = np.cumsum(~answers.right[order]) / accepted
    return (accepted / max(1, len(sure)))[last], error[last]


def confusion(answers: Answers, labels: Sequence[str]) -> NDArray[np.int64]:
    """How often each label [row] was taken for each [column], both in the order of `labels`."""
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for (true, said), count in Counter(zip(answers.true, answers.said, strict=True)).items():
        counts[place[true], place[said]] = count
    return counts


def _class_figures(answers: Answers, labels: Sequence[str], seed: int) -> dict[str, Any]:
    counts = confusion(answers, labels)
    there = counts.sum(axis=1) > 0
    # F1 depends on the counts alone, so drawing those is drawing the pictures
    rows, columns = np.nonzero(counts)
    cells = counts[rows, columns]
    drawn = np.random.default_rng(seed).multinomial(len(answers), cells / cells.sum(), size=RESAMPLES)
    of_class = np.eye(len(labels))
    scores = f1(np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0))
    draws = f1((drawn * (rows == columns)) @ of_class[rows], drawn @ of_class[rows], drawn @ of_class[columns])

    def score(number: int) -> dict[str, float] | None:
        return None if np.isnan(scores[number]) else _with_interval(float(scores[number]), draws[:, number])

    return {
        # over the classes of which there are pictures: what is not there cannot be found
        "macro_f1": _with_interval(float(scores[there].mean()), np.nanmean(draws[:, there], axis=1)),
        "classes": {
            label: {
                "images": int(counts[number].sum()),
                "precision": share(int(counts[number, number]), int(counts[:, number].sum())),
                "recall": share(int(counts[number, number]), int(counts[number].sum())),
                "f1": score(number),
            }
            for number, label in enumerate(labels)
        },
        "confusion": {"labels": list(labels), "counts": counts.tolist()},
    }


def f1(hits: NDArray[Any], true: NDArray[Any], said: NDArray[Any]) -> NDArray[np.float64]:
    """F1, 2 hits / (true + said), element by element; NaN for a class that is neither there nor was said."""
    both = np.asarray(true + said, np.float64)
    return np.divide(2.0 * hits, both, out=np.full(both.shape, np.nan), where=both > 0)


Edit = tuple[str, str]
"""What was there and what was read instead; "" where nothing was read, or nothing was there."""


def edits(true: Sequence[str], said: Sequence[str]) -> list[Edit]:
    """A shortest way from one sequence to another, its steps in order: each replaces, drops or adds one element.

    Their number is Levenshtein's distance (1965). Of the shortest ways it is one that replaces rather than drops and
    adds.
    """
    rows: list[list[int]] = [list(range(len(said) + 1))]
    for number, one in enumerate(true, 1):
        above, row = rows[-1], [number]
        for place, other in enumerate(said):
            row.append(min(above[place] + (one != other), above[place + 1] + 1, row[place] + 1))
        rows.append(row)
    found: list[Edit] = []
    down, right = len(true), len(said)
    while down or right:
        here = rows[down][right]
        if down and right and here == rows[down - 1][right - 1] + (true[down - 1] != said[right - 1]):
            down, right = down - 1, right - 1
            if true[down] != said[right]:
                found.append((true[down], said[right]))
        elif down and here == rows[down - 1][right] + 1:
            down -= 1
            found.append((true[down], ""))
        else:
            right -= 1
            found.append(("", said[right]))
    return found[::-1]


def character_confusions(answers: Answers) -> list[tuple[Edit, int]]:
    """What was read instead of what, the most frequent first."""
    counted: Counter[Edit] = Counter()
    for true, said in zip(answers.true, answers.said, strict=True):
        if true != said:
            counted.update(edits(true, said))
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


def _text_figures(answers: Answers, seed: int) -> dict[str, Any]:
    """CER and WER: edits of all lines over the characters, or words, of all true lines."""
    found: dict[str, Any] = {}
    for name, parts in (("cer", list), ("wer", str.split)):
        pairs: list[tuple[list[str], list[str]]] = [
            (parts(true), parts(said)) for true, said in zip(answers.true, answers.said, strict=True)
        ]
        wrong = np.array([distance(true, said) for true, said in pairs], np.float64)
        length = np.array([len(true) for true, _ in pairs], np.float64)

        def rate(weights: NDArray[np.float64], wrong=wrong, length=length) -> float:
            there = weights @ length
            return float(weights @ wrong / there) if there else math.nan

        whole = rate(np.ones(len(pairs)))
        found[name] = None if math.isnan(whole) else _with_interval(whole, resampled(len(pairs), seed, rate))
    confusions = [{"true": true, "read": read, "count": count} for (true, read), count in character_confusions(answers)]
    return found | {"character_confusions": confusions[:50]}


def as_text(value: Any) -> str:
    """JSON for people: indented, but with what holds neither lists nor objects on one line."""
    indented = json.dumps(value, ensure_ascii=False, indent=1)
    # a line's end is never inside a string, where JSON writes it as \\n
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda flat: re.sub(r"\s*\n\s*", " ", flat[0]), indented) + "\n"
