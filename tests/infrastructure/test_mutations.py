"""The template tests, tested: each mutant of a template is caught by the test that is named beside it."""

import copy
import inspect
import json

import pytest

from tests.infrastructure import test_alarms as alarms
from tests.infrastructure import test_data_stack as data
from tests.infrastructure import test_learning_stack as learning
from tests.infrastructure import test_model_stack as model
from tests.infrastructure import test_pipeline_stack as pipeline
from tests.infrastructure import test_web_stack as web


def bucket(assembly, name):
    """The properties of the images, results or working bucket."""
    return assembly.data.of("S3::Bucket")[assembly.data.body["Outputs"][f"{name}BucketName"]["Value"]["Ref"]]


def function(assembly, folder):
    (found,) = [
        item for item in assembly.pipeline.of("Lambda::Function").values() if item["Handler"].split(".")[1] == folder
    ]
    return found


def role(assembly, folder):
    return assembly.pipeline.of("IAM::Role")[function(assembly, folder)["Role"]["Fn::GetAtt"][0]]


def statement(template, action):
    """The first statement, of any policy, that has an action."""
    return next(item for _, item in template.statements() if action in json.dumps(item["Action"]))


def quarantine(assembly):
    return next(item for _, item in assembly.data.statements() if item.get("Sid") == "Quarantine")


def taking_on(template):
    """The statement that lets a function take on a role."""
    return next(item for _, item in template.statements() if "sts" in json.dumps(item["Action"]) and "Resource" in item)


def first(template, kind):
    return next(iter(template.of(kind).values()))


def capture(assembly):
    return first(assembly.model, "SageMaker::EndpointConfig")["DataCaptureConfig"]


def definition(assembly, change):
    machine = assembly.pipeline.one("StepFunctions::StateMachine")
    states = json.loads(machine["DefinitionString"])
    change(states["States"]["ProcessImages"]["ItemProcessor"]["States"]["ProcessBatches"]["ItemProcessor"]["States"])
    machine["DefinitionString"] = json.dumps(states)


def without_tls(assembly, kind):
    """Take the Deny of plain HTTP out of all policies of a kind."""
    for policy in assembly.data.of(kind).values():
        document = policy["PolicyDocument"]
        document["Statement"] = [item for item in document["Statement"] if item["Effect"] != "Deny"]


def delete_alarm(assembly, name):
    for template in (assembly.data, assembly.model, assembly.pipeline, assembly.learning):
        for logical_id, alarm in template.of("CloudWatch::Alarm").items():
            if alarm["AlarmName"].endswith(name):
                del template.resources[logical_id]
                return
    raise AssertionError(f"no alarm {name}")


def orphan(assembly):
    """Let production's images go with their stack."""
    images = assembly.data.body["Outputs"]["ImagesBucketName"]["Value"]["Ref"]
    assembly.data.resources[images]["DeletionPolicy"] = "Delete"


def drop_statement(assembly, action):
    for policy in assembly.pipeline.of("IAM::Policy").values():
        statements = policy["PolicyDocument"]["Statement"]
        kept = [item for item in statements if action not in json.dumps(item["Action"])]
        policy["PolicyDocument"]["Statement"] = kept


MUTANTS = {
    # rights
    "the state machine may not invoke its functions": (
        lambda it: drop_statement(it, "lambda:InvokeFunction"),
        pipeline.test_the_state_machine_may_do_exactly_what_it_does,
    ),
    "the state machine may not use the topic's key": (
        lambda it: drop_statement(it, "kms:GenerateDataKey"),
        pipeline.test_the_state_machine_may_do_exactly_what_it_does,
    ),
    "a function lost a grant": (
        lambda it: role(it, "filter_low_confidence")["Policies"][0]["PolicyDocument"]["Statement"].pop(),
        pipeline.test_each_function_has_a_role_of_its_own_with_exactly_its_rights,
    ),
    "a function got all of S3": (
        lambda it: statement(it.pipeline, "s3:GetObjectVersion").update(Action="s3:*"),
        pipeline.test_no_policy_allows_a_wildcard_action_and_few_a_wildcard_resource,
    ),
    "a function reads every bucket": (
        lambda it: statement(it.pipeline, "s3:GetObjectVersion").update(Resource="*"),
        pipeline.test_no_policy_allows_a_wildcard_action_and_few_a_wildcard_resource,
    ),
    "a function invokes every endpoint": (
        lambda it: statement(it.pipeline, "sagemaker:InvokeEndpoint").update(Resource="*"),
        pipeline.test_each_function_has_a_role_of_its_own_with_exactly_its_rights,
    ),
    "a function got a managed policy": (
        lambda it: role(it, "plan_run").update(ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
        pipeline.test_each_function_has_a_role_of_its_own_with_exactly_its_rights,
    ),
    "two functions share a role": (
        lambda it: function(it, "plan_run").update(Role=function(it, "summarize_run")["Role"]),
        pipeline.test_each_function_has_a_role_of_its_own_with_exactly_its_rights,
    ),
    "the endpoint writes anywhere": (
        lambda it: statement(it.model, "s3:PutObject").update(Resource="*"),
        pipeline.test_no_policy_allows_a_wildcard_action_and_few_a_wildcard_resource,
    ),
    # table
    "the table keeps its claims for ever": (
        lambda it: it.data.one("DynamoDB::Table").pop("TimeToLiveSpecification"),
        data.test_the_table_has_the_keys_of_the_functions_expires_items_and_can_be_restored,
    ),
    "the table cannot be restored": (
        lambda it: it.data.one("DynamoDB::Table").pop("PointInTimeRecoverySpecification"),
        data.test_the_table_has_the_keys_of_the_functions_expires_items_and_can_be_restored,
    ),
    # buckets
    "a bucket is open to the public": (
        lambda it: bucket(it, "Images")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False),
        data.test_every_bucket_is_encrypted_private_and_owned,
    ),
    "a bucket is not encrypted": (
        lambda it: bucket(it, "Results").pop("BucketEncryption"),
        data.test_every_bucket_is_encrypted_private_and_owned,
    ),
    "a bucket takes foreign owners' objects": (
        lambda it: bucket(it, "Images").pop("OwnershipControls"),
        data.test_every_bucket_is_encrypted_private_and_owned,
    ),
    "buckets answer plain HTTP": (
        lambda it: without_tls(it, "S3::BucketPolicy"),
        data.test_buckets_topic_and_queues_refuse_plain_http,
    ),
    "the topic answers plain HTTP": (
        lambda it: without_tls(it, "SNS::TopicPolicy"),
        data.test_buckets_topic_and_queues_refuse_plain_http,
    ),
    "a queue answers plain HTTP": (
        lambda it: without_tls(it, "SQS::QueuePolicy"),
        data.test_buckets_topic_and_queues_refuse_plain_http,
    ),
    "images are not versioned": (
        lambda it: bucket(it, "Images").pop("VersioningConfiguration"),
        data.test_working_data_expires_unversioned_and_kept_data_keeps_versions_for_a_while,
    ),
    "working data never expires": (
        lambda it: bucket(it, "Working").pop("LifecycleConfiguration"),
        data.test_working_data_expires_unversioned_and_kept_data_keeps_versions_for_a_while,
    ),
    "working data stays a month": (
        lambda it: [
            rule.update(ExpirationInDays=30) for rule in bucket(it, "Working")["LifecycleConfiguration"]["Rules"]
        ],
        data.test_working_data_expires_unversioned_and_kept_data_keeps_versions_for_a_while,
    ),
    "images expire": (
        lambda it: bucket(it, "Images")["LifecycleConfiguration"]["Rules"][0].update(ExpirationInDays=30),
        data.test_working_data_expires_unversioned_and_kept_data_keeps_versions_for_a_while,
    ),
    "nobody logs who reads images": (
        lambda it: bucket(it, "Images").pop("LoggingConfiguration"),
        data.test_access_to_every_bucket_is_logged_in_one_that_forgets,
    ),
    "production's images go with their stack": (orphan, data.test_production_keeps_what_is_stateful),
    "quarantined images may be read": (
        lambda it: quarantine(it)["Action"].remove("s3:GetObjectVersion"),
        data.test_what_is_in_quarantine_is_denied_to_all_but_reviewers,
    ),
    "anyone may take an image out of quarantine": (
        lambda it: quarantine(it)["Action"].remove("s3:DeleteObjectTagging"),
        data.test_what_is_in_quarantine_is_denied_to_all_but_reviewers,
    ),
    "everyone is a reviewer": (
        lambda it: quarantine(it)["Condition"].pop("StringEquals"),
        data.test_what_is_in_quarantine_is_denied_to_all_but_reviewers,
    ),
    "a function may take on any role": (
        lambda it: taking_on(it.web).update(Resource="*"),
        web.test_the_apis_function_alone_may_take_on_a_role_and_it_is_the_reviewers,
    ),
    "another function takes on the reviewers' role": (
        lambda it: role(it, "serialize_image_data")["Policies"][0]["PolicyDocument"]["Statement"].append(
            taking_on(it.web)
        ),
        web.test_the_apis_function_alone_may_take_on_a_role_and_it_is_the_reviewers,
    ),
    "a function is a reviewer": (
        lambda it: role(it, "serialize_image_data").update(Tags=[{"Key": "ics-reviewer", "Value": "true"}]),
        data.test_one_role_alone_is_a_reviewers_and_the_account_decides_who_assumes_it,
    ),
    # topic, key, queues
    "everyone may publish alerts": (
        lambda it: first(it.data, "SNS::TopicPolicy")["PolicyDocument"]["Statement"].append(
            {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}
        ),
        data.test_no_resource_policy_admits_everyone,
    ),
    "the topic has AWS's own key": (
        lambda it: first(it.data, "SNS::Topic").update(KmsMasterKeyId="alias/aws/sns"),
        data.test_alarms_and_events_may_use_the_topic_and_its_key,
    ),
    "alarms may not use the topic's key": (
        lambda it: it.data.one("KMS::Key")["KeyPolicy"]["Statement"].pop(),
        data.test_alarms_and_events_may_use_the_topic_and_its_key,
    ),
    "the key is never rotated": (
        lambda it: it.data.one("KMS::Key").update(EnableKeyRotation=False),
        data.test_alarms_and_events_may_use_the_topic_and_its_key,
    ),
    "a queue is not encrypted": (
        lambda it: first(it.data, "SQS::Queue").update(SqsManagedSseEnabled=False),
        data.test_every_queue_is_encrypted_and_keeps_alerts_as_long_as_sqs_can,
    ),
    "an address is mailed as fast as alerts come": (
        lambda it: next(one for one in it.data.of("SNS::Subscription").values() if one["Protocol"] == "email").update(
            TopicArn=it.data.body["Outputs"]["AlertTopicArn"]["Value"]
        ),
        data.test_the_local_environment_tells_an_address_and_a_queue,
    ),
    "alerts that wait for a minute are given up": (
        lambda it: next(one for one in it.data.of("SQS::Queue").values() if "RedrivePolicy" in one)[
            "RedrivePolicy"
        ].update(maxReceiveCount=3),
        data.test_alerts_that_wait_to_be_mailed_go_to_a_queue_of_their_own_after_many_tries,
    ),
    # endpoint
    "capture is off": (
        lambda it: capture(it).update(EnableCapture=False),
        model.test_the_endpoint_has_its_computed_name_and_captures_both_json_types,
    ),
    "a tenth is captured": (
        lambda it: capture(it).update(InitialSamplingPercentage=10),
        model.test_the_endpoint_has_its_computed_name_and_captures_both_json_types,
    ),
    "JSON Lines are captured as BASE64": (
        lambda it: capture(it)["CaptureContentTypeHeader"]["JsonContentTypes"].remove("application/jsonlines"),
        model.test_the_endpoint_has_its_computed_name_and_captures_both_json_types,
    ),
    "the container reaches the network": (
        lambda it: first(it.model, "SageMaker::Model").pop("EnableNetworkIsolation"),
        model.test_the_container_has_no_network_and_server_errors_roll_an_update_back,
    ),
    "a bad update stays": (
        lambda it: first(it.model, "SageMaker::Endpoint")["DeploymentConfig"].pop("AutoRollbackConfiguration"),
        model.test_the_container_has_no_network_and_server_errors_roll_an_update_back,
    ),
    # functions and the state machine
    "a function outlives its state": (
        lambda it: function(it, "classify_image").update(Timeout=300),
        pipeline.test_a_function_times_out_no_later_than_its_state,
    ),
    "a state is shorter than its function": (
        lambda it: definition(it, lambda states: states["SerializeImageData"].update(TimeoutSeconds=5)),
        pipeline.test_a_function_times_out_no_later_than_its_state,
    ),
    "a function is told a setting that is not its own": (
        lambda it: function(it, "classify_image")["Environment"]["Variables"].update(RESULTS_BUCKET="b"),
        pipeline.test_each_function_runs_its_own_handler_with_only_its_settings,
    ),
    "a placeholder has no value": (
        lambda it: it.pipeline.one("StepFunctions::StateMachine")["DefinitionSubstitutions"].pop("RecordFailure"),
        pipeline.test_the_definition_is_readable_in_the_template_and_every_placeholder_has_a_value,
    ),
    "a log is kept for ever": (
        lambda it: first(it.pipeline, "Logs::LogGroup").pop("RetentionInDays"),
        pipeline.test_every_log_group_expires_and_execution_data_is_not_logged,
    ),
    "execution data is logged": (
        lambda it: it.pipeline.one("StepFunctions::StateMachine")["LoggingConfiguration"].update(
            IncludeExecutionData=True
        ),
        pipeline.test_every_log_group_expires_and_execution_data_is_not_logged,
    ),
    # the learning stack
    "a function of an evaluation writes everywhere": (
        lambda it: statement(it.learning, "s3:AbortMultipartUpload").update(Resource="*"),
        learning.test_each_function_has_a_role_of_its_own_with_exactly_its_rights,
    ),
    "an evaluation that broke rings no alarm": (
        lambda it: it.learning.one("Logs::MetricFilter").update(
            FilterPattern='{ $.details.name = "EvaluationRefused" }'
        ),
        learning.test_only_what_is_no_fault_of_the_request_rings,
    ),
    # alarms
    **{
        f"no alarm {name}": (
            lambda it, name=name: delete_alarm(it, name),
            alarms.test_every_alarm_is_there_and_tells_the_topic,
        )
        for name in sorted(alarms.OF_RUNS | alarms.OF_LEARNING | alarms.OF_AN_ENDPOINT | alarms.OF_A_QUEUE)
    },
    "an alarm tells nobody": (
        lambda it: first(it.model, "CloudWatch::Alarm").update(AlarmActions=[]),
        alarms.test_every_alarm_is_there_and_tells_the_topic,
    ),
    "an alarm is switched off": (
        lambda it: first(it.model, "CloudWatch::Alarm").update(ActionsEnabled=False),
        alarms.test_every_alarm_is_there_and_tells_the_topic,
    ),
    "an alarm names no runbook": (
        lambda it: first(it.model, "CloudWatch::Alarm").update(AlarmDescription="Something is wrong."),
        alarms.test_every_alarm_names_its_runbook_and_every_runbook_has_an_alarm,
    ),
    "a run whose alert was not sent rings no alarm": (
        lambda it: it.pipeline.one("Logs::MetricFilter").update(FilterPattern='{ $.details.name = "SummaryFailed" }'),
        alarms.test_a_run_that_told_itself_rings_no_alarm_and_one_that_could_not_does,
    ),
    "captured objects are not counted": (
        lambda it: bucket(it, "Results").pop("MetricsConfigurations"),
        alarms.test_capture_is_watched_where_it_arrives,
    ),
    "the dashboard is another environment's": (
        lambda it: it.pipeline.one("CloudWatch::Dashboard").update(DashboardName="ics-dev"),
        alarms.test_the_dashboard_shows_every_alarm_of_runs_and_endpoints_and_what_became_of_images,
    ),
}


LOCAL = ("no alarm alerts-unread", "an address is mailed as fast as alerts come")
"""Mutants of what only the local environment has."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant, prod, local):
    mutate, test = MUTANTS[mutant]
    assembly = copy.deepcopy(local if mutant in LOCAL else prod)

    def check():
        needs = {name: lambda: assembly for name in ("assembly", "local")} | {
            "place": lambda: pipeline.places(assembly)
        }
        test(**{name: needs[name]() for name in inspect.signature(test).parameters})

    check()  # or the mutant would be caught for a fault that it does not have
    mutate(assembly)
    with pytest.raises((AssertionError, LookupError, ValueError)):
        check()
