"""The HTTP API over real HTTP: through CloudFront, API Gateway and its function, with tokens of the user pool."""

import base64
import io
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from cli import web
from cli.deployment import Deployment
from cli.main import app
from ics import digest, paths
from lambdas.make_contact_sheet.handler import FONT
from local.control import LocalAws
from tests.e2e.asking import Answer, Api, send
from tests.e2e.harness import Ended, policy_of, published

PATIENCE = 60


@pytest.fixture(scope="module")
def api(aws: LocalAws, deployment: Deployment) -> Api:
    return Api(aws, deployment)


@pytest.fixture
def unsure(deployment: Deployment) -> Iterator[None]:
    """No answer is sure enough, for the time of a test."""
    with policy_of(deployment, b"threshold = 1.0"):
        time.sleep(10.5)  # the API does not read the policy more often
        yield
    time.sleep(10.5)


def picture(text: str, size: tuple[int, int] = (320, 64)) -> bytes:
    page = Image.new("L", size, 255)
    ImageDraw.Draw(page).text((12, 10), text, 0, ImageFont.truetype(str(FONT), 40))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def row_of(deployment: Deployment, image_id: str, model: str = "digits") -> dict[str, Any]:
    listed = deployment.s3.list_objects_v2(Bucket=deployment.results_bucket, Prefix=f"results/model={model}/")
    (key,) = [one["Key"] for one in listed["Contents"] if one["Key"].endswith(f"run=api/{image_id}.jsonl")]
    content = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=key)["Body"].read()
    found: dict[str, Any] = json.loads(content)
    return found


def test_the_digit_0_is_answered_at_once_kept_and_found_again(
    api: Api, deployment: Deployment, digits: list[bytes]
) -> None:
    answer = api.ask("POST", "/v1/classify?name=zero.png", body=digits[0])
    assert answer.status == 200, answer.content
    found = answer.json
    assert (found["label"], found["decision"], found["name"]) == ("0", "accepted", "zero.png")
    assert {"x-content-type-options", "cache-control", "content-security-policy"} <= {
        name.lower() for name in answer.headers
    }
    row = row_of(deployment, found["image_id"])
    assert (row["label"], row["run"], row["decision"]) == ("0", "api", "accepted")
    bucket, _, key = row["s3_uri"].removeprefix("s3://").partition("/")
    assert key.startswith("api/")
    assert deployment.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == digits[0]
    again = api.ask("GET", found["self"]).json
    assert again["state"] == "classified"
    assert again["verdict"]["label"] == "0"
    assert (again["labels"], again["truth"]) == ([], [])
    assert send(urllib.request.Request(again["picture"])).content == digits[0]


def test_two_uploads_of_one_name_are_two_images(api: Api, digits: list[bytes]) -> None:
    found = [api.ask("POST", "/v1/classify?name=same.png", body=digits[1]).json for _ in range(2)]
    assert len({one["image_id"] for one in found}) == 2


@pytest.mark.parametrize("model", ["digits", "digits-in-lambda"])
def test_every_backend_answers_as_the_pipeline_does(
    api: Api, deployment: Deployment, finish: Callable[..., Ended], put: Callable[[str, bytes], str],
    digits: list[bytes], model: str,
) -> None:  # fmt: skip
    found = api.ask("POST", f"/v1/classify?model={model}", body=digits[7]).json
    image = f"s3://{deployment.images_bucket}/{put('seven.png', digits[7])}"
    (row,) = finish({"images": [image], "model": model}).rows
    assert {name: found[name] for name in ("label", "confidence", "model_version", "decision")} == {
        name: row[name] for name in ("label", "confidence", "model_version", "decision")
    }


def test_rekognition_finds_objects_and_refuses_what_is_too_small(api: Api, digits: list[bytes]) -> None:
    assert api.ask("POST", "/v1/classify?model=objects", body=digits[0]).problem == "ImageTooSmall"
    found = api.ask("POST", "/v1/classify?model=objects", body=picture("x", (200, 200)))
    assert (found.status, found.json["decision"], found.json["reason"]) == (200, "uncertain", "NothingFound")


def test_a_cyrillic_word_is_read(api: Api) -> None:
    sent = {"image": base64.b64encode(picture("привет")).decode()}
    answer = api.ask("POST", "/getPrediction", body=sent)
    assert answer.status == 200, answer.content
    assert answer.json["result"].lower() == "привет"
    assert 0 < answer.json["confidence"] <= 1


REFUSED = [
    ("POST", "/v1/classify", b"milk, bread and apples", 415, "NotAnImage"),
    ("POST", "/v1/classify", b"", 422, "EmptyObject"),
    ("POST", "/v1/classify?model=none", b"x", 404, "NoSuchModel"),
    ("POST", "/v1/uploads?model=none", None, 404, "NoSuchModel"),
    ("GET", f"/v1/images/{'0' * 32}?model=..%2Fnone", None, 404, "NoSuchModel"),
    ("POST", "/v1/classify", b"\x89PNG\r\n\x1a\n", 422, "CorruptImage"),
    ("POST", "/v1/classify", bytes(4 * 1024 * 1024 + 1), 413, "BodyTooLarge"),
    ("POST", "/getPrediction", b"{", 400, "BadRequest"),
    ("POST", "/getPrediction", b'{"image": "\\ud800"}', 400, "BadRequest"),
    ("POST", "/getPrediction", {"image": "?"}, 422, "InvalidParameter"),
    ("POST", "/getPrediction", {"image": "", "more": 1}, 422, "InvalidParameter"),
    ("GET", "/v1/images/none", None, 404, "NoSuchImage"),
    ("GET", "/v1/images/line%0Abreak", None, 404, "NoSuchRoute"),
    ("GET", f"/v1/images/{'0' * 64}", None, 404, "NoSuchImage"),
    ("GET", f"/v1/images/{'0' * 32}", None, 404, "NoSuchImage"),
    ("GET", "/v1/accuracy?model=cyrillic-letters", None, 404, "NotEvaluated"),
    ("GET", "/v1/runs/none", None, 404, "RunNotFound"),
    ("GET", "/v1/runs/a*b", None, 404, "RunNotFound"),
    ("GET", "/v1/runs?limit=0", None, 422, "InvalidParameter"),
    ("GET", "/v1/runs?cursor=none", None, 422, "InvalidParameter"),
    ("GET", "/v1/reviews?cursor=none", None, 422, "InvalidParameter"),
    ("GET", "/v1/nothing", None, 404, "NoSuchRoute"),
    ("DELETE", "/v1/runs", None, 405, "MethodNotAllowed"),
    ("POST", "/v1/runs", {"prefix": "s3://b/", "unknown": 1}, 422, "InvalidRequest"),
    ("POST", "/v1/runs", [], 400, "BadRequest"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "name"), REFUSED)
def test_what_is_refused_says_why(api: Api, method: str, path: str, body: Any, status: int, name: str) -> None:
    answer = api.ask(method, path, role="operator", body=body)
    assert (answer.status, answer.problem) == (status, name)
    if status == 413:
        assert "/v1/uploads" in answer.json["detail"]
    if status == 405:
        assert answer.headers["allow"] == "POST, GET"


def test_what_is_too_large_is_refused_by_the_function_too(api: Api) -> None:
    """Where the length is not told beforehand."""
    body = iter([bytes(1024 * 1024)] * 4 + [b"x"])
    request = urllib.request.Request(f"{api.web.api}/v1/classify", body, method="POST")  # type: ignore[arg-type]
    request.add_header("Authorization", f"Bearer {api.token('viewer')}")
    request.add_header("Transfer-Encoding", "chunked")
    answer = send(request)
    assert (answer.status, answer.problem) == (413, "BodyTooLarge")
    assert "/v1/uploads" in answer.json["detail"]


@pytest.mark.parametrize("model", [None, "digits-in-lambda"])
def test_an_upload_by_form_is_classified_by_itself(
    api: Api, deployment: Deployment, digits: list[bytes], model: str | None
) -> None:
    made = api.ask("POST", f"/v1/uploads?model={model}" if model else "/v1/uploads")
    assert made.status == 201
    form = made.json
    assert api.ask("GET", form["self"]).problem == "NoSuchImage"
    assert _upload(form, bytes(10_000_001)).status == 400
    assert _upload({**form, "fields": {**form["fields"], "key": "incoming/other"}}, digits[3]).status == 403
    assert _upload(form, digits[3]).status == 204
    deadline = time.monotonic() + PATIENCE
    while (found := api.ask("GET", form["self"]).json)["state"] == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (found["verdict"]["label"], found["verdict"]["model"]) == ("3", model or "digits")
    assert len(found["id"]) == 64


def _upload(form: dict[str, Any], content: bytes) -> Any:
    limit = uuid.uuid4().hex
    parts = [
        f'--{limit}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in form["fields"].items()
    ]
    parts += [f'--{limit}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode(), content]
    body = b"".join([*parts, f"\r\n--{limit}--\r\n".encode()])
    kind = {"Content-Type": f"multipart/form-data; boundary={limit}"}
    return send(urllib.request.Request(form["url"], body, kind, method="POST"))


@pytest.mark.parametrize(
    ("method", "path", "role", "least"),
    [("POST", "/v1/runs", "viewer", "operator"), ("POST", "/v1/runs", "reviewer", "operator"),
     ("GET", "/v1/reviews", "viewer", "reviewer"), ("PUT", f"/v1/images/{'0' * 64}/label", "viewer", "reviewer"),
     ("PUT", f"/v1/images/{'0' * 64}/quarantine", "viewer", "reviewer")],
)  # fmt: skip
def test_a_lower_role_is_refused(api: Api, method: str, path: str, role: str, least: str) -> None:
    answer = api.ask(method, path, role=role, body={} if method != "GET" else None)
    assert (answer.status, answer.problem) == (403, "RoleNeeded")
    assert least in answer.json["detail"]


def test_without_a_valid_token_nothing_is_answered(api: Api, aws: LocalAws) -> None:
    assert (aws.state / web.PASSWORDS).stat().st_mode & 0o777 == 0o600
    head, claims, signature = api.token("operator").split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))

    def with_claims(**changed: Any) -> str:
        changed_ = base64.urlsafe_b64encode(json.dumps(content | changed).encode()).decode().rstrip("=")
        return f"{head}.{changed_}.{signature}"

    for given in (None, "none", with_claims(exp=int(time.time()) - 1)):
        headers = {} if given is None else {"Authorization": f"Bearer {given}"}
        answer = api.ask("GET", "/v1/models", role=None, **headers)
        assert (answer.status, answer.problem) == (401, "NotSignedIn")
        assert answer.headers["www-authenticate"] == "Bearer"
    forged = with_claims(**{"cognito:groups": ["operator"], "exp": int(time.time()) + 1000})
    for given in (forged, f"{head}.{claims}.{signature[:-6]}AAAAAA"):
        assert api.ask("GET", "/v1/models", role=None, Authorization=f"Bearer {given}").status == 401


def test_the_command_says_where_page_and_api_are_and_signs_in(
    aws: LocalAws, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICS_STATE", str(aws.state))
    told = json.loads(CliRunner().invoke(app, ["open", "--json"]).stdout)
    assert told == {"page": api.web.page, "api": api.web.api}
    token = CliRunner().invoke(app, ["token", "--role", "operator"]).stdout.strip()
    refused = urllib.request.Request(f"{told['api']}/v1/runs", b"{}", {"Authorization": f"Bearer {token}"})
    assert send(refused).problem == "InvalidRequest"  # an operator came so far


def test_who_comes_past_cloudfront_is_refused(api: Api, aws: LocalAws, deployment: Deployment) -> None:
    formation = deployment.session.client("cloudformation", endpoint_url=deployment.endpoint_url)
    (stack,) = formation.describe_stacks(StackName="ics-local-web")["Stacks"]
    (host,) = [one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "ApiHost"]
    there = f"{aws.endpoint_url}/_aws/execute-api/{host.partition('.')[0]}/$default"
    signed_in = {"Authorization": f"Bearer {api.token('operator')}"}
    for headers in (signed_in, signed_in | {"X-Ics-Origin": "guessed"}):
        answer = send(urllib.request.Request(f"{there}/v1/models", headers=headers))
        assert (answer.status, answer.problem) == (403, "PastTheFrontDoor")
    assert send(urllib.request.Request(f"{there}/docs")).problem == "PastTheFrontDoor"


def test_the_page_and_the_document_are_open_to_all(api: Api, deployment: Deployment) -> None:
    web.build()
    web.publish(deployment, api.web)
    page = send(urllib.request.Request(api.web.page))
    assert page.status == 200
    assert b"ICS" in page.content
    config = send(urllib.request.Request(f"{api.web.page}config.json")).json
    assert (config["user_pool"], config["client"]) == (api.web.user_pool, api.web.client)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    docs = api.ask("GET", "/docs", role=None)
    assert docs.status == 200
    assert b"<script" not in docs.content
    assert b"http" not in docs.content.replace(b"HTTP", b"")
    assert api.ask("GET", "/openapi.json", role=None).json["openapi"].startswith("3.1")


def _queue(api: Api, digits: list[bytes], count: int, model: str = "digits") -> list[str]:
    sent = [api.ask("POST", f"/v1/classify?model={model}", body=content).json for content in digits[:count]]
    assert {one["decision"] for one in sent} == {"uncertain"}
    return [one["image_id"] for one in sorted(sent, key=lambda one: one["confidence"])]


def test_reviews_come_worst_first_to_one_reviewer_each_and_back_when_the_lease_ends(
    api: Api, deployment: Deployment, digits: list[bytes], unsure: None
) -> None:
    mine = _queue(api, digits, 12, "digits-in-lambda")

    def take(role: str, cursor: str | None = None) -> dict[str, Any]:
        search = f"model=digits-in-lambda&limit=4{f'&cursor={cursor}' if cursor else ''}".replace("#", "%23")
        found: dict[str, Any] = api.ask("GET", f"/v1/reviews?{search}", role=role).json
        return found

    def all_of(role: str) -> list[str]:
        found = take(role)
        taken = [one["image_id"] for one in found["items"]]
        while found["next"]:
            found = take(role, found["next"])
            taken += [one["image_id"] for one in found["items"]]
        return [image for image in taken if image in mine]  # other tests have left some, too

    with ThreadPoolExecutor(2) as people:
        one, other = people.map(all_of, ["reviewer", "operator"])
    assert not set(one) & set(other)
    assert set(one) | set(other) == set(mine)
    for taken in (one, other):
        assert taken == [image for image in mine if image in taken]  # the worst first
    assert all_of("reviewer") == one  # who asks again gets the same
    table = deployment.session.resource("dynamodb", endpoint_url=deployment.endpoint_url).Table(deployment.table)
    for item in table.query(
        KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": "review#digits-in-lambda"}
    )["Items"]:
        table.put_item(Item={**item, "held_until": 0})
    assert all_of("reviewer") == mine


def test_a_label_counts_is_withdrawn_and_takes_its_picture_out_of_the_queue(
    api: Api, deployment: Deployment, digits: list[bytes], unsure: None
) -> None:
    (image,) = _queue(api, digits, 1)
    where = f"/v1/images/{image}/label?model=digits"

    def queued() -> bool:
        found = api.ask("GET", "/v1/reviews?limit=25", role="reviewer").json
        while image not in [one["image_id"] for one in found["items"]]:  # other tests may have left some, too
            if not found["next"]:
                return False
            found = api.ask("GET", f"/v1/reviews?limit=25&cursor={quote(found['next'])}", role="reviewer").json
        return True

    assert queued()
    for wrong in ("", " ", "x" * 201, 0, ["0"]):
        assert api.ask("PUT", where, role="reviewer", body={"label": wrong}).problem == "InvalidParameter"
    given = api.ask("PUT", where, role="reviewer", body={"label": "0"})
    assert given.status == 200, given.content
    assert given.json["truth"] == ["0"]
    assert not queued()
    assert api.ask("PUT", where, role="operator", body={"label": "8"}).json["truth"] == ["0", "8"]  # a conflict
    assert api.ask("PUT", where, role="operator", body={"label": None}).json["truth"] == ["0"]
    assert not queued()
    withdrawn = api.ask("PUT", where, role="reviewer", body={"label": None}).json
    assert withdrawn["truth"] == []
    assert [(one["by"], one["label"]) for one in withdrawn["labels"]] == [
        ("reviewer", "0"), ("operator", "8"), ("operator", None), ("reviewer", None),
    ]  # fmt: skip
    assert queued()
    today = withdrawn["labels"][0]["at"][:10]
    prefix = f"labels/model=digits/dt={today}/{image}"
    keys = [
        one["Key"] for one in deployment.s3.list_objects_v2(Bucket=deployment.results_bucket, Prefix=prefix)["Contents"]
    ]
    lines = [deployment.s3.get_object(Bucket=deployment.results_bucket, Key=key)["Body"].read() for key in keys]
    assert sorted((json.loads(line)["at"], json.loads(line)["label"]) for line in lines) == sorted(
        (one["at"], one["label"]) for one in withdrawn["labels"]
    )
    api.ask("PUT", where, role="reviewer", body={"label": "0"})


def test_an_uncertain_image_of_a_run_waits_for_a_reviewer_once(
    api: Api, deployment: Deployment, finish: Callable[..., Ended], put: Callable[[str, bytes], str]
) -> None:
    image = f"s3://{deployment.images_bucket}/{put('odd.png', picture('?', (64, 64)))}"
    request = {"images": [image], "threshold": 1.0, "mode": "tolerant", "model": "products"}
    (row,) = finish(request).rows
    finish(request)
    found = api.ask("GET", "/v1/reviews?model=products", role="reviewer").json
    assert [one["image_id"] for one in found["items"]].count(row["image_id"]) == 1
    shown = api.ask("GET", f"/v1/images/{row['image_id']}", role="reviewer").json
    assert shown["verdict"]["decision"] == "uncertain"
    assert shown["picture"]


def test_an_operator_starts_a_run_and_follows_it(
    api: Api, deployment: Deployment, put: Callable[[str, bytes], str], finish: Callable[..., Ended]
) -> None:
    key = put("text.png", b"milk")
    request = {"prefix": f"s3://{deployment.images_bucket}/{key.rpartition('/')[0]}/", "mode": "tolerant"}
    started = api.ask("POST", "/v1/runs", role="operator", body=request)
    assert started.status == 202, started.content
    run = started.json["run"]
    assert finish(run=run).summary["failed"] == 1
    shown = api.ask("GET", started.json["self"]).json
    assert (shown["status"], shown["planned"], shown["progress"]) == ("SUCCEEDED", 1, {"children": 1, "done": 1})
    assert shown["summary"]["reasons"] == {"NotAnImage": 1}
    assert send(urllib.request.Request(shown["sheet"])).content[:2] == b"\xff\xd8"
    first = api.ask("GET", "/v1/runs?limit=1").json
    assert first["items"][0]["run"] == run
    assert first["items"][0]["failed"] == 1
    if first["next"]:
        second = api.ask("GET", f"/v1/runs?limit=1&cursor={first['next']}").json
        assert second["items"][0]["run"] != run


def test_what_people_were_told_of_a_run_is_shown_in_the_words_that_were_sent(
    api: Api, aws: LocalAws, deployment: Deployment, put: Callable[[str, bytes], str], digits: list[bytes],
    finish: Callable[..., Ended],
) -> None:  # fmt: skip
    images = [f"s3://{deployment.images_bucket}/{put(f'{number}.png', digits[number])}" for number in (0, 1)]
    with policy_of(deployment, b'[labels."0"]\nwatch = true'):
        ended = finish({"images": images, "mode": "tolerant"})
    shown = api.ask("GET", f"/v1/runs/{ended.run}").json
    sent = [
        *published(aws, f"watched/{ended.run}/0"),
        *published(aws, f"digest/{ended.run}"),
    ]
    assert len(sent) == 2
    assert [one["subject"] for one in shown["alerts"]] == [one.subject for one in sent]
    first, last = shown["alerts"]
    assert (images[0] in first["text"], images[1] in first["text"]) == (True, False)
    assert first["at"] < last["at"]
    assert last["text"] == digest.text("local", ended.summary)
    assert shown["more_alerts"] is False


def test_the_latest_accuracy_is_shown(api: Api, deployment: Deployment) -> None:
    place = {"Bucket": deployment.results_bucket, "Key": paths.latest_metrics("products")}
    deployment.s3.put_object(**place, Body=b'{"accuracy": 0.6}')
    try:
        assert api.ask("GET", "/v1/accuracy?model=products").json == {"accuracy": 0.6}
    finally:
        deployment.s3.delete_object(**place)


def test_what_the_policy_quarantines_is_shown_to_reviewers_alone(
    api: Api, deployment: Deployment, digits: list[bytes]
) -> None:
    with policy_of(deployment, b'[labels."4"]\nquarantine = true'):
        time.sleep(10.5)
        found = api.ask("POST", "/v1/classify", body=digits[4]).json
    assert (found["decision"], found["reason"]) == ("flagged", "Quarantined")
    assert entry_of(deployment, found["image_id"])["label"] == "4"
    hidden = api.ask("GET", found["self"]).json
    assert (hidden["quarantined"], hidden["picture"]) == (True, None)
    for role in ("reviewer", "operator"):
        shown = api.ask("GET", found["self"], role=role).json["picture"]
        assert send(urllib.request.Request(shown)).content == digits[4]
    where = f"/v1/images/{found['image_id']}/quarantine"
    body = {"quarantined": False, "because": "  a four,\n see ticket 12 "}
    assert api.ask("PUT", where, role="reviewer", body=body).json["quarantined"] is False
    assert entry_of(deployment, found["image_id"]) is None
    assert send(urllib.request.Request(api.ask("GET", found["self"]).json["picture"])).content == digits[4]
    (record,) = records_of(deployment, found["image_id"])
    assert (record["released_by"], record["because"], record["label"]) == ("reviewer", "a four, see ticket 12", "4")
    time.sleep(10.5)


def entry_of(deployment: Deployment, image_id: str) -> Any:
    """What is listed of an image in quarantine, None where it is in none."""
    place = {"Bucket": deployment.results_bucket, "Key": paths.quarantined(image_id)}
    try:
        return json.loads(deployment.s3.get_object(**place)["Body"].read())
    except deployment.s3.exceptions.NoSuchKey:
        return None


def records_of(deployment: Deployment, image_id: str) -> list[dict[str, Any]]:
    """What was written down of those who hid and released it, in the order of time."""
    found = deployment.s3.list_objects_v2(Bucket=deployment.results_bucket, Prefix=f"audit/quarantine/{image_id}/").get(
        "Contents", []
    )
    return [
        json.loads(deployment.s3.get_object(Bucket=deployment.results_bucket, Key=one["Key"])["Body"].read())
        for one in found
    ]


def test_a_reviewer_hides_and_releases_a_picture_by_hand(api: Api, deployment: Deployment, digits: list[bytes]) -> None:
    found = api.ask("POST", "/v1/classify", body=digits[5]).json
    image, before = found["image_id"], api.ask("GET", found["self"]).json["picture"]
    bucket, _, key = row_of(deployment, image)["s3_uri"].removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": key}
    deployment.s3.put_object_tagging(**place, Tagging={"TagSet": [{"Key": "owner", "Value": "<a> & b"}]})

    def put(quarantined: Any, because: Any = "not for everybody", role: str = "reviewer") -> Answer:
        body = {"quarantined": quarantined, "because": because}
        return api.ask("PUT", f"/v1/images/{image}/quarantine", role=role, body=body)

    for wrong in (put("yes"), put(None), put(True, ""), put(True, " "), put(True, None), put(True, "x" * 1001)):
        assert wrong.problem == "InvalidParameter"
    assert api.ask("PUT", f"/v1/images/{'0' * 64}/quarantine", role="reviewer", body={"quarantined": True,
                   "because": "x"}).problem == "NoSuchImage"  # fmt: skip
    assert put(False).json["quarantined"] is False  # as it was: nothing is written down
    assert records_of(deployment, image) == []

    hidden = put(True)
    assert hidden.status == 200, hidden.content
    assert hidden.json["quarantined"] is True
    assert send(urllib.request.Request(before)).status == 403  # a URL that was given away before
    assert send(urllib.request.Request(hidden.json["picture"])).content == digits[5]
    with pytest.raises(ClientError, match="AccessDenied"):
        deployment.s3.get_object(**place)
    assert api.ask("GET", found["self"]).json["picture"] is None
    entry = entry_of(deployment, image)
    assert (entry["quarantined_by"], entry["quarantined_because"]) == ("reviewer", "not for everybody")
    assert records_of(deployment, image) == [entry]
    assert put(True, role="operator").status == 200
    assert records_of(deployment, image) == [entry]

    released = put(False, "a five", role="operator")
    assert released.json["quarantined"] is False
    assert deployment.s3.get_object(**place)["Body"].read() == digits[5]
    tags = deployment.s3.get_object_tagging(**place)["TagSet"]
    assert tags == [{"Key": "owner", "Value": "<a> & b"}]
    assert entry_of(deployment, image) is None
    first, last = records_of(deployment, image)
    assert first == entry
    assert {name: last[name] for name in entry} == entry
    assert (last["released_by"], last["because"]) == ("operator", "a five")
