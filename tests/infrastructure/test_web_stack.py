"""WebStack: only who signed in and came by the front door gets to the function, and no template holds its secret."""

import json
from dataclasses import replace

import aws_cdk as cdk
import pytest

from app import build
from stacks.config import ConfigError, WebConfig, load_config
from stacks.front_door import API_PATHS, OPEN_PATHS, ORIGIN_HEADER
from stacks.sign_in import ROLES
from tests.infrastructure.templates import CONTEXT

API = "/v1/{proxy+}"


def test_nobody_signs_up_and_there_is_a_group_for_each_role(assembly):
    pool = assembly.web.one("Cognito::UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] >= 14
    assert {group["GroupName"] for group in assembly.web.of("Cognito::UserPoolGroup").values()} == set(ROLES)
    client = assembly.web.one("Cognito::UserPoolClient")
    assert client["GenerateSecret"] is False
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    assert client["AccessTokenValidity"] == 60


def test_routes_but_the_open_ones_ask_for_a_token_of_this_pool(assembly):
    routes = {route["RouteKey"]: route for route in assembly.web.of("ApiGatewayV2::Route").values()}
    assert routes.keys() == {f"ANY {API}", "ANY /getPrediction", "$default"}
    ((authorizer_id, authorizer),) = assembly.web.of("ApiGatewayV2::Authorizer").items()
    for key, route in routes.items():
        if key == "$default":  # the document; the function has no other route outside
            assert route["AuthorizationType"] == "NONE"
        else:
            assert (route["AuthorizationType"], route["AuthorizerId"]) == ("JWT", {"Ref": authorizer_id})
    assert authorizer["AuthorizerType"] == "JWT"
    (audience,) = authorizer["JwtConfiguration"]["Audience"]
    assert audience["Ref"] in assembly.web.of("Cognito::UserPoolClient")
    (pool,) = assembly.web.of("Cognito::UserPool")
    assert {"Ref": pool} in authorizer["JwtConfiguration"]["Issuer"]["Fn::Join"][1]


def test_the_stage_is_throttled_and_logs_no_content(assembly):
    stage, config = assembly.web.one("ApiGatewayV2::Stage"), load_config(assembly.environment).web
    assert stage["StageName"] == "$default"
    settings = stage["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == config.requests_per_second
    assert settings["ThrottlingBurstLimit"] == config.burst_requests
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert not [where for where in logged.values() if "header" in where or "claims" in where or "path" in where.lower()]


def test_cloudfront_adds_a_secret_that_is_in_no_template(assembly):
    distribution = assembly.web.one("CloudFront::Distribution")["DistributionConfig"]
    api, site = sorted(distribution["Origins"], key=lambda origin: "S3OriginConfig" in origin)
    assert api["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    (header,) = api["OriginCustomHeaders"]
    assert header["HeaderName"] == ORIGIN_HEADER
    (secret,) = assembly.web.of("SecretsManager::Secret")
    value = header["HeaderValue"]["Fn::Join"][1]
    assert value[0].startswith("{{resolve:secretsmanager:")
    assert value[1] == {"Ref": secret}
    assert "SecretString" not in assembly.web.of("SecretsManager::Secret")[secret]
    assert "OriginAccessControlId" in site


def test_one_origin_serves_page_and_api_and_the_edge_looks_at_tokens(assembly):
    distribution = assembly.web.one("CloudFront::Distribution")["DistributionConfig"]
    behaviors = {one["PathPattern"]: one for one in distribution["CacheBehaviors"]}
    assert behaviors.keys() == {*API_PATHS, *OPEN_PATHS}
    for path, behavior in behaviors.items():
        assert ("FunctionAssociations" in behavior) == (path in API_PATHS)
        if path in API_PATHS:
            assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # nothing is cached
    wanted = load_config(assembly.environment).web.viewers
    everything = [*behaviors.values(), distribution["DefaultCacheBehavior"]]
    assert {one["ViewerProtocolPolicy"] for one in everything} == {wanted}
    assert wanted == "redirect-to-https" or assembly.environment == "local"


def test_answers_carry_a_strict_policy(assembly):
    headers = assembly.web.one("CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    policy = json.dumps(headers["SecurityHeadersConfig"]["ContentSecurityPolicy"])
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["SecurityHeadersConfig"]["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000
    assert ("localhost" in policy) == (assembly.environment == "local")


def test_the_function_writes_only_where_the_api_writes(assembly):
    (function,) = assembly.web.of("Lambda::Function").values()
    role = assembly.web.of("IAM::Role")[function["Role"]["Fn::GetAtt"][0]]
    (policy,) = role["Policies"]
    written = [
        json.dumps(statement["Resource"])
        for statement in policy["PolicyDocument"]["Statement"]
        if "s3:PutObject" in statement["Action"]
    ]
    allowed = ("/api/*", "/runs/api-*", "/results/*/run=api/*", "/labels/*", "/quarantine/*", "/incoming/*")
    assert written
    assert all(any(one in resource for one in allowed) for resource in written), written
    settings = function["Environment"]["Variables"]
    assert ("UPLOAD_PREFIX" in settings) == (load_config(assembly.environment).events is not None)
    assert {"Ref"} == settings["ORIGIN_SECRET"].keys()  # its name, not what it is


def test_the_apis_function_alone_may_take_on_a_role_and_it_is_the_reviewers(assembly):
    templates = (assembly.data, assembly.model, assembly.pipeline, assembly.learning, assembly.web)
    takers = [  # what has no resource says who may take on the role that it is of
        (holder, statement["Resource"])
        for template in templates
        for holder, statement in template.statements()
        if "sts:" in json.dumps(statement["Action"]) and "Resource" in statement
    ]
    (function,) = assembly.web.of("Lambda::Function").values()
    ((holder, taken),) = takers
    assert holder == function["Role"]["Fn::GetAtt"][0]
    exports = {one["Export"]["Name"]: one["Value"] for one in assembly.data.body["Outputs"].values() if "Export" in one}
    assert isinstance(taken, dict)
    assert exports[taken["Fn::ImportValue"]] == assembly.data.body["Outputs"]["ReviewerRoleArn"]["Value"]


def test_without_the_table_there_is_no_web_stack_and_no_queue_of_reviews():
    app = cdk.App(context=CONTEXT)
    build(app, replace(load_config("dev"), web=None))
    stacks = {stack.stack_name: stack.template for stack in app.synth().stacks}
    assert "ics-dev-web" not in stacks
    functions = [one for one in stacks["ics-dev-pipeline"]["Resources"].values() if "Environment" in one["Properties"]]
    told = [one["Properties"]["Environment"]["Variables"].get("REVIEWS") for one in functions]
    assert set(told) == {None, "false"}


@pytest.mark.parametrize(
    "given",
    [{"requests_per_second": 0}, {"burst_requests": 5_001}, {"viewers": "https"}],
)  # fmt: skip
def test_settings_that_would_not_do_are_refused(given):
    with pytest.raises(ConfigError):
        WebConfig(**given)


def test_a_text_model_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="text_model"):
        replace(load_config("dev"), web=WebConfig(text_model="none"))
