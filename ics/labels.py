"""Truth labels: what a line of a labels file says, and which label of an image counts when people said several.

A file is JSON Lines, a line `{"image_id" or "s3_uri", "label", "by"?, "at"?, "boxes"?}`. Of one person on one image the
latest counts, and a label of null withdraws what that person said. People whose counting labels differ are in conflict.
"""

import json
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, NoReturn, TypeVar

MAX_LABEL = 4096
"""Characters of a label, of a text, or of a person's name."""

_KEYS = {"image_id", "s3_uri", "label", "by", "at", "boxes"}


@dataclass(frozen=True, slots=True)
class Label:
    """What one person says of one image, named by its `image_id` or, where that is empty, by its `s3_uri`.

    `label` is None where it withdraws. `at` is ISO 8601 UTC with milliseconds; `by` and `at` are empty where unknown.
    """

    image_id: str
    s3_uri: str
    label: str | None
    by: str = ""
    at: str = ""


def parse_label(line: bytes) -> Label:
    """A line of a labels file.

    Raises:
        ValueError, TypeError, RecursionError: says what is wrong with it.
    """
    return label_from(parse_object(line))


def label_from(fields: Mapping[str, Any]) -> Label:
    """What the object of a line says, its boxes left out.

    Raises:
        ValueError, TypeError: says what is wrong with it.
    """
    unknown = sorted(fields.keys() - _KEYS)
    if unknown:
        raise ValueError(f"unknown key {unknown[0][:40]!r}; allowed are: {', '.join(sorted(_KEYS))}")
    image_id, s3_uri = text_of(fields, "image_id"), text_of(fields, "s3_uri")
    if not image_id and not s3_uri:
        raise ValueError("it names no image: image_id or s3_uri is missing")
    if "label" not in fields:
        raise ValueError("label is missing; null withdraws what the same person said")
    if not isinstance(fields.get("boxes", []), list):
        raise TypeError("boxes is not a list")
    label = None if fields["label"] is None else spelled(text_of(fields, "label"))
    return Label(image_id, "" if image_id else s3_uri, label, text_of(fields, "by"), moment(text_of(fields, "at")))


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line, read as strictly as RFC 8259 allows: no NaN, no key twice.

    Raises:
        ValueError, TypeError, RecursionError: it is none.
    """
    found = _strict.decode(line.decode("utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"expected a JSON object, found {type(found).__name__}")
    return found


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """A field that is a text, empty where it is missing or null.

    Raises:
        ValueError, TypeError: it is no text, or a longer one than `MAX_LABEL`, or one that UTF-8 cannot hold.
    """
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    if len(value) > MAX_LABEL:
        raise ValueError(f"{name} has {len(value):,} characters; the limit is {MAX_LABEL:,}")
    value.encode()  # refuses lone surrogates, which JSON can spell
    return value


def spelled(text: str) -> str:
    """A text in Unicode's composed form (NFC), so that equal letters are equal however they were typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@lru_cache(maxsize=4096)
def moment(text: str) -> str:
    """An ISO 8601 time as UTC with milliseconds, so that times are in order as texts; without a zone it is UTC.

    Raises:
        ValueError: no such time.
    """
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is not a time such as 2026-01-31T12:00:00.000Z") from error
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Said = TypeVar("Said", bound=Hashable)
"""What is said of an image: its label, or that and more."""

Opinions = dict[str, tuple[str, frozenset[Said | None]]]
"""What people say of one image: by person, the latest time at which they said something, and what they said then."""


def hear(opinions: Opinions[Said], by: str, at: str, said: Iterable[Said | None]) -> None:
    """Take in what a person said at a time. Any order gives the same opinions."""
    latest, there = opinions.get(by, ("", frozenset()))
    if at > latest or not there:
        opinions[by] = at, frozenset(said)
    elif at == latest:
        opinions[by] = at, there | frozenset(said)


@dataclass(frozen=True, slots=True)
class Settled(Generic[Said]):
    """What counts of an image: `label`, None where it is withdrawn or in conflict.

    A conflict names who says what, `(by, label)`; the label is None where a person labels and withdraws at one time.
    """

    label: Said | None
    conflict: tuple[tuple[str, Said | None], ...] = ()


def settle(opinions: Opinions[Said]) -> Settled[Said]:
    """The label that counts of an image."""
    counting = [(by, label) for by, (_, said) in opinions.items() if said != {None} for label in said]
    labels = {label for _, label in counting}
    if len(labels) > 1:
        return Settled(None, tuple(sorted(counting, key=lambda one: (one[0], one[1] is not None, str(one[1])))))
    return Settled(labels.pop() if labels else None)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


_strict = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
