"""Each view in light and dark, on a desk and on a phone: nothing for axe to find; on demand, its picture for docs/.

`make pictures` sets ICS_PICTURES, and writes docs/pictures/; a test run without it writes nothing there.
"""

import io
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from cli import accuracy, runs
from cli.deployment import ROOT, Deployment
from ics import paths
from tests.browser.conftest import DESKTOP, PATIENCE, PHONE, Person
from tests.e2e.asking import Api

PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
DIGITS = 150

expect.set_options(timeout=PATIENCE)


def scan(number: int) -> bytes:
    """One of scikit-learn's digits on white paper."""
    ink = Image.fromarray((load_digits().images[number] * 255 / 16).astype("uint8"))
    page = Image.new("L", (224, 224), 255)
    page.paste(ink.resize((160, 160), Image.Resampling.BICUBIC).point(lambda value: 255 - value), (32, 32))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def used(api: Api, deployment: Deployment) -> str:
    """A deployment that has been used: a run over digits and what is none, whose labels were measured; the run."""
    targets = load_digits().target
    labels = []
    for number in range(DIGITS):
        key = f"scans/2026/digit-{number:03d}.png"
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=key, Body=scan(number))
        uri = f"s3://{deployment.images_bucket}/{key}"
        labels.append({"s3_uri": uri, "label": str(targets[number]), "by": "ann", "at": "2026-01-31T12:00:00.000Z"})
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key="scans/2026/list.png", Body=b"milk")
    run = runs.new_run("scans")
    runs.start(deployment, run, {"prefix": f"s3://{deployment.images_bucket}/scans/2026/"})
    for _ in runs.follow(deployment, run, every=0.2):
        pass
    deployment.s3.put_object(
        Bucket=deployment.results_bucket,
        Key=f"{paths.model_labels('digits')}dt=2026-01-31/views.jsonl",
        Body="\n".join(map(json.dumps, labels)).encode(),
    )
    for _ in accuracy.follow(deployment, accuracy.start(deployment, {"model": "digits"})):
        pass
    return run


def sign_in(someone: Person, _run: str) -> None:
    someone.page.locator(".who summary").click()
    someone.page.get_by_role("button", name="Sign out").click()
    expect(someone.page.get_by_role("button", name="Sign in")).to_be_visible()


def classify(someone: Person, _run: str) -> None:
    names = {"order.png": b"milk", "nine.png": scan(29), "two.png": scan(12), "zero.png": scan(0)}
    someone.refused.add(415)
    for name, content in names.items():
        someone.give({"name": name, "mimeType": "image/png", "buffer": content})
        expect(someone.page.get_by_role("article", name=name)).to_have_attribute(
            "data-state", re.compile("done|refused")
        )


def draw(someone: Person, _run: str) -> None:
    page = someone.page
    page.get_by_label("Draw").check(force=True)
    sheet = page.get_by_role("img", name="A sheet to draw on")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box
    for number, (x, y) in enumerate([(0.3, 0.3), (0.45, 0.2), (0.65, 0.25), (0.6, 0.45), (0.42, 0.62), (0.3, 0.8)]):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
        if number == 0:
            page.mouse.down()
    page.mouse.move(box["x"] + 0.72 * box["width"], box["y"] + 0.78 * box["height"], steps=6)
    page.mouse.up()
    page.get_by_role("button", name="Classify the drawing").click()
    expect(page.get_by_role("article", name="drawing-1.png")).to_have_attribute("data-state", "done")


def camera(someone: Person, _run: str) -> None:
    page = someone.page
    page.get_by_label("Camera").check(force=True)
    page.get_by_role("button", name="Start the camera").click()
    someone.until("document.querySelector('video')?.videoWidth > 0")


def review(someone: Person, _run: str) -> None:
    someone.go("Review")
    expect(someone.page.locator(".one img")).to_be_visible()
    expect(someone.page.get_by_role("heading", name="Or it is")).to_be_visible()
    someone.until("document.querySelector('.one img').naturalWidth > 0")


def hide(someone: Person, run: str) -> None:
    review(someone, run)
    someone.page.get_by_role("button", name="Hide").click()
    expect(someone.page.get_by_label("Why only reviewers may see it")).to_be_focused()


def run_list(someone: Person, run: str) -> None:
    someone.go("Runs")
    expect(someone.page.get_by_role("link", name=run)).to_be_visible()


def start(someone: Person, run: str) -> None:
    run_list(someone, run)
    someone.page.get_by_role("button", name="Start a run").click()


def one_run(someone: Person, run: str) -> None:
    run_list(someone, run)
    someone.page.get_by_role("link", name=run).click()
    someone.until("document.querySelector('.contact')?.naturalWidth > 100")


def told(someone: Person, run: str) -> None:
    one_run(someone, run)
    someone.page.get_by_role("list", name="Alerts, as they were sent").locator("summary").click()
    expect(someone.page.locator(".alerts pre")).to_contain_text("Where to look:")


def figures(someone: Person, _run: str) -> None:
    someone.go("Accuracy")
    expect(someone.page.get_by_role("heading", name="What is taken for what")).to_be_visible()
    someone.page.get_by_role("slider").fill("0.75")


def never_measured(someone: Person, _run: str) -> None:
    someone.refused.add(404)
    someone.choose("products")
    someone.go("Accuracy")
    expect(someone.page.get_by_role("heading", name="was never measured")).to_be_visible()


def menu(someone: Person, _run: str) -> None:
    someone.page.locator(".who summary").click()


VIEWS: dict[str, Callable[[Person, str], None]] = {
    "classify": classify,
    "draw": draw,
    "camera": camera,
    "review": review,
    "hide": hide,
    "runs": run_list,
    "run": one_run,
    "told": told,
    "start": start,
    "accuracy": figures,
    "never-measured": never_measured,
    "sign-in": sign_in,
    "menu": menu,
}
SHOWN = ("classify", "draw", "camera", "review", "runs", "run", "accuracy", "sign-in")
"""The views whose pictures docs/web.md shows; a desk's in both schemes, and a phone's."""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_nothing_for_axe_to_find(
    person: Callable[..., Person], used: str, view: str, scheme: str, size: tuple[int, int]
) -> None:
    phone = size == PHONE
    someone = person("operator", size=size, scheme=scheme, **({"has_touch": True, "is_mobile": True} if phone else {}))
    expect(someone.page.get_by_role("option", name="digits", exact=True)).to_be_attached()
    VIEWS[view](someone, used)
    assert someone.violations() == []
    assert someone.page.evaluate("document.documentElement.scrollWidth") <= size[0], "it scrolls sideways"
    if "ICS_PICTURES" in os.environ and view in SHOWN:
        save(someone.page, PICTURES / f"{view}-{'phone' if phone else 'desk'}-{scheme}.png")


def test_all_of_the_page_is_under_120_kb_compressed() -> None:
    """What a first visit may load at most: page, script, style and both alphabets of the font, as gzip sends them."""
    subprocess.run(["make", "--silent", "web/dist/built"], cwd=ROOT, check=True)
    import gzip

    files = [path for path in (ROOT / "web" / "dist").rglob("*") if path.suffix]
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in files}
    assert sum(sizes.values()) < 120_000, sizes


def save(page: Page, file: Path) -> None:
    """A picture of what is seen, in few colours: small enough for the repository."""
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    file.parent.mkdir(exist_ok=True)
    picture.quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < MOST_BYTES, file
