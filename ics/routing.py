"""Routing: which answers are accepted, and which go to people, by the policy of the run."""

from ics.contracts import ImageRef, Prediction, Verdict
from ics.errors import ImageError
from ics.policy import Policy

DEFAULT_THRESHOLD = 0.94
"""The confidence from which an answer is accepted, where neither request nor policy nor environment says otherwise."""

BELOW_THRESHOLD = "BelowThreshold"
MARGIN_TOO_SMALL = "MarginTooSmall"
NOTHING_READ = "NothingRead"
WATCHED_LABEL = "WatchedLabel"
QUARANTINED = "Quarantined"
NOTHING_FOUND = "NothingFound"
NEEDS_A_PERSON = (BELOW_THRESHOLD, MARGIN_TOO_SMALL, NOTHING_READ, NOTHING_FOUND, WATCHED_LABEL, QUARANTINED)
"""The reasons why an image that the model has answered is not accepted."""

_SHARED = 1 + 1e-6
"""What the confidences of a classification add up to at most; a detector's labels do not exclude each other."""


def judge(image: ImageRef, prediction: Prediction, policy: Policy) -> Verdict:
    """Accept a prediction that the policy trusts; any other image should be looked at by a person.

    A watched label is flagged whatever its confidence: the first label, that of any box, or one that stands beside the
    first. A text model that read nothing is never accepted, however sure it is: an empty line may be a line that it
    missed; nor is a picture on which a detector found nothing, which may show what the detector does not know. The
    margin is asked of classifications, which alone have a second answer.
    """
    threshold = policy.threshold_for(prediction.label)
    watched = [policy.labels[label] for label in _labels(prediction) if label in policy.labels]
    if any(rule.quarantine for rule in watched):
        return Verdict(image, "flagged", QUARANTINED, prediction, threshold)
    if any(rule.watch for rule in watched):
        return Verdict(image, "flagged", WATCHED_LABEL, prediction, threshold)
    doubt = _doubt(prediction, policy, threshold)
    return Verdict(image, "uncertain" if doubt else "accepted", doubt, prediction, threshold)


def _doubt(prediction: Prediction, policy: Policy, threshold: float) -> str | None:
    """Why a prediction is not trusted, None where it is."""
    if prediction.text is not None and not prediction.text.strip():
        return NOTHING_READ
    if prediction.text is None and not prediction.label:
        return NOTHING_FOUND
    if prediction.confidence < threshold:
        return BELOW_THRESHOLD
    if prediction.text is None and prediction.alternatives:
        second = max(other.confidence for other in prediction.alternatives)
        if prediction.confidence + second <= _SHARED and prediction.confidence - second < policy.margin:
            return MARGIN_TOO_SMALL
    return None


def fail(image: ImageRef, reason: str | ImageError) -> Verdict:
    """An image that could not be classified, and why."""
    return Verdict(image, "failed", reason if isinstance(reason, str) else reason.reason, None)


def _labels(prediction: Prediction) -> set[str]:
    """All that the picture is said to show: what is likelier than not stands beside a surer first, not against it."""
    beside = (other.label for other in prediction.alternatives if prediction.text is None and other.confidence > 0.5)
    return {prediction.label, *(box.label for box in prediction.boxes), *beside}
