"""cdk-nag, checkov and cfn-lint find nothing open in any environment's templates, and would find what is.

What they find is mended, or acknowledged with its reason beside the resource (`stacks/acknowledge.py`). The packs of
cdk-nag are added here and not in app.py: they would make each synthesis three times as long, `ics up`'s too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from app import build
from stacks.config import load_config
from tests.infrastructure.templates import CONTEXT, ENVIRONMENTS, ROOT

CHECKOV = ROOT / ".venv-checks" / "bin" / "checkov"


def nagged(app, folder):
    """Synthesize with both packs; give the rules that are open."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        assert "ValidationFailed" in str(error)  # noqa: PT017
    reports = json.loads((folder / "validation-report.json").read_text())["pluginReports"]
    return {violation["ruleName"] for report in reports for violation in report["violations"]}


def linted(files):
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--format", "json", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    return {(found["Rule"]["Id"], found["Message"]) for found in json.loads(done.stdout)}


def scanned(folder):
    """Checkov's failed checks, and how many passed."""
    assert CHECKOV.exists(), "`make test` installs checkov, which pins packages of its own, into .venv-checks"
    done = subprocess.run(
        [CHECKOV, "--directory", folder, "--framework", "cloudformation", "--output", "json", "--quiet",
         "--skip-download"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CKV_", "BC_"))},
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    failed = {(found["check_id"], found["resource"]) for found in report["results"]["failed_checks"]}
    return failed, report["summary"]["passed"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_cdk_nag_finds_nothing_open(environment, tmp_path):
    app = cdk.App(context=CONTEXT, outdir=str(tmp_path))
    build(app, load_config(environment))
    assert nagged(app, tmp_path) == set()


def test_cfn_lint_finds_nothing_open(synthesize):
    files = [path for name in ENVIRONMENTS for path in synthesize(name).folder.glob("*.template.json")]
    assert len(files) == 5 * len(ENVIRONMENTS)
    assert linted(files) == set()


def test_checkov_finds_nothing_open(synthesize, tmp_path):
    for name in ENVIRONMENTS:
        for path in synthesize(name).folder.glob("*.template.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    failed, passed = scanned(tmp_path)
    assert failed == set()
    assert passed > 400


def test_each_check_finds_a_fault(tmp_path):
    app = cdk.App(context=CONTEXT, outdir=str(tmp_path / "out"))
    stack = cdk.Stack(app, "faulty")
    s3.CfnBucket(stack, "Open", access_control="PublicRead")
    role, code = "arn:aws:iam::123456789012:role/r", lambda_.CfnFunction.CodeProperty(zip_file="pass")
    lambda_.CfnFunction(stack, "Untraced", role=role, code=code, handler="index.handler", runtime="python3.14")
    assert {"AwsSolutions-S1", "Serverless-LambdaTracing"} <= nagged(app, tmp_path / "out")
    template = tmp_path / "out" / "faulty.template.json"
    scan = tmp_path / "scan"
    scan.mkdir()
    (scan / template.name).write_bytes(template.read_bytes())
    failed, _ = scanned(scan)
    assert ("CKV_AWS_20", "AWS::S3::Bucket.Open") in failed
    body = json.loads(template.read_text())
    body["Resources"]["Open"]["Properties"]["AccessControl"] = "Everybody"
    template.write_text(json.dumps(body))
    assert {rule for rule, _ in linted([template])} >= {"E3030"}
