"""The routing policy: which answers are accepted, and which go to people."""

from ics.contracts import ImageRef, Prediction, Verdict
from ics.errors import ImageError

DEFAULT_THRESHOLD = 0.94
"""The confidence from which an answer is accepted, where neither request nor environment says otherwise."""

BELOW_THRESHOLD = "BelowThreshold"
NOTHING_READ = "NothingRead"


def judge(image: ImageRef, prediction: Prediction, threshold: float) -> Verdict:
    """Accept a prediction whose confidence reaches the threshold; else it is uncertain and a person should look.

    A text model that read nothing is never accepted, however sure it is: an empty line may be a line that it missed.
    """
    if prediction.text is not None and not prediction.text.strip():
        return Verdict(image, "uncertain", NOTHING_READ, prediction)
    if prediction.confidence >= threshold:
        return Verdict(image, "accepted", None, prediction)
    return Verdict(image, "uncertain", BELOW_THRESHOLD, prediction)


def fail(image: ImageRef, reason: str | ImageError) -> Verdict:
    """An image that could not be classified, and why."""
    return Verdict(image, "failed", reason if isinstance(reason, str) else reason.reason, None)
