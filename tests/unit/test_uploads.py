"""Uploads: what events say, which are the same, which is the latest, and the run and manifest that they make."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import ImageRef
from ics.errors import InvalidEvent
from ics.manifests import parse_manifest
from ics.uploads import Upload, latest, manifest_of, parse_upload, run_name

AT = datetime(2026, 7, 21, 10, 15, tzinfo=UTC)
EVENT = {  # Amazon S3 User Guide, "EventBridge event message structure", its example, with names of ours
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-07-21T10:15:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::images"],
    "detail": {
        "version": "0",
        "bucket": {"name": "images"},
        "object": {
            "key": "incoming/a+b%20c.png",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "1.2.3.4",
        "reason": "PutObject",
    },
}


def parsed(event):
    return parse_upload(json.dumps(event), bucket="images", prefix="incoming/")


def altered(**changes):
    """The event with other values in its object; None leaves one out."""
    told = {**EVENT["detail"]["object"], **{name.replace("_", "-"): value for name, value in changes.items()}}
    told = {name: value for name, value in told.items() if value is not None}
    return {**EVENT, "detail": {**EVENT["detail"], "object": told}}


def test_the_documented_event_is_read_and_its_key_is_left_as_it_is():
    upload = parsed(EVENT)
    told = EVENT["detail"]["object"]
    assert upload.image == ImageRef("images", "incoming/a+b%20c.png", told["etag"], told["version-id"])
    assert (upload.sequencer, upload.at) == (told["sequencer"], AT)
    assert parsed(altered(version_id=None)).image.version == ""
    assert parsed(altered(key="incoming/")).is_folder
    assert not upload.is_folder


@pytest.mark.parametrize(
    "event",
    [
        None, [], "text", 7, {}, {"Records": []}, {"Event": "s3:TestEvent"},
        {**EVENT, "detail-type": "Object Deleted"},
        {**EVENT, "detail": None}, {**EVENT, "detail": []}, {**EVENT, "detail": {"bucket": {}, "object": {}}},
        {**EVENT, "time": 7}, {**EVENT, "time": "yesterday"}, {**EVENT, "time": "2026-07-21T10:15:00"},
        {**EVENT, "detail": {**EVENT["detail"], "bucket": {"name": "results"}}},
        {**EVENT, "detail": {**EVENT["detail"], "bucket": {"name": ["images"]}}},
        altered(key=None), altered(key=7), altered(key="results/a.png"), altered(key="Incoming/a.png"),
        altered(key="incoming/" + "x" * 1100), altered(key="incoming/\ud800"), altered(key={"incoming/": 1}),
        altered(etag=7), altered(version_id=7), altered(version_id="v" * 2000),
        altered(size=-1), altered(size="5"), altered(size=True), altered(size=10**20),
        altered(sequencer="no"), altered(sequencer="-1"),
        altered(sequencer=7), altered(sequencer="1" * 65),
    ],
)  # fmt: skip
def test_what_is_no_such_event_is_refused_by_name(event):
    with pytest.raises(InvalidEvent):
        parsed(event)


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "\x00", '{"detail-type": "Object Created"'])
def test_what_is_no_json_is_refused_by_name(body):
    with pytest.raises(InvalidEvent):
        parse_upload(body, bucket="images", prefix="incoming/")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    place=st.sampled_from([("time",), ("detail",), ("detail", "bucket"), ("detail", "bucket", "name"),
                           ("detail", "object"), *(("detail", "object", name) for name in EVENT["detail"]["object"])]),
    value=json_values,
)  # fmt: skip
def test_whatever_a_field_holds_the_answer_is_an_upload_under_the_prefix_or_a_refusal(place, value):
    event = json.loads(json.dumps(EVENT))
    inner = event
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    try:
        upload = parsed(event)
    except InvalidEvent:
        return
    assert upload.image.bucket == "images"
    assert upload.image.key.startswith("incoming/")
    assert list(parse_manifest("m.jsonl", [manifest_of([upload])])) == [(upload.image, upload.size)]


def test_an_event_delivered_again_is_the_same_upload_and_a_put_of_the_same_content_is_another():
    ids = {
        parsed(event).upload_id
        for event in (
            altered(),
            altered(),
            {**altered(), "id": "another", "time": "2026-07-21T10:15:09Z"},
            altered(version_id="v2"),
            altered(key="incoming/b.png"),
            altered(version_id=None),
            altered(version_id=None, sequencer="617f08299329d18a"),
            altered(version_id="null"),  # versioning is suspended: as without
        )
    }
    assert len(ids) == 5


keys = st.sampled_from(["incoming/a", "incoming/b"])
uploads = st.builds(
    Upload,
    st.builds(ImageRef, st.just("images"), keys, st.sampled_from(["e1", "e2"]), st.sampled_from(["", "v1", "v2"])),
    st.text("0123456789ABCDEF", min_size=1, max_size=5),
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)),
)


@given(st.lists(uploads, min_size=1, max_size=8), st.randoms())
def test_the_order_in_which_uploads_are_told_of_changes_nothing(found, random):
    shuffled = random.sample(found, len(found))
    assert run_name(found) == run_name(shuffled)
    assert len(run_name(found)) <= 80
    by_order = [(one.image.key, one.image.version, one.sequencer.ljust(64, "0")) for one in latest(found)]
    assert by_order == [(one.image.key, one.image.version, one.sequencer.ljust(64, "0")) for one in latest(shuffled)]
    assert (
        len({order[:2] for order in by_order})
        == len(by_order)
        == len({(one.image.key, one.image.version) for one in found})
    )


def test_of_an_unversioned_object_the_latest_upload_counts_and_a_shorter_sequencer_is_padded_on_the_right():
    old, new = (
        Upload(ImageRef("images", "incoming/a", etag), sequencer, AT)
        for etag, sequencer in (("e1", "0055"), ("e2", "00A"))
    )
    assert latest([new, old]) == latest([old, new]) == [new]
    versions = [Upload(ImageRef("images", "incoming/a", etag, etag), "1", AT) for etag in ("v1", "v2")]
    assert latest(versions) == versions
