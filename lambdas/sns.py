"""Publishing to an SNS topic (API reference, Publish: a form); boto3 would cost a cold function 200 ms of CPU."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlencode

from ics.errors import NotPublished
from lambdas import aws_http


def publish(topic: str, subject: str, message: str, attributes: Mapping[str, str], *, structured: bool = False) -> None:
    """Publish one message. It is sent once; whoever calls knows whether it may be sent again.

    Args:
        topic: the topic's ARN.
        subject: ASCII, at most 100 characters.
        message: the text, or where `structured` the JSON of a text for each protocol.
        attributes: message attributes, none of them empty.
        structured: whether it is `MessageStructure: json`.

    Raises:
        NotPublished: SNS refused it, or did not answer.
    """
    form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Subject": subject, "Message": message}
    if structured:
        form["MessageStructure"] = "json"
    for number, (name, value) in enumerate(attributes.items(), 1):
        entry = f"MessageAttributes.entry.{number}"
        form |= {f"{entry}.Name": name, f"{entry}.Value.DataType": "String", f"{entry}.Value.StringValue": value}
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('sns', 'sns')}/",
            service="sns",
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            body=urlencode(form).encode(),
            timeout=5,
        )
    except (OSError, http.client.HTTPException) as error:
        raise NotPublished(f"no answer of SNS: {error}") from error
    if answer.status != 200:
        raise NotPublished(f"SNS answered HTTP {answer.status}: {answer.body[:500]!r}")
