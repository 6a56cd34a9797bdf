"""Alerts that people keep subscribed to: watched labels at once and once, and five e-mails a minute at most."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from cli import runs
from cli.deployment import Deployment
from ics import paths
from local import outbox
from local.control import LocalAws
from tests.e2e.harness import Ended, policy_of, published
from tests.rehearsal import about

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]

ADDRESS = "ops@example.com"
WATCHED = b'threshold = 0.0\n[labels."0"]\nwatch = true\n'


def until_mailed(aws: LocalAws, names: set[str]) -> dict[str, list[outbox.Delivery]]:
    """The mails that name each, once each is named; the queue may hold what other tests caused, so it takes minutes."""
    deadline = time.monotonic() + 400
    while True:
        mails = outbox.read(aws.state)
        found = {name: [mail for mail in mails if name in (mail.subject or "") + mail.message] for name in names}
        if all(found.values()):
            return found
        assert time.monotonic() < deadline, [name for name, named in found.items() if not named]
        time.sleep(0.5)


def hold_pace(aws: LocalAws) -> None:
    """At most five mails in any minute, to the one address there is."""
    mails = outbox.read(aws.state)
    assert {(mail.protocol, mail.endpoint) for mail in mails} == {("email", ADDRESS)}
    times = [datetime.fromisoformat(mail.at).timestamp() for mail in mails]
    assert all(sixth - first >= 60 for first, sixth in zip(times, times[5:], strict=False))


def test_a_flood_of_digests_is_at_most_five_mails_a_minute_and_names_every_run(
    aws: LocalAws, deployment: Deployment, put: Put, digits: list[bytes]
) -> None:
    uri = f"s3://{deployment.images_bucket}/{put('a.png', digits[0])}"
    started = [runs.new_run(f"flood-{number:02d}") for number in range(20)]
    for run in started:
        runs.start(deployment, run, {"images": [uri], "threshold": 0.0})
    mailed = until_mailed(aws, set(started))
    assert {run: len(mails) for run, mails in mailed.items()} == dict.fromkeys(started, 1)
    hold_pace(aws)
    assert all(len(published(aws, f"digest/{run}")) == 1 for run in started)


def test_a_watched_label_is_told_before_the_run_ends_and_once_though_the_filters_worker_is_killed(
    aws: LocalAws, deployment: Deployment, put: Put, digits: list[bytes], finish: Finish
) -> None:
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n % 10])}" for n in range(60)]
    run = runs.new_run("watched")
    with policy_of(deployment, WATCHED), killed_after_telling(aws, run) as killed:
        runs.start(deployment, run, {"images": uris})
        ended = finish(run=run)
    assert killed, "no worker was killed"
    assert ended.summary["reasons"] == {"WatchedLabel": 6}
    told = published(aws, f"watched/{run}/0")
    assert 1 <= len(told) <= 2  # the worker died before or after it could note that the batch is told
    content = json.loads(told[0].message)
    assert (content["count"], len(content["images"])) == (6, 5)
    assert told[0].subject == f"[ICS local] WATCHED: 6 images with watched labels, run {run}"
    (digest,) = published(aws, f"digest/{run}")
    assert told[0].at < digest.at
    mails = until_mailed(aws, {run})[run]
    naming = [mail for mail in mails if _names(mail, f"watched/{run}/0", told[0].subject or "")]
    assert len(naming) == 1, "mailed once, however often it is published"


def _names(mail: outbox.Delivery, alert: str, subject: str) -> bool:
    return alert in mail.message or (mail.subject or "").startswith(subject[:60])


def test_a_batch_that_is_done_again_is_not_told_again(
    aws: LocalAws, deployment: Deployment, put: Put, digits: list[bytes], finish: Finish
) -> None:
    uri = f"s3://{deployment.images_bucket}/{put('0.png', digits[0])}"
    with policy_of(deployment, WATCHED):
        ended = finish({"images": [uri]})
    (line,) = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.plan(ended.run))["Body"]
    event = {
        **json.loads(line)["batches"][0], "started": ended.summary["started"], "model": "digits", "threshold": 0.0,
        "policy": ended.summary["policy"], "attempt": 0, "skip_classified": False, "staged": {"bodies": 1},
    }  # fmt: skip
    functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    answer = functions.invoke(FunctionName="ics-local-filter-low-confidence", Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read()) == {"images": 1}  # it was done again
    assert len(published(aws, f"watched/{ended.run}/0")) == 1


@contextmanager
def killed_after_telling(aws: LocalAws, run: str) -> Iterator[list[int]]:
    """Kill the filter's worker once, as soon as the run's alert is out."""
    killed: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not killed and not done.wait(0.002):
            if published(aws, f"watched/{run}/0"):
                for worker in about(aws, "lambda-workers"):
                    if worker["function"] == "ics-local-filter-low-confidence" and worker["pid"]:
                        os.kill(worker["pid"], signal.SIGKILL)
                        killed.append(worker["pid"])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()
