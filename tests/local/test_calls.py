"""What a role calls is recorded as IAM would judge it: Service Authorization Reference, "Amazon S3" and others."""

import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from local import control


@pytest.fixture
def role():
    return f"arn:aws:iam::{control.ACCOUNT}:role/r-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def as_role(aws, role):
    """A client whose session is the role's, as a Lambda function's is."""

    def client(service):
        return boto3.client(
            service,
            endpoint_url=aws.endpoint_url,
            region_name=control.REGION,
            aws_access_key_id=control.ACCOUNT,
            aws_secret_access_key="local",
            aws_session_token=role,
        )

    return client


def calls_of(aws, role):
    return {(c["action"], c["resource"]): c["count"] for c in aws.about("calls")["calls"] if c["principal"] == role}


def test_s3_calls_by_the_actions_that_iam_knows(aws, as_role, role):
    bucket, s3 = aws.bucket(), as_role("s3")
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = aws.client("s3").put_object(Bucket=bucket, Key="a//b +ж.png", Body=b"x")["VersionId"]
    one, bucket_arn = {"Bucket": bucket, "Key": "a//b +ж.png"}, f"arn:aws:s3:::{bucket}"

    s3.head_object(**one)
    assert s3.get_object(**one)["Body"].read() == b"x"
    s3.get_object(**one, VersionId=version)
    s3.list_objects_v2(Bucket=bucket, Prefix="a/")
    s3.put_object(Bucket=bucket, Key="whole", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=one)
    parts = {"Bucket": bucket, "Key": "parts"}
    upload = s3.create_multipart_upload(**parts)["UploadId"]
    s3.upload_part(**parts, UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**parts, UploadId=upload)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="missing")

    assert calls_of(aws, role) == {
        ("s3:GetObject", f"{bucket_arn}/a//b +ж.png"): 3,  # HEAD, GET, and the source of the copy
        ("s3:GetObjectVersion", f"{bucket_arn}/a//b +ж.png"): 1,
        ("s3:ListBucket", bucket_arn): 2,  # the second tells that the missing object is missing
        ("s3:PutObject", f"{bucket_arn}/whole"): 1,
        ("s3:PutObject", f"{bucket_arn}/copy"): 1,
        ("s3:PutObject", f"{bucket_arn}/parts"): 2,
        ("s3:AbortMultipartUpload", f"{bucket_arn}/parts"): 1,
        ("s3:GetObject", f"{bucket_arn}/missing"): 1,
    }


def test_other_services_calls_with_the_resource_that_their_body_names(aws, as_role, role):
    as_role("ssm").put_parameter(Name="/ics/champion", Value="x", Type="String", Overwrite=True)
    assert as_role("ssm").get_parameter(Name="/ics/champion")["Parameter"]["Value"] == "x"  # the body still arrives
    parameter = f"arn:aws:ssm:{control.REGION}:{control.ACCOUNT}:parameter/ics/champion"
    assert calls_of(aws, role) == {("ssm:PutParameter", parameter): 1, ("ssm:GetParameter", parameter): 1}


def test_a_role_that_takes_on_another_is_recorded_with_that_role(aws, as_role, role):
    aws.client("iam").create_role(RoleName=f"{role.rpartition('/')[2]}-other", AssumeRolePolicyDocument="{}")
    other = f"{role}-other"
    given = as_role("sts").assume_role(RoleArn=other, RoleSessionName="ann")["Credentials"]
    assert given["SessionToken"]
    assert calls_of(aws, role) == {("sts:AssumeRole", other): 1}


def test_a_functions_calls_are_its_roles_and_the_state_machines_its_own(aws, role):
    bucket = aws.bucket()
    source = "import boto3\ndef handler(event, context):\n    boto3.client('s3').put_object(**event)\n    return {}\n"
    function = aws.function(source, Role=role)
    arn = f"arn:aws:lambda:{control.REGION}:{control.ACCOUNT}:function:{function}"
    event = {"Bucket": bucket, "Key": role, "Body": "x"}
    task = {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": arn, "Payload": event}, "End": True,
    }  # fmt: skip
    assert aws.run({"StartAt": "Invoke", "States": {"Invoke": task}})["status"] == "SUCCEEDED"
    assert calls_of(aws, role) == {("s3:PutObject", f"arn:aws:s3:::{bucket}/{role}"): 1}
    machines_role = f"arn:aws:iam::{control.ACCOUNT}:role/any"
    assert calls_of(aws, machines_role)[("lambda:InvokeFunction", arn)] == 1


def test_the_account_itself_is_no_role(aws):
    bucket = aws.bucket()
    aws.client("s3").list_objects_v2(Bucket=bucket)
    assert not [call for call in aws.about("calls")["calls"] if bucket in call["resource"]]
