"""Findings of the template checks that stay open, each with its reason, beside the resource that it is about.

The tests hold every environment's templates against cdk-nag (AwsSolutions and Serverless), checkov and cfn-lint: what
they find is either mended or acknowledged here, and nothing is switched off for all.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct


def acknowledge(construct: Construct, reasons: Mapping[str, str]) -> None:
    """Keep findings about a construct: by a rule's id (`AwsSolutions-S1`, `CKV_AWS_18`, `E3601`), the reason why.

    cdk-nag's are acknowledged with the CDK; checkov and cfn-lint read the metadata of the resource, or of the
    stack's template, which one call sets for all their rules.
    """
    nag = {rule: reason for rule, reason in reasons.items() if "-" in rule}
    for rule, reason in nag.items():
        known = cdk.Acknowledgment(id=f"{rule.partition('-')[0]}::{rule}", reason=reason)
        cdk.Validations.of(construct).acknowledge(known)
    skipped = [{"id": rule, "comment": reason} for rule, reason in reasons.items() if rule.startswith("CKV")]
    ignored = [rule for rule in reasons if rule not in nag and not rule.startswith("CKV")]
    metadata: dict[str, Any] = {}
    if skipped:
        metadata["checkov"] = {"skip": skipped}
    if ignored:
        metadata["cfn-lint"] = {"config": {"ignore_checks": ignored}}
    if isinstance(construct, cdk.Stack):
        construct.template_options.metadata = metadata
        return
    resource = cast(cdk.CfnResource, construct.node.default_child or construct)
    for key, value in metadata.items():
        resource.add_metadata(key, value)


def acknowledge_wildcards(construct: Construct, statements: Iterable[iam.PolicyStatement], reason: str) -> None:
    """Keep `AwsSolutions-IAM5` for each resource of the statements that has a wildcard: cdk-nag wants each by name."""
    wildcards = {resource for statement in statements for resource in statement.resources if "*" in resource}
    names = {_flattened(construct, resource) for resource in wildcards}
    acknowledge(construct, {f"AwsSolutions-IAM5[Resource::{name}]": reason for name in sorted(names)})


def _flattened(construct: Construct, resource: str) -> str:
    """A resource as cdk-nag writes it once the stacks refer to each other: the export's name for another stack's."""
    stack = cdk.Stack.of(construct)
    for token in cdk.Tokenization.reverse_string(resource).tokens:
        if cdk.Reference.is_reference(token):
            owner = cdk.Stack.of(cast(cdk.Reference, token).target)
            if owner is not stack:
                resource = resource.replace(cdk.Token.as_string(token), owner.export_value(token))
    return _text(stack.resolve(resource))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return "".join(_text(part) for part in argument[1])
    if function == "Fn::ImportValue":
        return _text(argument)
    return f"<{argument}>" if function == "Ref" else f"<{'.'.join(argument)}>"
