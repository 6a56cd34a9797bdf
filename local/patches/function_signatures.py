"""S3: a URL that a function signed, of which only S3 itself can tell whether it may be used.

A function's session token is the ARN of its role here (see `local.calls`), which MiniStack's STS never issued: it
refuses presigned URLs with one (`InvalidToken`). Signature and expiry are checked all the same.
"""

from dataclasses import dataclass
from typing import Any

from ministack.services import s3

SECRET = "local"  # noqa: S105 - what every function gets as its secret key; the emulator is on loopback alone


@dataclass(frozen=True)
class Credential:
    """What the signature is checked with."""

    secret_access_key: str = SECRET


def apply() -> None:
    """Resolve such a token to the secret that functions sign with."""
    resolve = s3.resolve_credential

    def resolved(access_key: str, account: str, token: str = "", *rest: Any) -> Any:
        if token.startswith("arn:aws:iam::"):
            return Credential()
        return resolve(access_key, account, token, *rest)

    s3.resolve_credential = resolved
