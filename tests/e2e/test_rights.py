"""Every AWS call made so far is allowed to the role that made it, in every environment; every right is used.

The embedded AWS checks no rights but records who called what (`local.calls`), through all end-to-end tests: these are
the last to run. What they need themselves, they call themselves, so that they can also run alone.
"""

import io
import json
import re
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from cli import accuracy, runs
from cli.deployment import Deployment
from ics import paths
from ics.contracts import Batch, ImageRef, dump_line, fields_of
from ics.uploads import parse_upload
from local.control import LocalAws
from stacks.config import load_config
from tests.e2e.asking import Api, send
from tests.e2e.harness import Ended, packed, policy_of
from tests.rehearsal import about, set_faults
from tests.rights.policies import ENVIRONMENTS, Call, Rights, matches, rights_of
from tests.rights.test_state_machine import needs
from tests.rights.unused import UNUSED, reason

Put = Callable[[str, bytes], str]

ENDPOINTS = load_config("local").endpoints.keys()
MODELS = load_config("local").models.keys()

NO_BUCKET = "arn:aws:s3:::no-such-bucket-of-ours"
"""What other tests ask for though it does not exist: nobody has rights on it."""


@pytest.fixture(scope="module")
def names(deployment: Deployment) -> dict[str, str]:
    """The names that the templates know, by the physical names of the deployed buckets, topics, keys and roles."""
    cloudformation = deployment.session.client("cloudformation", endpoint_url=deployment.endpoint_url)
    kinds = (
        *("AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::KMS::Key", "AWS::IAM::Role"),
        "AWS::SecretsManager::Secret",
    )
    named = {
        re.split("[:/]", resource["PhysicalResourceId"])[-1]: rights_of("local").name(resource["LogicalResourceId"])
        for stack in ("data", "model", "pipeline", "learning", "web")
        for resource in cloudformation.describe_stack_resources(StackName=f"ics-local-{stack}")["StackResources"]
        if resource["ResourceType"] in kinds
    }
    secrets = deployment.session.client("secretsmanager", endpoint_url=deployment.endpoint_url).list_secrets()
    for secret in secrets["SecretList"]:  # whose ARN ends in six characters besides
        named[secret["ARN"].rpartition(":")[2]] = named[secret["Name"]]
    return named


@pytest.fixture(scope="module")
def recorded(aws: LocalAws, everything: None, names: dict[str, str]) -> set[Call]:
    """All calls so far, by the names of the local templates."""
    whose = {role: who for who, role in rights_of("local").role_of.items()}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = about(aws, "calls")
        assert found["dropped"] == 0
        calls = {
            (
                whose[names[call["principal"].rpartition("/")[2]]],
                call["action"],
                re.sub("[^:/]+", lambda part: names.get(part[0], part[0]), call["resource"]),
            )
            for call in found["calls"]
        }
        if {who for who, action, _ in calls if action == "s3:PutObject"} >= ENDPOINTS:  # captured a second later
            return calls
        time.sleep(0.1)
    return pytest.fail("nothing was captured")


@pytest.fixture(scope="module")
def everything(aws: LocalAws, deployment: Deployment, finish: Callable[..., Ended], digits: list[bytes]) -> None:
    """Runs that need every right: each source, each kind of key, what is missing, what fails, what is large."""
    bucket, folder = deployment.images_bucket, f"rights-{time.time_ns()}"

    def put(name: str, content: bytes) -> str:
        deployment.s3.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=content)
        return f"s3://{bucket}/{folder}/{name}"

    broken = partial(set_faults, aws, "ics-local-digits")
    odd = [put("p/double//slash.png", digits[0]), put("p/plus+ %.png", digits[1]), put("p/text.png", b"milk, bread")]
    version = deployment.s3.head_object(Bucket=bucket, Key=f"{folder}/p/plus+ %.png")["VersionId"]
    versioned = {"s3_bucket": bucket, "s3_key": f"{folder}/p/plus+ %.png", "version": version}
    put("shard.tar", packed([("a.png", digits[0])]))
    shard = deployment.s3.head_object(Bucket=bucket, Key=f"{folder}/shard.tar")["VersionId"]
    inside = {"s3_bucket": bucket, "s3_key": f"{folder}/shard.tar", "version": shard}
    assert finish({"images": [*odd, versioned, inside, f"s3://{bucket}/{folder}/gone.png"]}).summary["failed"] == 2
    try:
        broken({"kind": "throttle"})
        assert finish({"prefix": f"s3://{bucket}/{folder}/p/"}).summary["failed"] == 1
        broken({"kind": "model_error", "status": 403, "times": 1000})
        manifest = put("list.csv", f"bucket,key\n{bucket},{folder}/p/plus+ %.png\n".encode())
        refused = finish({"manifest": manifest})
        assert refused.summary["reasons"] == {"EndpointRefused": 1}
    finally:
        broken()
    with policy_of(deployment, b'tag_accepted = true\n[labels."0"]\nquarantine = true\n[labels."1"]\nthreshold = 0.0'):
        ended = finish({"images": [put("hidden.png", digits[0]), put("named.png", digits[1])]})
    assert ended.summary["reasons"] == {"Quarantined": 1}
    assert finish({"resume": refused.run}).summary["failed"] == 0
    for _ in range(2):  # the one listed twice waits for itself; the second run finds both
        assert finish({"images": [odd[0], odd[0]], "skip_classified": True}).summary["failed"] == 0
    assert finish({"resume": "no-such-run"}).execution["error"] == "RunNotFound"
    for model in MODELS:
        asked = {"images": [odd[0]], "model": model, "mode": "tolerant"}
        assert finish(asked).summary["failed"] == (model == "objects")  # 28 pixels are too few for Rekognition
    large = io.BytesIO()
    Image.new("RGB", (100, 100)).save(large, "PNG")
    assert finish({"images": [put("large.png", large.getvalue())], "model": "objects"}).summary["failed"] == 0
    _tell_of_an_upload(deployment, finish)
    _upload_in_parts(bucket, folder, put, finish, digits)
    _lose_a_batch(deployment, odd[1])
    _ask_the_api(aws, deployment, digits)
    _evaluate(deployment, put, refused.run)


def _evaluate(deployment: Deployment, put: Put, run: str) -> None:
    """An evaluation of a model's own labels and rows, and one of a file beside the images."""
    (row, *_) = runs.rows(deployment, runs.summary(deployment, run) or {})
    place = f"{paths.model_labels('digits')}dt=2026-01-31/rights-{time.time_ns()}.jsonl"
    labels = [{"image_id": row["image_id"], "label": "1"}, {"s3_uri": row["s3_uri"], "label": "1"}]
    deployment.s3.put_object(Bucket=deployment.results_bucket, Key=place, Body=b"".join(map(dump_line, labels)))
    try:
        pairs = put("pairs.jsonl", b'{"truth": "7", "label": "7"}')
        for request in ({"model": "digits"}, {"pairs": pairs}):
            for _ in accuracy.follow(deployment, accuracy.start(deployment, request)):
                pass
    finally:
        deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=place)


def _tell_of_an_upload(deployment: Deployment, finish: Callable[..., Ended]) -> None:
    """StartRun is told of an upload, and again when its claim looks left behind by one who started nothing."""
    told = {"key": f"incoming/gone-{time.time_ns()}.png", "version-id": "0" * 32}
    detail = {"bucket": {"name": deployment.images_bucket}, "object": told}
    body = json.dumps({"detail-type": "Object Created", "time": "2026-07-21T10:15:00Z", "detail": detail})
    upload = parse_upload(body, bucket=deployment.images_bucket, prefix="incoming/").upload_id
    table = deployment.session.resource("dynamodb", endpoint_url=deployment.endpoint_url).Table(deployment.table)
    key = {"pk": f"upload#{upload}", "sk": "claim"}
    for _ in range(2):
        event = json.dumps({"Records": [{"messageId": "1", "body": body}]})
        answer = deployment.functions.invoke(FunctionName="ics-local-start-run", Payload=event)
        assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}
        run = table.get_item(Key=key)["Item"]["run"]
        table.put_item(Item={**key, "run": "event-never-started", "at": 0, "expires": 2**31})
    assert finish(run=run).summary["failed"] == 1


def _ask_the_api(aws: LocalAws, deployment: Deployment, digits: list[bytes]) -> None:
    """Every route, with what is there and what is not, what is sure and what is not, watched and hidden."""
    api = Api(aws, deployment)
    with policy_of(deployment, b'[labels."0"]\nquarantine = true\n[labels."1"]\nthreshold = 1.0'):
        time.sleep(10.5)  # the API does not read the policy more often
        hidden, unsure = (api.ask("POST", "/v1/classify", body=digits[number]).json for number in (0, 1))
    assert (hidden["decision"], unsure["decision"]) == ("flagged", "uncertain")
    for model in MODELS:
        api.ask("POST", f"/v1/classify?model={model}", body=digits[0])
    large = io.BytesIO()
    Image.new("RGB", (100, 100)).save(large, "PNG")
    assert api.ask("POST", "/v1/classify?model=objects", body=large.getvalue()).status == 200
    waiting, after = [], ""
    while unsure["image_id"] not in waiting:  # other tests have left some, too
        assert after is not None, (unsure["image_id"], waiting)
        queue = api.ask("GET", f"/v1/reviews?limit=25{after and f'&cursor={quote(after)}'}", role="reviewer").json
        waiting, after = [*waiting, *(one["image_id"] for one in queue["items"])], queue["next"]
    for label in ("1", None):
        where = f"/v1/images/{unsure['image_id']}/label"
        shown = api.ask("PUT", where, role="reviewer", body={"label": label}).json
    assert send(urllib.request.Request(shown["picture"])).content == digits[1]
    assert api.ask("GET", f"/v1/images/{'0' * 32}").status == 404
    for quarantined in (False, True):
        body = {"quarantined": quarantined, "because": "rights"}
        where = f"/v1/images/{hidden['image_id']}/quarantine"
        assert api.ask("PUT", where, role="reviewer", body=body).json["quarantined"] is quarantined
    run = api.ask("GET", "/v1/runs?limit=25").json["items"][0]["run"]
    assert api.ask("GET", f"/v1/runs/{run}").status == 200
    request = {"images": [f"s3://{deployment.images_bucket}/gone.png"], "mode": "tolerant"}
    started = api.ask("POST", "/v1/runs", role="operator", body=request).json
    api.ask("GET", started["self"])  # before it has been planned
    for _ in runs.follow(deployment, started["run"], every=0.1):
        pass
    sheet = api.ask("GET", started["self"]).json["sheet"]
    assert send(urllib.request.Request(sheet)).status == 200
    assert api.ask("GET", "/v1/accuracy?model=cyrillic-letters").status == 404  # which no test evaluates
    form = api.ask("POST", "/v1/uploads").json
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key=form["fields"]["key"], Body=digits[2])
    assert api.ask("GET", form["self"]).status == 200


def _upload_in_parts(bucket: str, folder: str, put: Put, finish: Callable[..., Ended], digits: list[bytes]) -> None:
    """More than 8 MiB of images.jsonl are sent in parts, which are taken back where the manifest turns out bad."""
    key = "long/" + "/".join("x" * 99 for _ in range(9)) + ".png"
    put(key, digits[2])
    lines = (json.dumps({"bucket": bucket, "key": f"{folder}/{key}"}) + "\n").encode() * 10_000
    assert finish({"manifest": put("long.jsonl", lines), "mode": "tolerant"}).summary["failed"] == 0
    assert finish({"manifest": put("bad.jsonl", lines + b"{}\n")}).execution["error"] == "InvalidManifest"


def _lose_a_batch(deployment: Deployment, uri: str) -> None:
    """A batch of which nothing is there but the plan, in the hands of each function that has to cope with it."""
    functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)

    def call(function: str, event: dict[str, Any]) -> dict[str, Any]:
        answer = functions.invoke(FunctionName=f"ics-local-{function}", Payload=json.dumps(event))
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    line = dump_line(fields_of(ImageRef(bucket, key)))
    batch = Batch(f"lost-{time.time_ns()}", "2026-01-01T00:00:00Z", "digits", 0.94, 0, 0, len(line))
    plan = {name: getattr(batch, name) for name in ("run", "batch", "offset", "length")}
    for name, content in ((paths.images(batch.run), line), (paths.plan(batch.run), dump_line({"batches": [plan]}))):
        deployment.s3.put_object(Bucket=deployment.working_bucket, Key=name, Body=content)
    state = {
        **fields_of(batch), "planned": 1, "batches": 1, "mode": "strict", "tolerated_percent": 0,
        "plan": {"bucket": deployment.working_bucket, "key": paths.plan(batch.run)},
    }  # fmt: skip
    event = {"run": batch.run, "started": batch.started, "execution": deployment.state_machine, "state": state}
    assert call("summarize-run", event)["summary"]["failed"] == 1
    assert call("record-failure", {**fields_of(batch), "error": {"Error": "Lost"}}) == {"images": 1}
    deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=paths.rows(batch))
    resumed = {**fields_of(batch), "attempt": 1}
    for _ in range(2):  # who has claimed an image claims it again
        skipping = {**resumed, "skip_classified": True}
        assert call("serialize-image-data", skipping) == {"bodies": 1, "waiting": 0}
    assert call("record-failure", {**resumed, "error": {"Error": "Lost"}}) == {"images": 1}


def _in(environment: str, call: Call) -> Call:
    """The call as it would be made in another environment, which differs in the names it gives."""
    who, action, resource = call
    return who, action, re.sub(r"(?<=[:/])ics-local(?=-|$)", f"ics-{environment}", resource)


def _used(rights: Rights, recorded: set[Call]) -> set[Call]:
    """What was called there or is called by the definition, and what that needs besides."""
    there = load_config(rights.environment)
    elsewhere = ENDPOINTS - there.endpoints.keys() | {
        load_config("local").classifier_name(model).removeprefix("ics-local-")
        for model in MODELS
        if load_config("local").models[model].backend not in {one.backend for one in there.models.values()}
    }
    if there.events is None:
        elsewhere |= {"start-run"}
    calls = {
        _in(rights.environment, (who, action, resource))
        for who, action, resource in recorded
        if not resource.startswith(NO_BUCKET)
        and who not in elsewhere
        and not any(resource.rpartition(f":{kind}ics-local-")[2] in elsewhere for kind in ("endpoint/", "function:"))
    }
    return {needed for call in calls | set(needs(rights)) for needed in rights.implied(call)}


def test_the_recording_tells_the_roles_apart(recorded: set[Call]) -> None:
    assert {who for who, _, _ in recorded} == rights_of("local").statements.keys() - {"reviewer"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_call_is_allowed_to_the_role_that_made_it(environment: str, recorded: set[Call]) -> None:
    rights = rights_of(environment)
    assert sorted(refused for call in _used(rights, recorded) if (refused := rights.refusal(call))) == []
    assert all(rights.refusal(call) for call in recorded if call[2].startswith(NO_BUCKET))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_right_is_used_or_has_its_reason(environment: str, recorded: set[Call]) -> None:
    rights = rights_of(environment)
    used = _used(rights, recorded)
    idle = [
        (who, action, resource)
        for who, _, action, resource in rights.grants()
        if not any(who == call[0] and matches((action, resource), call) for call in used)
    ]
    assert sorted(grant for grant in idle if not reason(*grant)) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_call_is_denied_once_a_statement_is_dropped(environment: str, recorded: set[Call]) -> None:
    rights = rights_of(environment)
    used = _used(rights, recorded)
    for who, statements in rights.statements.items():
        for number, statement in enumerate(statements):
            grants = [(action, resource) for *one, action, resource in rights.grants() if one == [who, number]]
            covered = [call for call in used if call[0] == who and any(matches(grant, call) for grant in grants)]
            if covered:
                assert any(rights.refusal(call, without=number) for call in covered), statement
            else:
                assert all(reason(who, *grant) for grant in grants), statement


def test_no_reason_is_left_over() -> None:
    grants = {(who, *grant) for one in ENVIRONMENTS for who, _, *grant in rights_of(one).grants()}
    for row in UNUSED:
        assert any(reason(*grant) == row[-1] for grant in grants), row
