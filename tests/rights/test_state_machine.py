"""All that the state machines' definitions name may be called by their roles, in every environment."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ics import paths
from stacks.config import load_config
from tests.rights.policies import ENVIRONMENTS, Call, Rights, rights_of
from tests.rights.unused import reason

MACHINES = ("classify-images", "evaluate")
INVOKE = "lambda:InvokeFunction"


def needs(rights: Rights) -> Iterator[Call]:
    """What the definitions' states call. Refuses an integration that it does not know."""
    for logical_id, machine in rights.of("AWS::StepFunctions::StateMachine").items():
        who = machine["StateMachineName"].removeprefix(f"ics-{rights.environment}-")
        assert who in MACHINES
        yield from _needs(rights, who, logical_id, machine)


def _needs(rights: Rights, who: str, logical_id: str, machine: dict[str, Any]) -> Iterator[Call]:
    text = re.sub(
        r"\$\{(\w+)\}",
        lambda match: rights.resolve(machine["DefinitionSubstitutions"][match[1]]),
        machine["DefinitionString"],
    )
    for state in _states(json.loads(text)["States"]):
        parameters = state.get("Parameters", {})
        match state.get("Resource"):
            case "arn:aws:states:::lambda:invoke" if "FunctionName.$" in parameters:
                assert parameters["FunctionName.$"] == "$.classify"
                yield from ((who, "lambda:InvokeFunction", arn) for arn in classifiers(rights))
            case "arn:aws:states:::lambda:invoke":
                yield who, "lambda:InvokeFunction", parameters["FunctionName"]
            case "arn:aws:states:::sns:publish":
                yield from rights.implied((who, "sns:Publish", parameters["TopicArn"]))
            case unknown:
                assert unknown is None, f"which rights does {unknown} need?"
        if "ItemReader" in state:
            yield who, "s3:GetObject", _plan(rights, state["ItemReader"])
        if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            yield from _distributed(who, rights.arn(logical_id))


def classifiers(rights: Rights) -> set[str]:
    """The functions that PlanRun may name in its answer as `classify`: those of its MODELS setting."""
    functions = {one["FunctionName"]: logical_id for logical_id, one in rights.of("AWS::Lambda::Function").items()}
    (plan_run,) = (name for name in functions if name.endswith("-plan-run"))
    models = json.loads(rights.of("AWS::Lambda::Function")[functions[plan_run]]["Environment"]["Variables"]["MODELS"])
    assert models.keys() == load_config(rights.environment).models.keys()
    return {rights.arn(functions[model["classify"]]) for model in models.values()}


def _states(states: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for state in states.values():
        assert "Branches" not in state
        yield state
        yield from _states(state.get("ItemProcessor", {}).get("States", {}))


PLANS = {  # by what the planning function calls it in its answer: who that is, and where it puts it
    "plan": ("plan-run", paths.plan("any-run")),
    "shards": ("plan-evaluation", paths.evaluation_file("any", "shards.jsonl")),
    "parts": ("plan-evaluation", paths.evaluation_file("any", "partitions.jsonl")),
}


def _plan(rights: Rights, reader: dict[str, Any]) -> str:
    """The object that a Map reads: where the function that plans, which says so in its answer, has put the plan."""
    assert reader["Resource"] == "arn:aws:states:::s3:getObject"
    name = reader["Parameters"]["Key.$"].split(".")[1]
    assert reader["Parameters"] == {"Bucket.$": f"$.{name}.bucket", "Key.$": f"$.{name}.key"}
    planner, key = PLANS[name]
    functions = rights.of("AWS::Lambda::Function").values()
    (plan,) = (one for one in functions if one["FunctionName"].endswith(f"-{planner}"))
    bucket = rights.resolve(plan["Environment"]["Variables"]["WORKING_BUCKET"])
    return f"arn:aws:s3:::{bucket}/{key}"


def _distributed(who: str, machine: str) -> Iterator[Call]:
    """Step Functions Developer Guide, "IAM policies for using Distributed Map state", redriving included.

    A child's ARN is the execution's with the Map run's label or its state's name in it.
    """
    execution = machine.replace(":stateMachine:", ":execution:")
    yield who, "states:StartExecution", machine
    for one in (f"{execution}:any-run", f"{execution}/any-map:any-child"):
        yield who, "states:DescribeExecution", one
        yield who, "states:StopExecution", one
    yield who, "states:RedriveExecution", f"{execution}/any-map:any-child"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_roles_may_do_what_the_definitions_do(environment: str) -> None:
    rights = rights_of(environment)
    wanted = set(needs(rights))
    assert {"lambda:InvokeFunction", "sns:Publish", "kms:Decrypt", "s3:GetObject"} < {action for _, action, _ in wanted}
    assert not [refused for call in wanted if (refused := rights.refusal(call))]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_function_that_may_be_invoked_is_named_by_a_definition_or_by_plan_run(environment: str) -> None:
    rights = rights_of(environment)
    granted = {resource for who, _, action, resource in rights.grants() if who in MACHINES and action == INVOKE}
    assert granted == {resource for _, action, resource in needs(rights) if action == INVOKE}
    fed = {mapping["FunctionName"]["Ref"] for mapping in rights.of("AWS::Lambda::EventSourceMapping").values()}
    fed |= {  # by API Gateway
        permission["FunctionName"]["Fn::GetAtt"][0] for permission in rights.of("AWS::Lambda::Permission").values()
    }
    assert granted == {rights.arn(one) for one in rights.of("AWS::Lambda::Function").keys() - fed}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_without_any_one_of_its_statements_it_may_not(environment: str) -> None:
    rights = rights_of(environment)
    wanted = set(needs(rights))
    for machine in MACHINES:
        for number, statement in enumerate(rights.statements[machine]):
            if not any(rights.refusal(call, without=number) for call in wanted if call[0] == machine):
                grants = [grant for who, one, *grant in rights.grants() if (who, one) == (machine, number)]
                assert all(reason(machine, *grant) for grant in grants), statement
