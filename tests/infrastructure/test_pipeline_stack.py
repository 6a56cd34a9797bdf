"""PipelineStack: one role a function, no right too many, and a state machine that may do what it says."""

import json
import re
from dataclasses import replace

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

import lambdas.runtime
from app import build
from stacks import classify_images
from stacks.config import ConfigError, load_config
from stacks.data_stack import DataStack
from stacks.pipeline_stack import PipelineStack
from tests.infrastructure.templates import CONTEXT

FOLDERS = {
    "PlanRun": "plan_run",
    "SerializeImageData": "serialize_image_data",
    "FilterLowConfidence": "filter_low_confidence",
    "RecordFailure": "record_failure",
    "SummarizeRun": "summarize_run",
    "MakeContactSheet": "make_contact_sheet",
}
CLASSIFIERS = {"endpoint": "classify_image", "lambda": "classify_in_lambda", "rekognition": "classify_with_rekognition"}
SETTINGS = {
    "PlanRun": "WORKING_BUCKET RESULTS_BUCKET MODELS DEFAULT_MODEL THRESHOLD BATCH_SOURCE_BYTES MAX_CONCURRENCY"
    " SKIP_CLASSIFIED",
    "SerializeImageData": "WORKING_BUCKET RESULTS_BUCKET MODELS MAX_PIXELS TABLE",
    "classify_image": "WORKING_BUCKET MODELS",
    "classify_in_lambda": "WORKING_BUCKET",
    "classify_with_rekognition": "WORKING_BUCKET MODELS",
    "FilterLowConfidence": "ENVIRONMENT WORKING_BUCKET RESULTS_BUCKET TABLE ALERT_TOPIC REVIEWS IMAGES_BUCKET"
    " UPLOAD_PREFIX",
    "pace_mail": "TABLE MAIL_TOPIC MAIL_QUEUE",
    "start_run": "WORKING_BUCKET TABLE IMAGES_BUCKET UPLOAD_PREFIX UPLOAD_REQUEST STATE_MACHINE",
    "RecordFailure": "WORKING_BUCKET RESULTS_BUCKET",
    "SummarizeRun": "ENVIRONMENT WORKING_BUCKET RESULTS_BUCKET",
    "MakeContactSheet": "WORKING_BUCKET RESULTS_BUCKET MAX_PIXELS",
}
READ = {"s3:ListBucket", "s3:GetObject"}
WRITE = {"s3:PutObject"}
TAG = {f"s3:{does}Object{what}Tagging" for does in ("Get", "Put") for what in ("", "Version")}
PUBLISH = {"topic": {"sns:Publish"}, "key": {"kms:Decrypt", "kms:GenerateDataKey"}}
# What each function may do, by the place: `bucket` is the bucket itself, `bucket/keys` its objects.
RIGHTS = {
    "PlanRun": {
        "images": {"s3:ListBucket"},
        "images/*": {"s3:GetObject", "s3:GetObjectVersion"},
        "results": {"s3:ListBucket"},
        "results/policy/*": {"s3:GetObject"},
        "results/runs/*": {"s3:GetObject"},
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject", "s3:AbortMultipartUpload"},
        "executions": {"states:DescribeExecution"},
        "working/manifests/*": {"s3:GetObject"},
    },
    "SerializeImageData": {
        "images": {"s3:ListBucket"},
        "images/*": {"s3:GetObject", "s3:GetObjectVersion"},
        "results": {"s3:ListBucket"},
        "results/results/*": {"s3:GetObject"},
        "table": {"dynamodb:BatchGetItem", "dynamodb:PartiQLInsert", "dynamodb:PutItem"},
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
    },
    "classify_image": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
        "endpoint": {"sagemaker:InvokeEndpoint"},
    },
    "classify_in_lambda": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
    },
    "classify_with_rekognition": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
        "*": {"rekognition:DetectLabels"},
    },
    "FilterLowConfidence": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
        "results/results/*": WRITE,
        "results/quarantine/*": WRITE,
        "table": {f"dynamodb:{one}Item" for one in ("BatchGet", "BatchWrite", "Get", "Put")}
        | {"dynamodb:PartiQLInsert"},
        "images": {"s3:ListBucket"},
        "images/*": TAG,
        **PUBLISH,
    },
    "RecordFailure": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
        "results": {"s3:ListBucket"},
        "results/results/*": WRITE | {"s3:GetObject"},
    },
    "pace_mail": {
        "outgoing": {
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        },
        "table": {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"},
        "mail": {"sns:Publish"},
        "key": PUBLISH["key"],
    },
    "SummarizeRun": {
        "working": {"s3:ListBucket"},
        "working/runs/*": WRITE | {"s3:GetObject"},
        "results": {"s3:ListBucket"},
        "results/results/*": WRITE | {"s3:GetObject"},
        "results/runs/*": WRITE | {"s3:GetObject"},
    },
    "start_run": {
        "uploads": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
        "table": {"dynamodb:BatchGetItem", "dynamodb:PartiQLInsert", "dynamodb:PutItem"},
        "working/manifests/*": WRITE,
        "state machine": {"states:StartExecution"},
        "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:state machine:*": {
            "states:DescribeExecution"
        },
    },
    "MakeContactSheet": {
        "images": {"s3:ListBucket"},
        "images/*": {"s3:GetObject", "s3:GetObjectVersion"},
        "working": {"s3:ListBucket"},
        "working/runs/*": {"s3:GetObject"},
        "results/runs/*/contact-sheet.jpg": WRITE,
    },
}

BESIDE = ("pace_mail", "start_run")
"""Functions that no state of the state machine invokes, by folder."""

# Allowed on every resource, because the service knows no narrower one (Service Authorization Reference); SageMaker's
# metrics are narrowed by their namespace instead. A key's policy says `*` for the key itself.
ANY_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "rekognition:DetectLabels",
}


def functions_of(assembly):
    """By its name, each function's handler's folder, and where its settings and rights are said above."""
    config = load_config(assembly.environment)
    expected = {
        f"ics-{assembly.environment}-{folder.replace('_', '-')}": (folder, state) for state, folder in FOLDERS.items()
    }
    for name, model in config.models.items():
        folder = CLASSIFIERS[model.backend]
        expected[config.classifier_name(name)] = (folder, folder)
    beside = [one for one in BESIDE if one != "start_run" or config.events]
    return expected | {f"ics-{assembly.environment}-{one.replace('_', '-')}": (one, one) for one in beside}


def listed(value):
    return value if isinstance(value, list) else [value]


def places(assembly):
    """A function that names what a policy's resource stands for, in words that hold in every environment."""
    exports = {
        output["Export"]["Name"]: output["Value"]
        for output in assembly.data.body["Outputs"].values()
        if "Export" in output
    }
    words = {
        assembly.data.body["Outputs"][f"{word.title()}BucketName"]["Value"]["Ref"]: word
        for word in ("images", "results", "working")
    }
    outputs = assembly.data.body["Outputs"]
    words |= {outputs["AlertTopicArn"]["Value"]["Ref"]: "topic", outputs["MailTopicArn"]["Value"]["Ref"]: "mail"}
    words |= dict.fromkeys(assembly.data.of("KMS::Key"), "key")
    words |= dict.fromkeys(assembly.data.of("DynamoDB::Table"), "table")
    words |= {one: "outgoing" for one, queue in assembly.data.of("SQS::Queue").items() if "RedrivePolicy" in queue}
    words |= dict.fromkeys(assembly.pipeline.of("StepFunctions::StateMachine"), "state machine")
    for logical_id, queue in assembly.pipeline.of("SQS::Queue").items():
        words[logical_id] = queue["QueueName"].removeprefix(f"ics-{assembly.environment}-")
    for logical_id, function in assembly.pipeline.of("Lambda::Function").items():
        words[logical_id] = function["FunctionName"]
    for template in (assembly.pipeline, assembly.learning):
        for logical_id, group in template.of("Logs::LogGroup").items():
            words[logical_id] = group["LogGroupName"]

    def named(value):
        if isinstance(value, str):
            return value
        ((function, argument),) = value.items()
        if function == "Fn::ImportValue":
            return named(exports[argument])
        if function == "Fn::Join":
            return "".join(named(part) for part in argument[1])
        return words.get(argument if function == "Ref" else argument[0], f"<{argument}>")

    return named


@pytest.fixture
def place(assembly):
    return places(assembly)


def granted(statements, place):
    """All allowed actions, by the place they are allowed on."""
    rights = {}
    for statement in statements:
        assert statement["Effect"] == "Allow"
        for resource in listed(statement["Resource"]):
            rights.setdefault(place(resource), set()).update(listed(statement["Action"]))
    return rights


def test_each_function_runs_its_own_handler_with_only_its_settings(assembly):
    functions = {item["FunctionName"]: item for item in assembly.pipeline.of("Lambda::Function").values()}
    expected = functions_of(assembly)
    assert functions.keys() == expected.keys()
    for name, (folder, where) in expected.items():
        assert functions[name]["Handler"] == f"lambdas.{folder}.handler.handler"
        assert set(functions[name]["Environment"]["Variables"]) == {*SETTINGS[where].split(), "LOG_LEVEL"}


def test_the_models_setting_says_what_the_artifacts_say(assembly):
    for function in assembly.pipeline.of("Lambda::Function").values():
        text = function["Environment"]["Variables"].get("MODELS")
        if text is not None:
            config, models = load_config(assembly.environment), json.loads(text)
            backends = {"classify_image": {"endpoint"}, "classify_with_rekognition": {"rekognition"}}
            told = backends.get(function["Handler"].split(".")[1], set(CLASSIFIERS))
            assert {name: (one["classify"], one["batch_images"]) for name, one in models.items()} == {
                name: (config.classifier_name(name), one.batch_images)
                for name, one in config.models.items()
                if one.backend in told
            }
            for name, one in models.items():
                backend = config.models[name].backend
                assert one.get("endpoint") == (config.endpoint_name(name) if backend == "endpoint" else None)
                assert ("input" in one, "detection" in one) == (backend != "rekognition", backend == "rekognition")
                if name.startswith("digits"):
                    assert (one["input"]["width"], one["input"]["height"]) == (28, 28)
            assert lambdas.runtime.settings_from({"MODELS": text}).models.keys() == models.keys()


def test_each_function_has_a_role_of_its_own_with_exactly_its_rights(assembly, place):
    roles = assembly.pipeline.of("IAM::Role")
    used = []
    for function in assembly.pipeline.of("Lambda::Function").values():
        (role_id, _) = function["Role"]["Fn::GetAtt"]
        used.append(role_id)
        role = roles[role_id]
        assert "ManagedPolicyArns" not in role
        (policy,) = role["Policies"]
        (_, where) = functions_of(assembly)[function["FunctionName"]]
        expected = dict(RIGHTS[where])
        if "endpoint" in expected:
            here = "arn:<AWS::Partition>:sagemaker:<AWS::Region>:<AWS::AccountId>"
            config, invoke = load_config(assembly.environment), expected.pop("endpoint")
            expected |= {f"{here}:endpoint/{config.endpoint_name(model)}": invoke for model in config.endpoints}
        if "executions" in expected:
            here = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution"
            expected[f"{here}:ics-{assembly.environment}-classify-images:*"] = expected.pop("executions")
        expected[f"/aws/lambda/{function['FunctionName']}"] = {"logs:CreateLogStream", "logs:PutLogEvents"}
        assert granted(policy["PolicyDocument"]["Statement"], place) == expected
    assert len(set(used)) == len(used)
    assert not [policy for policy in assembly.pipeline.of("IAM::Policy").values() if policy["Roles"][0]["Ref"] in used]


def test_no_policy_allows_a_wildcard_action_and_few_a_wildcard_resource(assembly):
    for template in (assembly.data, assembly.model, assembly.pipeline, assembly.learning):
        for logical_id, statement in template.statements():
            if statement["Effect"] == "Deny" or template.resources[logical_id]["Type"] == "AWS::KMS::Key":
                continue  # a key's policy must let the account manage it, or nobody can: KMS Developer Guide
            actions = listed(statement["Action"])
            assert not [action for action in actions if "*" in action], logical_id
            if "*" in listed(statement.get("Resource", [])):
                assert set(actions) <= ANY_RESOURCE, logical_id


def test_the_state_machine_may_do_exactly_what_it_does(assembly, place):
    pipeline = assembly.pipeline
    ((machine_id, machine),) = pipeline.of("StepFunctions::StateMachine").items()
    (role_id, _) = machine["RoleArn"]["Fn::GetAtt"]
    policies = [
        (logical_id, policy)
        for logical_id, policy in pipeline.of("IAM::Policy").items()
        if {"Ref": role_id} in policy["Roles"]
    ]
    statements = [statement for _, policy in policies for statement in policy["PolicyDocument"]["Statement"]]
    rights = granted(statements, place)
    for_logs = rights.pop("*")
    assert for_logs <= ANY_RESOURCE
    name = f"ics-{assembly.environment}"
    execution = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:state machine"
    on_executions = {"states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"}
    assert rights == {
        "state machine": {"states:StartExecution"},
        f"{execution}:*": on_executions,
        f"{execution}/*": on_executions,
        "working/runs/*/plan.jsonl": {"s3:GetObject"},
        "topic": {"sns:Publish"},
        "key": {"kms:GenerateDataKey", "kms:Decrypt"},
        **{
            one: {"lambda:InvokeFunction"}
            for one, (folder, _) in functions_of(assembly).items()
            if folder not in BESIDE
        },
    }
    assert machine["StateMachineName"] == f"{name}-classify-images"
    # The machine cannot wait for the policy that names it; every other right is there before it.
    naming_it = [logical_id for logical_id, policy in policies if machine_id in json.dumps(policy)]
    waited_for = pipeline.resources[machine_id]["DependsOn"]
    assert len(naming_it) == 1
    assert naming_it[0] not in waited_for
    assert {logical_id for logical_id, _ in policies} - set(naming_it) <= set(waited_for)


def test_the_definition_is_readable_in_the_template_and_every_placeholder_has_a_value(assembly, place):
    machine = assembly.pipeline.one("StepFunctions::StateMachine")
    definition = machine["DefinitionString"]
    assert isinstance(definition, str)
    assert json.loads(definition)["StartAt"] == "PlanRun"
    substitutions = {key: place(value) for key, value in machine["DefinitionSubstitutions"].items()}
    assert set(re.findall(r"\$\{(\w+)\}", definition)) == set(substitutions)
    assert substitutions.pop("AlertTopic") == "topic"
    assert substitutions == {
        state: f"ics-{assembly.environment}-{folder.replace('_', '-')}" for state, folder in FOLDERS.items()
    }


def test_a_function_times_out_no_later_than_its_state(assembly):
    def tasks(states):
        for state in states.values():
            yield state
            yield from tasks(state.get("ItemProcessor", {}).get("States", {}))

    definition = json.loads(assembly.pipeline.one("StepFunctions::StateMachine")["DefinitionString"])
    found = [state for state in tasks(definition["States"]) if state.get("Resource", "").endswith(":lambda:invoke")]
    classify = [state for state in found if "FunctionName.$" in state["Parameters"]]
    allowed = {
        state["Parameters"]["FunctionName"].strip("${}"): state["TimeoutSeconds"]
        for state in found
        if state not in classify
    }
    assert set(allowed) == set(FOLDERS)
    allowed |= dict.fromkeys(CLASSIFIERS.values(), *(state["TimeoutSeconds"] for state in classify))
    for function in assembly.pipeline.of("Lambda::Function").values():
        (_, where) = functions_of(assembly)[function["FunctionName"]]
        assert where in BESIDE or function["Timeout"] <= allowed[where], where


def test_every_log_group_expires_and_execution_data_is_not_logged(assembly):
    logging = assembly.pipeline.one("StepFunctions::StateMachine")["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
    groups = assembly.pipeline.of("Logs::LogGroup")
    assert len(groups) == len(functions_of(assembly)) + 1
    for group in (*groups.values(), *assembly.model.of("Logs::LogGroup").values()):
        assert group["RetentionInDays"] > 0
    named = {
        function["LoggingConfig"]["LogGroup"]["Ref"] for function in assembly.pipeline.of("Lambda::Function").values()
    }
    assert named < set(groups)


def test_the_outputs_the_command_reads(assembly):
    named = {"ImagesBucketName", "ResultsBucketName", "WorkingBucketName", "TableName", "AlertTopicArn"}
    assert named <= set(assembly.data.body["Outputs"])
    outputs = {key: output["Value"] for key, output in assembly.pipeline.body["Outputs"].items()}
    (machine_id,) = assembly.pipeline.of("StepFunctions::StateMachine")
    assert outputs == {
        "StateMachineArn": {"Ref": machine_id},
        "DefaultModel": "digits",
        "Models": ",".join(load_config(assembly.environment).models),
        "Endpoints": ",".join(load_config(assembly.environment).endpoints),
        "Threshold": "0.94",
        **({} if load_config(assembly.environment).events is None else told_of_uploads(assembly)),
    }


def told_of_uploads(assembly):
    queues = {queue["QueueName"]: {"Ref": one} for one, queue in assembly.pipeline.of("SQS::Queue").items()}
    return {
        "UploadPrefix": "incoming/",
        "UploadQueueUrl": queues[f"ics-{assembly.environment}-uploads"],
        "DeadLetterQueueUrl": queues[f"ics-{assembly.environment}-uploads-dead"],
    }


def pipeline_of(config):
    """The stack of a configuration, built in this process."""
    app = cdk.App(context=CONTEXT)
    data = DataStack(app, "data", config)
    return PipelineStack(app, "pipeline", config, buckets=data.buckets, table=data.table, alerts=data.alerts)


def test_the_environments_further_source_buckets_are_read_and_nothing_more():
    config = replace(load_config("local"), source_buckets=("photos-of-others",))
    template = Template.from_stack(pipeline_of(config)).to_json()
    readers = {}
    for logical_id, resource in template["Resources"].items():
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                if "photos-of-others" in json.dumps(statement):
                    readers.setdefault(logical_id, set()).update(listed(statement["Action"]))
    plan_run, serialize, sheet, filter_ = sorted(readers.values(), key=lambda actions: "s3:PutObjectTagging" in actions)
    assert plan_run == serialize == sheet == {"s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion"}
    assert filter_ == {"s3:ListBucket"} | TAG


def test_more_models_than_the_settings_hold_is_told_before_lambda_does():
    config = load_config("local")
    models = {f"model{number}": config.models["digits"] for number in range(40)}
    with pytest.raises(ConfigError, match=r"PlanRun: \d+ bytes of environment variables exceed Lambda's 4096"):
        pipeline_of(replace(config, models=models, default_model="model0", web=None))


def test_a_placeholder_without_a_value_is_told_before_step_functions_does(tmp_path, monkeypatch):
    definition = tmp_path / "misspelt.asl.json"
    definition.write_text(classify_images.DEFINITION.read_text().replace("${RecordFailure}", "${RecordFailures}"))
    monkeypatch.setattr(classify_images, "DEFINITION", definition)
    told = r"misspelt\.asl\.json: .* without a value: \['RecordFailures'\]; .* not placed: \['RecordFailure'\]"
    with pytest.raises(ConfigError, match=told):
        pipeline_of(load_config("local"))


def test_without_an_endpoint_nothing_may_invoke_one_and_no_stack_makes_any(tmp_path):
    config = load_config("local")
    without = replace(config, models={"digits": config.models["digits-in-lambda"]}, web=None)
    template = Template.from_stack(pipeline_of(without)).to_json()
    assert "sagemaker" not in json.dumps(template)
    assert template["Outputs"]["Endpoints"]["Value"] == "none"
    app = cdk.App(context=CONTEXT)
    build(app, without)
    names = [stack.stack_name for stack in app.node.children]
    assert names == ["ics-local-data", "ics-local-pipeline", "ics-local-learning"]


VERSION = "arn:aws:rekognition:us-east-1:111122223333:project/shoes/version/shoes.2026/1700000000000"


def test_a_custom_labels_version_is_asked_and_nothing_else_of_rekognition():
    config = load_config("local")
    shoes = replace(config.models["objects"], custom_labels_version_arn=VERSION)
    template = Template.from_stack(
        pipeline_of(replace(config, models={"digits": config.models["digits"], "shoes": shoes}, web=None))
    )
    statements = [
        statement
        for role in template.find_resources("AWS::IAM::Role").values()
        for policy in role["Properties"].get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        if "rekognition" in json.dumps(statement)
    ]
    assert statements == [{"Effect": "Allow", "Action": "rekognition:DetectCustomLabels", "Resource": VERSION}]
