"""SNS Developer Guide, "Message filtering", "Large payload and raw message delivery", "HTTP/HTTPS subscriptions"; API
reference, Publish (`MessageStructure`)."""

import inspect
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.exceptions import ClientError
from ministack.services.cloudformation import provisioners

from local import outbox

MESSAGE = {"default": "for all", "email": "Dear ops", "sqs": '{"failed": 2}', "http": '{"failed": 3}'}
ATTRIBUTES = {"status": {"DataType": "String", "StringValue": "failed"}}


@pytest.fixture
def topic(aws):
    return aws.client("sns").create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]


def publish(aws, topic, **changes):
    call = {
        "TopicArn": topic,
        "Subject": "A run",
        "Message": json.dumps(MESSAGE),
        "MessageStructure": "json",
        "MessageAttributes": ATTRIBUTES,
    }
    aws.client("sns").publish(**{**call, **changes})


def kept(aws, topic):
    return [delivery for delivery in outbox.read(aws.state) if delivery.topic_arn == topic]


def test_email_is_kept_as_the_subscriber_would_see_it(aws, topic):
    aws.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    publish(aws, topic)
    (delivery,) = kept(aws, topic)
    assert (delivery.protocol, delivery.endpoint) == ("email", "ops@example.com")
    assert (delivery.subject, delivery.message) == ("A run", "Dear ops")
    assert delivery.attributes == {"status": {"Type": "String", "Value": "failed"}}
    publish(aws, topic, Message=json.dumps({"default": "for all"}))
    assert kept(aws, topic)[-1].message == "for all"


def test_filter_policies_apply_to_email(aws, topic):
    for address, wanted in (("some@example.com", "failed"), ("others@example.com", "succeeded")):
        aws.client("sns").subscribe(
            TopicArn=topic,
            Protocol="email",
            Endpoint=address,
            Attributes={"FilterPolicy": json.dumps({"status": [wanted]})},
        )
    publish(aws, topic)
    assert [delivery.endpoint for delivery in kept(aws, topic)] == ["some@example.com"]


@pytest.mark.parametrize("raw", [True, False])
def test_a_queue_gets_its_own_message_with_attributes(aws, topic, raw):
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    aws.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": str(raw).lower()}
    )
    publish(aws, topic)
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    if raw:
        assert json.loads(message["Body"]) == {"failed": 2}
        assert message["MessageAttributes"]["status"]["StringValue"] == "failed"
    else:
        envelope = json.loads(message["Body"])
        assert json.loads(envelope["Message"]) == {"failed": 2}
        assert envelope["Subject"] == "A run"
        assert envelope["MessageAttributes"] == {"status": {"Type": "String", "Value": "failed"}}


def test_an_http_endpoint_confirms_and_gets_its_own_message(aws, topic):
    received = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(
                (
                    self.headers["x-amz-sns-message-type"],
                    json.loads(self.rfile.read(int(self.headers["content-length"]))),
                )
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/alerts"
        aws.client("cloudformation").create_stack(
            StackName=f"s-{uuid.uuid4().hex[:8]}",
            TemplateBody=json.dumps(
                {
                    "Resources": {
                        "Subscription": {
                            "Type": "AWS::SNS::Subscription",
                            "Properties": {"TopicArn": topic, "Protocol": "http", "Endpoint": url},
                        }
                    }
                }
            ),
        )
        aws.wait_for(lambda: received)
        kind, confirmation = received.pop()
        assert kind == confirmation["Type"] == "SubscriptionConfirmation"
        aws.client("sns").confirm_subscription(TopicArn=topic, Token=confirmation["Token"])
        publish(aws, topic)
        aws.wait_for(lambda: received)
        server.shutdown()
    kind, notification = received.pop()
    assert kind == notification["Type"] == "Notification"
    assert json.loads(notification["Message"]) == {"failed": 3}


def test_the_emulator_still_leaves_templates_http_subscriptions_alone():
    assert "_send_subscription_confirmation" not in inspect.getsource(provisioners)


def test_wrong_messages_are_refused(aws, unpatched, topic):
    for message in ("no json", json.dumps({"email": "no default"})):
        with pytest.raises(ClientError) as refused:
            publish(aws, topic, Message=message)
        assert refused.value.response["Error"]["Code"] == "InvalidParameter"
    with pytest.raises(ClientError) as refused:
        publish(aws, topic, Message=json.dumps({"default": "x" * 262_144}))
    assert refused.value.response["Error"]["Code"] == "InvalidParameter"
    other = unpatched.client("sns").create_topic(Name="t")["TopicArn"]
    publish(unpatched, other, Message="no json")  # the gap
