"""The page as people use it: a real Chromium, the real local deployment, each role, each view."""

import base64
import hmac
import io
import json
import os
import re
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from cli import accuracy, runs
from cli.demo import write_pictures
from cli.deployment import Deployment
from ics import paths
from local.control import LocalAws
from tests.browser.conftest import PATIENCE, Person
from tests.e2e.asking import Api, send
from tests.e2e.test_api import entry_of, picture, records_of, row_of
from tests.rehearsal import set_faults

expect.set_options(timeout=PATIENCE)
Someone = Callable[..., Person]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's pictures: of these the model is unsure of some digits, and of the photo."""
    folder = tmp_path_factory.mktemp("demo")
    write_pictures(folder)
    return folder


def answer(person: Person, name: str, place: int = 0) -> str:
    """The text of an answer, once it is there."""
    found = person.page.get_by_role("article", name=name, exact=True).nth(place)
    expect(found).to_have_attribute("data-state", re.compile("done|refused"))
    return found.inner_text()


def test_signing_in_by_form_says_what_is_wrong_and_leads_to_where_one_wanted(
    person: Someone, api: Api, passwords: dict[str, str]
) -> None:
    someone = person("viewer", "accuracy")
    someone.refused |= {400, 404}
    page = someone.page
    assert "token" not in page.url
    page.get_by_text("viewer").first.click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("User name").fill("viewer")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is not right.")
    page.get_by_label("Password").fill(passwords["viewer"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Accuracy")


def test_two_files_of_one_name_are_two_answers_and_0_is_an_answer(
    person: Someone, deployment: Deployment, demo: Path
) -> None:
    someone = person("viewer")
    content = (demo / "digit-00-is-0.png").read_bytes()
    same = {"name": "same.png", "mimeType": "image/png", "buffer": content}
    with someone.page.expect_response(re.compile("/v1/classify")) as first:
        someone.give(same)
    with someone.page.expect_response(re.compile("/v1/classify")) as second:
        someone.give(same)
    ids = [one.value.json()["image_id"] for one in (first, second)]
    assert len(set(ids)) == 2
    for place in (0, 1):
        shown = answer(someone, "same.png", place)
        assert "\n0\n" in shown
        assert "accepted" in shown
        assert "Legibility" in shown
        assert re.search(r"Most easily taken for \d or \d", shown)
    assert [row_of(deployment, image)["name"] for image in ids] == ["same.png", "same.png"]


def test_a_refused_text_file_says_why_and_what_to_do(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    someone.refused.add(415)
    someone.give(demo / "shopping-list.png", demo / "digit-07-is-7.png")
    refused = answer(someone, "shopping-list.png")
    assert "The content is no known image format." in refused
    assert "Choose a JPEG, PNG" in refused
    assert "\n7\n" in answer(someone, "digit-07-is-7.png")


def test_an_uncertain_answer_says_why_in_plain_words(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    someone.give(demo / "photo-of-no-digit.jpg")
    shown = answer(someone, "photo-of-no-digit.jpg")
    assert "uncertain" in shown
    assert re.search(r"A person should look: it is [\d.]+% sure, and 94.0% is asked.", shown)


def test_a_cyrillic_word_is_read(person: Someone) -> None:
    someone = person("viewer")
    someone.choose("cyrillic-text")
    someone.give({"name": "word.png", "mimeType": "image/png", "buffer": picture("привет")})
    assert "привет" in answer(someone, "word.png").lower()


def test_pictures_can_be_pasted(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    someone.page.evaluate(
        """(content) => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        base64.b64encode((demo / "digit-04-is-4.png").read_bytes()).decode(),
    )
    assert "\n4\n" in answer(someone, "pasted.png")


def test_pictures_can_be_dropped(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    data = someone.page.evaluate_handle(
        """(contents) => {
          const data = new DataTransfer();
          for (const [name, content] of Object.entries(contents)) {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            data.items.add(new File([bytes], name, { type: "image/png" }));
          }
          return data;
        }""",
        {f"{name}.png": base64.b64encode((demo / f"digit-0{name}-is-{name}.png").read_bytes()).decode()
         for name in ("3", "4")},
    )  # fmt: skip
    someone.page.dispatch_event(".drop", "drop", {"dataTransfer": data})
    for name in ("3", "4"):
        assert f"\n{name}\n" in answer(someone, f"{name}.png")


def test_a_0_drawn_with_the_mouse_is_a_0(person: Someone) -> None:
    someone = person("viewer")
    page = someone.page
    page.get_by_label("Draw").check(force=True)
    sheet = page.get_by_role("img", name="A sheet to draw on")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box
    ring = [(0.5, 0.15), (0.68, 0.25), (0.74, 0.5), (0.68, 0.75), (0.5, 0.85), (0.32, 0.75), (0.26, 0.5), (0.32, 0.25)]
    across = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ring]
    page.mouse.move(*across[0])
    page.mouse.down()
    for point in (*across[1:], across[0]):
        page.mouse.move(*point, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Classify the drawing").click()
    assert "\n0\n" in answer(someone, "drawing-1.png")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Classify the drawing")).to_be_disabled()


def test_the_camera_gives_pictures_by_hand_and_every_few_seconds(person: Someone) -> None:
    someone = person("viewer")
    page = someone.page
    page.get_by_label("Camera").check(force=True)
    page.get_by_role("button", name="Start the camera").click()
    someone.until("document.querySelector('video')?.videoWidth > 0")
    expect(page.get_by_label("Seconds between pictures")).to_have_value("10")
    page.get_by_role("button", name="Take a picture").click()
    answer(someone, "camera-1.jpg")
    page.get_by_label("Seconds between pictures").fill("1")
    page.get_by_label("Take one every").check()
    for number in (2, 3, 4):
        answer(someone, f"camera-{number}.jpg")
    page.get_by_role("button", name="Stop the camera").click()
    before = page.get_by_role("article").count()
    time.sleep(1.5)
    assert page.get_by_role("article").count() == before


def test_what_is_over_4_mib_goes_by_upload_and_is_waited_for(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    someone.refused.add(404)  # until it is there
    someone.choose("digits-in-lambda")
    small = Image.open(demo / "digit-00-is-0.png").convert("RGB")
    out = io.BytesIO()
    small.resize((1500, 1500)).save(out, "BMP")  # 6.75 MB
    someone.give({"name": "large.bmp", "mimeType": "image/bmp", "buffer": out.getvalue()})
    shown = answer(someone, "large.bmp")
    assert "\n0\n" in shown
    assert "digits-in-lambda" in shown


def test_what_is_over_10_mb_is_refused_before_it_is_sent(person: Someone) -> None:
    someone = person("viewer")
    someone.give({"name": "huge.bmp", "mimeType": "image/bmp", "buffer": bytes(10_000_001)})
    assert "Scale the picture down" in answer(someone, "huge.bmp")
    assert not any("/v1/uploads" in url or "/v1/classify" in url for url in someone.asked)


def test_a_photo_shows_its_boxes_to_scale(person: Someone, api: Api) -> None:
    data = os.environ.get("ICS_DATA")
    if not data or not (Path(data) / "coco128").is_dir():
        pytest.skip("ICS_DATA names no folder with coco128")
    for photo in sorted((Path(data) / "coco128" / "images" / "val2017").glob("*.jpg"))[:20]:
        boxes = api.ask("POST", "/v1/classify?model=objects", body=photo.read_bytes()).json["boxes"]
        if boxes:
            break
    assert boxes
    someone = person("viewer")
    someone.choose("objects")
    someone.give(photo)
    assert boxes[0]["label"] in answer(someone, photo.name)
    article = someone.page.get_by_role("article", name=photo.name)
    frame, drawn = article.locator("img").bounding_box(), article.locator(".box").first.bounding_box()
    assert frame
    assert drawn
    assert article.locator(".box").count() == len(boxes)
    assert drawn["width"] / frame["width"] == pytest.approx(boxes[0]["width"], abs=0.02)
    assert (drawn["x"] - frame["x"]) / frame["width"] == pytest.approx(boxes[0]["left"], abs=0.02)
    assert (drawn["y"] - frame["y"]) / frame["height"] == pytest.approx(boxes[0]["top"], abs=0.02)


def test_an_expired_sign_in_is_said_and_leads_back_to_where_one_was(
    person: Someone, passwords: dict[str, str], demo: Path
) -> None:
    someone = person("viewer")
    someone.refused.add(401)
    page = someone.page
    someone.give(demo / "digit-00-is-0.png")
    answer(someone, "digit-00-is-0.png")
    claims = {"exp": int(time.time()) - 1, "username": "viewer", "cognito:groups": ["viewer"]}
    old = f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"
    page.evaluate("(token) => sessionStorage.setItem('ics-session', JSON.stringify({token, refresh: null}))", old)
    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("Your sign-in has expired")
    assert someone.violations() == []
    page.get_by_label("Password").fill(passwords["viewer"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    someone.give(demo / "digit-01-is-1.png")
    assert "\n1\n" in answer(someone, "digit-01-is-1.png")


def test_a_sign_in_is_renewed_while_that_is_possible(person: Someone, passwords: dict[str, str], demo: Path) -> None:
    someone = person("viewer")
    someone.refused.add(401)
    page = someone.page
    sign_in(someone, "viewer", passwords["viewer"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Classify")
    claims = {"exp": int(time.time()) - 1, "username": "viewer", "cognito:groups": ["viewer"]}
    old = f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"
    page.evaluate(
        """(token) => {
          const kept = JSON.parse(sessionStorage.getItem("ics-session"));
          sessionStorage.setItem("ics-session", JSON.stringify({ ...kept, token }));
        }""",
        old,
    )
    page.reload()
    someone.give(demo / "digit-01-is-1.png")
    assert "\n1\n" in answer(someone, "digit-01-is-1.png")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert json.loads(page.evaluate("sessionStorage.getItem('ics-session')"))["token"] != old


def user_of(deployment: Deployment, api: Api, permanent: bool) -> tuple[str, str, dict[str, str]]:
    """A new reviewer's name, password, and how the user pool's API knows them."""
    name, word = f"ann-{time.time_ns()}", f"First.Word.{time.time_ns()}"
    user = {"UserPoolId": api.web.user_pool, "Username": name}
    pool = deployment.session.client("cognito-idp", endpoint_url=deployment.endpoint_url)
    pool.admin_create_user(**user, MessageAction="SUPPRESS", TemporaryPassword=word)
    pool.admin_add_user_to_group(**user, GroupName="reviewer")
    if permanent:
        pool.admin_set_user_password(**user, Password=word, Permanent=True)
    return name, word, user


def sign_in(person: Person, name: str, word: str) -> None:
    """Sign out, and in again by the form as somebody else."""
    page = person.page
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(word)
    page.get_by_role("button", name="Sign in").click()


def test_the_first_password_is_replaced_by_ones_own(person: Someone, deployment: Deployment, api: Api) -> None:
    name, word, _ = user_of(deployment, api, permanent=False)
    someone = person("viewer", "review")
    someone.refused |= {400, 403}
    page = someone.page
    sign_in(someone, name, word)
    own = page.get_by_label("A new password of your own")
    own.fill("short")
    assert someone.violations() == []
    # The emulator takes any password; Cognito answers so (API reference, RespondToAuthChallenge, Errors).
    simple = {"__type": "InvalidPasswordException", "message": "Password did not conform with policy"}
    page.route(f"{deployment.endpoint_url}/", lambda route: route.fulfill(status=400, json=simple), times=1)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("The new password is too simple: 14 characters")
    own.fill(f"My.Own.Word.{name}")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Review")
    expect(page.locator(".who summary")).to_contain_text("reviewer")
    sign_in(someone, name, word)
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is not right.")
    page.get_by_label("Password").fill(f"My.Own.Word.{name}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who summary")).to_contain_text("reviewer")


def test_who_has_a_second_factor_is_asked_for_its_code(person: Someone, deployment: Deployment, api: Api) -> None:
    name, word, user = user_of(deployment, api, permanent=True)
    pool = deployment.session.client("cognito-idp", endpoint_url=deployment.endpoint_url)
    token = pool.admin_initiate_auth(
        UserPoolId=api.web.user_pool, ClientId=api.web.client, AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": word},
    )["AuthenticationResult"]["AccessToken"]  # fmt: skip
    key = pool.associate_software_token(AccessToken=token)["SecretCode"]
    pool.verify_software_token(AccessToken=token, UserCode=code_of(key))
    pool.admin_set_user_mfa_preference(**user, SoftwareTokenMfaSettings={"Enabled": True, "PreferredMfa": True})
    someone = person("viewer")
    someone.refused.add(400)
    page = someone.page
    sign_in(someone, name, word)
    code = page.get_by_label("Code of your second factor")
    code.fill("000000" if code_of(key) != "000000" else "000001")
    assert someone.violations() == []
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("The code is not right.")
    code.fill(code_of(key))
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".who summary")).to_contain_text(name)


def code_of(key: str) -> str:
    """The one-time code of this half minute (RFC 6238, as authenticator apps compute it)."""
    counter = struct.pack(">Q", int(time.time()) // 30)
    digest = hmac.digest(base64.b32decode(key + "=" * (-len(key) % 8)), counter, "sha1")
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4]) & 0x7FFFFFFF) % 1_000_000:06}"


def test_a_viewer_is_refused_what_reviewers_and_operators_may(person: Someone, deployment: Deployment) -> None:
    someone = person("viewer", "runs")
    someone.refused.add(403)
    page = someone.page
    page.get_by_role("button", name="Start a run").click()
    page.get_by_label("All images under this prefix").fill(f"s3://{deployment.images_bucket}/nothing/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("This needs the role operator, and you have viewer.")
    someone.go("Review")
    expect(page.get_by_role("alert")).to_contain_text("This needs the role reviewer, and you have viewer.")


def test_an_operator_starts_a_run_and_sees_what_became_of_it(
    person: Someone, deployment: Deployment, put: Callable[[str, bytes], str], digits: list[bytes], demo: Path
) -> None:
    put("seven.png", digits[7])
    put("photo.jpg", (demo / "photo-of-no-digit.jpg").read_bytes())
    prefix = put("text.png", b"milk").rpartition("/")[0]
    someone = person("operator", "runs")
    page = someone.page
    page.get_by_role("button", name="Start a run").click()
    page.get_by_label("All images under this prefix").fill(f"s3://{deployment.images_bucket}/{prefix}/")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(re.compile("#/runs/api-"))
    expect(page.get_by_role("heading", name="What people were told")).to_be_visible()
    shown = page.get_by_role("main").inner_text()
    for part in ("NotAnImage", "BelowThreshold", "The model is not sure enough"):
        assert part in shown
    (alert,) = page.get_by_role("list", name="Alerts, as they were sent").get_by_role("listitem").all()
    alert.get_by_text("[ICS local] SUCCEEDED" if "SUCCEEDED" in shown else "[ICS local] FAILED").click()
    expect(alert.locator("pre")).to_contain_text("Where to look:")
    assert someone.violations() == []
    assert re.search(r"Planned\s+3\s+accepted\s+1\s+uncertain\s+1\s+flagged\s+0\s+failed\s+1", shown, re.IGNORECASE)
    someone.until("document.querySelector('.contact')?.naturalWidth > 100")
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("row").filter(has_text="api-").first).to_contain_text("failed")


@pytest.fixture
def unsure(api: Api, demo: Path) -> Iterator[list[str]]:
    """Pictures that wait for a reviewer, the worst first; what is left of them afterwards gets a label."""
    sent = [
        api.ask("POST", f"/v1/classify?name={name}", body=(demo / name).read_bytes()).json
        for name in ("photo-of-no-digit.jpg", "digit-29-is-9.png", "digit-12-is-2.png", "digit-15-is-5.png")
    ]
    waiting = [one for one in sent if one["decision"] == "uncertain"]
    assert len(waiting) >= 3
    yield [one["image_id"] for one in sorted(waiting, key=lambda one: one["confidence"])]
    for image in api.ask("GET", "/v1/reviews?limit=25", role="reviewer").json["items"]:
        api.ask("PUT", f"/v1/images/{image['image_id']}/label?model=digits", role="reviewer", body={"label": "0"})


def test_a_run_is_followed_as_it_goes_on(
    person: Someone, aws: LocalAws, deployment: Deployment, put: Callable[[str, bytes], str], digits: list[bytes]
) -> None:
    prefix = put("seven.png", digits[7]).rpartition("/")[0]
    someone = person("operator", "runs")
    page = someone.page
    set_faults(aws, "ics-local-digits", {"kind": "slow", "seconds": 4})
    try:
        page.get_by_role("button", name="Start a run").click()
        page.get_by_label("All images under this prefix").fill(f"s3://{deployment.images_bucket}/{prefix}/")
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.get_by_role("region", name="Progress")).to_contain_text("1 image planned, 0 of 1 batch done")
    finally:
        set_faults(aws, "ics-local-digits")
    expect(page.get_by_text("1 image for a person").or_(page.get_by_text("0 images for a person"))).to_be_visible()
    expect(page.locator(".status")).to_have_text("succeeded")


def test_of_a_run_that_was_stopped_the_page_says_how_it_is_finished(
    person: Someone, aws: LocalAws, deployment: Deployment, put: Callable[[str, bytes], str], digits: list[bytes]
) -> None:
    run = runs.new_run("stopped")
    prefix = put("seven.png", digits[7]).rpartition("/")[0]
    set_faults(aws, "ics-local-digits", {"kind": "slow", "seconds": 4})
    try:
        runs.start(deployment, run, {"prefix": f"s3://{deployment.images_bucket}/{prefix}/"})
        page = person("operator", f"runs/{run}").page
        expect(page.get_by_role("region", name="Progress")).to_contain_text("1 image planned")
        deployment.states.stop_execution(executionArn=runs.execution_arn(deployment, run))
        expect(page.get_by_text("It ended before its results were counted.")).to_be_visible()
        expect(page.get_by_text(f"ics resume {run}")).to_be_visible()
    finally:
        set_faults(aws, "ics-local-digits")


class Desk:
    """The page's Review, as somebody at the keyboard sees it."""

    def __init__(self, someone: Person) -> None:
        self.page, self.api = someone.page, someone.api
        self.standing = self.page.locator(".standing")
        self.one = self.page.locator(".one")

    def at(self) -> str:
        """The picture that is looked at, once it is seen."""
        expect(self.page.locator(".one img")).to_be_visible()
        return self.one.get_attribute("data-image") or ""

    def press(self, key: str) -> str:
        """Press a key about the picture that is looked at, and wait until it gives way; which it was."""
        image = self.at()
        self.page.keyboard.press(key)
        expect(self.page.locator(f".one[data-image='{image}']")).to_have_count(0)
        return image

    def saved(self) -> None:
        """Wait until all that was done is saved."""
        expect(self.standing).to_have_attribute("aria-busy", "false")

    def known(self, image: str, role: str = "viewer") -> dict[str, Any]:
        found: dict[str, Any] = self.api.ask("GET", f"/v1/images/{image}?model=digits", role=role).json
        return found

    def truth(self, image: str) -> list[str]:
        self.saved()
        found: list[str] = self.known(image)["truth"]
        return found


def test_review_goes_by_keyboard_and_can_be_undone(person: Someone, unsure: list[str]) -> None:
    desk = Desk(person("reviewer", "review"))
    page, standing = desk.page, desk.standing
    expect(standing).to_contain_text("0 pictures labelled")
    first = desk.at()
    label = desk.known(first)["verdict"]["label"]
    assert desk.press("a") == first
    expect(standing).to_contain_text("1 picture labelled")
    assert desk.truth(first) == [label]
    page.keyboard.press("z")
    expect(standing).to_contain_text("0 pictures labelled")
    expect(desk.one).to_have_attribute("data-image", first)
    assert desk.truth(first) == []
    desk.press("6")
    assert desk.truth(first) == ["6"]
    second = desk.at()
    page.keyboard.press("c")
    page.keyboard.type("8")
    page.keyboard.press("Enter")
    expect(standing).to_contain_text("2 pictures labelled")
    assert desk.truth(second) == ["8"]
    third = desk.press("s")
    expect(standing).to_contain_text("1 skipped")
    assert desk.truth(third) == []
    for _ in range(3):
        page.keyboard.press("z")  # at once, as often as needed
    expect(standing).to_contain_text("0 pictures labelled;")
    expect(desk.one).to_have_attribute("data-image", first)
    assert [desk.truth(image) for image in (first, second, third)] == [[], [], []]


def test_who_is_faster_than_the_service_need_not_wait(person: Someone, unsure: list[str]) -> None:
    """Labels are saved behind the reviewer, one after the other; nothing is lost, whatever the network does."""
    desk = Desk(person("reviewer", "review"))
    page = desk.page
    held: list[Route] = []

    def hold(route: Route) -> None:  # Playwright cannot wrap a list's own method
        held.append(route)

    page.route("**/label?*", hold)
    images = [desk.press("3") for _ in range(2)]
    expect(desk.standing).to_contain_text("2 pictures labelled")
    expect(desk.standing).to_have_attribute("aria-busy", "true")
    page.keyboard.press("z")  # the second label, which is not sent so far
    expect(desk.standing).to_contain_text("1 picture labelled")
    expect(desk.one).to_have_attribute("data-image", images[1])
    for number in range(3):  # one after the other: the label, the label, its withdrawal
        while len(held) <= number:
            page.wait_for_timeout(50)
        assert len(held) == number + 1
        held[number].continue_()
    assert [desk.truth(image) for image in images] == [["3"], []]
    assert [label["label"] for label in desk.known(images[1])["labels"]] == ["3", None]


def test_a_label_that_is_not_saved_is_said_and_its_picture_stands_next_again(
    person: Someone, unsure: list[str]
) -> None:
    someone = person("reviewer", "review")
    someone.refused.add(503)
    desk, page = Desk(someone), someone.page
    problem = {"type": "/docs#TableUnavailable", "title": "x", "status": 503, "detail": "the table does not answer"}
    page.route("**/label?*", lambda route: route.fulfill(status=503, json=problem), times=1)
    lost = desk.press("4")
    seen = desk.at()
    expect(page.get_by_role("alert")).to_contain_text("Its label was not saved; it stands next again.")
    expect(desk.standing).to_contain_text("0 pictures labelled")
    assert desk.at() == seen  # what is looked at is not taken away from under one's keys
    assert desk.press("5") == seen
    assert desk.at() == lost
    desk.press("4")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert [desk.truth(image) for image in (lost, seen)] == [["4"], ["5"]]


def test_what_could_not_be_undone_is_said_and_can_be_undone_again(person: Someone, unsure: list[str]) -> None:
    someone = person("reviewer", "review")
    someone.refused.add(503)
    desk, page = Desk(someone), someone.page
    problem = {"type": "/docs#TableUnavailable", "title": "x", "status": 503, "detail": "the table does not answer"}
    image = desk.press("4")
    assert desk.truth(image) == ["4"]
    page.route("**/label?*", lambda route: route.fulfill(status=503, json=problem), times=1)
    page.keyboard.press("z")
    expect(page.get_by_role("alert")).to_contain_text("It was not undone; Undo tries it again.")
    expect(desk.standing).to_contain_text("1 picture labelled")  # as it is
    assert desk.truth(image) == ["4"]
    page.keyboard.press("z")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(desk.standing).to_contain_text("0 pictures labelled")
    assert desk.at() == image
    assert desk.truth(image) == []


def test_a_picture_is_hidden_by_hand_and_released_again(
    person: Someone, deployment: Deployment, unsure: list[str]
) -> None:
    someone = person("reviewer", "review")
    desk, page = Desk(someone), someone.page
    image, seal = desk.at(), page.get_by_text("In quarantine: only reviewers see it")
    page.keyboard.press("q")
    page.keyboard.type("not for everybody")
    page.keyboard.press("Enter")
    expect(seal).to_be_visible()
    expect(desk.standing).to_contain_text("1 hidden")
    desk.saved()
    assert entry_of(deployment, image)["quarantined_because"] == "not for everybody"
    assert desk.known(image)["picture"] is None
    shown = desk.known(image, "reviewer")["picture"]
    assert send(urllib.request.Request(shown)).status == 200
    page.reload()  # it is seen by who may, from the start
    assert desk.at() == image
    expect(seal).to_be_visible()
    someone.until("document.querySelector('.one img')?.naturalWidth > 0")
    assert someone.violations() == []
    page.get_by_role("button", name="Release").click()
    page.get_by_label("Why everybody may see it again").fill("a digit")
    page.get_by_role("button", name="Release").click()
    expect(seal).to_have_count(0)
    desk.saved()
    assert entry_of(deployment, image) is None
    assert desk.known(image)["picture"]
    page.keyboard.press("z")
    expect(seal).to_be_visible()
    desk.saved()
    assert entry_of(deployment, image)["quarantined_by"] == "reviewer"
    did = [one["released_by" if "released_by" in one else "quarantined_by"] for one in records_of(deployment, image)]
    assert did == ["reviewer"] * 3
    desk.press("7")  # it is labelled, hidden or not
    assert desk.truth(image) == ["7"]


def test_a_correction_changes_the_accuracy_page(
    person: Someone, api: Api, deployment: Deployment, unsure: list[str]
) -> None:
    def measure() -> None:
        for _ in accuracy.follow(deployment, accuracy.start(deployment, {"model": "digits"})):
            pass

    def right() -> tuple[int, int]:
        told = page.locator(".figures div").filter(has_text="Right").first.inner_text()
        one, all_ = re.search(r"([\d,]+) of ([\d,]+),", told).groups()  # type: ignore[union-attr]
        return int(one), int(all_)

    first = unsure[0]
    label = api.ask("GET", f"/v1/images/{first}").json["verdict"]["label"]
    api.ask("PUT", f"/v1/images/{unsure[1]}/label?model=digits", role="reviewer", body={"label": "0"})
    api.ask("PUT", f"/v1/images/{unsure[2]}/label?model=digits", role="reviewer", body={"label": "1"})
    measure()
    someone = person("reviewer", "accuracy")
    page = someone.page
    expect(page.get_by_role("heading", name="What is taken for what")).to_be_visible()
    before = right()
    someone.go("Review")
    desk = Desk(someone)
    while desk.at() != first:
        desk.press("s")
    desk.press("a")
    assert label in desk.truth(first)
    measure()
    someone.go("Accuracy")
    expect(page.get_by_text(f"{before[0] + 1} of {before[1] + 1},")).to_be_visible()
    assert right() == (before[0] + 1, before[1] + 1), label
    found = json.loads(
        deployment.s3.get_object(Bucket=deployment.results_bucket, Key=paths.latest_metrics("digits"))["Body"].read()
    )
    slider = page.get_by_role("slider")
    for threshold in (0.0, 0.5, 1.0):
        slider.fill(str(threshold))
        cut = next((one for one in found["risk_coverage"] if one["threshold"] >= threshold), None)
        expected = (cut["to_people"], cut["wrong_accepted"]) if cut else (found["images"], 0)
        for name, number in zip(("Images to people", "Errors that pass"), expected, strict=True):
            expect(page.locator(".threshold .figures div").filter(has_text=name)).to_contain_text(str(number))


def test_the_page_is_small_and_its_policy_strict(api: Api) -> None:
    page = api.ask("GET", "/", role=None)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert b"<style" not in page.content
    assert b" style=" not in page.content
    assert not re.findall(rb"<script(?![^>]*\ssrc=)", page.content)


def test_light_and_dark_can_be_chosen_and_stay_so(person: Someone) -> None:
    page = person("viewer").page

    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    light = paper()
    page.locator(".who summary").click()
    page.get_by_label("Colours").select_option("Dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert paper() != light
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert paper() != light


def test_without_an_answer_a_picture_can_be_sent_again(person: Someone, demo: Path) -> None:
    someone = person("viewer")
    page = someone.page
    expect(page.get_by_role("option", name="digits", exact=True)).to_be_attached()
    page.context.set_offline(True)
    someone.give(demo / "digit-00-is-0.png")
    assert "Is there a network?" in answer(someone, "digit-00-is-0.png")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="digit-00-is-0.png")).to_have_attribute("data-state", "done")
    someone.errors = [error for error in someone.errors if "ERR_INTERNET_DISCONNECTED" not in error]
