"""What the functions need of S3, asked with the client they use (obstore, path-style). S3 User Guide, "Conditional
requests", "Working with delete markers"; API reference, GetObject, PutObject, ListObjectsV2, "Error responses"; IAM
User Guide, "Policy evaluation logic": an explicit Deny overrides all; S3 User Guide, "Using server-side encryption with
AWS KMS keys": reading needs kms:Decrypt; API reference, GetObject: an archived object is 403 InvalidObjectState."""

import json
import uuid

import boto3
import obstore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from obstore.store import S3Store

from local import control


def store(cloud, bucket):
    return S3Store(
        bucket,
        endpoint=cloud.endpoint_url,
        region=control.REGION,
        access_key_id=control.ACCOUNT,
        secret_access_key="test",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@pytest.fixture
def bucket(aws):
    return aws.bucket()


@pytest.fixture
def objects(aws, bucket):
    return store(aws, bucket)


KEYS = ("a b/c+d", "50%", "a%20b", "q?x#h", "a&b=c;d", "back\\slash", 'quo"te', "ключ/漢字 😀.png", "[x]*|<y>", "~'()!")


def test_keys_of_any_characters(aws, bucket, objects):
    for key in KEYS:
        obstore.put(objects, key, key.encode())
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"] for item in listed} == set(KEYS)
    for key in KEYS:
        assert aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        assert bytes(obstore.get(objects, key).bytes()) == key.encode()


def test_ranges_and_preconditions(objects):
    put = obstore.put(objects, "k", b"0123456789")
    assert bytes(obstore.get_range(objects, "k", start=3, length=4)) == b"3456"
    assert bytes(obstore.get(objects, "k", options={"if_match": put["e_tag"]}).bytes()) == b"0123456789"
    with pytest.raises(PreconditionError):
        obstore.get(objects, "k", options={"if_match": '"other"'})
    with pytest.raises(AlreadyExistsError):
        obstore.put(objects, "k", b"", mode="create")
    obstore.put(objects, "new", b"", mode="create")
    with pytest.raises(FileNotFoundError, match="NoSuchKey"):
        obstore.get(objects, "none")


def test_a_missing_bucket(aws):
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.get(store(aws, "there-is-no-such-bucket"), "k")


def test_versions_and_delete_markers(aws, bucket, objects):
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = obstore.put(objects, "k", b"first")
    obstore.put(objects, "k", b"second")
    newest = obstore.get(objects, "k")
    assert bytes(newest.bytes()) == b"second"
    assert newest.meta["version"] not in (None, first["version"])
    assert bytes(obstore.get(objects, "k", options={"version": first["version"]}).bytes()) == b"first"
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    with pytest.raises(FileNotFoundError):
        obstore.get(objects, "k")
    with pytest.raises(BaseError, match="<Code>MethodNotAllowed</Code>"):
        obstore.get(objects, "k", options={"version": marker})
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="k", VersionId=marker)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    assert bytes(obstore.get(objects, "k", options={"version": first["version"]}).bytes()) == b"first"


def test_a_range_of_a_version_is_a_range(aws, unpatched, bucket, objects):
    def versions(cloud, name):
        cloud.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return obstore.put(store(cloud, name), "k", b"0123456789")["version"]

    version = versions(aws, bucket)
    obstore.put(objects, "k", b"another")
    read = obstore.get(objects, "k", options={"version": version, "range": (3, 7)})
    assert (bytes(read.bytes()), read.range, read.meta["size"]) == (b"3456", (3, 7), 10)
    assert bytes(obstore.get(objects, "k", options={"version": version, "range": (3, 70)}).bytes()) == b"3456789"
    with pytest.raises(BaseError, match="<Code>InvalidRange</Code>"):
        obstore.get(objects, "k", options={"version": version, "range": (10, 12)})

    gap = unpatched.bucket()
    options = {"version": versions(unpatched, gap), "range": (3, 7)}
    with pytest.raises(BaseError, match="non-partial"):
        obstore.get(store(unpatched, gap), "k", options=options)


def test_listing_in_pages(aws, bucket, objects):
    for number in range(1005):
        obstore.put(objects, f"many/{number:04d} +", b"x")
    pages = list(aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/"))
    assert [len(page["Contents"]) for page in pages] == [1000, 5]
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    assert keys == sorted(keys)
    assert len(set(keys)) == 1005
    assert {item["ETag"] for page in pages for item in page["Contents"]} == {'"9dd4e461268c8034f5c8564e155c67a6"'}
    assert sum(len(chunk) for chunk in obstore.list(objects, prefix="many")) == 1005


def test_multipart_uploads(objects):
    content = bytes(range(256)) * 50_000
    obstore.put(objects, "large", content, use_multipart=True, chunk_size=5 * 1024 * 1024)
    assert b"".join(bytes(chunk) for chunk in obstore.get(objects, "large").stream()) == content


def denying(bucket):
    tls_only = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    unreadable = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/secret/*",
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [tls_only, unreadable]})


def test_an_explicit_deny_is_an_access_denied(aws, unpatched, bucket, objects):
    obstore.put(objects, "secret/k", b"x")
    obstore.put(objects, "open/k", b"x")
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=denying(bucket))
    with pytest.raises(PermissionDeniedError, match="AccessDenied"):
        obstore.get(objects, "secret/k")
    with pytest.raises(ClientError) as refused:
        aws.client("s3").get_object(Bucket=bucket, Key="secret/k")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert bytes(obstore.get(objects, "open/k").bytes()) == b"x"
    obstore.put(objects, "secret/other", b"x")  # what is not denied works, without TLS too
    aws.client("s3").delete_bucket_policy(Bucket=bucket)
    assert bytes(obstore.get(objects, "secret/k").bytes()) == b"x"

    gap = unpatched.bucket()
    unpatched.client("s3").put_object(Bucket=gap, Key="secret/k", Body=b"x")
    unpatched.client("s3").put_bucket_policy(Bucket=gap, Policy=denying(gap))
    assert unpatched.client("s3").get_object(Bucket=gap, Key="secret/k")["Body"].read() == b"x"


def quarantining(bucket):
    """As the images bucket's. S3 User Guide, "Tagging and access control policies"."""
    actions = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObjectTagging", "s3:DeleteObjectTagging"]
    hidden = {
        "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {
            "StringEquals": {"s3:ExistingObjectTag/hidden": "true"},
            "StringNotEquals": {"aws:PrincipalTag/reviewer": "true"},
        },
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [hidden]})


def as_role(cloud, name, **tags):
    """An S3 client of a session of a new role with these tags."""
    everyone = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = cloud.client("iam").create_role(
        RoleName=f"{name}-{uuid.uuid4().hex[:8]}",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )["Role"]
    given = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    return boto3.client(
        "s3",
        endpoint_url=cloud.endpoint_url,
        region_name=control.REGION,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(s3={"addressing_style": "path"}),
    )


HIDDEN = {"TagSet": [{"Key": "hidden", "Value": "true"}]}


def test_a_tagged_object_is_denied_to_all_but_tagged_principals(aws, unpatched, bucket, objects):
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_policy(Bucket=bucket, Policy=quarantining(bucket))
    place = {"Bucket": bucket, "Key": "k"}
    old = s3.put_object(**place, Body=b"x")["VersionId"]
    reader, reviewer = as_role(aws, "reader", reviewer="no"), as_role(aws, "reviewer", reviewer="true")
    assert reader.get_object(**place)["Body"].read() == b"x"
    reader.put_object_tagging(**place, VersionId=old, Tagging=HIDDEN)  # what is not hidden yet may be hidden by anyone

    copy = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}
    for denied in (
        lambda: s3.get_object(**place),
        lambda: reader.get_object(**place),
        lambda: reader.get_object(**place, VersionId=old),
        lambda: reader.copy_object(**copy),
        lambda: reader.put_object_tagging(**place, Tagging={"TagSet": []}),
        lambda: reader.delete_object_tagging(**place),
    ):
        with pytest.raises(ClientError) as refused:
            denied()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
    with pytest.raises(PermissionDeniedError, match="AccessDenied"):
        obstore.get(objects, "k")
    assert reader.get_object_tagging(**place)["TagSet"] == HIDDEN["TagSet"]
    assert reviewer.get_object(**place)["Body"].read() == b"x"

    s3.put_object(**place, Body=b"another")  # a version of its own, with tags of its own
    assert reader.get_object(**place)["Body"].read() == b"another"
    with pytest.raises(ClientError):
        reader.get_object(**place, VersionId=old)
    reviewer.delete_object_tagging(**place, VersionId=old)
    assert reader.get_object(**place, VersionId=old)["Body"].read() == b"x"

    gap = unpatched.bucket()
    unpatched.client("s3").put_object(Bucket=gap, Key="k", Body=b"x", Tagging="hidden=true")
    unpatched.client("s3").put_bucket_policy(Bucket=gap, Policy=quarantining(gap))
    assert unpatched.client("s3").get_object(Bucket=gap, Key="k")["Body"].read() == b"x"


def key_policy(effect):
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{control.ACCOUNT}:root"}, "Action": "kms:*"}
    decrypt = {"Effect": effect, "Principal": "*", "Action": "kms:Decrypt"}
    return json.dumps({"Version": "2012-10-17", "Statement": [one | {"Resource": "*"} for one in (own, decrypt)]})


def test_an_object_under_a_key_that_may_not_decrypt_is_an_access_denied(aws, unpatched, bucket, objects):
    key = aws.client("kms").create_key(Policy=key_policy("Deny"))["KeyMetadata"]["Arn"]
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **encrypted)["VersionId"]
    with pytest.raises(PermissionDeniedError, match=r"AccessDenied.*kms:Decrypt on resource"):
        obstore.get(objects, "k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"in the open")
    assert bytes(obstore.get(objects, "k").bytes()) == b"in the open"
    with pytest.raises(PermissionDeniedError, match="kms:Decrypt"):
        obstore.get(objects, "k", options={"version": old})
    aws.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=key_policy("Allow"))
    assert bytes(obstore.get(objects, "k", options={"version": old}).bytes()) == b"x"

    gap = unpatched.bucket()
    key = unpatched.client("kms").create_key(Policy=key_policy("Deny"))["KeyMetadata"]["Arn"]
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    unpatched.client("s3").put_object(Bucket=gap, Key="k", Body=b"x", **encrypted)
    assert unpatched.client("s3").get_object(Bucket=gap, Key="k")["Body"].read() == b"x"


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_an_invalid_object_state(aws, bucket, objects, storage_class):
    aws.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=storage_class)
    with pytest.raises(PermissionDeniedError, match="<Code>InvalidObjectState</Code>"):
        obstore.get(objects, "k")
    aws.client("s3").put_object(Bucket=bucket, Key="quick", Body=b"x", StorageClass="GLACIER_IR")
    assert bytes(obstore.get(objects, "quick").bytes()) == b"x"
