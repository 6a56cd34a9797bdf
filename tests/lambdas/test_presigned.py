"""What we presign is what botocore presigns, whatever is signed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import presigned

AT = datetime(2026, 7, 21, 10, 15, tzinfo=UTC)
_key = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(
    lambda key: key[0] != "/"
)


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_SESSION_TOKEN", "session/token+")
        patch.setenv("AWS_REGION", "eu-west-1")
        patch.setattr(botocore.auth, "get_current_datetime", lambda: AT)
        yield


CREDENTIALS = botocore.credentials.Credentials("AKID", "secret", "session/token+")


@given(key=_key, version=st.sampled_from(["", "v1"]), seconds=st.integers(1, 604_800))
def test_a_url_is_botocores(key: str, version: str, seconds: int) -> None:
    ours = presigned.get_url("bucket", key, seconds, version, AT)
    url = f"https://s3.eu-west-1.amazonaws.com/bucket/{quote(key, safe='/~')}"
    theirs = botocore.awsrequest.AWSRequest("GET", url, params={"versionId": version} if version else {})
    botocore.auth.S3SigV4QueryAuth(CREDENTIALS, "s3", "eu-west-1", expires=seconds).add_auth(theirs)
    assert urlsplit(ours).path == urlsplit(theirs.url).path
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs.url).query)


def test_a_form_is_botocores() -> None:
    ours = presigned.post_form("bucket", "incoming/x", 10_000_000, 300, AT)
    request = botocore.awsrequest.AWSRequest("POST", "https://s3.eu-west-1.amazonaws.com/bucket")
    request.context["s3-presign-post-fields"] = {"key": "incoming/x"}
    request.context["s3-presign-post-policy"] = {
        "expiration": "2026-07-21T10:20:00Z",
        "conditions": [{"bucket": "bucket"}, {"key": "incoming/x"}],
    }
    auth = botocore.auth.S3SigV4PostAuth(CREDENTIALS, "s3", "eu-west-1")
    request.context["s3-presign-post-policy"]["conditions"] = []
    auth.add_auth(request)
    theirs = request.context["s3-presign-post-fields"]
    assert ours["fields"].keys() == theirs.keys()
    same = ("key", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token")
    assert {name: ours["fields"][name] for name in same} == {name: theirs[name] for name in same}
    assert ours["fields"]["x-amz-signature"] == auth.signature(ours["fields"]["policy"], request)
