"""The object tags that ICS sets, and what fits in one."""

import re

from ics.routing import QUARANTINED

LABEL_TAG = "ics-label"
"""An accepted image's label, where the policy says `tag_accepted`."""

QUARANTINE_TAG = "ics-quarantine"
"""`true` on an image in quarantine: the images bucket's policy denies it to all but reviewers."""

REVIEWER_TAG = "ics-reviewer"
"""`true` on a principal (an IAM user, role or session) that may read and release what is in quarantine."""

HIDDEN_REASONS = (QUARANTINED, "QuarantineFailed")
"""The reasons of rows whose images are hidden from people, or should be."""

# S3 User Guide, "Categorizing your storage using tags": letters, digits and spaces in UTF-8, and + - = . _ : / @
_REFUSED = re.compile(r"[^\w \-+=.:/@]")
_LONGEST = 256  # positions in UTF-16, as the same page says: a letter beyond the basic plane takes two


def tag_value(text: str) -> str:
    """Text as S3 takes it for the value of a tag: what it refuses becomes `_`, and what is too long is cut."""
    return _REFUSED.sub("_", text).encode("utf-16-le")[: 2 * _LONGEST].decode("utf-16-le", "ignore")
