"""The Lambda functions: one folder each, its `handler.py` short: parse, call `ics`, map out."""
