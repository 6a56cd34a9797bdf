"""The contact sheet: the images that a person should see first, as classified, without those in quarantine."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli import runs
from cli.deployment import Deployment
from cli.main import app
from ics.contact_sheet import WIDTH
from local.control import LocalAws
from tests.e2e.harness import Ended, policy_of, published

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]

FLAT = (0xE4, 0xE4, 0xE4)
"""The grey of a tile without a picture."""


def tile(sheet: Image.Image, number: int) -> Image.Image:
    left, top = 12 + number * (WIDTH + 12), 44
    return sheet.crop((left + 2, top + 2, left + WIDTH - 2, top + 20))


def test_it_shows_what_people_may_see_and_is_linked(
    aws: LocalAws,
    deployment: Deployment,
    put: Put,
    digits: list[bytes],
    finish: Finish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    white = io.BytesIO()
    Image.new("L", (60, 60), 255).save(white, "PNG")
    keys = [put("hidden.png", digits[0]), put("list.png", b"milk, bread"), put("white.png", white.getvalue())]
    images = {"images": [f"s3://{deployment.images_bucket}/{key}" for key in keys], "threshold": 1.0}
    with policy_of(deployment, b'[labels."0"]\nquarantine = true\n'):
        ended = finish(images)
    assert {row["s3_uri"].rpartition("/")[2]: row["reason"] for row in ended.summary["worst"]} == {
        "hidden.png": "Quarantined", "list.png": "NotAnImage", "white.png": "BelowThreshold",
    }  # fmt: skip
    content = runs.contact_sheet(deployment, ended.run)
    assert content is not None
    sheet = Image.open(io.BytesIO(content)).convert("RGB")
    for number, bare in enumerate((True, True, False)):
        seen = tile(sheet, number).getextrema()
        flat = all(abs(value - grey) < 4 for pair, grey in zip(seen, FLAT, strict=True) for value in pair)
        assert flat == bare, (number, seen)

    link = ended.summary["links"]["sheet"]
    assert link.startswith("https://us-east-1.console.aws.amazon.com/s3/object/")
    assert link.endswith(f"prefix=runs/{ended.run}/contact-sheet.jpg")
    (digest,) = published(aws, f"digest/{ended.run}")
    assert link in digest.message

    monkeypatch.setenv("ICS_STATE", str(aws.state))
    saved = CliRunner().invoke(app, ["results", ended.run, "--sheet", str(tmp_path / "worst.jpg")])
    assert saved.exit_code == 0, saved.output
    assert (tmp_path / "worst.jpg").read_bytes() == content


def test_a_run_that_needs_nobody_has_none(
    deployment: Deployment, put: Put, digits: list[bytes], finish: Finish
) -> None:
    ended = finish({"images": [f"s3://{deployment.images_bucket}/{put('1.png', digits[1])}"], "threshold": 0.0})
    assert "sheet" not in ended.summary["links"]
    assert runs.contact_sheet(deployment, ended.run) is None


def test_a_run_does_without_it_rather_than_fail(
    deployment: Deployment, put: Put, digits: list[bytes], finish: Finish
) -> None:
    functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    name = "ics-local-make-contact-sheet"
    there = functions.get_function_configuration(FunctionName=name)["Environment"]
    broken = {"Variables": {**there["Variables"], "RESULTS_BUCKET": "no-such-bucket-of-ours"}}
    functions.update_function_configuration(FunctionName=name, Environment=broken)
    try:
        ended = finish({"images": [f"s3://{deployment.images_bucket}/{put('1.png', digits[1])}"], "threshold": 1.0})
    finally:
        functions.update_function_configuration(FunctionName=name, Environment=there)
    assert (ended.summary["status"], ended.summary["uncertain"]) == ("FAILED", 1)
    assert runs.contact_sheet(deployment, ended.run) is None
