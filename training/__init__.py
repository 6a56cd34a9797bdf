"""Training: labelled images in, artifacts of `models/` out, calibrated and measured."""
