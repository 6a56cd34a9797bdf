"""SNS: an HTTP(S) subscription of a template gets its SubscriptionConfirmation request.

MiniStack sends it for the Subscribe call only, so what CloudFormation subscribes stayed unconfirmed, and silent.
"""

import asyncio
import threading
import uuid
from typing import Any

from ministack.services import sns
from ministack.services.cloudformation import provisioners


def apply() -> None:
    """Ask the endpoint to confirm when CloudFormation creates the subscription."""
    create = provisioners._sns_sub_create

    def create_and_ask(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        created = create(logical_id, properties, stack)
        topic = properties.get("TopicArn", "")
        subscription = sns._find_subscription(topic, created[0])
        if subscription is not None and subscription["protocol"] in ("http", "https"):
            subscription["token"] = str(uuid.uuid4())
            subscription["attributes"]["PendingConfirmation"] = "true"
            confirmation = sns._send_subscription_confirmation(topic, subscription)
            threading.Thread(target=asyncio.run, args=(confirmation,), daemon=True).start()
        return created

    provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]["create"] = create_and_ask
    provisioners._sns_sub_create = create_and_ask  # an update that replaces the subscription calls it by this name
