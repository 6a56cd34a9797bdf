"""Fuzzing with a count: `make soak` sends at least a million mutated bodies at all that reads what strangers wrote."""
