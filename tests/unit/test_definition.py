"""Walking a definition: the way to success, what it enters, invokes and writes; definitions that have none."""

import json
from pathlib import Path
from typing import Any

import pytest

from ics.definition import invoked_by, walk
from ics.errors import InvalidDefinition

DEFINITION = json.loads((Path(__file__).parents[2] / "statemachine" / "classify_images.asl.json").read_text("utf-8"))


def test_the_way_of_a_run_that_goes_well_ends_in_success_and_takes_no_catch() -> None:
    way = walk(DEFINITION)
    names = list(way.states)
    assert names[0] == "PlanRun"
    assert names[-1] == "RunSucceeded"
    assert [way.functions, way.published] == [["PlanRun", "SummarizeRun", "MakeContactSheet"], 1]
    child = way.batch()
    assert child.functions == ["SerializeImageData", "ClassifyImage", "FilterLowConfidence"]
    assert "RecordFailure" in set(invoked_by(DEFINITION)) - set(child.functions)


def test_history_grows_with_the_states_and_not_with_the_images() -> None:
    """34 for PlanRun, the Map, SummarizeRun, the sheet, NotifyOps, two choices, the success; AWS ends at 25,000."""
    assert walk(DEFINITION).events == 2 + 5 + 2 + 6 + 5 + 5 + 5 + 2 + 2 < 200


def _definition(**states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def test_the_first_branch_that_leads_to_success_is_taken_and_a_loop_is_left() -> None:
    way = walk(
        _definition(
            Choose={"Type": "Choice", "Choices": [{"Next": "Again"}, {"Next": "Bad"}], "Default": "Good"},
            Again={"Type": "Pass", "Next": "Choose"},
            Bad={"Type": "Fail"},
            Good={"Type": "Pass", "End": True},
        )
    )
    assert list(way.states) == ["Choose", "Good"]


@pytest.mark.parametrize(
    "definition",
    [
        _definition(Bad={"Type": "Fail"}),
        _definition(Loop={"Type": "Pass", "Next": "Loop"}),
    ],
)
def test_a_definition_without_success_is_refused(definition: dict[str, Any]) -> None:
    with pytest.raises(InvalidDefinition, match="no way leads"):
        walk(definition)


def test_a_definition_without_one_distributed_map_of_one_inline_map_is_refused() -> None:
    def mapped(config: dict[str, str], **states: Any) -> dict[str, Any]:
        return {"Type": "Map", "End": True, "ItemProcessor": {"ProcessorConfig": config, **_definition(**states)}}

    nothing = {"Type": "Pass", "End": True}
    inline = mapped({"Mode": "INLINE"}, One=nothing)
    express = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    for wrong in (nothing, inline, mapped(express, One=nothing), mapped({"Mode": "DISTRIBUTED"}, One=inline)):
        with pytest.raises(InvalidDefinition, match="expected one Map"):
            walk(_definition(One=wrong)).batch()
    assert list(walk(_definition(One=mapped(express, Two=inline))).batch().states) == ["One"]
