"""The emulator's S3 from within its own process, for what AWS services read and write themselves, as a role."""

from urllib.parse import quote

from ministack.core import responses
from ministack.services import s3

from local import calls
from local.control import ACCOUNT, REGION


def read_object(role: str, bucket: str, key: str) -> bytes:
    """Return an object's content, read as the role with this ARN; raise KeyError where there is none."""
    calls.record(role, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
    with responses.request_scope(ACCOUNT, REGION):
        status, _, body = s3._get_object(bucket, key, {}, {})
    if status != 200:
        raise KeyError(key)
    return bytes(body)


async def put_object(role: str, bucket: str, key: str, content: bytes) -> None:
    """Write an object as PutObject does, notifications and versions included; raise OSError where S3 refuses."""
    calls.record(role, "s3:PutObject", f"arn:aws:s3:::{bucket}/{key}")
    headers = {"content-type": "application/octet-stream", "content-length": str(len(content))}
    with responses.request_scope(ACCOUNT, REGION):
        status, _, answer = await s3.handle_request("PUT", f"/{bucket}/{quote(key)}", headers, content, {})
    if status != 200:
        raise OSError(f"PutObject s3://{bucket}/{key}: {status} {answer!r}")
