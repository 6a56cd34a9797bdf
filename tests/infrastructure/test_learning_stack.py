"""The learning stack: what its functions may touch, when each ends, and what rings."""

import json
import re

from tests.infrastructure.templates import ROOT
from tests.infrastructure.test_pipeline_stack import granted, places

LIST, GET, PUT = "s3:ListBucket", "s3:GetObject", "s3:PutObject"
RIGHTS = {
    "plan-evaluation": {
        "images": {LIST},
        "results": {LIST},
        "results/policy/*": {GET},
        "working/evaluations/*": {PUT, "s3:AbortMultipartUpload"},
    },
    "partition-shard": {
        "images/*": {GET},
        "results/labels/*": {GET},
        "results/results/*": {GET},
        "working/evaluations/*/files.jsonl": {GET},
        "working/evaluations/*": {PUT},
    },
    "locate-images": {"working": {LIST}, "working/evaluations/*": {GET, PUT}},
    "count-partition": {"working": {LIST}, "working/evaluations/*": {GET, PUT}},
    "reduce-counts": {"working": {LIST}, "working/evaluations/*": {GET}, "results/evaluations/*": {PUT}},
}


def functions_of(assembly):
    start = f"ics-{assembly.environment}-"
    found = assembly.learning.of("Lambda::Function").values()
    return {function["FunctionName"].removeprefix(start): function for function in found}


def states_of(assembly):
    machine = assembly.learning.one("StepFunctions::StateMachine")
    states = json.loads(machine["DefinitionString"])["States"]
    for state in list(states.values()):
        states |= state.get("ItemProcessor", {}).get("States", {})
    return states


def test_each_function_has_a_role_of_its_own_with_exactly_its_rights(assembly):
    functions, roles = functions_of(assembly), assembly.learning.of("IAM::Role")
    assert functions.keys() == RIGHTS.keys()
    for name, function in functions.items():
        role = roles[function["Role"]["Fn::GetAtt"][0]]
        assert "ManagedPolicyArns" not in role
        (policy,) = role["Policies"]
        logs = {f"/aws/lambda/{function['FunctionName']}": {"logs:CreateLogStream", "logs:PutLogEvents"}}
        assert granted(policy["PolicyDocument"]["Statement"], places(assembly)) == RIGHTS[name] | logs


def test_a_function_times_out_before_its_state(assembly):
    invoked = {
        state["Parameters"]["FunctionName"].strip("${}"): state["TimeoutSeconds"]
        for state in states_of(assembly).values()
        if state["Type"] == "Task"
    }
    machine = assembly.learning.one("StepFunctions::StateMachine")
    assert machine["StateMachineName"] == f"ics-{assembly.environment}-evaluate"
    assert machine["DefinitionSubstitutions"].keys() == invoked.keys()
    functions = assembly.learning.of("Lambda::Function")
    for name, arn in machine["DefinitionSubstitutions"].items():
        assert functions[arn["Fn::GetAtt"][0]]["Timeout"] < invoked[name] <= 900
    assert machine["DefinitionString"] == (ROOT / "statemachine" / "evaluate.asl.json").read_text()


def test_only_what_is_no_fault_of_the_request_rings(assembly):
    counted = assembly.learning.one("Logs::MetricFilter")
    fails = {name for name, state in states_of(assembly).items() if state["Type"] == "Fail"}
    assert set(re.findall(r'details\.name = "(\w+)"', counted["FilterPattern"])) == fails - {"EvaluationRefused"}
    (transformation,) = counted["MetricTransformations"]
    alarm = assembly.learning.one("CloudWatch::Alarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("ICS", transformation["MetricName"])
    logging = assembly.learning.one("StepFunctions::StateMachine")["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)


def test_every_log_expires_and_the_command_finds_the_state_machine(assembly):
    groups = assembly.learning.of("Logs::LogGroup")
    assert len(groups) == len(RIGHTS) + 1
    assert all(group["RetentionInDays"] > 0 for group in groups.values())
    (machine,) = assembly.learning.of("StepFunctions::StateMachine")
    assert assembly.learning.body["Outputs"]["EvaluateArn"]["Value"] == {"Ref": machine}
