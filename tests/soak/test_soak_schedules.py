"""Twenty random bad days in every `make test`: each ends reconciled, with nothing lost and nothing doubled."""

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
def test_a_bad_day_loses_and_doubles_nothing(seed: int, stage: Stage) -> None:
    play(seed, stage)
