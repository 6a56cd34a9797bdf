"""The figures of `metrics.json`, computed from `Counts`: what people read, each with how sure it is.

Shares are in 0..1, an interval is of 95%. All intervals are analytic, because what a bootstrap would draw from is not
kept: Wilson's for a share of images; for F1 of a class, Wilson's of the share of its images, true or said, that were
right, of which F1 is a rising function; for other figures the delta method (as for a ratio of means in Cochran 1977,
"Sampling Techniques", 2.11 and 6.4). Figures that training measures, too, have its formulas and its names.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ics.accuracy import STEPS, UNIT, Answered, Counts, Edits
from ics.contracts import DECISIONS
from ics.measures import BINS, Z, share, wilson

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Thresholds to compare with the one that is used."""

Figures = dict[str, Any]


def figures(counts: Counts, *, threshold: float, version: str | None = None) -> Figures:
    """All that can be said of the predictions of one version of a model; what cannot be said is None.

    Args:
        counts: all counts, merged.
        threshold: from which confidence an answer is accepted now.
        version: of the model; None means that which decided last.
    """
    chosen = next(iter(_newest_first(counts)), "") if version is None else version
    answered = counts.versions.get(chosen, Answered())
    return {
        "model_version": chosen,
        "versions": [_version(name, counts.versions[name]) for name in _newest_first(counts)],
        "kind": "text" if answered.texts else "classification",
        "images": answered.images,
        "accuracy": share(answered.right, answered.images),
        **_confidence_figures(answered, threshold),
        "decisions": {
            decision: share(right, images)
            for decision, (images, right) in sorted(answered.decisions.items())
            if decision in DECISIONS
        },
        **(_text_figures(answered) if answered.texts else {}),
        **(_class_figures(answered.cells) if answered.cells is not None else _NO_CLASSES),
        "mistakes": answered.mistakes.entries(),
        "labels": {
            "lines": counts.label_lines,
            "images": counts.labelled + counts.withdrawn + counts.conflicting,
            "counted": answered.images,
            "withdrawn": counts.withdrawn,
            "conflicting": counts.conflicting,
            "failed": counts.failed,
            "unknown": counts.unknown,
            "of_other_versions": counts.labelled - counts.failed - counts.unknown - answered.images,
        },
        "predictions": {"lines": counts.prediction_lines, **dict(sorted(counts.rows.items()))},
        "bad_lines": counts.bad_lines,
        "conflicts": counts.named_conflicts.entries(),
        "unknown": counts.named_unknown.entries(),
        "bad": counts.named_bad.entries(),
    }


def _newest_first(counts: Counts) -> list[str]:
    """The versions of the model, that which decided last first."""
    return sorted(counts.versions, key=lambda name: (counts.versions[name].latest, name), reverse=True)


def _version(name: str, answered: Answered) -> Figures:
    return {
        "model_version": name,
        "latest": answered.latest,
        "images": answered.images,
        "accuracy": share(answered.right, answered.images),
    }


def _confidence_figures(answered: Answered, threshold: float) -> Figures:
    """What depends on how sure the model was, over the images of which that is known."""
    images, right = sum(one[0] for one in answered.bins), sum(one[1] for one in answered.bins)
    used = _at_threshold(answered, threshold)
    return {
        "threshold": threshold,
        "ece": _calibration_error(answered, images),
        "accepted": share(used["accepted"], images),
        "accuracy_of_accepted": share(used["accepted"] - used["wrong_accepted"], used["accepted"]),
        "wrong_below_threshold": share(used["wrong_to_people"], images - right),
        "thresholds": [_at_threshold(answered, each) for each in sorted({*THRESHOLDS, threshold})],
        "reliability": [
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "images": number,
                "right": correct,
                "confidence": sure / UNIT / number if number else None,
            }
            for place, (number, correct, sure, _) in enumerate(answered.bins)
        ],
        "risk_coverage": [_at_threshold(answered, step / STEPS) for step in sorted({0, *answered.steps})],
    }


def _at_threshold(answered: Answered, threshold: float) -> Figures:
    """What a threshold does, in steps of 1 / `STEPS`: how many it accepts, how many of those are wrong, and the rest.

    The curve of these is the risk-coverage curve of selective classification (El-Yaniv and Wiener 2010).
    """
    step = math.ceil(round(threshold * STEPS, 6))
    found = {"threshold": threshold, "accepted": 0, "wrong_accepted": 0, "to_people": 0, "wrong_to_people": 0}
    for at, (images, right) in answered.steps.items():
        place = "accepted" if at >= step else "to_people"
        found[place] += images
        found[f"wrong_{place}"] += images - right
    return found


def _calibration_error(answered: Answered, images: int) -> Figures | None:
    """ECE: the gap between confidence and accuracy in `BINS` bins of equal width, by images (Naeini et al. 2015).

    It is the mean, over all images, of confidence - right with the sign of its bin, whose variance the sums of squares
    tell. The interval takes the signs as given.
    """
    if not images:
        return None
    gap = sum(abs(sure - UNIT * right) for _, right, sure, _ in answered.bins)
    squares = sum(squared for *_, squared in answered.bins)
    value = gap / UNIT / images
    variance = squares / UNIT / UNIT / images - value * value
    return _reaching(value, variance / images)


def _reaching(value: float, variance: float, most: float = math.inf) -> Figures:
    reach = Z * math.sqrt(max(0.0, variance))
    return {"value": value, "low": max(0.0, value - reach), "high": min(most, value + reach)}


_NO_CLASSES: Figures = {"macro_f1": None, "classes": None, "confusion": None}


def _class_figures(cells: Counter[tuple[str, str]]) -> Figures:
    """Figures by class, the confusion matrix, and the mean of F1 over the classes of which there are images."""
    if not cells:
        return _NO_CLASSES
    true: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for (truth, answer), count in cells.items():
        true[truth] += count
        said[answer] += count
    labels = sorted({*true, *said}, key=_as_people_count)
    f1 = {label: 2 * cells[label, label] / (true[label] + said[label]) for label in labels}
    return {
        "macro_f1": _macro_f1(cells, true, said, f1),
        "classes": {
            label: {
                "images": true[label],
                "precision": share(cells[label, label], said[label]),
                "recall": share(cells[label, label], true[label]),
                "f1": _f1(cells[label, label], true[label] + said[label]),
            }
            for label in labels
        },
        "confusion": {"labels": labels, "counts": [[cells[truth, answer] for answer in labels] for truth in labels]},
    }


def _as_people_count(label: str) -> tuple[bool, int, str]:
    """Numbers first, by their size: 2 before 10."""
    number = label.isascii() and label.isdecimal() and len(label) < 20
    return not number, int(label) if number else 0, label


def _f1(hits: int, both: int) -> Figures:
    """F1, 2 hits / (true + said): of the share of images, true or said, that are hits, j, it is 2j / (1 + j)."""
    low, high = (2 * end / (1 + end) for end in wilson(hits, both - hits))
    return {"value": 2 * hits / both, "low": low, "high": high}


def _macro_f1(
    cells: Mapping[tuple[str, str], int], true: Mapping[str, int], said: Mapping[str, int], f1: Mapping[str, float]
) -> Figures:
    """The mean of F1 over the classes of which there are images; what is not there cannot be found.

    Delta method for a multinomial of the cells (Takahashi et al. 2022, "Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores"): each F1 has the derivative 2 / (true + said) by its hits, and -F1 / (true + said) by
    each image that is true or said. F1 depends on proportions only, so the mean of the derivatives is 0.
    """
    both = {label: count + said[label] for label, count in true.items()}
    variance = 0.0
    for (truth, answer), count in cells.items():
        slope = 2 / both[truth] if truth == answer else 0.0
        slope -= f1[truth] / both[truth]
        slope -= f1[answer] / both[answer] if answer in both else 0.0
        variance += count * slope * slope
    value = sum(f1[label] for label in true) / len(true)
    return _reaching(value, variance / len(true) ** 2, 1.0)


def _text_figures(answered: Answered) -> Figures:
    """CER and WER: edits of all texts over the characters, or words, of the true ones; `exact` without any mistake."""
    return {
        "exact": share(answered.right, answered.images),
        "cer": _rate(answered.characters),
        "wer": _rate(answered.words),
    }


def _rate(edits: Edits) -> Figures | None:
    if not edits.length:
        return None
    value = edits.edits / edits.length
    squares = edits.edits_squared - 2 * value * edits.edits_by_length + value * value * edits.length_squared
    return _reaching(value, squares / edits.length**2)
