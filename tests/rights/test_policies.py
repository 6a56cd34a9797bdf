"""The judge of rights denies what AWS denies, and refuses to judge what it does not understand."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest

from tests.rights.policies import ENVIRONMENTS, Rights, rights_of


@dataclass
class Altered:
    """An environment's templates with one change, read again."""

    templates: list[dict[str, Any]]

    def all(self, kind: str) -> list[dict[str, Any]]:
        resources = [one for template in self.templates for one in template["Resources"].values()]
        return [one["Properties"] for one in resources if one["Type"] == kind]

    def rights(self) -> Rights:
        return Rights("prod", self.templates)


@pytest.fixture
def altered() -> Altered:
    return Altered(copy.deepcopy(rights_of("prod").templates))


READ = ("serialize-image-data", "s3:GetObject", "arn:aws:s3:::Images/a.png")
DENIED = {
    "another role": ("record-failure", *READ[1:]),
    "another action": (READ[0], "s3:PutObject", READ[2]),
    "another bucket": (*READ[:2], "arn:aws:s3:::Results/a.png"),
    "the bucket for its objects": (*READ[:2], "arn:aws:s3:::Images"),
    "another case": (*READ[:2], "arn:aws:s3:::images/a.png"),
    "another key": ("serialize-image-data", "s3:GetObject", "arn:aws:s3:::Working/results/a"),
}


@pytest.mark.parametrize("name", DENIED)
def test_what_no_statement_allows_is_denied(name: str) -> None:
    assert rights_of("prod").refusal(READ) is None
    assert rights_of("prod").refusal(DENIED[name])


def test_a_buckets_policy_denies_what_does_not_come_over_tls() -> None:
    assert rights_of("prod").refusal(READ, over_tls=False)


IN_QUARANTINE = {"s3:ExistingObjectTag/ics-quarantine": "true"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_only_a_reviewer_reads_what_is_in_quarantine_or_takes_it_out(environment: str) -> None:
    rights = rights_of(environment)
    image = "arn:aws:s3:::Images/a.png"
    tagging = ("filter-low-confidence", "s3:PutObjectVersionTagging", image)
    reading = [
        (who, f"s3:{action}", image) for who in rights.statements for action in ("GetObject", "GetObjectVersion")
    ]
    allowed = [call for call in (*reading, tagging) if rights.refusal(call) is None]
    assert {who for who, *_ in allowed} >= {"serialize-image-data", "filter-low-confidence", "reviewer"}
    assert all(rights.refusal(call, about=IN_QUARANTINE) for call in allowed)
    reviewing = {**IN_QUARANTINE, "aws:PrincipalTag/ics-reviewer": "true"}
    for action in ("GetObject", "GetObjectVersion", "PutObjectVersionTagging", "DeleteObjectVersionTagging"):
        assert rights.refusal(("reviewer", f"s3:{action}", image), about=reviewing) is None


def test_a_resource_policys_deny_outweighs_a_role(altered: Altered) -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": READ[2]}
    for policy in altered.all("AWS::S3::BucketPolicy"):
        policy["PolicyDocument"]["Statement"].append(deny)
    assert altered.rights().refusal(READ)


def test_a_key_that_does_not_admit_its_account_is_closed_to_every_role(altered: Altered) -> None:
    rights = rights_of("prod")
    (key,) = (rights.arn(one) for one in rights.of("AWS::KMS::Key"))
    call = ("classify-images", "kms:Decrypt", key)
    assert rights.refusal(call) is None
    (key_properties,) = altered.all("AWS::KMS::Key")
    del key_properties["KeyPolicy"]["Statement"][0]
    assert altered.rights().refusal(call)


@pytest.mark.parametrize(
    "change",
    [
        {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "x"}}},
        {"NotAction": "s3:GetObject"},
        {"Resource": {"Fn::Select": [0, ["*"]]}},
    ],
)
def test_what_is_not_understood_is_refused(change: dict[str, Any], altered: Altered) -> None:
    altered.all("AWS::IAM::Role")[0]["Policies"][0]["PolicyDocument"]["Statement"][0] |= change
    with pytest.raises(AssertionError):
        altered.rights()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_role_has_a_wildcard_action(environment: str) -> None:
    grants = list(rights_of(environment).grants())
    assert len(grants) > 50
    assert not [grant for grant in grants if "*" in grant[2] or "?" in grant[2]]
