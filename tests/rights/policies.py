"""What the policies of an environment allow its roles, read from the synthesized templates.

A role goes by whose it is (`plan-run`, `classify-images`, `digits`), a resource by the name it is given, else by the
stack output that tells its name (`Images`), else by its logical id.
Policies are evaluated by MiniStack's evaluator (which the emulator itself does not ask), identity policy and resource
policy together; what it would skip or guess is refused when the policies are read.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import aws_cdk as cdk
from ministack.core.iam_evaluator import (
    EvalContext,
    EvalResult,
    combine_resource_policy,
    evaluate,
    fnmatch_iam,
    fnmatch_iam_cs,
    parse_policy_document,
)

from app import build
from local.control import ACCOUNT, REGION
from stacks.config import ROOT, load_config

ENVIRONMENTS = ("local", "dev", "staging", "prod")
ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
CONDITION_KEYS = {
    "aws:SecureTransport",
    "aws:PrincipalTag/ics-reviewer",
    "cloudwatch:namespace",
    "s3:ExistingObjectTag/ics-quarantine",
}
ARN = {  # of what has no `Arn` among its names, as the service writes it
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{name}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{name}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{{name}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
}
REF_IS_ARN = ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine", "AWS::SecretsManager::Secret")
NAMED_BY = ("FunctionName", "StateMachineName", "LogGroupName", "TopicName", "BucketName", "TableName", "QueueName")
USERS = {  # whose a role is: by the property of the resource that uses it, and the property that names the user
    "AWS::Lambda::Function": ("Role", "FunctionName"),
    "AWS::StepFunctions::StateMachine": ("RoleArn", "StateMachineName"),
    "AWS::SageMaker::Model": ("ExecutionRoleArn", "ModelName"),
}
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::URLSuffix": "amazonaws.com"}

os.environ["CDK_VALIDATION"] = "false"  # that is for tests/infrastructure

Call = tuple[str, str, str]
"""Who calls, the action (`s3:GetObject`), the resource's ARN."""


class Rights:
    """The policies of one environment. `statements` are the resolved identity statements by whose they are."""

    def __init__(self, environment: str, templates: list[dict[str, Any]]) -> None:
        self.environment = environment
        self.templates = templates
        self.resources: dict[str, dict[str, Any]] = {}
        self._exports: dict[str, Any] = {}
        self._outputs: dict[str, str] = {}
        for template in templates:
            assert not self.resources.keys() & template["Resources"].keys()
            self.resources |= template["Resources"]
            for key, output in template.get("Outputs", {}).items():
                if "Export" in output:
                    self._exports[output["Export"]["Name"]] = output["Value"]
                elif "Ref" in output["Value"]:
                    self._outputs[output["Value"]["Ref"]] = re.sub("(BucketName|Arn)$", "", key)
        self.role_of = dict(self._roles())
        self.statements = {who: [] for who in self.role_of}
        self._read_identity_policies()
        self._resource_policies = dict(self._read_resource_policies())

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of a type, by logical id."""
        return {
            one: resource.get("Properties", {}) for one, resource in self.resources.items() if resource["Type"] == kind
        }

    def name(self, logical_id: str) -> str:
        properties = self.resources[logical_id].get("Properties", {})
        given = next((properties[name] for name in NAMED_BY if name in properties), None)
        return given or self._outputs.get(logical_id, logical_id)

    def arn(self, logical_id: str) -> str:
        return ARN[self.resources[logical_id]["Type"]].format(name=self.name(logical_id))

    def resolve(self, value: Any) -> str:
        """The text that an expression of a template becomes; refuses what it does not know."""
        if isinstance(value, str):
            return value
        ((function, argument),) = value.items()
        match function:
            case "Ref" if argument in PSEUDO:
                text = PSEUDO[argument]
            case "Ref":
                text = self.arn(argument) if self.resources[argument]["Type"] in REF_IS_ARN else self.name(argument)
            case "Fn::GetAtt" if argument[1] == "Arn":
                text = self.arn(argument[0])
            case "Fn::GetAtt" if argument[1] == "Name":
                text = self.name(argument[0])
            case "Fn::Join":
                text = argument[0].join(map(self.resolve, argument[1]))
            case "Fn::Sub" if isinstance(argument, str):
                text = re.sub(r"\$\{([^}]+)\}", lambda match: PSEUDO[match[1]], argument)
            case "Fn::ImportValue":
                text = self.resolve(self._exports[argument])
            case _:
                raise AssertionError(f"cannot resolve {value}")
        return text

    def refusal(
        self, call: Call, *, without: int | None = None, over_tls: bool = True, about: Mapping[str, str] | None = None
    ) -> str | None:
        """Why a call is denied, None if it is allowed.

        `without` leaves out one of the caller's statements; `about` has condition keys of caller and object.
        """
        who, action, resource = call
        context = EvalContext(
            principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{who}/session",
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=action,
            resource_arn=resource,
            region=REGION,
            source_ip="192.0.2.1",
            secure_transport=over_tls,
            service_context={key.lower(): value for key, value in (about or {}).items()},
        )
        statements = [one for number, one in enumerate(self.statements[who]) if number != without]
        result: EvalResult = evaluate(context, [parse_policy_document({"Statement": statements})])
        owner = resource.partition("/")[0] if action.startswith("s3:") else resource
        policy = self._resource_policies.get(owner)
        if policy is not None:  # a key's policy must allow too, in the key's own account as well
            result = combine_resource_policy(result, context, policy, ACCOUNT, required=action.startswith("kms:"))
        return None if result.decision == "Allow" else f"{who} {action} {resource}: {result.reason}"

    def grants(self) -> Iterator[tuple[str, int, str, str]]:
        """Everything allowed: whose, the number of its statement, an action, a resource pattern."""
        for who, statements in self.statements.items():
            for number, statement in enumerate(statements):
                for action in _listed(statement["Action"]):
                    for resource in _listed(statement["Resource"]):
                        yield who, number, action, resource

    def implied(self, call: Call) -> list[Call]:
        """The call itself, and what it needs besides.

        SNS Developer Guide, "Managing encryption keys and costs": whoever publishes to an encrypted topic needs
        kms:GenerateDataKey and kms:Decrypt on its key.
        """
        who, action, resource = call
        topics = self.of("AWS::SNS::Topic") if action == "sns:Publish" else {}
        keys = [self.resolve(topic["KmsMasterKeyId"]) for one, topic in topics.items() if self.arn(one) == resource]
        return [call, *((who, needed, key) for key in keys for needed in ("kms:Decrypt", "kms:GenerateDataKey"))]

    def _roles(self) -> Iterator[tuple[str, str]]:
        """By whose it is, each role's logical id; refuses one that is nobody's or is used twice."""
        users: dict[str, str] = {}
        for kind, (role, named) in USERS.items():
            for properties in self.of(kind).values():
                (logical_id, _) = properties[role]["Fn::GetAtt"]
                assert logical_id not in users, f"{logical_id} is used twice"
                who = properties[named].removeprefix(f"ics-{self.environment}-")
                users[logical_id] = re.sub("-[0-9a-f]{12}$", "", who)  # a model's name ends in a hash
        for template in self.templates:  # the command passes them to jobs, or assumes them; no resource uses them
            for output, who in (("TrainingRoleArn", "training"), ("ReviewerRoleArn", "reviewer")):
                if role := template.get("Outputs", {}).get(output):
                    users[role["Value"]["Fn::GetAtt"][0]] = who
        assert users.keys() == self.of("AWS::IAM::Role").keys()
        yield from ((who, logical_id) for logical_id, who in users.items())

    def _read_identity_policies(self) -> None:
        policies = self.of("AWS::IAM::Policy").values()
        for who, role in self.role_of.items():
            properties = self.of("AWS::IAM::Role")[role]
            assert not properties.get("ManagedPolicyArns"), f"{role}: a managed policy says what AWS makes of it"
            documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            documents += [policy["PolicyDocument"] for policy in policies if {"Ref": role} in policy["Roles"]]
            self.statements[who] = [statement for document in documents for statement in self._resolved(document)]
        assert not self.of("AWS::IAM::ManagedPolicy")

    def _read_resource_policies(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for properties in self.of("AWS::S3::BucketPolicy").values():
            yield self.arn(properties["Bucket"]["Ref"]), {"Statement": self._resolved(properties["PolicyDocument"])}
        for properties in self.of("AWS::SNS::TopicPolicy").values():
            for topic in properties["Topics"]:
                yield self.resolve(topic), {"Statement": self._resolved(properties["PolicyDocument"])}
        for logical_id, properties in self.of("AWS::KMS::Key").items():
            yield self.arn(logical_id), {"Statement": self._resolved(properties["KeyPolicy"])}

    def _resolved(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """The statements on roles with every expression resolved; refuses what the evaluator would judge otherwise."""
        resolved = []
        for statement in document["Statement"]:
            principal = statement.get("Principal")
            if isinstance(principal, dict) and principal.keys() == {"Service"}:
                continue  # for AWS services, which are no roles
            assert statement.keys() <= ELEMENTS, statement
            keys = {key for test in statement.get("Condition", {}).values() for key in test}
            assert keys <= CONDITION_KEYS, f"a condition that is not understood: {keys - CONDITION_KEYS}"
            one = {**statement, "Resource": [self.resolve(resource) for resource in _listed(statement["Resource"])]}
            if isinstance(principal, dict):
                one["Principal"] = {
                    kind: [self.resolve(one) for one in _listed(named)] for kind, named in principal.items()
                }
            resolved.append(one)
        return resolved


def matches(grant: tuple[str, str], call: Call) -> bool:
    """Whether a grant's action and resource pattern cover a call's."""
    return bool(fnmatch_iam(call[1], grant[0]) and fnmatch_iam_cs(call[2], grant[1]))


@cache
def rights_of(environment: str) -> Rights:
    """The rights of `environments/<environment>.toml`, synthesized in this process."""
    app = cdk.App(context=json.loads((ROOT / "cdk.json").read_text())["context"])
    build(app, load_config(environment))
    return Rights(environment, [stack.template for stack in app.synth().stacks])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
