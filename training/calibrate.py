"""Calibration: the temperature at which a classifier's confidence means what it says, and how far off it still is."""

import numpy as np
from numpy.typing import NDArray


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


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature in 0.05..20 with the lowest negative log-likelihood (Guo et al. 2017, temperature scaling).

    The likelihood is convex in 1 / temperature, and its slope there is the mean over images of the expected logit under
    the softmax minus the true label's logit: so bisection on the slope's sign finds the minimum.
    """
    true = logits[np.arange(len(labels)), labels].astype(np.float64)
    low, high = 1 / 20, 1 / 0.05
    for _ in range(60):
        middle = (low + high) / 2
        expected = (probabilities(logits, 1 / middle) * logits).sum(axis=1)
        low, high = (middle, high) if np.mean(expected - true) < 0 else (low, middle)
    return 2 / (low + high)


def expected_calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """ECE: the gap between confidence and accuracy in equal-width bins, weighted by images (Naeini et al. 2015)."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(places, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
