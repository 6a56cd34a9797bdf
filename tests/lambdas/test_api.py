"""The API's function without its neighbours: odd requests, roles and names, and what it says of itself."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import errors
from lambdas import runtime, secret
from lambdas.api import classifying, document, handler, page, problems, router
from stacks import front_door, sign_in

CONTEXT = object()
ROOT = Path(__file__).parents[2]
ARN = "arn:aws:secretsmanager:us-east-1:1:secret:origin"


@pytest.fixture(scope="module", autouse=True)
def settings() -> Iterator[None]:
    given = runtime.Settings(
        default_model="digits",
        models={"digits": runtime.ModelSettings("f", 100)},
        origin_secret=ARN,
        upload_prefix="incoming/",
        log_level="ERROR",
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (router, handler, *handler.ROUTES):
            if hasattr(module, "settings"):
                patch.setattr(module, "settings", lambda: given)
        patch.setattr(runtime, "settings", lambda: given)
        patch.setitem(secret._known, ARN, (float("inf"), "s" * 48))
        yield


def ask(method: str, path: str, groups: str = "[operator]", body: Any = None, **query: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "ANY /v1/{proxy+}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {handler.ORIGIN_HEADER: "s" * 48},
        "requestContext": {
            "http": {"method": method, "path": path},
            "requestId": "r-1",
            "stage": "$default",
            "authorizer": {"jwt": {"claims": {"cognito:groups": groups, "username": "ann"}}},
        },
        "isBase64Encoded": isinstance(body, bytes),
    }
    if query:
        event["queryStringParameters"] = query
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return handler.handler(event, CONTEXT)


def problem(answer: dict[str, Any]) -> str:
    assert answer["headers"]["content-type"] == "application/problem+json"
    content = json.loads(answer["body"])
    assert content["status"] == answer["statusCode"]
    return str(content["type"].removeprefix("/docs#"))


@pytest.mark.parametrize("groups", ["", "[]", "[viewer]", "[viewer reviewer]", "[operators]", "[viewer,reviewer]"])
def test_who_is_no_operator_starts_no_run(groups: str) -> None:
    assert problem(ask("POST", "/v1/runs", groups, "{}")) == "RoleNeeded"


@pytest.mark.parametrize("groups", ["[operator]", "[viewer operator]", "operator"])
def test_an_operator_may(groups: str) -> None:
    assert problem(ask("POST", "/v1/runs", groups, "{}")) == "InvalidRequest"  # it came so far


def test_the_roles_are_the_pools_groups_and_the_header_is_cloudfronts() -> None:
    assert router.ROLES == sign_in.ROLES
    assert handler.ORIGIN_HEADER == front_door.ORIGIN_HEADER


def test_every_route_has_its_role_and_every_role_its_route() -> None:
    assert {f"{one.method} {one.path}" for one in router.DECLARED} == set(router.LEAST_ROLE)
    open_to_all = {route for route, role in router.LEAST_ROLE.items() if role is None}
    assert open_to_all == {"GET /openapi.json", "GET /docs"}
    assert all(not route.partition(" ")[2].startswith("/v1/") for route in open_to_all)


def test_the_edge_refuses_what_the_function_would() -> None:
    told = dict(re.findall(r"'(/[^']+)': (\d+)", (ROOT / "stacks" / "edge.js").read_text()))
    assert int(told["/v1/classify"]) == classifying.MAX_IMAGE
    largest = len(json.dumps({"image": base64.b64encode(bytes(classifying.MAX_IMAGE)).decode()}))
    assert largest <= int(told["/getPrediction"]) < 6_000_000


_path = st.text(max_size=60).map(lambda text: "/" + text)


@given(path=_path, method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS"]))
def test_any_path_is_answered_without_a_fault(path: str, method: str) -> None:
    answer = ask(method, path)
    assert answer["statusCode"] in (200, 404, 405), answer
    if answer["statusCode"] != 200:
        assert problem(answer) in ("NoSuchRoute", "MethodNotAllowed")


@given(body=st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_body_of_a_run_is_answered_without_a_fault(body: bytes | str) -> None:
    answer = ask("POST", "/v1/runs", body=body)
    assert problem(answer) in ("BadRequest", "InvalidRequest")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


@given(found=st.dictionaries(st.sampled_from(["label", "image", "more"]), _json, max_size=2))
def test_any_label_is_taken_or_refused_by_name(found: dict[str, Any]) -> None:
    answer = ask("PUT", "/v1/images/none/label", body=json.dumps(found))
    assert problem(answer) in ("InvalidParameter", "NoSuchImage")


@given(limit=st.text(max_size=8))
def test_any_limit_is_a_number_in_its_bounds_or_refused(limit: str) -> None:
    if re.fullmatch("[0-9]{1,4}", limit) and 1 <= int(limit) <= 25:
        return
    assert problem(ask("GET", "/v1/runs", limit=limit)) == "InvalidParameter"


@pytest.mark.parametrize("given_", [None, "", "s" * 47, "S" * 48, "\u00e9" * 48])
def test_without_the_secret_nothing_is_answered(given_: str | None) -> None:
    event = {
        "headers": {} if given_ is None else {handler.ORIGIN_HEADER: given_},
        "rawPath": "/docs",
        "requestContext": {"http": {"method": "GET", "path": "/docs"}, "requestId": "r"},
    }
    assert problem(handler.handler(event, CONTEXT)) == "PastTheFrontDoor"


def test_a_fault_is_told_without_words_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(router, "json_body", broken)
    from lambdas.api import runs

    monkeypatch.setattr(runs, "json_body", broken)
    answer = ask("POST", "/v1/runs", body="{}")
    assert (answer["statusCode"], problem(answer)) == (500, "InternalError")
    assert "secret" not in answer["body"]


def test_every_answer_has_safe_headers() -> None:
    for path in ("/docs", "/v1/none"):
        headers = {name.lower(): value for name, value in ask("GET", path)["headers"].items()}
        assert {name.lower() for name in handler.HEADERS} <= set(headers)
        assert "unsafe" not in headers["content-security-policy"]


def test_every_error_of_ours_has_a_status_and_those_of_requests_none_above_499() -> None:
    known = problems.names()
    assert {"NotAnImage", "InvalidRequest", "RoleNeeded", "TableUnavailable"} <= known.keys()
    for name, (status, meaning) in known.items():
        assert meaning, name
        if issubclass(getattr(errors, name), errors.RequestError | errors.ApiError):
            assert 400 <= status < 500, name


def test_the_document_names_every_refusal_and_the_page_shows_every_route() -> None:
    made = document.document()
    assert made["openapi"].startswith("3.1")
    known = {*problems.names(), "InternalError"}
    shown = page.page(made)
    for path, operations in made["paths"].items():
        assert path in shown
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if "application/problem+json" in answer["content"]:
                    assert status == "401" or set(answer["description"].split(", ")) <= known, (path, status)
    assert json.loads(json.dumps(made)) == made
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(made)))
    assert references <= made["components"]["schemas"].keys()


def test_a_cold_function_does_not_import_what_takes_long() -> None:
    slow = ("pydantic", "boto3", "botocore.session", "botocore.client")
    told = f"import sys, lambdas.api.handler; print([one for one in {slow} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
