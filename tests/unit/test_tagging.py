"""Tag values: whatever a label is, S3 takes it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.tagging import tag_value


@given(st.text(max_size=400))
def test_any_label_becomes_a_value_that_s3_takes(label: str) -> None:
    value = tag_value(label)
    assert len(value.encode("utf-16-le")) <= 2 * 256  # "characters consume either 1 or 2 character positions"
    assert len(value) == len(label) or len(value.encode("utf-16-le")) >= 2 * 255
    # S3 User Guide, "Categorizing your storage using tags", as AWS's resource tagging API spells it
    assert re.fullmatch(r"[\w \-+=.:/@]*", value)
    value.encode()


@pytest.mark.parametrize("label", ["7", "Uber Eats", "пёс", "t-shirt/top", "a@b.c", "x" * 256])
def test_what_s3_takes_stays_as_it_is(label: str) -> None:
    assert tag_value(label) == label


def test_letters_that_take_two_positions_count_as_two() -> None:
    assert tag_value("\U0001d49c" * 200) == "\U0001d49c" * 128


def test_what_s3_refuses_is_replaced() -> None:
    assert tag_value('<a>&"b",\n;') == "_a___b____"
