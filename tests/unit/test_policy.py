"""The routing policy: read strictly, merged as documented, versioned by what it says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.errors import InvalidPolicy
from ics.policy import EMPTY, MAX_BYTES, LabelRule, Policy, parse_policy, policy_from_json, policy_to_json

_names = st.one_of(st.sampled_from(["7", "weapon", "a.b", 'say "x"', "пёс"]), st.text(min_size=1, max_size=6))
_unit = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
_rule = st.fixed_dictionaries({}, optional={"threshold": _unit, "watch": st.booleans()})
_rules = {
    "threshold": _unit,
    "margin": _unit,
    "tag_accepted": st.booleans(),
    "labels": st.dictionaries(_names, _rule, max_size=4),
}
_tables = st.fixed_dictionaries(
    {}, optional={**_rules, "models": st.dictionaries(_names, st.fixed_dictionaries({}, optional=_rules), max_size=3)}
)


def toml(table: dict[str, Any], where: str = "") -> str:
    """A table as TOML, its keys quoted."""
    lines = [f"{_key(key)} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{where}{_key(key)}]", toml(value, f"{where}{_key(key)}.")]
    return "\n".join(lines)


def _key(key: str) -> str:
    return json.dumps(key).replace("\x7f", "\\u007f") if key.isascii() else f'"{_escaped(key)}"'


def _escaped(key: str) -> str:
    return "".join(f"\\U{ord(char):08x}" for char in key)


def parsed(table: dict[str, Any]) -> Any:
    return parse_policy(toml(table).encode())


@given(_tables, st.sampled_from(["digits", "letters"]), _names, st.none() | _unit, _unit)
def test_the_model_outweighs_the_global_rules_and_the_request_both(
    table: dict[str, Any], model: str, label: str, requested: float | None, default: float
) -> None:
    own = table.get("models", {}).get(model, {})
    policy = parsed(table).applied(model, requested=requested, default=default)
    expected = own.get("threshold", table.get("threshold", default)) if requested is None else requested
    assert policy.threshold == expected
    assert policy.margin == own.get("margin", table.get("margin", 0.0))
    assert policy.tag_accepted == own.get("tag_accepted", table.get("tag_accepted", False))
    rule = table.get("labels", {}).get(label, {}) | own.get("labels", {}).get(label, {})
    assert policy.threshold_for(label) == rule.get("threshold", expected)
    assert policy.labels.get(label, LabelRule()).watch == rule.get("watch", False)
    assert policy_from_json(policy_to_json(policy)) == policy


@given(_tables, st.randoms(use_true_random=False))
def test_the_version_is_of_what_a_policy_says_not_of_how_it_is_written(table: dict[str, Any], random: Any) -> None:
    def shuffled(node: Any) -> Any:
        if not isinstance(node, dict):
            return int(node) if node in (0.0, 1.0) and not isinstance(node, bool) else node
        return {key: shuffled(node[key]) for key in random.sample(sorted(node), len(node))}

    file = parsed(table)
    again = parse_policy(f"# a comment\n{toml(shuffled(table))}\n".encode())
    assert (again.canonical, again.version, again.flat()) == (file.canonical, file.version, file.flat())
    assert len(file.version) == 12
    changed = parsed({**table, "threshold": 0.123456})
    assert (changed.version == file.version) == (table.get("threshold") == 0.123456)


def test_a_policy_that_says_nothing_is_the_empty_one() -> None:
    for text in ("", "# later\n", "[labels]", '[labels."7"]', "[models.digits.labels.x]"):
        assert parse_policy(text.encode()) == EMPTY
    assert EMPTY.applied("digits", requested=None, default=0.9) == Policy(0.9, version=EMPTY.version)


def test_what_a_person_compares_is_a_line_a_setting() -> None:
    file = parse_policy(b'threshold = 1\n[labels."7 up"]\nwatch = true\n[models.a-b.labels.x]\nthreshold = 0.5')
    assert file.flat() == {
        "threshold": "1.0",
        'labels."7 up".watch': "true",
        "models.a-b.labels.x.threshold": "0.5",
    }


WRONG = {
    "treshold = 0.9": "unknown key treshold; allowed are: threshold, margin, tag_accepted, labels, models",
    "threshold = 94": "threshold is 94; it must be a number from 0 to 1",
    "threshold = -0.1": "threshold is -0.1",
    "threshold = nan": "threshold is nan",
    "threshold = inf": "threshold is inf",
    "threshold = true": "threshold is True",
    'threshold = "0.9"': "threshold is '0.9'",
    "margin = 2": "margin is 2",
    "tag_accepted = 1": "tag_accepted is 1; it must be true or false",
    "labels = 3": "labels is 3; it must be a table of tables",
    "labels.x = 3": "labels.x is 3; it must be a table",
    'labels.x.watch = "yes"': "labels.x.watch is 'yes'; it must be true or false",
    '[labels."a b"]\nhide = true': 'unknown key labels."a b".hide; allowed are: threshold, watch, quarantine',
    '[labels.""]\nwatch = true': "a name has at least one character",
    "[models.digits]\nmodels = {}": "unknown key models.digits.models",
    "models.digits.threshold = 2": "models.digits.threshold is 2",
    "[[labels]]": "labels is [{}]; it must be a table of tables",
    "threshold = 0.9\nthreshold = 0.9": "not TOML: Cannot overwrite a value",
    "threshold": "not TOML",
    "a=" + "[" * 5000: "not TOML",
    "threshold = " + "9" * 5000: "not TOML: Exceeds the limit",
    "threshold = 0x" + "f" * 5000: "threshold is a number of very many digits; it must be a number from 0 to 1",
    "[labels.x]\nwatch = false\nquarantine = true": "labels.x: quarantine needs watch",
    "labels.x.quarantine = true\nmodels.m.labels.x.watch = false": "watch is false for model 'm'",
    "labels.x.watch = false\nmodels.m.labels.x.quarantine = true": "watch is false for model 'm'",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        parse_policy(text.encode())
    assert WRONG[text] in str(refused.value)
    assert len(str(refused.value)) < 500


def test_bytes_that_are_no_text_and_too_many_are_refused() -> None:
    with pytest.raises(InvalidPolicy, match=r"not UTF-8: .* at byte 2"):
        parse_policy(b"# \xff")
    with pytest.raises(InvalidPolicy, match=r"262,145 bytes; the limit is 262,144"):
        parse_policy(b"#" * (MAX_BYTES + 1))
    assert parse_policy(b"#" * MAX_BYTES) == EMPTY


_fragments = st.sampled_from(
    [
        "threshold",
        "labels",
        "models",
        "watch",
        "margin",
        ".",
        "=",
        "0.5",
        "nan",
        "true",
        "[",
        "]",
        '"',
        "{",
        "}",
        "\n",
        ",",
    ]
)


@given(st.one_of(st.binary(max_size=60), st.lists(_fragments, max_size=25).map(lambda parts: "".join(parts).encode())))
def test_whatever_the_bytes_they_are_a_policy_or_refused_by_name(content: bytes) -> None:
    try:
        file = parse_policy(content)
    except InvalidPolicy:
        return
    policy = file.applied("digits", requested=None, default=0.94)
    assert 0 <= policy.threshold <= 1
    assert 0 <= policy.margin <= 1
