"""CloudFront: a bucket that refuses plain HTTP may be its origin.

CloudFront asks S3 over HTTPS (Amazon CloudFront Developer Guide, "Restrict access to an Amazon S3 origin"); MiniStack
judges the bucket's policy as if it did not, so that a statement on `aws:SecureTransport` denies every page.
"""

from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.services import s3

from local.control import REGION


def apply() -> None:
    """Judge the policy over TLS where MiniStack refuses."""
    allows = s3._cloudfront_origin_allows

    def allowed(owner: str, bucket: str, key: str, source_arn: str, oai_id: str) -> bool:
        if allows(owner, bucket, key, source_arn, oai_id):
            return True
        policy = s3._bucket_policies.get_scoped(owner, None, bucket)
        if not policy or not source_arn or oai_id:
            return False
        context = EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action="s3:GetObject",
            resource_arn=f"arn:aws:s3:::{bucket}/{key}",
            region=REGION,
            secure_transport=True,
            service_context={"aws:sourcearn": source_arn},
        )
        decided = evaluate_resource_policy(policy, context, service="cloudfront.amazonaws.com")
        return str(decided.decision) == "Allow"

    s3._cloudfront_origin_allows = allowed
