"""CloudFront in front of an HTTP API and of a bucket, the page's own port, and URLs that functions sign.

Amazon CloudFront Developer Guide, "Add custom headers to origin requests" and "Restrict access to an Amazon S3 origin";
Amazon S3 API reference, "Authenticating Requests: Using Query Parameters".
"""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from local import control
from local.patches import viewer_requests

ECHO = """
import json
def handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"path": event["rawPath"], "headers": event["headers"],
            "query": event.get("rawQueryString"), "body": event.get("body")})}
"""

SIGN = """
import boto3, botocore.config, os
CONFIG = botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"})
def handler(event, context):
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=CONFIG).generate_presigned_url(
        "get_object", Params={"Bucket": event["bucket"], "Key": event["key"]}, ExpiresIn=event["seconds"])
"""


SCOPE = f"{control.ACCOUNT}/20260101/{control.REGION}/s3/aws4_request"
AS_ACCOUNT = {"Authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0"}
"""By which the emulator as published finds what was made in this account; ours has no other."""


def api_of(cloud):
    """An HTTP API whose every route is answered by a function that says what it was asked; the API's id."""
    client, function = cloud.client("apigatewayv2"), cloud.function(ECHO)
    arn = f"arn:aws:lambda:{control.REGION}:{control.ACCOUNT}:function:{function}"
    api = client.create_api(Name="a", ProtocolType="HTTP")["ApiId"]
    made = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )
    client.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{made['IntegrationId']}")
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return api


def distribution_of(cloud, origin, **behavior):
    """A distribution with one origin; its domain."""
    config = {
        "CallerReference": origin["DomainName"],
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [{"Id": "o", **origin}]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "o",
            "ViewerProtocolPolicy": "allow-all",
            "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",  # CachingDisabled
            "OriginRequestPolicyId": "b689b0a8-53d0-40ab-baf2-68738e2966ac",  # AllViewerExceptHostHeader
            "AllowedMethods": {
                "Quantity": 7, "Items": ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
                "CachedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"]},
            },
            **behavior,
        },
    }  # fmt: skip
    made = cloud.client("cloudfront").create_distribution(DistributionConfig=config)["Distribution"]
    return made["DomainName"], made["ARN"]


def ask(url, host=None, data=None, **headers):
    request = urllib.request.Request(url, data, {**headers, **({"Host": host} if host else {})})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def origin_of(api):
    return {
        "DomainName": f"{api}.execute-api.{control.REGION}.amazonaws.com",
        "CustomHeaders": {"Quantity": 1, "Items": [{"HeaderName": "x-secret", "HeaderValue": "s"}]},
        "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"},
    }


def test_an_http_api_is_an_origin_that_gets_the_origins_headers(aws):
    domain, _ = distribution_of(aws, origin_of(api_of(aws)))
    status, content = ask(f"{aws.endpoint_url}/v1/a%20b?c=d", domain, b"{}", **{"Content-Type": "application/json"})
    assert status == 200
    told = json.loads(content)
    assert (told["path"], told["query"], told["body"]) == ("/v1/a b", "c=d", "{}")
    assert told["headers"]["x-secret"] == "s"
    assert "execute-api" in told["headers"]["host"]


def test_the_published_emulator_does_not_know_such_an_origin(unpatched):
    domain, _ = distribution_of(unpatched, origin_of(api_of(unpatched)))
    assert ask(f"{unpatched.endpoint_url}/v1", domain, **AS_ACCOUNT)[0] == 502


def site_of(cloud):
    """A bucket that refuses plain HTTP, and lets one distribution read; the distribution's domain."""
    s3, bucket = cloud.client("s3"), cloud.bucket()
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"page")
    control_ = cloud.client("cloudfront").create_origin_access_control(
        OriginAccessControlConfig={
            "Name": bucket, "SigningProtocol": "sigv4", "SigningBehavior": "always",
            "OriginAccessControlOriginType": "s3",
        }
    )["OriginAccessControl"]["Id"]  # fmt: skip
    origin = {
        "DomainName": f"{bucket}.s3.{control.REGION}.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
        "OriginAccessControlId": control_,
    }
    domain, arn = distribution_of(cloud, origin)
    here = f"arn:aws:s3:::{bucket}"
    statements = [
        {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": [here, f"{here}/*"],
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Effect": "Allow", "Principal": {"Service": "cloudfront.amazonaws.com"}, "Action": "s3:GetObject",
         "Resource": f"{here}/*", "Condition": {"StringEquals": {"AWS:SourceArn": arn}}},
    ]  # fmt: skip
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return domain


def test_a_bucket_that_refuses_plain_http_is_read_by_its_distribution(aws):
    assert ask(f"{aws.endpoint_url}/index.html", site_of(aws)) == (200, b"page")


def test_the_published_emulator_takes_cloudfront_for_plain_http(unpatched):
    assert ask(f"{unpatched.endpoint_url}/index.html", site_of(unpatched), **AS_ACCOUNT)[0] == 403


def test_the_pages_port_is_the_distribution(aws):
    running = control.status(aws.state)
    domain = site_of(aws)
    assert ask(f"{running.page_url}/index.html") == (200, b"page"), domain


def test_a_url_that_a_function_signed_is_good_until_it_expires_and_for_its_object(aws):
    bucket = aws.bucket()
    aws.client("s3").put_object(Bucket=bucket, Key="a.png", Body=b"picture")
    signer = aws.function(SIGN)
    error, url = aws.call(signer, {"bucket": bucket, "key": "a.png", "seconds": 60})
    assert error is None
    assert ask(url) == (200, b"picture")
    assert ask(url.replace("a.png", "b.png"))[0] == 403
    _, short = aws.call(signer, {"bucket": bucket, "key": "a.png", "seconds": 1})
    assert aws.wait_for(lambda: ask(short)[0] == 403, seconds=5)


def test_the_published_emulator_refuses_the_token_of_a_function(aws, unpatched):
    bucket = unpatched.bucket()
    unpatched.client("s3").put_object(Bucket=bucket, Key="a.png", Body=b"picture")
    session = f"arn:aws:iam::{control.ACCOUNT}:role/any"
    client = boto3.client(
        "s3",
        endpoint_url=unpatched.endpoint_url,
        region_name=control.REGION,
        aws_access_key_id=control.ACCOUNT,
        aws_secret_access_key="test",
        aws_session_token=session,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.png"})
    assert ask(url)[0] == 400


def test_many_viewers_are_served_by_few_processes(aws):
    domain, _ = distribution_of(aws, origin_of(api_of(aws)))
    before = len(aws.about("lambda-workers"))
    with ThreadPoolExecutor(40) as viewers:
        answers = list(viewers.map(lambda number: ask(f"{aws.endpoint_url}/v1?n={number}", domain), range(120)))
    assert {status for status, _ in answers} == {200}
    assert {json.loads(content)["query"] for _, content in answers} == {f"n={number}" for number in range(120)}
    assert len(aws.about("lambda-workers")) - before <= viewer_requests.AT_ONCE
