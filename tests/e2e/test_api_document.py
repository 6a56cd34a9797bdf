"""The API keeps to its own document: whatever it allows, and whatever it does not, is answered as it says.

schemathesis makes requests of the OpenAPI document, valid ones and wrong ones, and holds each answer to it.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cli import web
from cli.deployment import Deployment
from lambdas.api.router import LEAST_ROLE
from local.control import LocalAws

EXAMPLES = 15

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def token(aws: LocalAws, deployment: Deployment) -> str:
    return web.local_token(deployment, web.find(deployment, aws.state), "operator", aws.state)


@pytest.fixture(scope="module")
def schema(aws: LocalAws, deployment: Deployment) -> schemathesis.BaseSchema:
    found = web.find(deployment, aws.state)
    return schemathesis.openapi.from_url(f"{found.api}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("route", LEAST_ROLE)
def test_the_api_does_as_its_document_says(
    schema: schemathesis.BaseSchema, token: str, route: str, mode: GenerationMode
) -> None:
    method, _, path = route.replace("<", "{").replace(">", "}").partition(" ")
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not any(operation.iter_parameters()) and not operation.body:
        pytest.skip("nothing can be wrong about it")

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    holds()
