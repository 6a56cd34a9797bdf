"""The front door: CloudFront, which serves the page from a bucket, and the HTTP API under the same origin.

It adds a secret to what it hands on to the API, which answers nobody else.
"""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.config import DeployConfig, WebConfig

ORIGIN_HEADER = "x-ics-origin"
API_PATHS = ("/v1/*", "/getPrediction")
OPEN_PATHS = ("/docs", "/openapi.json")


class FrontDoor(Construct):
    """`site`, the bucket that holds the page, and `distribution`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        settings: WebConfig,
        *,
        api_host: str,
        origin_secret: secretsmanager.ISecret,
    ) -> None:
        super().__init__(scope, construct_id)
        self.site = s3.Bucket(
            self,
            "Site",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=cdk.Duration.days(config.noncurrent_days),
                                              abort_incomplete_multipart_upload_after=cdk.Duration.days(1))],
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )  # fmt: skip
        viewers = cloudfront.ViewerProtocolPolicy(settings.viewers.replace("-", "_").upper())
        edge = cloudfront.Function(
            self,
            "Edge",
            function_name=f"ics-{config.environment}-edge",
            code=cloudfront.FunctionCode.from_file(file_path=str(Path(__file__).with_name("edge.js"))),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
        )
        api = origins.HttpOrigin(
            api_host,
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            # A reference that CloudFormation resolves: the template holds no secret.
            custom_headers={ORIGIN_HEADER: origin_secret.secret_value.unsafe_unwrap()},
        )
        headers = self._headers(config, settings)
        asked = cloudfront.BehaviorOptions(
            origin=api,
            viewer_protocol_policy=viewers,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
            response_headers_policy=headers,
            function_associations=[
                cloudfront.FunctionAssociation(event_type=cloudfront.FunctionEventType.VIEWER_REQUEST, function=edge)
            ],
        )
        read = cloudfront.BehaviorOptions(
            origin=api, viewer_protocol_policy=viewers, cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
            response_headers_policy=headers,
        )  # fmt: skip
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"ICS {config.environment}",
            default_root_object="index.html",
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(self.site),
                viewer_protocol_policy=viewers,
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=headers,
            ),
            additional_behaviors=dict.fromkeys(API_PATHS, asked) | dict.fromkeys(OPEN_PATHS, read),
        )
        self._acknowledge(settings)

    def _headers(self, config: DeployConfig, settings: WebConfig) -> cloudfront.ResponseHeadersPolicy:
        """What every answer carries; the page's Content-Security-Policy is one that the API's own overrides."""
        region = cdk.Stack.of(self).region
        own = (f"https://{service}.{region}.amazonaws.com" for service in ("s3", "cognito-idp"))
        sources = " ".join((*own, *settings.sources))
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=f"ics-{config.environment}",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy="default-src 'self'; "
                    f"img-src 'self' blob: data: {sources}; connect-src 'self' {sources}; "
                    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
                    override=False,
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=cdk.Duration.days(365), include_subdomains=True, override=True
                ),
            ),
        )

    def _acknowledge(self, settings: WebConfig) -> None:
        logged = "API Gateway logs each call of the API; requests for the page's files are of no interest"
        everywhere = "whom it serves is for its users' network to say, and a firewall is paid by month: see docs/api.md"
        own_name = "it has CloudFront's own name, whose certificate decides the TLS; a name of one's own brings its own"
        here = {"CKV_AWS_34": "for a machine of one's own, where there is no TLS"}
        acknowledge(
            self.distribution,
            {
                **(here if settings.viewers == "allow-all" else {}),
                "AwsSolutions-CFR1": everywhere,
                "AwsSolutions-CFR2": everywhere,
                "AwsSolutions-CFR3": logged,
                "AwsSolutions-CFR4": own_name,
                "CKV_AWS_68": everywhere,
                "CKV2_AWS_47": everywhere,
                "CKV_AWS_86": logged,
                "CKV_AWS_174": own_name,
                "CKV_AWS_310": "there is one API; where its region is down, so are the models",
                "CKV_AWS_374": everywhere,
            },
        )
        acknowledge(
            self.site,
            {"AwsSolutions-S1": logged, "CKV_AWS_18": logged},
        )
