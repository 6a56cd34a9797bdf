"""An evaluation of predictions by truth labels: what is asked, and how its files are cut into shards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ics.errors import EvaluationTooLarge, InvalidRequest
from ics.request import split_uri

SHARD_BYTES = 64 * 1024 * 1024
"""Bytes of files that one child reads."""

FILE_BYTES = 64 * 1024
"""What a file counts at least: a request takes as long as reading so many bytes."""

MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024
"""Bytes of one file: one child reads all of it, in constant memory, in a few minutes."""

MAX_SHARDS = 10_000
"""Children of a Map: it answers with one array of `{}`."""

USUAL_PARTITIONS = 256
"""Partitions at most, however many predictions: each shard writes a file for each."""

LABEL_BYTES = 16 * 1024 * 1024
"""Bytes of labels that a partition holds in memory, with the predictions of their images: some 250 MB of it."""

MAX_PARTITIONS = 2048
"""Partitions at most, however many labels."""

ENDING = ".jsonl"

MAX_TEXT = 2000
"""Characters of a value."""

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_SOURCES = ("model", "labels", "predictions", "pairs")
_OPTIONS = ("since", "until", "model_version")


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A checked request: sources are `s3://bucket/key or prefix`, empty where they are the model's own.

    `pairs` is a source of lines that hold prediction and truth at once. `since` and `until` are dates, both included,
    of the runs whose predictions count.
    """

    model: str = ""
    labels: str = ""
    predictions: str = ""
    pairs: str = ""
    since: str = ""
    until: str = ""
    model_version: str = ""


def parse_evaluation(request: Any) -> EvaluationRequest:
    """Check a request. `statemachine/evaluate.schema.json` is its JSON Schema; a test holds the two together.

    Raises:
        InvalidRequest: says which key is wrong and what is allowed.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"the input must be a JSON object, not {type(request).__name__}")
    unknown = sorted(request.keys() - {*_SOURCES, *_OPTIONS})
    if unknown:
        allowed = ", ".join((*_SOURCES, *_OPTIONS))
        raise InvalidRequest(f"unknown key {unknown[0][:80]!r}; allowed are: {allowed}")
    for name, value in request.items():
        if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
            raise InvalidRequest(f"{name} must be a text that is not empty")
    _check_source(request)
    for name in ("since", "until"):
        if name in request and not _DATE.fullmatch(request[name]):
            raise InvalidRequest(f"{name} is {request[name][:40]!r}; it must be a date such as 2026-01-31")
    return EvaluationRequest(**request)


def _check_source(request: Mapping[str, str]) -> None:
    files = request.keys() & {"labels", "predictions", "pairs"}
    if files not in (set(), {"labels", "predictions"}, {"pairs"}) or not (files or "model" in request):
        raise InvalidRequest("give model, or labels and predictions, or pairs")
    if files and request.keys() & {"since", "until"}:
        raise InvalidRequest("since and until choose runs of a model; files are evaluated as they are")
    if "pairs" in files and "model_version" in request:
        raise InvalidRequest("pairs are of no version; leave model_version out")
    for name in files:
        _check_uri(name, request[name])
    if "model" in request and not _MODEL.fullmatch(request["model"]):
        raise InvalidRequest(f"model is {request['model'][:80]!r}; it must be a model's name")


def _check_uri(name: str, uri: str) -> None:
    try:
        _, key = split_uri(uri)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {error}") from error
    if not key:
        raise InvalidRequest(f"{name} is a whole bucket; give a {ENDING} file or a prefix")


def of_dates(key: str, request: EvaluationRequest) -> bool:
    """Whether rows at this key are of a run within the dates that are asked for."""
    found = re.search(r"/dt=([0-9-]{10})/", key)
    date = found[1] if found else ""
    return (not request.since or date >= request.since) and (not request.until or date <= request.until)


@dataclass(slots=True)
class ShardCutter:
    """Cuts a stream of files into shards: `(offset, length)` in the file that lists them, a line a file."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    source_bytes: int = 0
    label_bytes: int = 0
    files: int = 0
    _offset: int = 0
    _length: int = 0
    _filled: int = 0

    def add(self, uri: str, line: bytes, size: int, *, labels: bool) -> None:
        """Take the next file of so many bytes, whose line is this; whether it holds labels.

        Raises:
            EvaluationTooLarge: the file is, or all are.
        """
        if size > MAX_FILE_BYTES:
            raise EvaluationTooLarge(f"{uri} has {size:,} bytes; the limit is {MAX_FILE_BYTES:,}: split it")
        cost = max(size, FILE_BYTES)
        if self._length and self._filled + cost > SHARD_BYTES:
            self._close()
        self._length += len(line)
        self._filled += cost
        self.source_bytes += size
        self.label_bytes += size * labels
        if self.label_bytes > MAX_PARTITIONS * LABEL_BYTES:
            raise EvaluationTooLarge(f"more than {MAX_PARTITIONS * LABEL_BYTES:,} bytes of labels")
        self.files += 1

    def shards(self) -> list[tuple[int, int]]:
        """All shards."""
        return [*self.spans, (self._offset, self._length)] if self._length else list(self.spans)

    @property
    def partitions(self) -> int:
        """How many partitions they are for: as many as shards, by bytes, and so many that each can hold its labels."""
        usual = min(USUAL_PARTITIONS, -(-self.source_bytes // SHARD_BYTES))
        return max(1, usual, -(-self.label_bytes // LABEL_BYTES))

    def _close(self) -> None:
        self.spans.append((self._offset, self._length))
        if len(self.spans) >= MAX_SHARDS:
            raise EvaluationTooLarge(
                f"the labels and predictions are more than {MAX_SHARDS:,} shards of {SHARD_BYTES:,} bytes, a file "
                f"counting {FILE_BYTES:,} at least; narrow them by since and until"
            )
        self._offset, self._length, self._filled = self._offset + self._length, 0, 0
