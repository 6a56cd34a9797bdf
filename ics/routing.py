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
    if prediction.text is not None and not prediction.text.strip():
        return Verdict(image, "uncertain", NOTHING_READ, prediction, threshold)
    if prediction.text is None and not prediction.label:
        return Verdict(image, "uncertain", NOTHING_FOUND, prediction, threshold)
    if prediction.confidence < threshold:
        return Verdict(image, "uncertain", BELOW_THRESHOLD, prediction, threshold)
    if prediction.text is None and prediction.alternatives:
        second = max(other.confidence for other in prediction.alternatives)
        if prediction.confidence - second < policy.margin:
            return Verdict(image, "uncertain", MARGIN_TOO_SMALL, prediction, threshold)
    return Verdict(image, "accepted", None, prediction, threshold)


def fail(image: ImageRef, reason: str | ImageError) -> Verdict:
    """An image that could not be classified, and why."""
    return Verdict(image, "failed", reason if isinstance(reason, str) else reason.reason, None)


def _labels(prediction: Prediction) -> set[str]:
    return {prediction.label, *(box.label for box in prediction.boxes)}
