"""DataStack: buckets that nobody else reads, rules that clean them, and a topic that alarms can reach."""

import json

from lambdas.pace_mail.mailed import CLAIMED_SECONDS
from stacks.config import load_config


def listed(value):
    return value if isinstance(value, list) else [value]


def test_every_bucket_is_encrypted_private_and_owned(assembly):
    buckets = assembly.data.of("S3::Bucket")
    assert len(buckets) == 4
    for bucket in buckets.values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_buckets_topic_and_queues_refuse_plain_http(assembly):
    refused = [
        resource
        for _, statement in assembly.data.statements()
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for resource in listed(statement["Resource"])
    ]
    for bucket in assembly.data.of("S3::Bucket"):
        arn = {"Fn::GetAtt": [bucket, "Arn"]}
        assert arn in refused
        assert {"Fn::Join": ["", [arn, "/*"]]} in refused
    for topic in assembly.data.of("SNS::Topic"):
        assert {"Ref": topic} in refused
    for queue in assembly.data.of("SQS::Queue"):
        assert {"Fn::GetAtt": [queue, "Arn"]} in refused


def test_no_resource_policy_admits_everyone(assembly):
    for logical_id, statement in assembly.data.statements():
        if statement["Effect"] == "Allow" and assembly.data.resources[logical_id]["Type"] != "AWS::IAM::Role":
            assert "Principal" in statement, logical_id
            assert statement["Principal"] not in ("*", {"AWS": "*"}), logical_id


def test_training_jobs_read_data_and_write_under_their_prefix_only(assembly):
    config = load_config(assembly.environment)
    output = assembly.data.body["Outputs"].get("TrainingRoleArn")
    assert (output is not None) == config.training
    roles = [one for one in assembly.data.of("IAM::Role").values() if "sagemaker" in json.dumps(one)]
    assert len(roles) == config.training
    for role in roles:
        (policy,) = role["Policies"]
        written = [
            json.dumps(statement["Resource"])
            for statement in policy["PolicyDocument"]["Statement"]
            if "s3:PutObject" in statement["Action"]
        ]
        assert len(written) == 1
        assert "Results" in written[0]
        assert '"/training/*"' in written[0]


def test_every_queue_is_encrypted_and_keeps_alerts_as_long_as_sqs_can(assembly):
    queues = assembly.data.of("SQS::Queue")
    assert queues
    for queue in queues.values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_access_to_every_bucket_is_logged_in_one_that_forgets(assembly):
    buckets = dict(assembly.data.of("S3::Bucket"))
    (log_id,) = {
        bucket["LoggingConfiguration"]["DestinationBucketName"]["Ref"]
        for bucket in buckets.values()
        if "LoggingConfiguration" in bucket
    }
    log = buckets.pop(log_id)
    assert all("LoggingConfiguration" in bucket for bucket in buckets.values())
    assert len({bucket["LoggingConfiguration"]["LogFilePrefix"] for bucket in buckets.values()}) == len(buckets)
    assert any("ExpirationInDays" in rule for rule in log["LifecycleConfiguration"]["Rules"])
    writers = [
        statement
        for _, statement in assembly.data.statements()
        if statement.get("Principal") == {"Service": "logging.s3.amazonaws.com"}
    ]
    assert len(writers) == len(buckets)
    for statement in writers:
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_working_data_expires_unversioned_and_kept_data_keeps_versions_for_a_while(assembly):
    data = assembly.data
    buckets = {
        key: data.of("S3::Bucket")[data.body["Outputs"][f"{key}BucketName"]["Value"]["Ref"]]
        for key in ("Images", "Results", "Working")
    }
    rules = {key: bucket["LifecycleConfiguration"]["Rules"] for key, bucket in buckets.items()}
    for key, of_bucket in rules.items():
        assert {rule["Status"] for rule in of_bucket} == {"Enabled"}
        assert any("AbortIncompleteMultipartUpload" in rule and "Prefix" not in rule for rule in of_bucket), key
    assert "VersioningConfiguration" not in buckets["Working"]
    assert [rule["ExpirationInDays"] for rule in rules["Working"] if "ExpirationInDays" in rule] == [3]
    for key in ("Images", "Results"):
        assert buckets[key]["VersioningConfiguration"] == {"Status": "Enabled"}
        assert any(rule.get("NoncurrentVersionExpiration") for rule in rules[key])
    # Of what is kept, only captured traffic expires.
    assert not [rule for rule in rules["Images"] if "ExpirationInDays" in rule]
    assert [(rule["Prefix"], rule["ExpirationInDays"]) for rule in rules["Results"] if "ExpirationInDays" in rule] == [
        ("capture/", 90)
    ]


def test_production_keeps_what_is_stateful(assembly):
    outputs, resources = assembly.data.body["Outputs"], assembly.data.resources
    stateful = [outputs[f"{bucket}BucketName"]["Value"]["Ref"] for bucket in ("Images", "Results")]
    stateful += [*assembly.data.of("KMS::Key"), *assembly.data.of("DynamoDB::Table")]
    kept = "Retain" if assembly.environment == "prod" else "Delete"
    for logical_id in stateful:
        assert (resources[logical_id]["DeletionPolicy"], resources[logical_id]["UpdateReplacePolicy"]) == (kept, kept)


def test_the_table_has_the_keys_of_the_functions_expires_items_and_can_be_restored(assembly):
    table = assembly.data.one("DynamoDB::Table")
    assert table["TableName"] == f"ics-{assembly.environment}"
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
    assert {one["AttributeType"] for one in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table.get("DeletionProtectionEnabled", False) is (assembly.environment == "prod")


def test_alarms_and_events_may_use_the_topic_and_its_key(assembly):
    data = assembly.data
    (key_id, key) = data.of("KMS::Key").popitem()
    topic_id = data.body["Outputs"]["AlertTopicArn"]["Value"]["Ref"]
    assert key["EnableKeyRotation"] is True
    for topic in data.of("SNS::Topic").values():
        assert topic["KmsMasterKeyId"] == {"Fn::GetAtt": [key_id, "Arn"]}
    services = {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}
    here = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    granted = {
        (logical_id, tuple(listed(statement["Action"])))
        for logical_id, statement in data.statements()
        if statement.get("Principal") == services and statement["Condition"] == here and statement["Effect"] == "Allow"
    }
    (topic_policy,) = (one for one, it in data.of("SNS::TopicPolicy").items() if it["Topics"] == [{"Ref": topic_id}])
    assert granted == {(key_id, ("kms:Decrypt", "kms:GenerateDataKey")), (topic_policy, ("sns:Publish",))}


def test_the_local_environment_tells_an_address_and_a_queue(local):
    subscriptions = local.data.of("SNS::Subscription").values()
    assert all("deadLetterTargetArn" in item["RedrivePolicy"] for item in subscriptions)
    queues = {queue.get("QueueName"): queue_id for queue_id, queue in local.data.of("SQS::Queue").items()}
    raw = {"Fn::GetAtt": [queues["ics-local-alerts"], "Arn"]}
    (paced,) = (item["Endpoint"] for item in subscriptions if item["Protocol"] == "sqs" and item["Endpoint"] != raw)
    alerts, mail = (local.data.body["Outputs"][f"{name}TopicArn"]["Value"] for name in ("Alert", "Mail"))
    told = [
        (item["TopicArn"], item["Protocol"], item["Endpoint"], item.get("RawMessageDelivery", False))
        for item in subscriptions
    ]
    assert len(told) == 3
    assert (mail, "email", "ops@example.com", False) in told  # nobody is mailed but at PaceMail's pace
    assert (alerts, "sqs", raw, True) in told
    assert (alerts, "sqs", paced, False) in told


def test_alerts_that_wait_to_be_mailed_go_to_a_queue_of_their_own_after_many_tries(assembly):
    queues = assembly.data.of("SQS::Queue")
    ((_, outgoing),) = ((one, it) for one, it in queues.items() if "RedrivePolicy" in it)
    dead, _ = outgoing["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"]
    assert dead in queues
    assert outgoing["RedrivePolicy"]["maxReceiveCount"] >= 100  # each minute of waiting is one
    pace_mail = next(
        one for one in assembly.pipeline.of("Lambda::Function").values() if one["FunctionName"].endswith("-pace-mail")
    )
    assert outgoing["VisibilityTimeout"] >= 6 * pace_mail["Timeout"]
    mappings = assembly.pipeline.of("Lambda::EventSourceMapping").values()
    (mapping,) = (
        one for one in mappings if "pace" in json.dumps(one["FunctionName"]).lower() or "PaceMail" in str(one)
    )
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert pace_mail["Timeout"] < CLAIMED_SECONDS < outgoing["VisibilityTimeout"]


def test_what_is_in_quarantine_is_denied_to_all_but_reviewers(assembly):
    images = assembly.data.body["Outputs"]["ImagesBucketName"]["Value"]["Ref"]
    (policy,) = (one for one in assembly.data.of("S3::BucketPolicy").values() if one["Bucket"] == {"Ref": images})
    (denied,) = (one for one in policy["PolicyDocument"]["Statement"] if one.get("Sid") == "Quarantine")
    assert (denied["Effect"], denied["Principal"]) == ("Deny", {"AWS": "*"})
    assert denied["Resource"] == {"Fn::Join": ["", [{"Fn::GetAtt": [images, "Arn"]}, "/*"]]}
    assert denied["Condition"] == {
        "StringEquals": {"s3:ExistingObjectTag/ics-quarantine": "true"},
        "StringNotEquals": {"aws:PrincipalTag/ics-reviewer": "true"},
    }
    reading = {"s3:GetObject", "s3:GetObjectVersion"}
    untying = {f"s3:{does}Object{what}Tagging" for does in ("Put", "Delete") for what in ("", "Version")}
    assert set(denied["Action"]) == reading | untying


def test_one_role_alone_is_a_reviewers_and_the_account_decides_who_assumes_it(assembly):
    reviewer = assembly.data.body["Outputs"]["ReviewerRoleArn"]["Value"]["Fn::GetAtt"][0]
    tag = {"Key": "ics-reviewer", "Value": "true"}
    tagged = {
        one
        for template in (assembly.data, assembly.model, assembly.pipeline, assembly.learning, assembly.web)
        for one, role in template.of("IAM::Role").items()
        if tag in role.get("Tags", [])
    }
    assert tagged == {reviewer}
    (trusted,) = assembly.data.of("IAM::Role")[reviewer]["AssumeRolePolicyDocument"]["Statement"]
    root = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::", {"Ref": "AWS::AccountId"}, ":root"]]}
    assert (trusted["Action"], trusted["Principal"]) == ("sts:AssumeRole", {"AWS": root})
