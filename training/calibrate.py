"""Calibration: the temperature at which a classifier's confidence means what it says, and how far off it still is."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ics.measures import BINS


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """softmax(logits / temperature), row by row; [N, classes]."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def negative_log_likelihood(
    logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Mean of -log p(true label), in nats."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]))


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer], caution: float = 0.0) -> float:
    """The temperature in 0.05..20 with the lowest negative log-likelihood (Guo et al. 2017, temperature scaling).

    The likelihood is convex in 1 / temperature, and its slope there is the mean over images of the expected logit under
    the softmax minus the true label's logit: so bisection on the slope's sign finds the minimum.

    With `caution`, the higher temperature at which the mean confidence is lower by so much: where a wrong answer that
    passes costs more than a right one that is looked at, more of the wrong ones then stay below a threshold. It adds
    its amount to the calibration error.
    """
    true = logits[np.arange(len(labels)), labels].astype(np.float64)

    def slope(sharpness: float) -> float:
        return float(np.mean((probabilities(logits, 1 / sharpness) * logits).sum(axis=1) - true))

    best = _root(slope, 1 / 20, 1 / 0.05)
    if not caution:
        return 1 / best
    wanted = _mean_confidence(logits, 1 / best) - caution
    return 1 / _root(lambda sharpness: _mean_confidence(logits, 1 / sharpness) - wanted, 1 / 20, best)


def _mean_confidence(logits: NDArray[np.floating], temperature: float) -> float:
    return float(probabilities(logits, temperature).max(axis=1).mean())


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero, or the end of the interval that is nearest to it."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def expected_calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], weights: NDArray[np.floating] | None = None
) -> float:
    """ECE: the gap between confidence and accuracy in BINS bins of equal width, by images (Naeini et al. 2015).

    With `weights`, an image counts that often.
    """
    counted = np.ones(len(confidence)) if weights is None else weights
    gaps = np.bincount(bin_of(confidence), weights=counted * (confidence - right), minlength=BINS)
    return float(np.abs(gaps).sum() / counted.sum())


def bin_of(confidence: NDArray[np.floating]) -> NDArray[np.int64]:
    """The bin of each confidence, 0 to BINS - 1; a confidence of 1 is in the last."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
