"""The routing policy: `policy.toml`, read strictly; what of it applies to a run of one model; its version.

    threshold = 0.94            # the confidence from which an answer is accepted
    margin = 0.2                # how far apart the two best answers must be
    tag_accepted = true         # accepted images carry their label as the object tag `ics-label`

    [labels."7"]
    threshold = 0.99            # instead of the global one, where the model answers "7"

    [labels."weapon"]
    watch = true                # flagged whatever the confidence, and told at once
    quarantine = true           # and unreadable for all but reviewers

    [models.digits]             # the same keys again, for one model: what is given here outweighs the above
    threshold = 0.97

No key is required: an empty file leaves everything to the request and the environment.
"""

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ics.errors import InvalidPolicy

MAX_BYTES = 256 * 1024
"""Bytes of a policy file: every run reads it, and every batch what applies of it."""

_Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What is asked of images with one label. `threshold` is None where the global one applies."""

    threshold: float | None = None
    watch: bool = False
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to a run: one model's rules with all precedences settled, and the version of the file they are from.

    `margin` is the least distance between the confidences of the two best answers; 0 asks for none.
    """

    threshold: float
    margin: float = 0.0
    tag_accepted: bool = False
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    version: str = ""

    def threshold_for(self, label: str) -> float:
        """The confidence from which an answer of this label is accepted."""
        rule = self.labels.get(label)
        return self.threshold if rule is None or rule.threshold is None else rule.threshold


@dataclass(frozen=True)
class PolicyFile:
    """A checked policy file: its keys as nested tables, without those that say nothing."""

    table: Mapping[str, Any]

    @property
    def canonical(self) -> str:
        """JSON that is equal for files that say the same: sorted, numbers as fractions, nothing empty."""
        return json.dumps(self.table, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:12]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that have rules of their own."""
        return tuple(self.table.get("models", {}))

    def applied(self, model: str, *, requested: float | None, default: float) -> Policy:
        """What applies to a run of `model`.

        Args:
            model: the model's name.
            requested: the threshold that the request names, which outweighs the file's global one.
            default: the environment's threshold, for where neither request nor file names one.
        """
        rules = _merged(self.table, self.table.get("models", {}).get(model, {}))
        return Policy(
            threshold=requested if requested is not None else rules.get("threshold", default),
            margin=rules.get("margin", 0.0),
            tag_accepted=rules.get("tag_accepted", False),
            labels={label: LabelRule(**rule) for label, rule in rules.get("labels", {}).items()},
            version=self.version,
        )

    def flat(self) -> dict[str, str]:
        """Each setting by its dotted key, values as TOML writes them: what a person compares."""
        return dict(_flattened(self.table, ""))


EMPTY = PolicyFile({})
"""The policy of an environment that has none."""


def parse_policy(content: bytes) -> PolicyFile:
    """Read a policy file.

    Raises:
        InvalidPolicy: names the key and what would be right.
    """
    if len(content) > MAX_BYTES:
        raise InvalidPolicy(f"policy.toml has {len(content):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidPolicy(f"policy.toml is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or what Python says of a number of 5,000 digits
        raise InvalidPolicy(f"policy.toml is not TOML: {error}") from error
    file = PolicyFile(_checked(table, "", {**_RULES, "models": _models}))
    for model in (None, *file.models):
        _check_contradictions(file.table, model)
    return file


def policy_to_json(policy: Policy) -> bytes:
    """A run's policy as its working file holds it."""
    labels = {
        label: {"threshold": rule.threshold, "watch": rule.watch, "quarantine": rule.quarantine}
        for label, rule in policy.labels.items()
    }
    names = ("threshold", "margin", "tag_accepted", "version")
    return json.dumps({**{name: getattr(policy, name) for name in names}, "labels": labels}).encode()


def policy_from_json(content: bytes) -> Policy:
    """The same, read."""
    fields = json.loads(content)
    labels = {label: LabelRule(**rule) for label, rule in fields.pop("labels").items()}
    return Policy(labels=labels, **fields)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> _Table:
    """Rules with those of `above` in place of those of `below`; of a label key by key."""
    labels: _Table = {
        label: below.get("labels", {}).get(label, {}) | above.get("labels", {}).get(label, {})
        for label in (below.get("labels", {}) | above.get("labels", {}))
    }
    return {**below, **above, "labels": labels}


def _check_contradictions(table: Mapping[str, Any], model: str | None) -> None:
    rules = _merged(table, table.get("models", {}).get(model, {}))
    for label, rule in rules["labels"].items():
        if rule.get("quarantine") and rule.get("watch") is False:
            where = f" for model {model!r}" if model else ""
            raise InvalidPolicy(
                f"labels.{_quoted(label)}: quarantine needs watch, so that a person hears of the image, but watch is "
                f"false{where}"
            )


_Check = Callable[[Any, str], Any]


def _checked(table: Any, where: str, keys: Mapping[str, _Check]) -> _Table:
    """A table with each value checked, those that say nothing left out."""
    if not isinstance(table, dict):
        raise InvalidPolicy(f"{where.rstrip('.')} is {_shown(table)}; it must be a table")
    unknown = sorted(table.keys() - keys.keys())
    if unknown:
        raise InvalidPolicy(f"unknown key {where}{_quoted(unknown[0])}; allowed are: {', '.join(keys)}")
    checked = {key: keys[key](value, where + key) for key, value in table.items()}
    return {key: value for key, value in checked.items() if value != {}}


def _unit(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:  # refuses nan, too
        raise InvalidPolicy(f"{where} is {_shown(value)}; it must be a number from 0 to 1")
    return float(value) + 0.0  # without the sign of -0.0


def _switch(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidPolicy(f"{where} is {_shown(value)}; it must be true or false")
    return value


def _named(rules: Mapping[str, _Check]) -> _Check:
    """A check of a table of tables, by names that people chose."""

    def check(value: Any, where: str) -> _Table:
        if not isinstance(value, dict):
            raise InvalidPolicy(f"{where} is {_shown(value)}; it must be a table of tables, such as [{where}.NAME]")
        if "" in value:
            raise InvalidPolicy(f'{where}."": a name has at least one character')
        checked = {name: _checked(one, f"{where}.{_quoted(name)}.", rules) for name, one in value.items()}
        return {name: one for name, one in checked.items() if one}

    return check


_RULES: Mapping[str, _Check] = {
    "threshold": _unit,
    "margin": _unit,
    "tag_accepted": _switch,
    "labels": _named({"threshold": _unit, "watch": _switch, "quarantine": _switch}),
}
_models: _Check = _named(_RULES)


def _flattened(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for key, value in sorted(table.items()):
        if isinstance(value, dict):
            yield from _flattened(value, f"{where}{_quoted(key)}.")
        else:
            yield f"{where}{key}", json.dumps(value)


def _quoted(key: str) -> str:
    """A key as TOML writes it."""
    return key if key.isascii() and key.replace("-", "_").isidentifier() else json.dumps(key, ensure_ascii=False)


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # of a hexadecimal number, which Python reads, but does not write, at any length
        return "a number of very many digits"
    return shown if len(shown) <= 200 else shown[:197] + "..."
