"""Tell the images whose confidence reaches the threshold from the others."""

import os

THRESHOLD = float(os.environ.get("THRESHOLD", "0.94"))


def handler(event, _context):
    """An image with its inferences -> what is left of it: key, label, confidence, whether it meets the threshold."""
    best = event["inferences"]
    print(f"filtered {event['s3_key']}")
    return {
        "s3_key": event["s3_key"],
        "label": best["label"],
        "confidence": best["confidence"],
        "meets_threshold": best["confidence"] >= THRESHOLD,
    }
