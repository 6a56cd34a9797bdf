"""A local deployment with the page, a real headless Chromium with a fake camera, and `Person`, who uses the page.

Whatever a test does, its pages may have no error in their console beyond the refusals it names, and ask no one else.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from cli import web
from cli.deployment import ROOT, Deployment
from local import control, deploy
from tests.e2e.asking import Api
from tests.e2e.conftest import command_environment, deployment, digits, finish, put

__all__ = ["command_environment", "deployment", "digits", "finish", "put"]

PATIENCE = 30_000
"""Milliseconds to wait for what a page should show: a cold function on a busy machine takes its time."""

DESKTOP = (1280, 900)
PHONE = (390, 844)

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.LocalAws]:
    """The local AWS; where ICS_DATA holds a detector for photographs, it answers for Rekognition."""
    state = tmp_path_factory.mktemp("ics")
    detector = Path(os.environ.get("ICS_DATA", "")) / "fastestdet" / "FastestDet.onnx"
    with pytest.MonkeyPatch.context() as patch:
        if "ICS_DATA" in os.environ and detector.is_file():
            patch.setenv("ICS_DETECTOR", str(detector))
        running = control.start(state)
    try:
        deploy.deploy(running, ROOT, lambda _: None)
        yield running
    finally:
        control.stop(state)


@pytest.fixture(scope="session")
def api(aws: control.LocalAws, deployment: Deployment) -> Api:
    """The HTTP API, its page built and published."""
    found = Api(aws, deployment)
    web.build()
    web.publish(deployment, found.web)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while Playwright runs, its event loop is this thread's, and other tests have theirs."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        chromium = own if Path(own).exists() else shutil.which("chromium")
        assert chromium, "no Chromium is here: make .venv/chromium"
        running = playwright.chromium.launch(
            executable_path=chromium,
            args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield running
        running.close()


@dataclass
class Person:
    """Somebody of a role at a page of their own. `refused` are the HTTP statuses that the test provokes."""

    page: Page
    api: Api
    role: str
    refused: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def go(self, view: str) -> None:
        """Show a view by its link, so that nothing else changes."""
        self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        self.page.get_by_role("heading", name=view, level=1).wait_for()

    def choose(self, model: str) -> None:
        self.page.get_by_label("Model").select_option(model)

    def give(self, *files: Path | dict[str, Any]) -> None:
        """Choose files."""
        self.page.locator("input[type=file]").set_input_files(list(files))  # type: ignore[arg-type]

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def unexpected(self) -> list[str]:
        """The errors beyond the refusals that the test names, at its end: it may name them after the first came."""
        return [one for one in self.errors if one.partition("status of ")[2][:3] not in map(str, self.refused)]

    def requested(self, request: Request) -> None:
        self.asked.add(request.url)

    def strangers(self) -> set[str]:
        """Hosts that the page asked besides its own and the emulator's S3 and sign-in."""
        hosts = {urlsplit(url).netloc for url in self.asked if urlsplit(url).scheme.startswith("http")}
        return {host for host in hosts if host.partition(":")[0] != "localhost"}

    def until(self, expression: str) -> None:
        """Wait for an expression to be true. (Playwright's own way evaluates strings, which the policy forbids.)"""
        for _ in range(PATIENCE // 100):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"never: {expression}")

    def violations(self) -> list[str]:
        """What axe has against the view as it is now: rule, and where."""
        self.until("document.fonts.status === 'loaded'")
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document)")
        return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]


@pytest.fixture
def person(browser: Browser, api: Api) -> Iterator[Callable[..., Person]]:
    """Let somebody of a role sign in by the address that `ics open --role` gives, to a view."""
    people: list[Person] = []

    def signed_in(
        role: str, view: str = "classify", size: tuple[int, int] = DESKTOP, scheme: str = "light", **more: Any
    ) -> Person:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce", **more
        )  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        one = Person(context.new_page(), api, role)
        people.append(one)
        one.page.on("console", one.heard)
        one.page.on("pageerror", lambda error: one.errors.append(str(error)))
        one.page.on("request", one.requested)
        one.page.goto(f"{api.web.page}#token={api.token(role)}&view={view}")
        one.page.get_by_role("heading", level=1).wait_for()
        return one

    yield signed_in
    for one in people:
        one.page.context.close()
    assert [error for one in people for error in one.unexpected()] == []
    assert {host for one in people for host in one.strangers()} == set()


@pytest.fixture(scope="session")
def passwords(aws: control.LocalAws, api: Api) -> dict[str, str]:
    """The local users' passwords, by role."""
    kept = json.loads((aws.state / web.PASSWORDS).read_text())
    return {name.rpartition("/")[2]: word for name, word in kept.items()}
