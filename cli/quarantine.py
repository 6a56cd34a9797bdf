"""Images in quarantine: which there are, and how a reviewer releases one.

Both are done as the environment's reviewer role, which is assumed for it: whoever may not assume it may not look. What
that takes is sts:AssumeRole on the role, of whoever runs the command.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.deployment import Deployment
from ics import paths, quarantine
from ics.contracts import ImageRef
from ics.tagging import QUARANTINE_TAG

_GONE = ("NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed")


class QuarantineError(Exception):
    """An image cannot be released as asked; the message says what to do."""


class Reviewer:
    """The reviewer role of an environment, assumed by whoever runs the command, who is `caller`, an ARN.

    Raises:
        QuarantineError: the role may not be assumed.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        sts = deployment.session.client("sts", endpoint_url=deployment.endpoint_url)
        self.caller: str = sts.get_caller_identity()["Arn"]
        name = re.sub(r"[^\w+=,.@-]", "-", self.caller.rpartition("/")[2])[-64:]
        try:
            given = sts.assume_role(RoleArn=deployment.reviewer_role, RoleSessionName=name)["Credentials"]
        except ClientError as error:
            raise QuarantineError(
                f"{self.caller} may not assume {deployment.reviewer_role}: allow it sts:AssumeRole on that role. "
                f"AWS says: {error}"
            ) from error
        session = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], deployment.session.region_name
        )
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": 4})
        self.s3 = session.client("s3", endpoint_url=deployment.endpoint_url, config=config)

    def entries(self) -> list[dict[str, Any]]:
        """The images in quarantine, the longest there first: `s3_uri`, `version`, `label`, `quarantined_at`, ..."""
        with ThreadPoolExecutor(8) as readers:
            found = [one for one in readers.map(self._read, list(self._keys())) if one]
        return sorted(found, key=lambda one: (one["quarantined_at"], one["s3_uri"], one["version"]))

    def release(self, uri: str, because: str, version: str | None = None) -> dict[str, Any]:
        """Write down who releases an image and why, then make it readable again; returns what was written.

        Args:
            uri: the image.
            because: the reason, for whoever reads the record.
            version: which version of the object, where several are in quarantine.

        Raises:
            QuarantineError: no such image is in quarantine, or several versions of it are.
        """
        entries = [one for one in self.entries() if one["s3_uri"] == uri and version in (None, one["version"])]
        if not entries:
            raise QuarantineError(f"{uri} is not in quarantine. What is: ics quarantine list")
        if len(entries) > 1:
            versions = ", ".join(one["version"] for one in entries)
            raise QuarantineError(
                f"{len(entries)} versions of {uri} are in quarantine: add --version, one of {versions}"
            )
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return quarantine.release(entries[0], self.caller, because, at, self)

    def write(self, key: str, content: bytes) -> None:
        """Write an object of the results bucket."""
        self.s3.put_object(Bucket=self.deployment.results_bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Delete an object of the results bucket."""
        self.s3.delete_object(Bucket=self.deployment.results_bucket, Key=key)

    def take_tag_off(self, image: ImageRef) -> None:
        """Take the quarantine's tag off an image; of one that is gone there is nothing to take."""
        place = {"Bucket": image.bucket, "Key": image.key, **({"VersionId": image.version} if image.version else {})}
        try:
            tags = self.s3.get_object_tagging(**place)["TagSet"]
            others = [tag for tag in tags if tag["Key"] != QUARANTINE_TAG]
            if others:
                self.s3.put_object_tagging(**place, Tagging={"TagSet": others})
            else:
                self.s3.delete_object_tagging(**place)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise

    def _keys(self) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.deployment.results_bucket, Prefix=paths.QUARANTINE
        )
        for page in pages:
            yield from (one["Key"] for one in page.get("Contents", ()))

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            answer = self.s3.get_object(Bucket=self.deployment.results_bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":  # released by somebody else meanwhile
                raise
            return None
        entry: dict[str, Any] = json.loads(answer["Body"].read())
        return entry
