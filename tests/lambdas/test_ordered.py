"""Answers in order, of which few wait: whoever asks slowly does not have all of them held."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.ordered import in_order


@given(st.lists(st.sampled_from([0, 0.001, 0.003]), max_size=30), st.integers(1, 5))
def test_the_answers_come_in_the_order_of_the_items_and_few_are_begun_ahead(pauses: list[float], at_once: int) -> None:
    begun, fetched = 0, 0

    def items() -> Iterator[tuple[int, float]]:
        nonlocal begun
        for item in enumerate(pauses):
            assert begun - fetched <= 2 * at_once
            begun += 1
            yield item

    def work(item: tuple[int, float]) -> int:
        time.sleep(item[1])
        return item[0]

    for expected, number in enumerate(in_order(work, items(), at_once)):
        assert number == expected
        fetched += 1
    assert fetched == len(pauses)


def test_so_many_are_worked_on_at_once() -> None:
    full = threading.Barrier(4)
    assert list(in_order(lambda _: full.wait(60) >= 0, range(12), 4)) == [True] * 12


def test_what_one_raises_is_raised_in_its_turn() -> None:
    answers = in_order(lambda number: 12 // number, (3, 2, 0, 1), 2)
    assert [next(answers), next(answers)] == [4, 6]
    with pytest.raises(ZeroDivisionError):
        next(answers)
