"""Temperature and calibration error, on answers whose true chances are known."""

import numpy as np
import pytest

from training.calibrate import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    probabilities,
)


def overconfident(factor, images=20_000):
    """Logits whose softmax was the truth before they were multiplied by `factor`."""
    random = np.random.default_rng(1)
    honest = random.normal(size=(images, 5)) * 2
    labels = (probabilities(honest, 1).cumsum(axis=1) < random.random((images, 1))).sum(axis=1)
    return (honest * factor).astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_logits_dishonest(factor):
    logits, labels = overconfident(factor)
    assert fit_temperature(logits, labels) == pytest.approx(factor, rel=0.03)


def test_calibration_lowers_the_loss_and_the_calibration_error_but_changes_no_answer():
    logits, labels = overconfident(3)
    temperature = fit_temperature(logits, labels)
    fitted = negative_log_likelihood(logits, labels, temperature)
    assert fitted < negative_log_likelihood(logits, labels) - 0.1
    assert fitted < min(negative_log_likelihood(logits, labels, temperature * off) for off in (0.95, 1.05))

    def error(at):
        chances = probabilities(logits, at)
        return expected_calibration_error(chances.max(axis=1), chances.argmax(axis=1) == labels)

    assert error(temperature) < 0.015
    assert error(1) > 0.1
    assert (probabilities(logits, temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_caution_lowers_the_mean_confidence_by_its_amount_and_sends_more_wrong_answers_to_people():
    logits, labels = overconfident(1)
    honest, cautious = (probabilities(logits, fit_temperature(logits, labels, caution)) for caution in (0, 0.02))
    assert cautious.max(axis=1).mean() == pytest.approx(honest.max(axis=1).mean() - 0.02, abs=1e-6)
    wrong = logits.argmax(axis=1) != labels
    assert (cautious[wrong].max(axis=1) < 0.94).sum() > (honest[wrong].max(axis=1) < 0.94).sum()


def test_calibration_error_is_the_weighted_gap_of_each_bin():
    # bins of 1/15: two answers near .50 (one right), two near .95 (both right), one of exactly 1 (wrong)
    confidence = np.array([0.48, 0.50, 0.94, 0.96, 1.0])
    right = np.array([True, False, True, True, False])
    by_hand = abs(1 - 0.98) / 5 + abs(2 - (0.94 + 0.96 + 1.0)) / 5
    assert expected_calibration_error(confidence, right) == pytest.approx(by_hand)
