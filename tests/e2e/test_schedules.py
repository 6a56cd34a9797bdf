"""Twenty bad days, drawn by their seeds, in a local AWS of their own; `make soak` plays a thousand."""

from collections.abc import Iterator

import pytest

from local import control
from tests.soak.schedules import Stage, pictures, play, set_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    state = tmp_path_factory.mktemp("schedules")
    try:
        yield set_stage(state, pictures())
    finally:
        control.stop(state)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_image_has_one_row_and_each_answer_is_that_of_a_calm_day(seed: int, stage: Stage) -> None:
    play(seed, stage)
