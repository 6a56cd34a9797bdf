"""Step Functions: the message attributes of its `sns:publish` integration.

MiniStack hands the state's parameters to a parser of form fields, which finds no attribute in them: filter policies
then drop the message.
"""

from typing import Any

from ministack.services import stepfunctions

INTEGRATION = "arn:aws:states:::sns:publish"


def apply() -> None:
    """Name the attributes as the parser expects them."""
    publish = stepfunctions._SERVICE_DISPATCH[INTEGRATION]

    def publish_with_attributes(resource: str, parameters: dict[str, Any]) -> Any:
        fields = {name: value for name, value in parameters.items() if name != "MessageAttributes"}
        attributes = parameters.get("MessageAttributes") or {}
        for number, (name, attribute) in enumerate(attributes.items(), 1):
            entry = f"MessageAttributes.entry.{number}"
            fields[f"{entry}.Name"] = name
            fields |= {f"{entry}.Value.{field}": value for field, value in attribute.items()}
        return publish(resource, fields)

    stepfunctions._SERVICE_DISPATCH[INTEGRATION] = publish_with_attributes
